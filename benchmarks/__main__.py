"""`python -m benchmarks` (or `make bench`): everything that speed means here, as tables, JSON and a plot.

`--parts catalogues` only generates the catalogues that `search` needs, which for a million items takes longer than all
the rest: they are kept, so it can be done ahead. `python -m benchmarks.report` writes the tables into
docs/performance.md.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from benchmarks import encoding, ingest, search
from benchmarks.arguments import number, numbers
from benchmarks.measure import machine, medians, table
from retriever.inference import Inference
from retriever.retriever import find

PARTS = ("catalogues", "encoding", "search", "ingest")
Tables = dict[str, list[dict[str, Any]]]

_TITLES = {
    "encoding": "Encoding (speed-up: CPU time against torch at full precision)",
    "kinds": "POST /search, one client, every query new",
    "clients": "POST /search, hybrid, as many clients as stated, each sending as fast as it is answered",
    "arrivals": "POST /search, hybrid, constant arrival, timed from when each request was due",
    "footprint": "Start-up, memory, disk, and recall against exact MaxSim over all items",
    "ingest": "Ingest, from the HTTP body to durable",
}


def main(arguments: Sequence[str] | None = None) -> Tables:
    """Prints each table as soon as it is measured; returns all."""
    options = _parse(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    model = find(options.model)
    # What other runs measured stays, so that parts and sizes can be measured one after the other.
    results = options.output / "results.json"
    tables: Tables = json.loads(results.read_text())["tables"] if options.add and results.exists() else {}

    def add(name: str, rows: list[dict[str, Any]]) -> None:
        tables[name] = merged(tables.get(name, []), rows)
        print(f"\n{_TITLES[name]}\n\n{table(rows)}", flush=True)
        found = {"machine": about, "model": options.model, "tables": tables}
        results.write_text(json.dumps(found, indent=1) + "\n")

    about = machine()
    print(f"{about}; model {options.model}")
    if "catalogues" in options.parts or "search" in options.parts:
        search.generate(options.output, model, options.sizes)
    if "encoding" in options.parts:
        add("encoding", encoding.rows(model, options.inference, options.batches, seconds=options.seconds / 4))
    if "search" in options.parts:
        for size in options.sizes:
            measured = search.measure(
                options.output, model, size, options.clients, seconds=options.seconds, rounds=options.rounds
            )
            for name, rows in measured.items():
                add(name, rows)
        plot_growth(tables, options.output / "growth.png")
    if "ingest" in options.parts:
        rounds = [ingest.rows(options.output, model, options.pictures, options.images) for _ in range(options.rounds)]
        add("ingest", medians(rounds))
    return tables


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both, without what was measured before of the catalogue sizes, or the ways, that were measured again."""
    names = ("items", "ingest", "inference")
    own = {tuple(row.get(name) for name in names) for row in new}
    rows = [row for row in old if tuple(row.get(name) for name in names) not in own] + new
    return sorted(rows, key=lambda row: row.get("items", 0))


def plot_growth(tables: Tables, path: Path) -> None:
    """How each cost rises with the catalogue's size, on logarithmic scales."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for kind in search.KINDS:
        rows = [row for row in tables["kinds"] if row["search"] == kind]
        left.plot([row["items"] for row in rows], [row["p50 ms"] for row in rows], marker="o", label=kind)
    left.set(xscale="log", yscale="log", xlabel="items", ylabel="median of one search, ms")
    left.legend(fontsize="small")
    for name in ("MB at rest", "MB on disk"):
        rows = tables["footprint"]
        right.plot([row["items"] for row in rows], [row[name] for row in rows], marker="o", label=name)
    right.set(xscale="log", yscale="log", xlabel="items", ylabel="MB")
    right.legend(fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _words(known: Sequence[str]) -> Any:
    def read(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
        return text.split(",")

    return read


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    ways = [way for way in get_args(Inference) if way not in ("auto", "graphs")]  # for CUDA: benchmarks.gpu
    parser.add_argument(
        "--parts", type=_words(PARTS), default=list(PARTS), help="of catalogues,encoding,search,ingest (all)"
    )
    parser.add_argument("--model", default="compact", help="shipped name, checkpoint folder or hub name (compact)")
    parser.add_argument("--inference", type=_words(ways), default=ways, help="of torch,bf16,onnx,int8 (all)")
    parser.add_argument("--batches", type=numbers, default=[1, 8, 32], help="of encoding (1,8,32)")
    parser.add_argument("--sizes", type=numbers, default=[1000, 20_000, 100_000], help="of catalogues (1k,20k,100k)")
    parser.add_argument("--clients", type=numbers, default=[1, 4, 16, 64], help="at the same time (1,4,16,64)")
    parser.add_argument("--pictures", type=number, default=200, help="ingested each way (200)")
    parser.add_argument("--images", type=Path, help="a folder of pictures to ingest (drawings of 640 × 640 pixels)")
    parser.add_argument("--add", action="store_true", help="keep what earlier runs measured of other sizes and parts")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (5)")
    parser.add_argument(
        "--rounds", type=number, default=3, help="services that are measured one after the other; medians are shown (3)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/bench"), help="results, plot, catalogues (runs/bench)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

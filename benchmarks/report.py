"""`python -m benchmarks.report`: what `make bench` and `make bench-peers` measured, as the tables of a document.

A table stands between `<!-- bench: name -->` and `<!-- end -->`, and is replaced whole; the words around it stay. The
plot is copied into `images` beside the document.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import table

Row = Mapping[str, Any]

_BLOCK = re.compile(r"(?<=<!-- bench: )([a-z]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
_PLOT = "![Median of one search, memory and disk over the number of items](images/growth.png)"
_LOAD = ("requests/s", "p50 ms", "p99 ms", "CPU ms", "refused %", "failed %")


def encoding(rows: Sequence[Row]) -> list[Row]:
    """A row for each input and batch; a column for each way, with its speed-up over torch."""
    made: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        one = made.setdefault((row["input"], row["batch"]), {"input": row["input"], "batch": row["batch"]})
        own = f"{row['median ms'] / row['batch']:.3g}"
        one[f"{row['inference']}, ms an input"] = own if row["inference"] == "torch" else _times(own, row["speed-up"])
    return list(made.values())


def kinds(rows: Sequence[Row]) -> list[Row]:
    """A row for each kind of search; columns for each size of the catalogue."""
    made: dict[str, dict[str, Any]] = {}
    for row in rows:
        one = made.setdefault(row["search"], {"search": row["search"]})
        numbers = (row["p50 ms"], row["p99 ms"], row["CPU ms"])
        one[f"{row['items']:,} items: p50 / p99 / CPU ms"] = " / ".join(f"{number:.1f}" for number in numbers)
    return list(made.values())


def targets(tables: Mapping[str, Sequence[Row]]) -> list[Row]:
    """What was aimed at beside what was measured."""

    def find(name: str, **wanted: Any) -> Row:
        found = (row for row in tables[name] if all(row[key] == value for key, value in wanted.items()))
        return next(found, {})

    def state(value: float | None, limit: float, *, least: bool = False) -> str:
        if value is None:
            return "not measured"
        return "met" if (value >= limit if least else value <= limit) else "**missed**"

    def row(target: str, unit: str, value: float | None, limit: float, *, least: bool = False) -> Row:
        measured = "" if value is None else f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
        return {"target": target, "measured": measured, "state": state(value, limit, least=least)}

    crowd = max((one["clients"] for one in tables["peers"]), default=1)
    ours = find("peers", server="this service: hybrid search", clients=crowd)
    infinity = find("peers", server="infinity: embedding alone", clients=crowd)
    above = ours["requests/s"] / infinity["requests/s"] if ours and infinity else None
    rest = find("footprint", items=20_000)
    hybrid = find("kinds", items=20_000, search="hybrid")
    half = find("arrivals", items=100_000, **{"of saturation": "50%"})
    bulk = find("ingest", ingest="POST /items/bulk")
    return [
        row("20,000 items, hybrid, 1 client: median under 8 ms", "ms", hybrid.get("p50 ms"), 8),
        row(f"{crowd} clients: 3 × the hand-written peer", "×", ours.get("÷ hand-written"), 3, least=True),
        row(f"{crowd} clients: more searches than infinity embeds queries", "×", above, 1, least=True),
        row("100,000 items, half of saturation: p99 under 50 ms", "ms", half.get("p99 ms"), 50),
        row("ingest, bulk: 25 pictures/s", "/s", bulk.get("items/s"), 25, least=True),
        row("20,000 items: ready in 8 s", "s", rest.get("seconds to ready"), 8),
        row("20,000 items: under 1,200 MB resident", "MB", rest.get("MB at rest"), 1200),
    ]


def _only(*columns: str) -> Callable[[Sequence[Row]], list[Row]]:
    return lambda rows: [{name: row[name] for name in columns} for row in rows]


def _times(text: str, factor: float) -> str:
    return f"{text} ({factor:.1f} ×)"


TABLES: dict[str, Callable[[Sequence[Row]], list[Row]]] = {
    "encoding": encoding,
    "kinds": kinds,
    "clients": _only("items", "clients", *_LOAD, "throughput ÷ 1st row"),
    "arrivals": _only("items", "of saturation", *_LOAD),
    "footprint": list,
    "ingest": list,
    "peers": list,
}


def written(document: str, results: Mapping[str, Any]) -> str:
    """The document with its tables from these results: rows by table, `machine`, `growth`. `targets` follow.

    Raises:
        KeyError: the document asks for a table that there is none of, or that was not measured.
    """

    def block(match: re.Match[str]) -> str:
        name = match[1]
        if name in ("machine", "growth"):
            content = results[name]
        else:
            content = table(targets(results) if name == "targets" else TABLES[name](results[name]))
        return f"{name}{match[2]}\n{content}\n\n"

    return _BLOCK.sub(block, document)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("runs/bench"), help="what was measured (runs/bench)")
    parser.add_argument("--document", type=Path, default=Path("docs/performance.md"), help="(docs/performance.md)")
    options = parser.parse_args(arguments)
    try:
        own = json.loads((options.results / "results.json").read_text())
        peers = json.loads((options.results / "peers.json").read_text())
        measured = {**own["tables"], "peers": peers["rows"], "machine": own["machine"], "growth": _PLOT}
        document = written(options.document.read_text(), measured)
    except (OSError, KeyError) as error:
        sys.exit(
            f"not measured yet, or no table of the report: {error}. Run `make bench` and `make bench-peers` first."
        )
    options.document.write_text(document)
    images = options.document.parent / "images"
    images.mkdir(exist_ok=True)
    shutil.copy(options.results / "growth.png", images / "growth.png")


if __name__ == "__main__":
    main()

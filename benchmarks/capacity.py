"""How many searches a second this machine answers, and what becomes of the rest: `python -m benchmarks.capacity`.

Requests arrive at a constant rate from another process, answered or not. The capacity is the highest rate at which none
is refused or fails and 99 of 100 are answered in time; it is found by halving. Beyond it nothing may happen but 429.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import retriever
from benchmarks.arguments import number
from benchmarks.measure import machine, table
from benchmarks.process import Server, service
from benchmarks.search import bodies, catalogue
from retriever.retriever import find

_CONNECTIONS = 400  # more than the service lets one caller have under way
_CLOSE_ENOUGH = 1.1  # the capacity lies between a rate that holds and one this much higher that does not


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Prints and returns what each rate gave, the capacity's and thrice the capacity's last."""
    options = _parse(arguments)
    model = find(options.model)
    data_dir = catalogue(options.output, retriever.load(model, inference="auto"), options.size)
    with service(data_dir, model, SEARCH_QUERY_CACHE="0") as server:
        server.settle()
        server.load("/search", bodies("hybrid"), seconds=options.seconds / 2)  # warm-up
        rows, capacity = _search(server, options.seconds, options.p99)
        beyond = _measure(server, 3 * capacity, options.seconds)
    rows += [beyond]
    print(f"{machine()}; model {options.model}, {options.size} items\n\n{table(rows)}\n")
    print(f"capacity: {capacity:.0f} searches/s with p99 under {options.p99:g} ms and nothing refused")
    return rows


def _search(server: Server, seconds: float, p99: float) -> tuple[list[dict[str, Any]], float]:
    """The rates that were tried, and the highest that held."""
    rows: list[dict[str, Any]] = []

    def holds(rate: float) -> bool:
        rows.append(_measure(server, rate, seconds))
        return bool(rows[-1]["refused %"] == rows[-1]["failed %"] == 0 and rows[-1]["p99 ms"] <= p99)

    high = float(server.load("/search", bodies("hybrid"), clients=16, seconds=seconds)["requests/s"])
    low = high / 2
    while not holds(low):
        high, low = low, low / 2
        if low < 0.5:
            raise RuntimeError(f"not even one search in two seconds is answered within {p99:g} ms")
    while holds(high):
        low, high = high, 2 * high
    while high / low > _CLOSE_ENOUGH:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    return rows, low


def _measure(server: Server, rate: float, seconds: float) -> dict[str, Any]:
    one = server.load("/search", bodies("hybrid"), clients=_CONNECTIONS, rate=rate, seconds=seconds)
    return {"rate": rate, **one}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="compact", help="shipped name, checkpoint folder or hub name (compact)")
    parser.add_argument("--size", type=number, default=20_000, help="of the catalogue (20k)")
    parser.add_argument("--p99", type=float, default=250.0, help="milliseconds that are in time (250)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each rate (10)")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="catalogues (runs/bench)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

"""`POST /search` end to end, over catalogues of growing size: latency, throughput, CPU, memory, start-up, recall."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import retriever
from benchmarks.catalogue import Generator, fill, queries
from benchmarks.measure import medians
from benchmarks.process import Server, service
from examples.demo_catalogue import products
from retriever import Retriever
from retriever.index import open_index


def _new_filter(number: int) -> dict[str, Any]:
    """One that nobody else has asked with: what an index keeps about a filter is of no use."""
    return {"filter": {"category": "Home", "price": {"lte": 40 + number / 1000}}}


_FACETS = ["brand", "material", "price"]
_WHILE_WRITTEN = "with 3 facets, 10 writes/s"  # an index forgets its counts at each of them

# What is asked, beside the query, or how it follows from the query's number. The first is the baseline of the others.
KINDS: dict[str, dict[str, Any] | Callable[[int], dict[str, Any]]] = {
    "hybrid": {},
    "semantic": {"mode": "semantic"},
    "lexical": {"mode": "lexical"},
    "with a filter": {"filter": {"category": "Home", "price": {"lte": 40}}},
    "with a new filter": _new_filter,
    "with 3 facets": {"facets": _FACETS},
    "with 3 facets, new filter": lambda number: {**_new_filter(5000 + number), "facets": _FACETS},
    _WHILE_WRITTEN: {"facets": _FACETS},
    "sorted by price": {"sort": [{"field": "price"}]},
    "with a boost": {"boost": [{"field": "price", "weight": -0.05}]},
    "with 2 boosts": {
        "boost": [{"field": "price", "weight": -0.1}, {"filter": {"category": "Home"}, "weight": 0.1}],
    },
    "explained": {"explain": True},
}
_TOP = 10
_BODIES = 2000  # requests that a load generator repeats
_ASKED = 20  # queries that recall is measured on


def bodies(kind: str) -> list[bytes]:
    asked = KINDS[kind]
    more = asked if callable(asked) else lambda number: asked
    return [json.dumps({"query": query, **more(number)}).encode() for number, query in enumerate(queries(_BODIES))]


def catalogue(folder: Path, loaded: Retriever, size: int) -> Path:
    """The data folder of a generated catalogue, with all of its items in it."""
    data_dir = folder / f"{size}-items-{loaded.model_id}"  # another model's vectors are of no use
    data_dir.mkdir(parents=True, exist_ok=True)
    fill(data_dir, loaded, size)
    return data_dir


def generate(folder: Path, model: str | Path, sizes: Sequence[int]) -> None:
    """Catalogues of these sizes."""
    loaded = retriever.load(model, inference="auto")
    for size in sizes:
        catalogue(folder, loaded, size)


def measure(
    folder: Path,
    model: str | Path,
    size: int,
    clients: Sequence[int],
    *,
    seconds: float,
    rounds: int,
    **settings: str,
) -> dict[str, list[dict[str, Any]]]:
    """Tables of one catalogue size: `kinds`, `clients`, `arrivals`, `footprint`; medians of as many services."""
    loaded = retriever.load(model, inference="auto")
    data_dir = catalogue(folder, loaded, size)
    recall = asyncio.run(_recall(data_dir, loaded, size))
    del loaded
    measured = [_one_round(data_dir, model, size, clients, seconds, recall, **settings) for _ in range(rounds)]
    return {name: medians([tables[name] for tables in measured]) for name in measured[0]}


def _one_round(
    data_dir: Path, model: str | Path, size: int, clients: Sequence[int], seconds: float, recall: float, **settings: str
) -> dict[str, list[dict[str, Any]]]:
    with service(data_dir, model, SEARCH_QUERY_CACHE="0", **settings) as server:
        server.settle()
        at_rest = server.memory_mb()
        server.load("/search", bodies("hybrid"), seconds=seconds / 2)  # warm-up
        kinds = _kinds(server, size, seconds)
        crowds, arrivals = under_load(server, size, clients, seconds)
        footprint = {
            "items": size,
            "seconds to ready": server.seconds_to_ready,
            "CPU s to ready": server.cpu_to_ready,
            "MB at rest": at_rest,
            "MB after load": server.memory_mb(),
            "MB on disk": sum(file.stat().st_blocks * 512 for file in data_dir.rglob("*") if file.is_file()) / 2**20,
            f"recall@{_TOP}": recall,
        }
    return {"kinds": kinds, "clients": crowds, "arrivals": arrivals, "footprint": [footprint]}


def _kinds(server: Server, size: int, seconds: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for kind in KINDS:
        with _changes(server) if kind == _WHILE_WRITTEN else contextlib.nullcontext():
            one = server.load("/search", bodies(kind), seconds=seconds)
        baseline = rows[0]["CPU ms"] if rows else one["CPU ms"]
        rows.append({"items": size, "search": kind, **one, "CPU ÷ hybrid": one["CPU ms"] / baseline})
    return rows


def under_load(
    server: Server, size: int, clients: Sequence[int], seconds: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of as many clients as stated, each sending as fast as it is answered; and of constant arrival at shares of
    the most that they got.
    """
    crowds = _clients(server, size, clients, seconds)
    saturation = max(row["requests/s"] for row in crowds)
    return crowds, _arrivals(server, size, saturation, max(clients), seconds)


def _changes(server: Server) -> contextlib.AbstractContextManager[None]:
    """The stock of one item changes ten times a second, as some item's does in a shop."""
    return server.changing(f"/items/{next(iter(products())).id}-0", b'{"stock": 3}', rate=10)


def _clients(server: Server, size: int, clients: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for count in clients:
        one = server.load("/search", bodies("hybrid"), clients=count, seconds=seconds)
        baseline = rows[0]["requests/s"] if rows else one["requests/s"]
        rows.append({"items": size, "clients": count, **one, "throughput ÷ 1st row": one["requests/s"] / baseline})
    return rows


def _arrivals(server: Server, size: int, saturation: float, clients: int, seconds: float) -> list[dict[str, Any]]:
    """Constant arrival at shares of the saturation throughput: what shoppers wait, queueing included."""
    rows = []
    for share in (0.25, 0.5, 0.75):
        one = server.load("/search", bodies("hybrid"), clients=clients, rate=share * saturation, seconds=seconds)
        rows.append({"items": size, "of saturation": f"{share:.0%}", **one})
    return rows


async def _recall(data_dir: Path, loaded: Retriever, size: int) -> float:
    """Share of the exact MaxSim top ten over all items that the index finds, by meaning alone."""
    asked = loaded.encode_queries(queries(_ASKED))  # (A, D)
    generator = Generator(loaded)
    scores = np.concatenate(
        [
            np.einsum(
                "ad,nqd->anq", asked, np.stack([generator.tokens(n) for n in range(start, min(start + 512, size))])
            ).max(axis=-1)
            for start in range(0, size, 512)
        ],
        axis=1,
    )  # (A, N)
    top = min(_TOP, size)
    index = await open_index(data_dir=data_dir, dim=asked.shape[1], model_id=loaded.model_id)
    try:
        shares = []
        for query, own in zip(asked, scores, strict=True):
            exact = {generator.item(int(number)).id for number in np.argsort(-own)[:top]}
            found = await index.search(query, "", limit=top, lexical_weight=0.0)
            shares.append(len(exact & {hit.id for hit in found.hits}) / top)
    finally:
        await index.close()
    return float(np.mean(shares))

"""The service on a GPU beside the same service on the CPU: searches, and products with pictures, over HTTP."""

from collections.abc import Sequence
from pathlib import Path

import retriever
from benchmarks import ingest, search
from benchmarks.gpu_measure import Gpu, Row
from benchmarks.process import service
from retriever.inference import resolve
from retriever.retriever import find

_SECONDS = 10  # times as long as a call of the model is measured: clients that wait are what is asked for here


def measure(
    gpu: Gpu, folder: Path, name: str, size: int, clients: Sequence[int], pictures: int
) -> dict[str, list[Row]]:
    """Tables of hybrid search over a generated catalogue, and of ingest; each device runs the model as it would by
    itself (`auto`).
    """
    model = find(name)
    loaded = retriever.load(model)
    data_dir = search.catalogue(folder, loaded, size)
    seconds = _SECONDS * gpu.seconds
    crowds: list[Row] = []
    arrivals: list[Row] = []
    uploads: list[Row] = []
    devices = dict.fromkeys(("cpu", str(gpu.device)))
    for device in devices:
        way = resolve("auto", loaded.config, loaded.model_id, device)
        about: Row = {"device": device, "way": way}
        settings = {"SEARCH_DEVICE": device, "SEARCH_INFERENCE": way}
        with service(data_dir, model, SEARCH_QUERY_CACHE="0", **settings) as server:
            server.settle()
            server.load("/search", search.bodies("hybrid"), clients=max(clients), seconds=seconds)  # warm-up
            crowd, due = search.under_load(server, size, clients, seconds)
            crowds += [about | row | {"seconds to ready": server.seconds_to_ready} for row in crowd]
            arrivals += [about | row for row in due]
        uploads += [about | row for row in ingest.rows(folder, model, pictures, None, **settings)]
    _compare(crowds, "requests/s", len(devices))
    _compare(uploads, "items/s", len(devices))
    return {"service: searches": crowds, "service: constant arrival": arrivals, "service: ingest": uploads}


def _compare(rows: list[Row], rate: str, devices: int) -> None:
    """Adds how many times as fast each row is as the same on the CPU, the first of the devices."""
    baseline = rows[: len(rows) // devices]
    for row, own in zip(rows, baseline * devices, strict=True):
        row["÷ cpu"] = row[rate] / own[rate]

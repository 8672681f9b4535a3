"""Queries and items → vectors, for each way of running the model, at several batch sizes."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import retriever
from benchmarks.catalogue import queries, texts
from benchmarks.measure import timed
from retriever import ItemInput
from retriever.inference import Inference

BASELINE: Inference = "torch"


def rows(
    model: str | Path, ways: Sequence[Inference], batches: Sequence[int], *, seconds: float
) -> list[dict[str, Any]]:
    """One row for each kind of input, batch size and way; `speed-up` is CPU time against torch at full precision."""
    measured: dict[tuple[str, int, str], dict[str, Any]] = {}
    for way in dict.fromkeys([BASELINE, *ways]):
        loaded = retriever.load(model, inference=way)
        size = loaded.config.image_size
        pixels = np.random.default_rng(0).random((3, size, size), dtype=np.float32)
        calls: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
            "query": (loaded.encode_queries, queries(max(batches))),
            "item": (loaded.encode_items, [ItemInput(pixels, text) for text in texts(max(batches))]),
        }
        for kind, (encode, inputs) in calls.items():
            for batch in batches:
                one = timed(partial(encode, inputs[:batch]), seconds=seconds)
                own = one.cpu / batch
                baseline = own if way == BASELINE else measured[kind, batch, BASELINE]["CPU ms an input"]
                measured[kind, batch, way] = {
                    "input": kind,
                    "batch": batch,
                    "inference": way,
                    "median ms": one.median,
                    "p99 ms": one.p99,
                    "CPU ms an input": own,
                    "speed-up": baseline / own,
                }
    return [measured[key] for key in sorted(measured, key=lambda key: (key[0] == "item", key[1]))]

"""What an item becomes in the engine: one point with three named vectors and a payload."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from retriever.arrays import Floats
from retriever.index import lexical
from retriever.index.fields import SECTION, FieldValue, Stored, store

Payload = dict[str, Any]

# The engine takes only numbers and UUIDs as ids. A name's UUID (RFC 9562, version 5) makes the same id the same point.
_NAMESPACE = uuid.UUID("8d1b9a52-6f0e-5c1c-9a0c-3d4c1f6b7e21")

_OWN = {"model_id", SECTION}  # parts of a payload that callers neither give nor see


@dataclass(frozen=True)
class IndexedItem:
    """An item as it is indexed."""

    id: str  # the shop's own
    tokens: Floats  # (T, D), as the model gives them; T = Q × pictures
    text: str  # what BM25 sees
    payload: Payload  # JSON, returned as it is; `id` is added to it
    fields: Mapping[str, FieldValue] = field(default_factory=dict)  # what it can be filtered and sorted by
    title: str = ""  # the part of the text that names it


@dataclass(frozen=True)
class Point:
    """An item as the engine stores it."""

    id: str
    dense: Floats  # (D,) unit length: finds candidates
    tokens: Floats  # (T, D): ranks them by MaxSim
    lexical: lexical.SparseVector
    payload: Payload


def point_id(item_id: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, item_id))


def make_points(items: Sequence[IndexedItem], dim: int, model_id: str) -> list[Point]:
    """Points of items, the last of each id. Raises ValueError for an item that cannot be indexed, and names it."""
    return [_point(item, dim, model_id) for item in {item.id: item for item in items}.values()]


def _point(item: IndexedItem, dim: int, model_id: str) -> Point:
    tokens = np.ascontiguousarray(item.tokens, dtype=np.float32)  # (T, D)
    if tokens.ndim != 2 or not len(tokens) or tokens.shape[1] != dim:
        raise ValueError(f"item {item.id!r}: tokens must have shape (T, {dim}) with T ≥ 1, not {tokens.shape}")
    # The embedded engine would store NaN without a word, and never find the item again.
    if not np.isfinite(tokens).all():
        raise ValueError(f"item {item.id!r}: its tokens hold NaN or infinity")
    if item.payload.get("id", item.id) != item.id or _OWN & item.payload.keys():
        raise ValueError(f"item {item.id!r}: the payload's 'id' must be the item's, and {_OWN} are the index's own")
    try:
        # Each engine has its own way with what is not JSON; here it is refused before either sees it.
        json.dumps(item.payload, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"item {item.id!r}: the payload is not JSON: {error}") from error
    return Point(
        id=point_id(item.id),
        dense=_direction(tokens.mean(axis=0)),
        tokens=tokens,
        lexical=lexical.embed_document(item.text, item.title),
        payload={
            **item.payload,
            "id": item.id,
            "model_id": model_id,
            SECTION: {**store(item.fields), "words": lexical.word_numbers(item.text)},
        },
    )


def dense_query(vectors: Floats) -> list[float]:
    """What finds candidates for a query `(M, D)`: the direction of its vectors together."""
    numbers: list[float] = _direction(vectors.sum(axis=0)).tolist()
    return numbers


def _direction(vector: Floats) -> Floats:
    """The same, of length 1: what is nothing stays nothing."""
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-12))


def caller_payload(stored: Payload) -> Payload:
    """The payload as the caller gave it, and `id`."""
    return {name: value for name, value in stored.items() if name not in _OWN}


def fields_of(point: Point) -> Stored:
    return {kind: own for kind, own in point.payload[SECTION].items() if kind != "words"}


def chunks(points: Sequence[Point], max_numbers: int) -> Iterator[list[Point]]:
    """Runs of points that hold at most `max_numbers` token components together, or a single larger point."""
    chunk: list[Point] = []
    size = 0
    for point in points:
        if chunk and size + point.tokens.size > max_numbers:
            yield chunk
            chunk, size = [], 0
        chunk.append(point)
        size += point.tokens.size
    if chunk:
        yield chunk

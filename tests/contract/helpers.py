"""Random items and queries, the same for the same seed."""

import zlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from retriever.index import IndexedItem

DIM = 16
PRECISION = 5e-3  # of a score: the embedded index keeps tokens in eight bits. With 384 numbers they are far nearer


def item(item_id: str, seed: int | None = None, text: str = "", pictures: int = 1, **payload: Any) -> IndexedItem:
    """An item with 4 tokens a picture, of about unit length."""
    rng = np.random.default_rng(zlib.crc32(item_id.encode()) if seed is None else seed)
    return IndexedItem(item_id, rng.normal(scale=DIM**-0.5, size=(4 * pictures, DIM)).astype(np.float32), text, payload)


def query(seed: int) -> npt.NDArray[np.float32]:
    vector = np.random.default_rng(10_000 + seed).normal(size=DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def best_first(ids: Sequence[str], scores: Mapping[str, float]) -> bool:
    """These are all of them, by their exact scores; two that precision cannot tell apart may come either way round."""
    found = [scores[one] for one in ids]
    return sorted(ids) == sorted(scores) and all(first > second - 2 * PRECISION for first, second in pairwise(found))

"""Random items and queries, the same for the same seed."""

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from retriever.index import IndexedItem

DIM = 16
PRECISION = 1e-3  # of a score: the embedded index keeps tokens in half precision


def item(item_id: str, seed: int | None = None, text: str = "", pictures: int = 1, **payload: Any) -> IndexedItem:
    """An item with 4 tokens a picture, none of unit length."""
    rng = np.random.default_rng(zlib.crc32(item_id.encode()) if seed is None else seed)
    return IndexedItem(item_id, rng.normal(size=(4 * pictures, DIM)).astype(np.float32), text, payload)


def query(seed: int) -> npt.NDArray[np.float32]:
    vector = np.random.default_rng(10_000 + seed).normal(size=DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)

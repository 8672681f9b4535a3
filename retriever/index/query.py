"""What an index is asked for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from retriever.arrays import Floats
from retriever.index.filters import Condition
from retriever.index.lexical import SparseVector


@dataclass(frozen=True)
class Boost:
    """What a shop would rather sell: `weight` × the best likeness is added to the score of what has the most of it.

    Below 0 it is taken off.
    """

    by: str | Condition  # the payload key of a field of numbers or dates, whose greatest value is the most; or a filter
    weight: float


@dataclass(frozen=True)
class IndexQuery:
    """By what items are ranked, and which of them."""

    vectors: Floats | None  # (M, D): their MaxSim add up; None: words decide alone
    text: str
    words: SparseVector | None  # those of the text, for BM25; None: they count for nothing
    lexical_weight: float
    named: Condition | None  # what those few items have that come first: their article number
    filter: Condition | None
    pinned: tuple[str, ...] = ()  # points that come before all others, in this order
    boosts: tuple[Boost, ...] = ()  # for what is about as relevant as others


def checked(query: npt.NDArray[Any], dim: int) -> Floats:
    """A query's embedding, `(D,)` or `(M, D)`, as `(M, D)`. Raises ValueError: of another shape, or not finite."""
    vectors = np.atleast_2d(np.asarray(query, dtype=np.float32))  # (M, D)
    if vectors.ndim != 2 or not len(vectors) or vectors.shape[1] != dim:
        raise ValueError(f"the query's embedding must have shape ({dim},), not {np.shape(query)}")
    if not np.isfinite(vectors).all():
        raise ValueError("the query's embedding holds NaN or infinity")
    return vectors

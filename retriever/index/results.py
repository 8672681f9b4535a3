"""What an index answers, and what it raises."""

from dataclasses import dataclass

from retriever.index.filters import Condition
from retriever.index.points import Payload


class IndexUnavailable(Exception):
    """The engine does not answer, refuses, or cannot be opened; the message says which and why."""


class IndexInUse(IndexUnavailable):
    """The embedded engine's folder is open already, and it takes one process at a time."""


class ModelMismatch(Exception):
    """The index was written by another model; the message says what to do."""


@dataclass(frozen=True)
class Hit:
    """A ranked item: `score = semantic + lexical_weight × lexical + boost`. The parts are there if asked for."""

    id: str
    score: float
    payload: Payload
    semantic: float | None = None  # MaxSim of the query and the tokens, as in `retriever.scoring`; 0 without a query
    lexical: float | None = None  # how much of what the query says its text holds, by BM25: 0 (no word) to 1
    boost: float | None = None  # what boosts add
    group: str | None = None  # the value of `group_by` that it stands for
    group_size: int = 1  # items that have this value, of those that were ranked: beyond 1,000 a least number


@dataclass(frozen=True)
class SearchResult:
    """One page of hits, how many the whole ranking has, and what the items that it ranks have in common."""

    hits: list[Hit]
    total: int
    ranked: Condition | None = None


@dataclass(frozen=True)
class Facet:
    """A field's values among some items: keywords with counts, most common first, and the least and greatest number."""

    values: list[tuple[str, int]]
    low: float | None
    high: float | None
    dates: bool = False  # `low` and `high` are seconds since 1970

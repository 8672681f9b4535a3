"""An index of items: what is stored, how it is searched, and what may go wrong.

`ItemIndex` holds all that does not depend on the engine. An engine's adapter adds six calls, named with an underscore
here, and says how it is opened.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from retriever.index import fusion, lexical
from retriever.index.points import IndexedItem, Payload, Point, Vector, make_points, point_id

__all__ = ["Hit", "IndexUnavailable", "IndexedItem", "ItemIndex", "ModelMismatch", "Payload", "SearchResult"]


class IndexUnavailable(Exception):
    """The engine does not answer, refuses, or cannot be opened; the message says which and why."""


class ModelMismatch(Exception):
    """The index was written by another model; the message says what to do."""


@dataclass(frozen=True)
class Hit:
    """A ranked item: `score = semantic + lexical_weight × lexical`."""

    id: str
    score: float
    semantic: float  # MaxSim of the query and the item's tokens, as `retriever.scoring.maxsim` has it
    lexical: float  # BM25 divided by the best BM25 of this query: 0 (no word in common) to 1
    payload: Payload


@dataclass(frozen=True)
class SearchResult:
    """One page of hits, and how many items could be ranked in all."""

    hits: list[Hit]
    total: int


class ItemIndex(ABC):
    """Items by the shop's own id, searched by meaning and by words.

    Every method raises `IndexUnavailable` when the engine does not do what it was asked.
    """

    def __init__(self, dim: int, model_id: str) -> None:
        self._dim, self._model_id = dim, model_id

    async def upsert(self, items: Sequence[IndexedItem]) -> None:
        """Writes items; an id that is there already, or comes twice, keeps the last. When it returns, they are durable.

        All items are checked before the first is written. Each is written whole; a batch of many may be written in
        part if the engine fails.

        Raises:
            ValueError: tokens that are not `(T, D)` with T ≥ 1, or not finite; a payload that is not JSON.
        """
        points = await asyncio.to_thread(make_points, items, self._dim, self._model_id)
        if points:
            await self._write(points)

    async def get(self, ids: Sequence[str]) -> dict[str, Payload]:
        """The payloads of those ids that are there: as given, and `id`."""
        payloads = await self._payloads([point_id(item_id) for item_id in ids]) if ids else {}
        return {payload["id"]: payload for payload in payloads.values()}

    async def delete(self, ids: Sequence[str]) -> int:
        """Deletes items, durably; returns how many were there."""
        return await self._delete(list({point_id(item_id) for item_id in ids})) if ids else 0

    async def scroll(self, cursor: str | None = None, limit: int = 100) -> tuple[list[tuple[str, Payload]], str | None]:
        """Up to `limit` items from a cursor on, in an order that stays; and the next page's cursor, None at the end.

        Raises:
            ValueError: a limit under 1, or a cursor that did not come from here.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        payloads, following = await self._scroll(None if cursor is None else fusion.checked_cursor(cursor), limit)
        return [(payload["id"], payload) for payload in payloads], following

    async def search(
        self,
        query: npt.NDArray[np.floating[Any]],
        text: str,
        *,
        limit: int,
        offset: int = 0,
        lexical_weight: float = fusion.LEXICAL_WEIGHT,
    ) -> SearchResult:
        """The items that fit a query best.

        Candidates are the items whose `dense` vector is nearest to the query and those that BM25 puts first; MaxSim
        over their tokens ranks them, with `lexical_weight` × BM25 added (0: meaning alone). Pages of one query join
        without gaps or repeats for as long as the items stay as they are.

        Args:
            query: The query's embedding `(D,)`.
            text: Its words, for BM25; may be empty.

        Raises:
            ValueError: a query of another shape or not finite, a limit under 1, a negative offset or weight.
        """
        vector = self._checked_query(query)
        if limit < 1 or offset < 0:
            raise ValueError(f"limit must be at least 1 and offset at least 0, not {limit} and {offset}")
        if not 0 <= lexical_weight < float("inf"):
            raise ValueError(f"lexical_weight must be 0 or a positive number, not {lexical_weight}")
        words = lexical.embed_query(text) if lexical_weight else None
        total = await self.count()
        if offset >= total:
            return SearchResult([], total)
        tiers = await self._candidates(vector, words, fusion.depths(min(offset + limit, total)))
        page = fusion.rank(tiers, lexical_weight)[offset : offset + limit]
        # Payloads are fetched for the page alone: sent along with every candidate they would double the whole search.
        payloads = await self._payloads([ranked.point_id for ranked in page]) if page else {}
        hits = [
            Hit(payload["id"], ranked.score, ranked.semantic, ranked.lexical, payload)
            for ranked in page
            # An item deleted since it was ranked has no payload.
            if (payload := payloads.get(ranked.point_id)) is not None
        ]
        return SearchResult(hits, total)

    def _checked_query(self, query: npt.NDArray[np.floating[Any]]) -> Vector:
        vector = np.asarray(query, dtype=np.float32)
        if vector.shape != (self._dim,):
            raise ValueError(f"the query's embedding must have shape ({self._dim},), not {vector.shape}")
        if not np.isfinite(vector).all():
            raise ValueError("the query's embedding holds NaN or infinity")
        return vector

    @abstractmethod
    async def count(self) -> int:
        """How many items there are."""

    @abstractmethod
    async def ready(self) -> None:
        """Returns if the index can serve; raises `IndexUnavailable` if not."""

    @abstractmethod
    async def close(self) -> None:
        """Waits for calls under way and lets go of the engine. May be called twice."""

    @abstractmethod
    async def _write(self, points: Sequence[Point]) -> None:
        """Inserts or replaces; durable when it returns."""

    @abstractmethod
    async def _delete(self, point_ids: list[str]) -> int: ...

    @abstractmethod
    async def _payloads(self, point_ids: list[str]) -> dict[str, Payload]:
        """By point id, for those that are there, through `caller_payload`."""

    @abstractmethod
    async def _scroll(self, cursor: str | None, limit: int) -> tuple[list[Payload], str | None]: ...

    @abstractmethod
    async def _candidates(
        self, query: Vector, words: lexical.SparseVector | None, depths: Sequence[int]
    ) -> list[fusion.Candidates]:
        """For each depth N: MaxSim of the N nearest by `dense` and the N best by `lexical`, and BM25 of the latter."""

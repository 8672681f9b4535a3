"""How many items have a word: what BM25 of a whole query is measured by."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from retriever.index import fusion, lexical
from retriever.index.fields import WORDS_KEY
from retriever.index.filters import AnyOf, Condition

_MAX_WORDS = 1 << 16


class WordCounts:
    """Counts of items by word, asked for once and kept until the catalogue has grown or shrunk by a tenth.

    `count` says how many items a filter lets through, and without one how many there are.
    """

    def __init__(self, count: Callable[[Condition | None], Awaitable[int]]) -> None:
        self._count = count
        self._having: dict[int, int] = {}  # word number → items that had the word when there were `_items`
        self._items = 0

    async def ideal(self, text: str, words: lexical.SparseVector) -> float:
        """BM25 of a short text that holds every one of a query's words; 0 where only the best text is to count."""
        if lexical.has_code(text):
            return 0.0
        items = await self._count(None)
        if self.outgrown(items) or len(self._having) > _MAX_WORDS:
            self._having, self._items = {}, items
        having, items = self._having, self._items  # those of now, whatever other searches do meanwhile
        missing = [word for word in words.indices if word not in having]
        counts = await asyncio.gather(*(self._count(AnyOf(WORDS_KEY, (word,))) for word in missing))
        having.update(zip(missing, counts, strict=True))
        return _ideal(words, having, items)

    def known_ideal(self, text: str, words: lexical.SparseVector) -> float | None:
        """`ideal`, if nothing has to be asked for; it may be out of date."""
        if lexical.has_code(text):
            return 0.0
        return _ideal(words, self._having, self._items) if self._having.keys() >= set(words.indices) else None

    def outgrown(self, items: int) -> bool:
        """Whether the counts are out of date, now that there are so many items."""
        return abs(items - self._items) > self._items / 10


def _ideal(words: lexical.SparseVector, having: Mapping[int, int], items: int) -> float:
    return fusion.WORD_SCORE * sum(fusion.idf(items, min(items, having[word])) for word in words.indices)

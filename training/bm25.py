"""BM25 over items' texts: the baseline that needs no training, and the lexical half of hybrid search."""

from collections.abc import Sequence

import bm25s
import numpy as np
import numpy.typing as npt
import Stemmer

Scores = npt.NDArray[np.float32]

K1, B = 1.2, 0.75  # the values that Lucene and Qdrant use
HYBRID_WEIGHT = 0.15


class BM25:
    """Lucene's BM25 with the Snowball stemmer and English stop words, by the `bm25s` library.

    Raises:
        ValueError: no texts are given.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        if not texts:
            raise ValueError("BM25 needs at least one text")
        self._stemmer = Stemmer.Stemmer("english")
        self._size = len(texts)
        self._index = bm25s.BM25(k1=K1, b=B, method="lucene")
        tokens = self._tokens(texts)
        self._empty = not any(tokens)  # bm25s cannot index a vocabulary of no words
        if not self._empty:
            self._index.index(tokens, show_progress=False)

    def scores(self, queries: Sequence[str]) -> Scores:
        """Score of every text for every query, `(queries, texts)`; 0 where they share no word."""
        result = np.zeros((len(queries), self._size), dtype=np.float32)
        if self._empty:
            return result
        for row, words in zip(result, self._tokens(queries), strict=True):
            if ids := self._index.get_tokens_ids(words):
                row[:] = self._index.get_scores_from_ids(ids)
        return result

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        # Single characters count: "v neck" and "size l" are what shoppers type.
        tokens: list[list[str]] = bm25s.tokenize(
            list(texts),
            token_pattern=r"(?u)\b\w+\b",
            stopwords="en",
            stemmer=self._stemmer,
            return_ids=False,
            show_progress=False,
        )
        return tokens


def hybrid(semantic: Scores, lexical: Scores, weight: float = HYBRID_WEIGHT) -> Scores:
    """Fuse semantic and BM25 scores, `(queries, texts)` each, as the index does: semantic + weight · bm25 / max.

    BM25 has no fixed range, so each query's scores are divided by the best of them. A query that shares no word with
    any text keeps its semantic scores.
    """
    best = lexical.max(axis=1, keepdims=True)  # (queries, 1)
    share: Scores = np.divide(lexical, best, out=np.zeros_like(lexical), where=best > 0)
    return semantic + np.float32(weight) * share

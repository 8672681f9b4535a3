"""BM25 over items' texts: the baseline that needs no training, and the lexical half of hybrid search."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from retriever.index import fusion
from retriever.index.lexical import SparseVector, embed_document, embed_query, has_code

Scores = npt.NDArray[np.float32]

_NO_WORDS = SparseVector([], [])


class BM25:
    """The index's own BM25, over every text: its words and their weights, and the engine's IDF.

    So what it finds is what `mode: lexical` finds. It is Lucene's BM25 (k1 = 1.2, b = 0.75), but that lengths are held
    against 32 words, not against the mean of the texts: an index must not weigh all items anew with each that comes.

    Raises:
        ValueError: no texts are given.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        if not texts:
            raise ValueError("BM25 needs at least one text")
        documents = [embed_document(text) for text in texts]
        self._columns = {word: n for n, word in enumerate(sorted({i for own in documents for i in own.indices}))}
        self._weights = self._matrix(documents)  # (texts, words)
        self._size = sum(bool(own.indices) for own in documents)  # the engine counts no text without words
        having = np.bincount(self._weights.indices, minlength=len(self._columns))
        self._idf = np.array([fusion.idf(self._size, count) for count in having], dtype=np.float32)  # (words,)

    def scores(self, queries: Sequence[str]) -> tuple[Scores, Scores]:
        """Score of every text for every query, `(queries, texts)`, and each query's ideal score, `(queries,)`.

        The score is 0 where they share no word; the ideal is that of a short text that holds every word of the query.
        """
        asked = [embed_query(query) or _NO_WORDS for query in queries]
        words = self._matrix(asked)  # (queries, words)
        scores: Scores = (words.multiply(self._idf).tocsr() @ self._weights.T).toarray()
        unknown = fusion.idf(self._size, 0)
        idf = [
            [self._idf[self._columns[word]] if word in self._columns else unknown for word in one.indices]
            for one in asked
        ]
        return scores, np.array([fusion.WORD_SCORE * sum(own) for own in idf], dtype=np.float32)

    def _matrix(self, vectors: Sequence[SparseVector]) -> Any:
        """A row for each vector, without the words that no text has."""
        cells = [
            (row, self._columns[word], value)
            for row, vector in enumerate(vectors)
            for word, value in zip(vector.indices, vector.values, strict=True)
            if word in self._columns
        ]
        rows, columns, values = zip(*cells, strict=True) if cells else ((), (), ())
        shape = (len(vectors), len(self._columns))
        return sparse.csr_array((np.array(values, dtype=np.float32), (rows, columns)), shape=shape)


def hybrid(semantic: Scores, lexical: Scores, ideal: Scores, queries: Sequence[str]) -> Scores:
    """Fuse semantic and BM25 scores, `(queries, texts)` each, as the index does (`retriever.index.fusion`).

    What is left out is `ItemIndex.resolve_article_numbers`: items that have a whole query as their article number, and
    numbers that no item has.

    Args:
        ideal: `(queries,)`, the second of what `BM25.scores` gives.
        queries: they decide what words in common are worth.
    """
    codes = np.array([has_code(query) for query in queries])
    weights = np.array([fusion.weight_of(query) for query in queries], dtype=np.float32)
    best = np.maximum(lexical.max(axis=1), np.finfo(np.float32).tiny)  # (queries,)
    reference = np.maximum(best, np.where(codes, 0, ideal))  # (queries,)
    share = (lexical / reference[:, None]) ** fusion.SHARPNESS
    fused: Scores = semantic + weights[:, None] * share.astype(np.float32)
    return fused

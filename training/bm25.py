"""BM25 over items' texts: the baseline that needs no training, and the lexical half of hybrid search."""

from collections import Counter
from collections.abc import Sequence

import bm25s
import numpy as np
import numpy.typing as npt
import Stemmer

from retriever.index import fusion
from retriever.index.lexical import has_code, spaced

Scores = npt.NDArray[np.float32]

K1, B = 1.2, 0.75  # the values that Lucene and Qdrant use


class BM25:
    """Lucene's BM25 with the Snowball stemmer and English stop words, by the `bm25s` library.

    It cuts Chinese, Japanese, Thai, … into characters and pairs, as the index does; of Latin letters its words are
    plainer than the index's, which also joins article numbers, takes measures apart and has fewer stop words.

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
        self._having = Counter(word for own in tokens for word in set(own))  # word → texts that hold it
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

    def ideal(self, queries: Sequence[str]) -> Scores:
        """Score of a short text that holds every word of a query: `(queries,)`."""
        # bm25s leaves out the constant factor k1 + 1 of the engine's BM25.
        unit = fusion.WORD_SCORE / (K1 + 1)
        return np.array(
            [
                unit * sum(fusion.idf(self._size, self._having[word]) for word in set(words))
                for words in self._tokens(queries)
            ],
            dtype=np.float32,
        )

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        # Single characters count: "v neck" and "size l" are what shoppers type.
        tokens: list[list[str]] = bm25s.tokenize(
            [spaced(text) for text in texts],
            token_pattern=r"(?u)\b\w+\b",
            stopwords="en",
            stemmer=self._stemmer,
            return_ids=False,
            show_progress=False,
        )
        return tokens


def hybrid(semantic: Scores, lexical: Scores, ideal: Scores, queries: Sequence[str]) -> Scores:
    """Fuse semantic and BM25 scores, `(queries, texts)` each, as the index does (`retriever.index.fusion`).

    What is left out is `ItemIndex.named`, items that have a whole query as their article number, and
    `ItemIndex.with_known_codes`.

    Args:
        ideal: `(queries,)`, as `BM25.ideal` gives it.
        queries: they decide what words in common are worth.
    """
    codes = np.array([has_code(query) for query in queries])
    weights = np.array([fusion.weight_of(query) for query in queries], dtype=np.float32)
    best = np.maximum(lexical.max(axis=1), np.finfo(np.float32).tiny)  # (queries,)
    reference = np.maximum(best, np.where(codes, 0, ideal))  # (queries,)
    share = (lexical / reference[:, None]) ** fusion.SHARPNESS
    fused: Scores = semantic + weights[:, None] * share.astype(np.float32)
    return fused

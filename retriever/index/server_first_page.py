"""A first page of a Qdrant server in one request: candidates, MaxSim, the words' share and the payloads.

A server may be far away, and one journey to it may take longer than its search. So what `fusion.rank` does here with
the scores of all candidates, a formula does there. (The embedded engine's library is asked twice: there, a formula
takes longer than that.)
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from qdrant_client import models

from retriever.arrays import Floats
from retriever.index.fields import SECTION
from retriever.index.fusion import SHARPNESS
from retriever.index.lexical import SparseVector

CALLERS = models.PayloadSelectorExclude(exclude=[SECTION])  # the part of a payload that callers see

_SAME = 1e-6  # scores nearer than this may be equal: a server adds in single precision

Ask = Callable[[Sequence[models.QueryRequest]], Awaitable[list[models.QueryResponse]]]


@dataclass(frozen=True)
class FirstPage:
    """What is asked for."""

    query: Floats  # (M, D)
    words: SparseVector | None
    near: models.Prefetch  # candidates by meaning
    allowed: models.Filter | None
    limit: int
    lexical_weight: float

    async def best(self, ask: Ask, ideal: float) -> list[models.ScoredPoint] | None:
        """The best candidates as `fusion.rank` has them, with payloads; None where the next page might not follow on.

        `ideal` is the BM25 that a text with every word of the query would have, 0 where only the best counts. Beyond it
        is a short text or a title that has them all, or a text that repeats them: so what follows from the ideal is
        asked for beside the best BM25, and once more where that is greater.
        """
        if self.words is None:
            (answer,) = await ask([self._ranked(None, 0.0)])
        else:
            alike = models.SparseVector(indices=self.words.indices, values=self.words.values)
            first = models.QueryRequest(query=alike, using="lexical", limit=1, filter=self.allowed)
            answer, by_words = await ask([self._ranked(alike, ideal or 1.0), first])
            if by_words.points and by_words.points[0].score > ideal:
                (answer,) = await ask([self._ranked(alike, by_words.points[0].score)])
        found = answer.points
        # Items that score the same go by their ids, for which a server does not care: a page must not end among such.
        if len(found) > self.limit and found[self.limit - 1].score - found[self.limit].score < _SAME:
            return None
        return sorted(found[: self.limit], key=lambda point: (-point.score, str(point.id)))

    def _ranked(self, alike: models.SparseVector | None, most: float) -> models.QueryRequest:
        """One more than asked for. `most`: the BM25 that counts as all of the query."""
        vectors, limit = self.query.tolist(), self.limit + 1
        if alike is None:
            return models.QueryRequest(
                prefetch=[self.near], query=vectors, using="tokens", limit=limit, with_payload=CALLERS
            )
        depth = self.near.limit or 0
        having = models.Prefetch(query=alike, using="lexical", limit=depth, filter=self.allowed)
        by_meaning = models.Prefetch(prefetch=[self.near, having], query=vectors, using="tokens", limit=2 * depth)
        # By meaning is the first, by words the second, which lacks items without any of the words.
        share = models.DivExpression(div=models.DivParams(left="$score[1]", right=most))
        sharp = models.PowExpression(pow=models.PowParams(base=share, exponent=float(SHARPNESS)))
        weighted = models.MultExpression(mult=[self.lexical_weight, sharp])
        score = models.FormulaQuery(
            formula=models.SumExpression(sum=["$score[0]", weighted]), defaults={"$score[1]": 0.0}
        )
        return models.QueryRequest(prefetch=[by_meaning, having], query=score, limit=limit, with_payload=CALLERS)

"""How candidates become one ranking: MaxSim plus a share of BM25, and an order that pages can rely on.

Words in common are worth little by themselves: of the texts that hold "women's printed kurta", the red one is asked
for. What is worth much is a text that holds nearly all that a query says, rare words above all: a brand, a model. So
BM25 counts by the fourth power of its share of what a text with every word of the query would get.
"""

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from retriever.index.lexical import has_code
from retriever.index.query import IndexQuery

# What a perfect match of words adds to MaxSim, a cosine for most models; and where the query holds an article number,
# of which no model knows anything.
LEXICAL_WEIGHT = 0.4
CODE_WEIGHT = 1.0

SHARPNESS = 4

# BM25 of items that are named by their number, in units of the best BM25 of all others. Under CODE_WEIGHT, the words of
# the others are then worth what they always are: CODE_WEIGHT / _NAMED**SHARPNESS = LEXICAL_WEIGHT.
_NAMED = (CODE_WEIGHT / LEXICAL_WEIGHT) ** (1 / SHARPNESS)

# BM25 of a word that stands once in a short text, in units of the word's IDF.
WORD_SCORE = 1.2

# How many candidates the nearest `dense` vectors, and BM25, each give to the first tier.
CANDIDATES = 200


@dataclass(frozen=True)
class Candidates:
    """The scores of one tier, by point. Every point in `lexical` is in `semantic` too.

    A point goes by its id as a number: hundreds are hashed and compared for a page of twenty, and as texts they would
    take longer than the engine's search.
    """

    semantic: Mapping[int, float]  # MaxSim
    lexical: Mapping[int, float]  # BM25


@dataclass(frozen=True)
class Ranked:
    point_id: str
    score: float
    semantic: float
    lexical: float
    boost: float = 0.0


def candidates(asked: IndexQuery, answers: Sequence[Mapping[int, float]]) -> list[Candidates]:
    """An engine's answers to the queries of every tier: by meaning, and after each of them by words, if asked for."""
    if asked.words is None:
        return [Candidates(semantic, {}) for semantic in answers]
    pairs = zip(answers[::2], answers[1::2], strict=True)
    if asked.vectors is None:
        return [Candidates(dict.fromkeys(words, 0.0), words) for _, words in pairs]
    return [Candidates(semantic, words) for semantic, words in pairs]


def depths(wanted: int, first: int) -> list[int]:
    """Depths of candidate search, each twice the one before, until `wanted` items are sure to be ranked.

    A deeper search may find an item that belongs before some already shown. Were a later page ranked from it alone,
    that item would push another over the page's edge a second time. So depth grows in tiers, and what only a deeper
    tier finds follows all of the tiers before.
    """
    found = [first]
    while found[-1] < wanted:
        found.append(2 * found[-1])
    return found


def weight_of(text: str, *, named: bool = False) -> float:
    """What words in common are worth for this query; `named`: a few items have all of it as their number."""
    return CODE_WEIGHT if named or has_code(text) else LEXICAL_WEIGHT


def with_named(tier: Candidates, named: Candidates, ideal: float) -> Candidates:
    """A tier with the items that have a query as their article number, each with more BM25 than any other.

    Those that have it as one word, where it was typed in several, may have no BM25 of their own.
    """
    most = _NAMED * (max([ideal, *tier.lexical.values(), *named.lexical.values()]) or 1.0)
    return Candidates({**tier.semantic, **named.semantic}, {**tier.lexical, **dict.fromkeys(named.semantic, most)})


def pinned(found: Candidates, point_ids: Sequence[str]) -> list[Candidates]:
    """A tier for each of these points that was found, so that they come first, in this order."""
    points = [point for point_id in point_ids if (point := uuid.UUID(point_id).int) in found.semantic]
    return [Candidates({one: found.semantic[one]}, {one: found.lexical.get(one, 0.0)}) for one in points]


def idf(items: int, having: int) -> float:
    """Of a word that so many of the items have, as the engine computes it."""
    return math.log(1 + (items - having + 0.5) / (having + 0.5))


def word_share(bm25: float, best: float, ideal: float) -> float:
    """How much of what a query says a text holds: 0 (no word) to 1.

    Args:
        bm25: the text's BM25.
        best: the best BM25 that any text has for this query, above 0.
        ideal: what a short text with every word of the query would have, 0 where only the best is to count.
    """
    return (bm25 / max(best, ideal)) ** SHARPNESS


def rank(tiers: Iterable[Candidates], weight: float, limit: int, ideal: float = 0.0) -> list[Ranked]:
    """The first `limit` candidates of all tiers, each once: by tier, then score, then point id.

    `ideal` is the BM25 of a text with every word of the query (see `word_share`).
    """
    ranked: list[Ranked] = []
    seen: set[int] = set()
    for tier in tiers:
        best = max(tier.lexical.values(), default=0.0)
        shares = {point: word_share(bm25, best, ideal) for point, bm25 in tier.lexical.items() if bm25 > 0}
        # Plain tuples sort several times faster than objects with a key; hundreds are ranked for a page of twenty.
        new = sorted(
            (-(semantic + weight * (lexical := shares.get(point, 0.0))), point, semantic, lexical)
            for point, semantic in tier.semantic.items()
            if point not in seen
        )
        ranked += [
            Ranked(_text(point), -negative, semantic, lexical)
            for negative, point, semantic, lexical in new[: limit - len(ranked)]
        ]
        if len(ranked) == limit:
            break
        seen.update(tier.semantic)
    return ranked


def _text(point: int) -> str:
    """A point's id as a UUID. `uuid` would take more than twice as long, and a search may rank a thousand."""
    digits = f"{point:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

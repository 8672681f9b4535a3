"""How candidates become one ranking: MaxSim plus a share of BM25, and an order that pages can rely on."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# What a perfect match of words adds to MaxSim, a cosine for most models.
LEXICAL_WEIGHT = 0.15

# How many candidates the nearest `dense` vectors, and BM25, each give to the first tier.
CANDIDATES = 200


@dataclass(frozen=True)
class Candidates:
    """The scores of one tier, by point id. Every point in `lexical` is in `semantic` too."""

    semantic: Mapping[str, float]  # MaxSim
    lexical: Mapping[str, float]  # BM25


@dataclass(frozen=True)
class Ranked:
    point_id: str
    score: float
    semantic: float
    lexical: float


def candidates(answers: Sequence[Mapping[str, float]], *, by_meaning: bool, by_words: bool) -> list[Candidates]:
    """An engine's answers to the queries of every tier: by meaning, and after each of them by words, if asked for."""
    if not by_words:
        return [Candidates(semantic, {}) for semantic in answers]
    pairs = zip(answers[::2], answers[1::2], strict=True)
    return [Candidates(semantic if by_meaning else dict.fromkeys(words, 0.0), words) for semantic, words in pairs]


def depths(wanted: int) -> list[int]:
    """Depths of candidate search, each twice the one before, until `wanted` items are sure to be ranked.

    A deeper search may find an item that belongs before some already shown. Were a later page ranked from it alone,
    that item would push another over the page's edge a second time. So depth grows in tiers, and what only a deeper
    tier finds follows all of the tiers before.
    """
    found = [CANDIDATES]
    while found[-1] < wanted:
        found.append(2 * found[-1])
    return found


def rank(tiers: Iterable[Candidates], lexical_weight: float, limit: int) -> list[Ranked]:
    """The first `limit` candidates of all tiers, each once: by tier, then score, then point id."""
    ranked: list[Ranked] = []
    seen: set[str] = set()
    for tier in tiers:
        best = max(tier.lexical.values(), default=0.0)
        best = best if best > 0 else float("inf")
        # Plain tuples sort several times faster than objects with a key; hundreds are ranked for a page of twenty.
        new = sorted(
            (-(semantic + lexical_weight * (lexical := tier.lexical.get(point, 0.0) / best)), point, semantic, lexical)
            for point, semantic in tier.semantic.items()
            if point not in seen
        )
        ranked += [
            Ranked(point, -negative, semantic, lexical)
            for negative, point, semantic, lexical in new[: limit - len(ranked)]
        ]
        if len(ranked) == limit:
            break
        seen.update(tier.semantic)
    return ranked


def checked_cursor(cursor: str) -> str:
    """A cursor is the id of the point to go on from. Raises ValueError."""
    try:
        return str(uuid.UUID(cursor))
    except ValueError:
        raise ValueError(f"{cursor!r} is not a cursor of this index") from None

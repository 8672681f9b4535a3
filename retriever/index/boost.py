"""Of hits that are about as relevant, those that the shop would rather sell come first: by a field, or by a filter.

A field's own scale says nothing about likeness: one shop counts sales by the thousand, another rates from 1 to 5. So
what counts is the place of a value among all values of the candidates, which no outlier moves.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from retriever.index.filters import Condition, holds, keys_of
from retriever.index.fusion import Ranked
from retriever.index.question import Boost
from retriever.index.selection import Values, best_of


def keys(boosts: Sequence[Boost]) -> set[str]:
    """The payload keys that boosts look at."""
    return set().union(*({one.by} if isinstance(one.by, str) else keys_of(one.by) for one in boosts))


def boosted(
    ranked: Sequence[Ranked],
    boosts: Sequence[Boost],
    values: Values,
    *,
    words_decide: bool = False,
    pinned: Sequence[str] = (),
) -> list[Ranked]:
    """The same, in the order of their scores and boosts together. Points that are `pinned` stay before all others.

    Args:
        ranked: The best candidates; boosts are worth a share of the best of them (see `selection.best_of`).
        values: What they have under the `keys` of the boosts.
    """
    best = best_of(ranked, words_decide=words_decide)
    lifts = dict.fromkeys((one.point_id for one in ranked), 0.0)
    for boost in boosts:
        for point, share in _shares(boost.by, lifts, values).items():
            lifts[point] += boost.weight * best * share
    lifted = [replace(one, score=one.score + lifts[one.point_id], boost=lifts[one.point_id]) for one in ranked]
    places = {point: place for place, point in enumerate(pinned)}
    # The sort is stable: among equals, the order that they came in decides.
    return sorted(lifted, key=lambda one: (places.get(one.point_id, len(places)), -one.score))


def _shares(by: str | Condition, points: Mapping[str, float], values: Values) -> dict[str, float]:
    """How much each point has of what is asked for, 0 to 1; none of what lacks it."""
    if not isinstance(by, str):
        return {point: 1.0 for point in points if holds(by, point, values.get(point, {}))}
    own: dict[str, Any] = {point: have[0] for point in points if (have := values.get(point, {}).get(by))}
    steps = sorted(set(own.values()))
    return {point: bisect_left(steps, value) / max(len(steps) - 1, 1) for point, value in own.items()}

"""Of hits that are about as relevant, those that the shop would rather sell come first: by a field, or by a filter.

A field's own scale says nothing about likeness: one shop counts sales by the thousand, another rates from 1 to 5. So
what counts is the place of a value among all different values of what is relevant, which no outlier moves. The sofas
behind the mugs of a small shop do not count: beside their prices those of all mugs would be one.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from retriever.index import selection
from retriever.index.fusion import Ranked
from retriever.index.query import IndexQuery

# Of the best candidates, so many are put in order: a few, if what follows them is too far behind the first page to be
# lifted there. To read the values of five hundred takes as long as the search itself.
_FEW, _MANY = 200, 500
_FIRST_PAGE = 20


@dataclass(frozen=True)
class BoostDepth:
    """How many of the best hits boosts put into order, and what a weight of 1 adds to a score."""

    many: int
    most: float


def boost_depth(ranked: Sequence[Ranked], asked: IndexQuery, grouped: bool) -> BoostDepth:
    """Depends on the best 200 hits alone, so every page of a search gets the same value."""
    best = ranked[:_FEW]
    most = selection.best_of(best, words_decide=asked.vectors is None)
    if grouped:  # hundreds of hits may stand behind one that is shown
        return BoostDepth(selection.POOL[0], most)
    nearer = sum(abs(one.weight) for one in asked.boosts) * most
    far = len(best) < _FEW or best[_FIRST_PAGE - 1].score - best[-1].score > nearer
    return BoostDepth(_FEW if far else _MANY, most)


def relevant(ranked: Sequence[Ranked], asked: IndexQuery) -> set[str]:
    """The points by whose values others are measured: those that a `sort` would keep."""
    words_decide = asked.vectors is None
    floor = selection.Cut(relevance_floor=selection.RELEVANCE_FLOOR)
    return {one.point_id for one in selection.above(ranked, floor, words_decide=words_decide, pinned=())}


def by_place(values: Mapping[str, float], among: Collection[str]) -> dict[str, float]:
    """Of each point's value, its place among those of some points: 0, the least or less, to 1, the greatest or more.

    Where none of these has a value, among all.
    """
    steps = sorted({value for point, value in values.items() if point in among} or {*values.values()})
    last = max(len(steps) - 1, 1)
    return {point: min(bisect_left(steps, value) / last, 1.0) for point, value in values.items()}


def boosted(
    ranked: Sequence[Ranked], asked: IndexQuery, reach: BoostDepth, shares: Sequence[Mapping[str, float]]
) -> list[Ranked]:
    """The best by their scores and boosts together, pinned points before all others; the rest follows as it was.

    Args:
        shares: Of each boost, how much each point has of what is boosted: 0 (if left out) to 1.
    """
    lifts = [(one.weight * reach.most, share) for one, share in zip(asked.boosts, shares, strict=True)]
    lifted = []
    for one in ranked[: reach.many]:
        lift = sum(weight * share.get(one.point_id, 0.0) for weight, share in lifts)
        lifted.append(Ranked(one.point_id, one.score + lift, one.semantic, one.lexical, lift))
    places = {point: place for place, point in enumerate(asked.pinned)}
    # The sort is stable: among equals, the order that they came in decides.
    lifted.sort(key=lambda one: (places.get(one.point_id, len(places)), -one.score))
    return [*lifted, *ranked[reach.many :]]

"""Of hits that are about as relevant, those that the shop would rather sell come first: by a field, or by a filter.

A field's own scale says nothing about likeness: one shop counts sales by the thousand, another rates from 1 to 5. So
what counts is the place of a value among all different values of the candidates, which no outlier moves.
"""

from collections.abc import Mapping, Sequence

from retriever.index.fusion import Ranked


def by_place(values: Mapping[str, float]) -> dict[str, float]:
    """Of each point's value, its place among them all: 0, the least, to 1, the greatest."""
    steps = sorted(set(values.values()))
    share = {value: step / max(len(steps) - 1, 1) for step, value in enumerate(steps)}
    return {point: share[value] for point, value in values.items()}


def boosted(
    ranked: Sequence[Ranked], lifts: Sequence[tuple[float, Mapping[str, float]]], pinned: Sequence[str] = ()
) -> list[Ranked]:
    """The same by their scores and lifts together. Points that are `pinned` stay before all others.

    Args:
        lifts: What the most of something adds to a score, and how much of it each point has, 0 (if left out) to 1.
    """
    lifted = []
    for one in ranked:
        lift = sum(most * shares.get(one.point_id, 0.0) for most, shares in lifts)
        lifted.append(Ranked(one.point_id, one.score + lift, one.semantic, one.lexical, lift))
    places = {point: place for place, point in enumerate(pinned)}
    # The sort is stable: among equals, the order that they came in decides.
    return sorted(lifted, key=lambda one: (places.get(one.point_id, len(places)), -one.score))

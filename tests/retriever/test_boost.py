"""How far down boosts look, and what a field's values are worth."""

import numpy as np
import pytest

from retriever.index import Boost
from retriever.index.boost import BoostDepth, boost_depth, boosted, by_place
from retriever.index.fusion import Ranked
from retriever.index.query import IndexQuery

SOLD = '_index.number."sold"'


def question(*weights: float, pinned: tuple[str, ...] = ()) -> IndexQuery:
    boosts = tuple(Boost(SOLD, weight) for weight in weights)
    return IndexQuery(np.ones((1, 2), dtype=np.float32), "", None, 0.0, None, None, pinned, boosts)


def ranking(step: float, count: int = 300) -> list[Ranked]:
    """Scores that fall from 0.8 by one step from hit to hit."""
    return [Ranked(f"{n}", 0.8 - step * n, 0.8 - step * n, 0.0) for n in range(count)]


@pytest.mark.parametrize(
    ("weights", "step", "expected"),
    [
        # The twentieth hit and the two hundredth are 180 steps apart; a weight of 0.1 brings hits nearer by 0.08.
        ((0.1,), 0.07 / 180, 500),
        ((0.1,), 0.09 / 180, 200),
        ((-0.1,), 0.09 / 180, 200),
        ((0.1, -0.05), 0.09 / 180, 500),
    ],
)
def test_what_boosts_cannot_lift_to_the_first_page_is_left_alone(
    weights: tuple[float, ...], step: float, expected: int
) -> None:
    assert boost_depth(ranking(step), question(*weights), grouped=False) == BoostDepth(expected, 0.8)
    assert boost_depth(ranking(step), question(*weights), grouped=True) == BoostDepth(1000, 0.8)


def test_how_far_boosts_look_does_not_depend_on_how_much_is_ranked() -> None:
    late = [*ranking(0.001), Ranked("late", 0.1, 0.95, 0.0)]
    for many in (200, 250, 301):
        assert boost_depth(late[:many], question(0.1), grouped=False) == BoostDepth(200, 0.8)
    assert boost_depth(late[:199], question(0.1), grouped=False) == BoostDepth(200, 0.8), "these are all that there are"


def test_hits_behind_what_is_looked_at_follow_as_they_were() -> None:
    ranked = ranking(0.002)
    found = boosted(ranked, question(0.2), BoostDepth(200, 0.8), [{"199": 1.0, "200": 1.0}])
    order = [one.point_id for one in found]
    assert order[200:] == [f"{n}" for n in range(200, 300)]
    assert [(one.point_id, one.boost) for one in found if one.boost] == [("199", pytest.approx(0.16))]
    assert order.index("199") in (119, 120), "0.16 are 80 of its steps"


def test_places_are_those_of_different_values() -> None:
    assert by_place({"a": 5, "b": 5, "c": 7, "d": 1e9}, "abcd") == {"a": 0, "b": 0, "c": 0.5, "d": 1}
    assert by_place({"a": 3, "b": 3}, "ab") == {"a": 0, "b": 0}
    assert by_place({}, "a") == {}


def test_places_are_measured_by_some_points_and_others_are_within_them() -> None:
    assert by_place({"a": 5, "b": 7, "less": 1, "more": 9, "c": 8}, "abc") == {
        "a": 0,
        "b": 0.5,
        "c": 1,
        "less": 0,
        "more": 1,
    }
    assert by_place({"a": 5, "more": 9}, "a") == {"a": 0, "more": 1}
    assert by_place({"other": 9, "more": 10}, "abc") == {"other": 0, "more": 1}

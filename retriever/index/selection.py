"""From ranked candidates to what is shown: a floor of relevance, an order by fields, one item of each group.

These need every candidate at once, where plain relevance pages need only the best. So they look at a pool, which goes
deeper where its first part leaves the page or the order open; what is found deeper follows what was found before.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from retriever.index.fields import fold, keyword, parse_key, shown
from retriever.index.fusion import Ranked

POOL = (1000, 10_000)  # candidates that are sorted, grouped or held against a floor: at first, and at most

# Sorting by price must not bring junk to the top: only candidates with this share of the best are sorted.
RELEVANCE_FLOOR = 0.75

# Excluded words take from all scores, so that the best may be 0 or less, of which no share is a floor. The floor then
# lies (1 - relevance_floor) × this below the best; the best of hits that are like a query is above it anyway.
_LEAST_BEST = 0.2

Values = Mapping[str, Mapping[str, list[Any]]]  # point id → key → values


@dataclass(frozen=True)
class Sort:
    """An order by a field of numbers, dates or keywords, given by its payload key; items without it come last."""

    key: str
    descending: bool


@dataclass(frozen=True)
class Cut:
    """What is shown of a pool: the hits above both floors, in an order of fields, the first of each group."""

    sort: tuple[Sort, ...] = ()  # none: by relevance
    group_by: tuple[str, ...] = ()  # payload keys of one field, one for each kind of its values
    min_score: float | None = None
    relevance_floor: float | None = None  # a share of the best score


@dataclass(frozen=True)
class Chosen:
    ranked: Ranked
    group: str | None = None  # the value by which it was grouped
    group_size: int = 1  # candidates with that value


def above(ranked: Sequence[Ranked], cut: Cut, *, words_decide: bool, pinned: Sequence[str]) -> list[Ranked]:
    """Those that score at least `cut.min_score`, and `cut.relevance_floor` × the best (0: all). Keeps the order.

    The floor is a share of the best semantic score: one strong match of words ("black kurta", so named) would hide all
    others of its kind. Where words decide (no query vector, or an article number), it is a share of the best whole
    score. Points that are `pinned` stay whatever they score.
    """
    floor = -math.inf if cut.min_score is None else cut.min_score
    if cut.relevance_floor:
        most = _most(ranked, words_decide=words_decide)
        floor = max(floor, most - (1 - cut.relevance_floor) * max(most, _LEAST_BEST))
    return [one for one in ranked if one.score >= floor or one.point_id in pinned]


def best_of(ranked: Sequence[Ranked], *, words_decide: bool) -> float:
    """The best likeness, at least that of hits that are like the query at all: weights are shares of it."""
    return max(_most(ranked, words_decide=words_decide), _LEAST_BEST)


def _most(ranked: Sequence[Ranked], *, words_decide: bool) -> float:
    return max((one.score if words_decide else one.semantic for one in ranked), default=0.0)


def ordered(ranked: Sequence[Ranked], sorts: Sequence[Sort], values: Values) -> list[Ranked]:
    """By each of `sorts` in turn; among equals, relevance decides."""
    result = list(ranked)
    for sort in reversed(sorts):  # a stable sort by the last key first is a sort by all of them
        have = [one for one in result if values.get(one.point_id, {}).get(sort.key)]
        lack = [one for one in result if not values.get(one.point_id, {}).get(sort.key)]
        have.sort(key=lambda one: _place(values[one.point_id][sort.key][0]), reverse=sort.descending)
        result = have + lack
    return result


def grouped(ranked: Sequence[Ranked], keys: Sequence[str], values: Values) -> list[Chosen]:
    """The first item of each value of a field; an item without one stands for itself.

    Of several kinds an item is in the group of the first that it has: 77 and "77", which feeds mix, are one group.
    """
    first: dict[str, int] = {}
    chosen: list[Chosen] = []
    kinds = [(key, *found) for key in keys if (found := parse_key(key))]
    for one in ranked:
        own = values.get(one.point_id, {})
        group = next(((field, shown(kind, own[key][0])) for key, kind, field in kinds if own.get(key)), None)
        if group is None:
            chosen.append(Chosen(one))
        elif (place := first.get(keyword(*group))) is not None:
            chosen[place] = replace(chosen[place], group_size=chosen[place].group_size + 1)
        else:
            first[keyword(*group)] = len(chosen)
            chosen.append(Chosen(one, group[1]))
    return chosen


def _place(value: Any) -> Any:
    """Letter case does not count: apple comes before Banana."""
    return fold(value) if isinstance(value, str) else value

"""What hits have in common: the values of their fields with counts, and how many lie in each range."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import pairwise

from retriever.index import ItemIndex
from retriever.index.filters import Among, Condition, Range, between, conjoin, keys_of
from service.schemas import FacetRange, FacetResult
from service.search_schemas import Bound, Page


async def facets_of(index: ItemIndex, page: Page, among: Condition | None) -> dict[str, FacetResult]:
    """The facets and ranges that a page asks for, of the items that a condition lets through.

    Raises:
        FilterError: an unknown field, or bounds that it cannot have.
        IndexUnavailable: as the index.
    """
    ranges = [await _ranges(index, name, bounds, among) for name, bounds in page.facet_ranges.items()]
    names = dict.fromkeys([*page.facets, *page.facet_ranges])
    found = await index.facets(list(names), among, page.facet_size)
    results = {name: FacetResult.from_facet(facet) for name, facet in found.items()}
    for name, counted in zip(page.facet_ranges, ranges, strict=True):
        results[name].ranges = counted
    return results


async def _ranges(index: ItemIndex, name: str, bounds: Sequence[Bound], among: Condition | None) -> list[FacetRange]:
    """Below the first bound, from each to the next, and from the last on."""
    edges = [{"lt": bounds[0]}, *({"gte": low, "lt": high} for low, high in pairwise(bounds)), {"gte": bounds[-1]}]
    path = f"facet_ranges.{name}"
    conditions = await index.with_fields(lambda fields: [between(name, edge, fields, path) for edge in edges])
    if isinstance(among, Among):
        # One search's own hits, thousands of ids: they go to the engine once, and not with each of the ranges.
        keys = list(set().union(*map(keys_of, conditions)))
        values = await index.values_of(among.point_ids, keys)
        counts = [sum(_within(own, one) for own in values.values()) for one in conditions]
    else:
        counts = await asyncio.gather(*(index.count(conjoin(among, one)) for one in conditions))
    return [FacetRange(**edge, count=count) for edge, count in zip(edges, counts, strict=True)]


def _within(values: Mapping[str, Sequence[float]], condition: Condition) -> bool:
    """Whether one of an item's values lies in a range of `_ranges`, as an engine would say."""
    return isinstance(condition, Range) and any(
        (condition.gte is None or value >= condition.gte) and (condition.lt is None or value < condition.lt)
        for value in values.get(condition.key, ())
    )

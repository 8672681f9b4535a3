"""What hits have in common: the values of their fields with counts, and how many lie in each range."""

from collections.abc import Sequence
from itertools import pairwise

from retriever.index import ItemIndex
from retriever.index.filters import Condition, between
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
    counts = await index.range_counts(conditions, among)
    return [FacetRange(**edge, count=count) for edge, count in zip(edges, counts, strict=True)]

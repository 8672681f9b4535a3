"""What hits have in common: the values of their fields with counts, and how many lie in each range."""

import asyncio
from collections.abc import Sequence

from retriever.index import ItemIndex
from retriever.index.filters import Condition, conjoin, parse
from service.schemas import FacetRange, FacetResult
from service.search_schemas import Bound, Page


async def facets_of(index: ItemIndex, page: Page, among: Condition | None) -> dict[str, FacetResult]:
    """The facets and ranges that a page asks for, of the items that a condition lets through.

    Raises:
        FilterError: an unknown field, or bounds that it cannot have.
        IndexUnavailable: as the index.
    """
    names = dict.fromkeys([*page.facets, *page.facet_ranges])
    found, ranges = await asyncio.gather(
        index.facets(list(names), among, page.facet_size),
        asyncio.gather(*(_counted(index, name, bounds, among) for name, bounds in page.facet_ranges.items())),
    )
    results = {name: FacetResult.from_facet(facet) for name, facet in found.items()}
    for name, counted in zip(page.facet_ranges, ranges, strict=True):
        results[name].ranges = counted
    return results


async def _counted(index: ItemIndex, name: str, bounds: Sequence[Bound], among: Condition | None) -> list[FacetRange]:
    """Below the first bound, from each to the next, and from the last on."""
    ranges = [FacetRange(gte=low, lt=high, count=0) for low, high in zip([None, *bounds], [*bounds, None], strict=True)]

    own = await index.with_fields(lambda fields: [parse({name: one.bounds}, fields, "facet_ranges") for one in ranges])
    counts = await asyncio.gather(*(index.count(conjoin(among, one)) for one in own))
    return [one.model_copy(update={"count": count}) for one, count in zip(ranges, counts, strict=True)]

"""A page's filter, order and group, in the index's own terms."""

from collections.abc import Sequence
from dataclasses import dataclass

from retriever.index import Boost, FilterError, Sort
from retriever.index.fields import Kind, key
from retriever.index.filters import Condition, Fields, conjoin, parse, resolve
from retriever.index.listing import order_of
from service.search_schemas import BoostBy, Page, SortBy


@dataclass(frozen=True)
class PageOptions:
    """Which items a page is of, and how they stand."""

    filter: Condition | None
    sort: Sequence[Sort]
    boosts: Sequence[Boost]
    group: Sequence[str]


def page_options(page: Page, condition: Condition | None, fields: Fields, *, ranked: bool) -> PageOptions:
    """Raises FilterError.

    Args:
        condition: What holds beside the page's own filter.
        ranked: A search, which may be sorted by several fields; else a listing, by one field of numbers or dates.
    """
    own = parse(page.filter, fields) if page.filter else None
    if ranked:
        sort = [part for n, one in enumerate(page.sort) for part in _sorts(one, fields, f"sort[{n}].field")]
    else:
        sort = [_order(page.sort, fields)]
    boosts = [boost for n, one in enumerate(page.boost or ()) for boost in boosts_of(one, fields, f"boost[{n}]")]
    return PageOptions(conjoin(own, condition), sort, boosts, _group(page.group_by, fields) if page.group_by else ())


def boosts_of(by: BoostBy, fields: Fields, path: str) -> list[Boost]:
    """The boost that is meant, if any item has the field. Raises FilterError."""
    if by.field is not None:
        order = order_of(by.field, fields, f"{path}.field", descending=True)
        return [Boost(order.key, by.weight)] if order else []
    condition = parse(by.filter, fields, f"{path}.filter")
    return [Boost(condition, by.weight)] if condition else []


def _sorts(by: SortBy, fields: Fields, path: str) -> list[Sort]:
    """Numbers or dates come first where a field has some, then its keywords: sizes may be 38, 40, M and S."""
    name = resolve(by.field, fields, path)
    kinds = [kind for kind in ("number", "date", "keyword", "boolean") if kind in fields[name]]
    return [Sort(key(kind, name), by.order == "desc") for kind in kinds]


def _order(sorts: Sequence[SortBy], fields: Fields) -> Sort:
    """Of what is listed without a query: the engine has it ready, however many there are."""
    if len(sorts) > 1:
        raise FilterError("invalid_sort", "sort[1]", "is one too many: without a query there is one order")
    asked = [order_of(one.field, fields, "sort[0].field", descending=one.order == "desc") for one in sorts]
    return next(filter(None, asked), Sort(key("date", "created_at"), descending=True))


def _group(name: str, fields: Fields) -> list[str]:
    """By text first: text that says a number is kept as both, and 007 is another style than 7."""
    field = resolve(name, fields, "group_by")
    kinds: tuple[Kind, ...] = ("keyword", "number", "boolean", "date")
    return [key(kind, field) for kind in kinds if kind in fields[field]]

"""Every item once, page by page, in the index's own order or in that of a field.

An engine orders by a field's values alone: which of the items of one price comes first it leaves open, and an item of
several values comes at each of them. Pages join only if both are settled. So here an item stands at its first value,
items of one value follow each other by point id, and items without a value come last.
"""

import base64
import json
import math
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from retriever.index.fields import key
from retriever.index.filters import Condition, Fields, FilterError, Has, Not, Range, conjoin, resolve
from retriever.index.points import Payload
from retriever.index.selection import Sort, Values

_READ_AT_ONCE = 1000  # items whose values one call to the engine reads

_Place = tuple[float | None, str]  # an item's value, None without one; its point id


def order_of(name: str, fields: Fields, path: str, *, descending: bool) -> Sort | None:
    """The order by a field's numbers or dates; None where no item has it. Raises FilterError (`unknown_field`,
    `wrong_type`).
    """
    field = resolve(name, fields, path)
    for kind in ("number", "date"):
        if kind in fields[field]:
            return Sort(key(kind, field), descending)
    if not fields[field]:
        return None
    raise FilterError("wrong_type", path, f"must name a field of numbers or dates, and {field!r} holds neither")


class Listing(ABC):
    """The part of an index that lists what there is."""

    async def scroll(
        self, cursor: str | None = None, limit: int = 100, filter: Condition | None = None, sort: Sort | None = None
    ) -> tuple[list[tuple[str, Payload]], str | None]:
        """Up to `limit` items from a cursor on, in an order that stays; and the next page's cursor, None at the end.

        Args:
            sort: An order by numbers or dates; without it the order is the index's own.

        Raises:
            ValueError: a limit under 1, or a cursor that did not come from here.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        if sort is None:
            payloads, following = await self._scroll(_point_id(cursor) if cursor is not None else None, limit, filter)
        else:
            payloads, following = await self._scroll_sorted(sort, cursor, limit, filter)
        return [(payload["id"], payload) for payload in payloads], following

    async def every_item(self) -> AsyncIterator[Payload]:
        """The payload of each item, once. Raises IndexUnavailable."""
        cursor = None
        while True:
            page, cursor = await self.scroll(cursor)
            for _, payload in page:
                yield payload
            if cursor is None:
                return

    async def _scroll_sorted(
        self, sort: Sort, cursor: str | None, limit: int, filter: Condition | None
    ) -> tuple[list[Payload], str | None]:
        wanted = limit + 1  # the item behind the page is where the next page begins
        value: float | None = None
        places: list[_Place] = []
        if cursor is not None:
            value, start = _read(cursor, sort)
            places = await self._at(sort, value, start, wanted, filter)
        if cursor is None or value is not None:
            places += await self._beyond(sort, value, wanted - len(places), filter)
        payloads = await self._payloads([one for _, one in places[:limit]]) if places else {}
        # An item deleted since it was found has no payload.
        page = [payloads[one] for _, one in places[:limit] if one in payloads]
        return page, _written(places[limit], sort) if len(places) > limit else None

    async def _beyond(self, sort: Sort, value: float | None, wanted: int, filter: Condition | None) -> list[_Place]:
        """The items that follow those of a value, or (None) the first of all."""
        away = -math.inf if sort.descending else math.inf
        places: list[_Place] = []
        while len(places) < wanted:
            start = None if value is None else math.nextafter(value, away)
            ahead = await self._ordered(sort.key, filter, wanted - len(places), descending=sort.descending, start=start)
            if not ahead:
                return places + await self._at(sort, None, None, wanted - len(places), filter)
            value = ahead[-1][1]  # of its items some may be missing, and their order is open
            firsts = await self.values_of([one for one, _ in ahead], [sort.key])
            whole = [(at, one) for one, at in ahead if at != value and at == _first(firsts, one, sort)]
            whole.sort(key=lambda place: (-place[0] if sort.descending else place[0], place[1]))
            places += whole
            places += await self._at(sort, value, None, wanted - len(places), filter)
        return places

    async def _at(
        self, sort: Sort, value: float | None, start: str | None, wanted: int, filter: Condition | None
    ) -> list[_Place]:
        """Items whose first value is this one (None: that have none), by point id from `start` on."""
        if value is None:
            having: Condition = Not(Has(sort.key))
        else:
            having = Range(sort.key, gte=value, lte=value)
        places: list[_Place] = []
        while len(places) < wanted:
            found, start = await self._ids(start, wanted - len(places), conjoin(filter, having))
            firsts = await self.values_of(found, [sort.key] if value is not None else [])
            places += [(value, one) for one in found if _first(firsts, one, sort) == value]
            if start is None:
                break
        return places

    async def values_of(self, points: Sequence[str], keys: Sequence[str]) -> Values:
        """The values that points have under payload keys of fields."""
        values: dict[str, Mapping[str, list[Any]]] = {}
        for start in range(0, len(points) if keys else 0, _READ_AT_ONCE):  # other searches go in between
            values.update(await self._values(list(points[start : start + _READ_AT_ONCE]), keys))
        return values

    @abstractmethod
    async def _scroll(
        self, cursor: str | None, limit: int, filter: Condition | None
    ) -> tuple[list[Payload], str | None]:
        """Items by point id, from one on, and the id of the next."""

    @abstractmethod
    async def _ids(self, cursor: str | None, limit: int, filter: Condition | None) -> tuple[list[str], str | None]:
        """As `_scroll`, the point ids alone: payloads would be most of the work where items are only passed over."""

    @abstractmethod
    async def _ordered(
        self, payload_key: str, filter: Condition | None, limit: int, *, descending: bool, start: float | None = None
    ) -> list[tuple[str, float]]:
        """Point ids with the numbers at which they stand, in their order, from `start` on; one may come several times.

        The payload key needs an index.
        """

    @abstractmethod
    async def _payloads(self, point_ids: list[str]) -> dict[str, Payload]:
        """By point id, for those that are there, through `caller_payload`."""

    @abstractmethod
    async def _values(self, point_ids: list[str], keys: Sequence[str]) -> Values:
        """The values that these payload keys have, by point id."""


def _first(values: Values, point: str, sort: Sort) -> float | None:
    own = values.get(point, {}).get(sort.key)
    return own[0] if own else None


def _point_id(cursor: str) -> str:
    """A cursor is the id of the point to go on from. Raises ValueError."""
    try:
        return str(uuid.UUID(cursor))
    except ValueError:
        raise ValueError(f"{cursor!r} is not a cursor of this index") from None


def _written(place: _Place, sort: Sort) -> str:
    """The cursor of a page that begins at a place."""
    text = json.dumps([sort.key, sort.descending, *place], ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(cursor: str, sort: Sort) -> _Place:
    """The reverse of `_written`. Raises ValueError."""
    try:
        key, descending, value, point = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        value = None if value is None else float(value)
        if [key, descending] == [sort.key, sort.descending] and (value is None or math.isfinite(value)):
            return value, str(uuid.UUID(point))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        pass
    raise ValueError(f"{cursor[:100]!r} is not a cursor of this order")

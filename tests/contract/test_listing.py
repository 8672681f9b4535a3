"""Every item in the order of a field: ties, several values and none, page by page, the same on every engine."""

import base64
import json
import uuid
from typing import Any

import pytest

from retriever.index import IndexedItem, ItemIndex, Payload, Sort, selection
from retriever.index.fields import FieldValue, key
from retriever.index.filters import Range
from tests.contract.helpers import item

pytestmark = pytest.mark.anyio

PRICE = key("number", "price")


def product(item_id: str, **fields: FieldValue) -> IndexedItem:
    return IndexedItem(item_id, item(item_id).tokens, "", {}, fields)


async def listed(index: ItemIndex, sort: Sort, limit: int, filter: Range | None = None) -> list[str]:
    """Every page in turn; each but the last is full."""
    found: list[str] = []
    cursor = None
    while True:
        page, cursor = await index.scroll(cursor, limit, filter, sort)
        found += [item_id for item_id, _ in page]
        if cursor is None:
            return found
        assert len(page) == limit


# Many of one price, some without, prices below zero and some that only floats can tell apart.
SHOP: dict[str, float | None] = {f"tie-{n}": 5.0 for n in range(9)}
SHOP |= {f"dear-{n}": 100.0 + n for n in range(6)} | {f"free-{n}": None for n in range(5)}
SHOP |= {"refund": -3.5, "nothing": 0.0, "a": 0.1 + 0.2, "b": 0.3, "large": 2.0**53}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [1, 4, 7, 25, 100])
async def test_pages_in_the_order_of_a_field_join(index: ItemIndex, limit: int, descending: bool) -> None:
    await index.upsert([product(one, **({} if price is None else {"price": price})) for one, price in SHOP.items()])
    found = await listed(index, Sort(PRICE, descending), limit)
    assert sorted(found) == sorted(SHOP), "each once"
    prices = [SHOP[item_id] for item_id in found]
    having = [price for price in prices if price is not None]
    assert having == sorted(having, reverse=descending)
    assert prices[len(having) :] == [None] * 5, "those without come last"
    assert found == await listed(index, Sort(PRICE, descending), 100), "however large the pages"


async def test_within_a_filter(index: ItemIndex) -> None:
    await index.upsert([product(str(n), price=n % 5, size=n) for n in range(20)])
    found = await listed(index, Sort(PRICE, descending=True), 3, Range(key("number", "size"), gte=8))
    assert [int(item_id) % 5 for item_id in found] == sorted((n % 5 for n in range(8, 20)), reverse=True)


async def test_an_item_of_several_values_stands_at_its_first(index: ItemIndex) -> None:
    sizes = {"a": ["40", "38"], "b": ["38", "39", "40"], "c": ["39"], "d": ["39", "41"], "e": ["38", "45"]}
    await index.upsert([product(item_id, size=own) for item_id, own in sizes.items()])
    for limit in (1, 2, 5):
        found = await listed(index, Sort(key("number", "size"), descending=False), limit)
        assert [sizes[item_id][0] for item_id in found] == ["38", "38", "39", "39", "40"]
        assert sorted(found) == sorted(sizes)


async def test_by_date(index: ItemIndex) -> None:
    await index.upsert([product(f"{day:02}", made=f"2026-01-{day:02}") for day in (5, 30, 11)])
    assert await listed(index, Sort(key("date", "made"), descending=True), 2) == ["30", "11", "05"]


async def test_what_changes_between_pages_neither_repeats_nor_hides_the_rest(index: ItemIndex) -> None:
    await index.upsert([product(str(n), price=7) for n in range(8)])
    sort = Sort(PRICE, descending=False)
    page, cursor = await index.scroll(None, 4, None, sort)
    following, _ = await index.scroll(cursor, 1, None, sort)
    await index.delete([following[0][0]])  # at which the cursor points
    await index.upsert([product("cheap", price=1)])
    rest, _ = await index.scroll(cursor, 9, None, sort)
    first = {item_id for item_id, _ in page}
    assert {item_id for item_id, _ in rest} == {str(n) for n in range(8)} - first - {following[0][0]}


async def test_a_cursor_of_another_order_is_refused(index: ItemIndex) -> None:
    await index.upsert([product(str(n), price=n) for n in range(4)])
    _, up = await index.scroll(None, 2, None, Sort(PRICE, descending=False))
    _, plain = await index.scroll(None, 2)
    assert up
    assert plain
    where = [PRICE, True]
    made_up = ["none", "[" * 2000, '["a"]', json.dumps([*where, 10**400, "x"]), json.dumps([*where, 1, 2])]
    made_up += [json.dumps([*where, "NaN", str(uuid.uuid4())]), json.dumps([*where, [1], str(uuid.uuid4())])]
    for cursor in (up, plain, "", "!", *(base64.urlsafe_b64encode(text.encode()).decode() for text in made_up)):
        with pytest.raises(ValueError, match="not a cursor of this order"):
            await index.scroll(cursor, 2, None, Sort(PRICE, descending=True))
    with pytest.raises(ValueError, match="not a cursor of this index"):
        await index.scroll(up, 2)


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_by_their_number_are_those_by_cursor(index: ItemIndex, descending: bool) -> None:
    await index.upsert([product(one, **({} if price is None else {"price": price})) for one, price in SHOP.items()])
    sort = Sort(PRICE, descending)
    pages = [await index.browse(sort=sort, limit=7, offset=7 * page) for page in range(5)]
    assert [hit.id for page in pages for hit in page.hits] == await listed(index, sort, 7)
    assert {page.total for page in pages} == {len(SHOP)}
    ties = await index.browse(sort=sort, limit=50, filter=Range(PRICE, gte=5, lte=5))
    assert (len(ties.hits), ties.total) == (9, 9)


async def test_a_deep_page_takes_the_payloads_of_its_own_items_alone(
    index: ItemIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index.upsert([product(one, **({} if price is None else {"price": price})) for one, price in SHOP.items()])
    read: list[str] = []
    payloads, scroll, sort = index._payloads, index._scroll, Sort(PRICE, descending=False)

    async def counted(point_ids: list[str]) -> dict[str, Payload]:
        read.extend(point_ids)
        return await payloads(point_ids)

    async def counted_too(*args: Any) -> tuple[list[Payload], str | None]:
        page, following = await scroll(*args)
        read.extend(payload["id"] for payload in page)
        return page, following

    monkeypatch.setattr(index, "_payloads", counted)
    monkeypatch.setattr(index, "_scroll", counted_too)
    assert len((await index.browse(sort=sort, limit=2, offset=22)).hits) == len(read) == 2
    monkeypatch.setattr(index, "_ordered", None)  # past the end there is nothing to look for
    beyond = await index.browse(sort=sort, limit=2, offset=len(SHOP))
    assert (beyond.hits, beyond.total, len(read)) == ([], len(SHOP), 2)


async def test_listed_groups_stand_at_their_first_item(index: ItemIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "POOL", (3, 100))
    items = [product(f"shirt-{n}", price=n, style="shirt") for n in range(5)]
    await index.upsert([*items, product("hat", price=9, style="hat"), product("bag")])
    sort, style = Sort(PRICE, descending=False), [key("keyword", "style")]
    found = await index.browse(sort=sort, limit=9, group_by=style)
    assert [(hit.id, hit.group_size) for hit in found.hits] == [("shirt-0", 5), ("hat", 1), ("bag", 1)]
    assert found.total == 3
    last = await index.browse(sort=sort, limit=1, offset=2, group_by=style)
    assert [hit.id for hit in last.hits] == ["bag"]

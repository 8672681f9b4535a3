"""Floors of relevance, orders other than relevance, and groups: the same on every engine."""

import dataclasses
import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pytest

from retriever.index import IndexedItem, ItemIndex, Sort, listing, selection
from retriever.index.fields import FieldValue, Kind, key
from retriever.index.filters import parse
from retriever.index.fusion import Candidates
from retriever.index.query import IndexQuery
from tests.contract.helpers import DIM, query
from tests.contract.test_filters import SHOP, product, through

pytestmark = pytest.mark.anyio


async def test_sorting_keeps_to_what_is_relevant(index: ItemIndex) -> None:
    """Ten items point where the query does, ten away from it; the cheapest are among the latter."""
    near, away = np.eye(DIM, dtype=np.float32)[:2]
    good = [IndexedItem(f"good-{n}", near[None], "", {}, {"price": 100 - n}) for n in range(10)]
    junk = [IndexedItem(f"junk-{n}", (away + 0.1 * near)[None], "", {}, {"price": n}) for n in range(10)]
    await index.upsert(good + junk)
    by_price = [Sort(key("number", "price"), descending=False)]
    found = await index.search(near, "", limit=20, sort=by_price, relevance_floor=0.75)
    assert [hit.id for hit in found.hits] == [f"good-{n}" for n in reversed(range(10))]
    assert found.total == 10
    second = await index.search(near, "", limit=3, offset=3, sort=by_price, relevance_floor=0.75)
    assert [hit.id for hit in second.hits] == ["good-6", "good-5", "good-4"]
    dearest = await index.search(near, "", limit=1, sort=[Sort(key("number", "price"), True)], relevance_floor=0.75)
    assert dearest.hits[0].id == "good-0"


@pytest.mark.parametrize(
    ("words", "expected"),
    [("black kurta", ["alike", "named"]), ("KC-1700", ["named"])],
    ids=["words lift", "an article number decides"],
)
async def test_a_hit_by_words_does_not_push_its_like_out_when_sorted(
    index: ItemIndex, words: str, expected: list[str]
) -> None:
    """Two look alike, one of them is named as the query is; the third looks like nothing that is asked for."""
    near, away = np.eye(DIM, dtype=np.float32)[:2]
    looks = {"named": 0.65 * near, "alike": 0.6 * near, "junk": 0.2 * near + 0.8 * away}
    texts = {"named": words, "alike": "ethnic wear", "junk": "perfume"}
    prices = {"junk": 1, "alike": 2, "named": 3}
    await index.upsert([IndexedItem(one, looks[one][None], texts[one], {}, {"price": prices[one]}) for one in looks])
    by_price = [Sort(key("number", "price"), descending=False)]
    found = await index.search(near, words, limit=9, sort=by_price, relevance_floor=0.75)
    assert [hit.id for hit in found.hits] == expected


async def test_however_many_are_sorted_every_value_is_read(index: ItemIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_READ_AT_ONCE", 3)
    await index.upsert([product(str(n), price=n) for n in range(8)])
    found = await index.search(query(0), "", limit=8, sort=[Sort(key("number", "price"), descending=True)])
    assert [hit.id for hit in found.hits] == [str(n) for n in reversed(range(8))]


async def test_items_without_the_field_come_last(index: ItemIndex) -> None:
    await index.upsert(SHOP)
    for descending in (False, True):
        sort = [Sort(key("number", "price"), descending)]
        assert (await index.search(query(0), "", limit=9, sort=sort)).hits[-1].id == "gift card"


async def test_an_item_of_several_numbers_stands_at_its_first(index: ItemIndex) -> None:
    sizes = {"a": ["3"], "b": ["2", "9"], "c": ["7", "1"], "d": []}
    await index.upsert([product(one, size=sizes[one]) for one in sizes])
    for descending, expected in ((False, ["b", "a", "c", "d"]), (True, ["c", "a", "b", "d"])):
        found = await index.search(query(0), "", limit=9, sort=[Sort(key("number", "size"), descending)])
        assert [hit.id for hit in found.hits] == expected


async def test_groups_show_their_best_item(index: ItemIndex) -> None:
    near = np.eye(DIM, dtype=np.float32)[0]
    shirts = [IndexedItem(f"shirt-{n}", (1 - n / 10) * near[None], "", {}, {"style": "Shirt 7"}) for n in range(4)]
    await index.upsert([*shirts, IndexedItem("hat", 0.75 * near[None], "", {})])
    found = await index.search(near, "", limit=9, group_by=[key("keyword", "style")])
    assert [(hit.id, hit.group, hit.group_size) for hit in found.hits] == [("shirt-0", "Shirt 7", 4), ("hat", None, 1)]
    assert found.total == 2


async def test_a_number_and_the_text_that_says_it_are_one_style(index: ItemIndex) -> None:
    """Feeds mix them. 077 is another one, though a number says nothing of zeros before it."""
    styles: dict[str, FieldValue] = {"a": 77, "b": 77, "c": "77", "d": "077", "e": "Seven"}
    await index.upsert([product(one, style=style) for one, style in styles.items()] + [product("f")])
    keys = [key("keyword", "style"), key("number", "style")]
    found = await index.search(query(0), "", limit=9, group_by=keys)
    groups = {hit.group: hit.group_size for hit in found.hits}
    assert groups == {"77": 3, "077": 1, "Seven": 1, None: 1}
    assert {"a", "b", "c"} <= {*await through(index, {"style": "77"})}
    assert await through(index, {"style": "077"}) == ["d"]
    assert await through(index, {"style": ["077", "Seven"]}) == ["d", "e"]


async def test_ids_that_say_the_same_number_are_two(index: ItemIndex) -> None:
    await index.upsert([product(one, id=one) for one in ("7", "07")])
    assert await through(index, {"id": "7"}) == ["7"]


@pytest.mark.parametrize("kind", ["number", "date"])
async def test_what_a_group_is_called_finds_its_items(index: ItemIndex, kind: Kind) -> None:
    numbers: list[FieldValue] = [1.5, 17, -3e20, 1e-7]
    dates: list[FieldValue] = [datetime(2026, 6, 1, 12, 30, 1, us, tzinfo=UTC) for us in (0, 124_000, 999_999)]
    given = numbers if kind == "number" else dates
    await index.upsert([product(str(n), grade=value) for n, value in enumerate(given)])
    found = await index.search(query(0), "", limit=9, group_by=[key(kind, "grade")])
    assert len(found.hits) == len(given)
    for hit in found.hits:
        assert await through(index, {"grade": hit.group}) == [hit.id]


def turned(angle: float) -> npt.NDArray[np.float32]:
    """One token `(1, D)` of length 1, so many radians away from the first axis."""
    axes = np.eye(DIM, dtype=np.float32)
    return (math.cos(angle) * axes[0] + math.sin(angle) * axes[1])[None]


async def test_all_groups_are_reached_though_one_has_more_items_than_are_looked_at_first(
    index: ItemIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "POOL", (6, 100))
    near, style = np.eye(DIM, dtype=np.float32)[0], [key("keyword", "style")]
    many = [IndexedItem(f"many-{n}", turned(0), "", {}, {"style": "many"}) for n in range(8)]
    few = [IndexedItem(f"few-{n}", turned(0.5 + n / 10), "", {}, {"style": f"few {n}"}) for n in range(3)]
    await index.upsert(many + few)
    pages = [await index.search(near, "", limit=1, offset=n, group_by=style) for n in range(4)]
    assert [page.hits[0].group for page in pages] == ["many", "few 0", "few 1", "few 2"]
    assert {page.total for page in pages} == {4}, "or there were no next page"
    newest = Sort(key("number", "made"), descending=True)
    await index.upsert(
        [dataclasses.replace(one, fields={**one.fields, "made": -n}) for n, one in enumerate(many + few)]
    )
    listed = [await index.browse(sort=newest, limit=1, offset=n, group_by=style) for n in range(4)]
    assert [page.hits[0].group for page in listed] == ["many", "few 0", "few 1", "few 2"]
    assert {page.total for page in listed} == {4}


async def test_sorting_looks_at_all_that_no_floor_leaves_out(index: ItemIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "POOL", (6, 100))
    near, by_price = np.eye(DIM, dtype=np.float32)[0], [Sort(key("number", "price"), descending=True)]
    items = [IndexedItem(f"{n:02}", turned(n / 10), "", {}, {"price": n, "style": f"{n}"}) for n in range(16)]
    await index.upsert(items)
    for group_by in ([], [key("keyword", "style")]):
        everything = await index.search(near, "", limit=2, sort=by_price, group_by=group_by)
        assert ([hit.id for hit in everything.hits], everything.total) == (["15", "14"], 16)
    relevant = await index.search(near, "", limit=2, sort=by_price, relevance_floor=0.9)
    assert ([hit.id for hit in relevant.hits], relevant.total) == (["04", "03"], 5)


async def test_one_that_a_floor_leaves_out_hides_none_that_it_leaves(
    index: ItemIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearest by all of its tokens together is not nearest by its best one."""
    monkeypatch.setattr(selection, "POOL", (6, 100))
    near, by_price = np.eye(DIM, dtype=np.float32)[0], [Sort(key("number", "price"), descending=True)]
    fit = [np.concatenate([turned(0.1), turned(1.2)])] * 20
    await index.upsert([IndexedItem(f"{n:02}", one, "", {}, {"price": n}) for n, one in enumerate([turned(0.5), *fit])])
    found = await index.search(near, "", limit=2, sort=by_price, relevance_floor=0.9)
    assert ([hit.id for hit in found.hits], found.total) == (["20", "19"], 20)
    facet = (await index.facets(["price"], found.ranked))["price"]
    assert (facet.low, facet.high) == (1, 20)


async def test_no_more_is_looked_at_than_decides_the_order(index: ItemIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "POOL", (10, 100))
    candidates, looked = index._candidates, list[Sequence[int]]()

    async def counted(asked: IndexQuery, depths: Sequence[int]) -> list[Candidates]:
        looked.append(depths)
        return await candidates(asked, depths)

    await index.upsert([IndexedItem(f"{n:02}", turned(n / 10), "", {}, {"price": n}) for n in range(16)])
    monkeypatch.setattr(index, "_candidates", counted)
    near, by_price = np.eye(DIM, dtype=np.float32)[0], [Sort(key("number", "price"), descending=True)]
    cheap = parse({"price": {"lt": 6}}, await index.fields())
    await index.search(near, "", limit=2, sort=by_price, relevance_floor=0.9)
    await index.search(near, "", limit=2, sort=by_price, filter=cheap)
    assert looked == [[10], [10]], "the floor cuts off half, and there are no more"
    await index.search(near, "", limit=2, sort=by_price)
    assert looked[2:] == [[10], [100]]


async def test_facets_count_what_a_floor_leaves(index: ItemIndex) -> None:
    near, away = np.eye(DIM, dtype=np.float32)[:2]
    looks = {"near": near, "nearer": 1.1 * near, "far": away}
    await index.upsert(
        [IndexedItem(one, looks[one][None], one, {}, {"brand": one, "price": len(one)}) for one in looks]
    )
    found = await index.search(near, "", limit=1, relevance_floor=0.75)
    facets = await index.facets(["brand", "price"], found.ranked)
    assert facets["brand"].values == [("near", 1), ("nearer", 1)]
    assert (facets["price"].low, facets["price"].high) == (4, 6)
    words = await index.search(None, "far", limit=1, lexical_weight=1.0)
    assert (await index.facets(["brand"], words.ranked))["brand"].values == [("far", 1)]
    nothing = await index.search(None, "", limit=1, lexical_weight=1.0)
    assert (await index.facets(["brand"], nothing.ranked))["brand"].values == []


async def test_a_least_score(index: ItemIndex) -> None:
    near = np.eye(DIM, dtype=np.float32)[0]
    await index.upsert([IndexedItem(str(n), (n / 10) * near[None], "", {}) for n in range(10)])
    found = await index.search(near, "", limit=50, min_score=0.65)
    assert [hit.id for hit in found.hits] == ["9", "8", "7"]
    assert found.total == 3

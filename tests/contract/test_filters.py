"""What filters let through, how fields are counted, and orders other than relevance: the same on every engine."""

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from retriever.index import FilterError, IndexedItem, ItemIndex, known_fields
from retriever.index.fields import WORDS_KEY, FieldValue, key
from retriever.index.filters import And, AnyOf, Condition, Not, parse, word_for_word
from retriever.index.lexical import required
from tests.contract.helpers import PRECISION, best_first, item, query

pytestmark = pytest.mark.anyio


def product(item_id: str, text: str = "", **fields: FieldValue) -> IndexedItem:
    one = item(item_id, text=text)
    return IndexedItem(item_id, one.tokens, text, {}, fields)


SHOP = [
    product(
        "mug", price=8.5, colour="Red", category=["Home", "Home > Kitchen"], available=True, made="2025-03-01", size=9
    ),
    product("cup", price=12, colour="red", category=["Home", "Home > Kitchen"], available=False, made="2026-01-15"),
    product("lamp", price=40.0, colour=["Blue", "White"], category=["Home"], available=True, brand="Lumo"),
    product(
        "shoe", price=60.0, colour="blue", category=["Shoes"], available=True, size="XL", **{"article no.": "42-A"}
    ),
    product("gift card", available=True, updated=datetime(2026, 6, 1, tzinfo=UTC)),
]


async def through(index: ItemIndex, filter: dict[str, Any]) -> list[str]:
    """Ids that a filter lets through, by search; listing and counting must agree."""
    condition = await index.with_fields(lambda fields: parse(filter, fields))
    found = {hit.id for hit in (await index.search(query(0), "", limit=50, filter=condition)).hits}
    listed, _ = await index.scroll(limit=50, filter=condition)
    assert found == {item_id for item_id, _ in listed}
    assert await index.count(condition) == len(found)
    return sorted(found)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"colour": "red"}, ["cup", "mug"]),
        ({"Colour": "RED"}, ["cup", "mug"]),
        ({"attributes.colour": ["white", "red"]}, ["cup", "lamp", "mug"]),
        ({"price": {"gte": 10, "lte": 50}}, ["cup", "lamp"]),
        ({"price": {"gt": 12}}, ["lamp", "shoe"]),
        ({"price": 12}, ["cup"]),
        ({"price": [12, 8.5]}, ["cup", "mug"]),
        ({"price": ["12.0", "8.5", "40"]}, ["cup", "lamp", "mug"]),
        ({"category": "Home > Kitchen"}, ["cup", "mug"]),
        ({"category": "home>Kitchen"}, ["cup", "mug"]),
        ({"category": "Home"}, ["cup", "lamp", "mug"]),
        ({"available": False}, ["cup"]),
        ({"article no.": "42-a"}, ["shoe"]),
        ({"made": {"gte": "2026-01-01"}}, ["cup"]),
        ({"made": {"lt": "2026-01-15T00:00:00Z"}}, ["mug"]),
        ({"updated": {"gte": "2026-06-01"}}, ["gift card"]),
        ({"updated": "2026-06-01T02:00+02:00"}, ["gift card"]),
        ({"updated": ["2026-06-01", "2025-01-01T00:00"]}, ["gift card"]),
        ({"updated": "2026-06-01T00:00:01"}, []),
        ({"colour": "blue", "price": {"lt": 50}}, ["lamp"]),
        ({"or": [{"colour": "blue"}, {"price": {"lt": 10}}]}, ["lamp", "mug", "shoe"]),
        ({"and": [{"colour": "blue"}, {"not": {"category": "Shoes"}}]}, ["lamp"]),
        ({"not": {"or": [{"colour": "blue"}, {"colour": "red"}]}}, ["gift card"]),
        ({"colour": "green"}, []),
        ({"colour": {"exists": True}}, ["cup", "lamp", "mug", "shoe"]),
        ({"colour": {"exists": False}}, ["gift card"]),
        ({"price": {"exists": False}, "available": True}, ["gift card"]),
        ({"made": {"exists": True}}, ["cup", "mug"]),
        ({"size": {"exists": True}}, ["mug", "shoe"]),
        ({"size": {"exists": False}, "colour": "red"}, ["cup"]),
        ({"stock": {"exists": True}}, []),
        ({"stock": {"exists": False}}, ["cup", "gift card", "lamp", "mug", "shoe"]),
        ({}, ["cup", "gift card", "lamp", "mug", "shoe"]),
    ],
)
async def test_filters(index: ItemIndex, filter: dict[str, Any], expected: list[str]) -> None:
    await index.upsert(SHOP)
    assert await through(index, filter) == expected


@pytest.mark.parametrize(
    ("filter", "code", "message"),
    [
        ({"colur": "red"}, "unknown_field", "filter.colur is no field of any item; there are: .*colour"),
        ({"colour": {"gte": 3}}, "wrong_type", "filter.colour holds keyword values, and this is a number"),
        ({"price": "cheap"}, "wrong_type", "filter.price holds number values"),
        ({"price": "nan"}, "wrong_type", "filter.price holds number values"),
        ({"updated": "soon"}, "wrong_type", "filter.updated holds date values"),
        ({"updated": {"gte": 1767225600}}, "wrong_type", "this is a number: send an ISO date"),
        ({"price": {"gte": "cheap"}}, "wrong_type", "filter.price"),
        ({"made": {"gte": "soon"}}, "wrong_type", "ISO dates"),
        ({"price": {"from": 3}}, "invalid_filter", "bounds"),
        ({"price": {}}, "invalid_filter", "bounds"),
        ({"colour": []}, "invalid_filter", "at least one"),
        ({"colour": None}, "invalid_filter", 'must be a value.*{"exists": true} for any value and false for none'),
        ({"colour": {"ne": "red"}}, "invalid_filter", 'what it must not be stands in {"not": {…}}'),
        ({"colour": {"in": ["red"]}}, "invalid_filter", "a list of which any will do"),
        ({"colour": {"exists": "no"}}, "invalid_filter", "exists by itself, true or false"),
        ({"price": {"exists": True, "gt": 3}}, "invalid_filter", "exists by itself, true or false"),
        ({"nope": {"exists": False}}, "unknown_field", "filter.nope"),
        ({"available": 1}, "wrong_type", "holds boolean values, and this is a number: send true or false"),
        ({"brand,colour": 1}, "unknown_field", "several: send each by itself"),
        ({"or": []}, "invalid_filter", "filter.or must be a list"),
        ({"or": {"colour": "red"}}, "invalid_filter", "filter.or must be a list"),
        ({"or": [{"nope": 1}]}, "unknown_field", r"filter.or\[0\].nope"),
        ({"not": {}}, "invalid_filter", "filter.not"),
        ([], "invalid_filter", "must be an object"),
        ({"price": math.nan}, "invalid_filter", "finite"),
        ({"price": {"gte": math.nan}}, "invalid_filter", "finite"),
        ({"price": {"lt": 10**400}}, "invalid_filter", "finite"),
        ({"price": [10**400]}, "invalid_filter", "finite"),
        ({"colour": "\ud800"}, "invalid_filter", "surrogate"),
        ({"\ud800": "red"}, "invalid_filter", "surrogate"),
    ],
)
async def test_filters_that_cannot_be(index: ItemIndex, filter: Any, code: str, message: str) -> None:
    await index.upsert(SHOP)
    with pytest.raises(FilterError, match=message) as raised:
        parse(filter, await index.fields())
    assert raised.value.code == code


def test_a_category_is_found_as_it_was_stored_earlier_too() -> None:
    condition = parse({"category": "Home>Kitchen"}, {"category": {"keyword"}})
    assert condition == AnyOf(key("keyword", "category"), ("home>kitchen", "home > kitchen"))


def nested(depth: int) -> dict[str, Any]:
    return {"not": nested(depth - 1)} if depth else {"colour": "red"}


@pytest.mark.parametrize("filter", [nested(50), {"or": [{"price": n} for n in range(1000)]}])
async def test_filters_larger_than_anybody_needs_are_refused(index: ItemIndex, filter: Any) -> None:
    await index.upsert(SHOP)
    with pytest.raises(FilterError):
        parse(filter, await index.fields())


async def test_facets_count_under_the_filter(index: ItemIndex) -> None:
    await index.upsert(SHOP)
    facets = await index.facets(["colour", "price", "available", "category"])
    assert facets["colour"].values == [("Blue", 2), ("Red", 2), ("White", 1)]
    assert (facets["price"].low, facets["price"].high) == (8.5, 60)
    assert facets["available"].values == [("true", 4), ("false", 1)]
    assert facets["category"].values == [("Home", 3), ("Home > Kitchen", 2), ("Shoes", 1)]

    cheap = parse({"price": {"lt": 20}}, await index.fields())
    facets = await index.facets(["colour", "price"], cheap)
    assert facets["colour"].values == [("Red", 2)]
    assert (facets["price"].low, facets["price"].high) == (8.5, 12)
    none = (await index.facets(["price"], parse({"available": True, "price": {"gt": 99}}, await index.fields())))[
        "price"
    ]
    assert (none.values, none.low, none.high) == ([], None, None)
    with pytest.raises(FilterError, match=r"facets names 'nope', which is no field of any item; there are: .*colour"):
        await index.facets(["nope"])


async def test_a_facet_of_many_values_shows_as_many_as_are_asked_for(index: ItemIndex) -> None:
    await index.upsert([product(str(n), maker=f"Maker {n % 60}") for n in range(66)])
    for limit in (1, 3, 20, 100):
        values = (await index.facets(["maker"], limit=limit))["maker"].values
        assert len(values) == min(limit, 60)
        assert [count for _, count in values] == [2] * min(limit, 6) + [1] * (min(limit, 60) - min(limit, 6))
        assert len({value.casefold() for value, _ in values}) == len(values)


async def test_a_value_is_shown_as_most_items_write_it(index: ItemIndex) -> None:
    await index.upsert([product(str(n), maker=maker) for n, maker in enumerate(["NORD", "Nord", "Nord", "Nord"])])
    assert (await index.facets(["maker"]))["maker"].values == [("Nord", 4)]


async def test_a_replaced_item_leaves_its_old_values(index: ItemIndex) -> None:
    await index.upsert(SHOP)
    await index.upsert([product("mug", colour="Green")])
    assert await through(index, {"colour": "red"}) == ["cup"]
    assert await through(index, {"colour": "green"}) == ["mug"]
    await index.delete(["cup"])
    facets = await index.facets(["colour", "available"])
    assert facets["colour"].values == [("Blue", 2), ("Green", 1), ("White", 1)]
    assert facets["available"].values == [("true", 3)], "the only one that was not is gone"


@pytest.mark.parametrize("name", ["a.b", "with space", "ünïcode", 'say "hi"', "W\\H", "\\", "[0]", "a-b/c", "x" * 100])
async def test_any_name_is_a_field(index: ItemIndex, name: str) -> None:
    await index.upsert([product("a", **{name: "yes"}), product("b", **{name: "no"}), product("c", **{name: 3})])
    assert await through(index, {name: "yes"}) == ["a"]
    assert await through(index, {name: {"gt": 2}}) == ["c"]
    assert (await index.facets([name]))[name].values == [("no", 1), ("yes", 1)]


async def test_two_writers_that_bring_a_field_make_it_once(index: ItemIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    create = index._create_field

    async def counted(payload_key: str, schema: Any) -> None:
        made.append(payload_key)
        await create(payload_key, schema)

    monkeypatch.setattr(index._fields, "_create", counted)
    await asyncio.gather(*(index.upsert([product(str(n), colour="red", size=n)]) for n in range(4)))
    assert sorted(made) == [key("keyword", "colour"), key("number", "size")]
    assert await through(index, {"colour": "red"}) == ["0", "1", "2", "3"]


async def test_items_are_stored_though_their_fields_are_too_many(
    index: ItemIndex, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(known_fields, "MAX_FIELDS", 2)
    for n in range(3):
        await index.upsert([product(str(n), colour="red", size="L", zip="yes")])
    assert await index.count() == 3
    assert set(await index.fields()) == {"colour", "size"}
    with pytest.raises(FilterError, match="zip"):
        parse({"zip": "yes"}, await index.fields())
    assert sum("'zip'" in record.message for record in caplog.records) == 1, "said once"


async def test_each_kind_of_a_field_counts_among_those_that_may_be(
    index: ItemIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_fields, "MAX_FIELDS", 3)
    await index.upsert([product("0", size="L"), product("1", size=3)])
    await index.upsert([product("2", colour="red", weight=2, size="M")])
    assert await index.fields() == {"size": {"keyword", "number"}, "colour": {"keyword"}}
    assert await through(index, {"size": ["m", 3]}) == ["1", "2"]


async def test_a_flag_and_a_word_for_it_are_one_value(index: ItemIndex) -> None:
    """Feeds mix them, and a form of a page has words alone."""
    flags: dict[str, bool | str] = {"a": True, "b": "True", "c": False, "d": "only in store"}
    await index.upsert([product(one, sale=flag) for one, flag in flags.items()])
    values = (await index.facets(["sale"]))["sale"].values
    assert values == [("true", 2), ("false", 1), ("only in store", 1)]
    for asked in (True, "true", ["TRUE"]):
        assert await through(index, {"sale": asked}) == ["a", "b"]
    assert await through(index, {"sale": ["false", "only in store"]}) == ["c", "d"]


async def test_words_alone(index: ItemIndex) -> None:
    await index.upsert([product("a", "red mug"), product("b", "blue mug with red dots"), product("c", "lamp")])
    found = await index.search(None, "red mug", limit=9, lexical_weight=1.0, explain=True)
    assert [hit.id for hit in found.hits] == ["a", "b"]
    assert (found.total, found.hits[0].score, found.hits[0].semantic) == (2, 1.0, 0.0)
    assert (await index.search(None, "the", limit=9, lexical_weight=1.0)).total == 0


async def test_words_alone_are_looked_for_among_what_a_filter_lets_through(index: ItemIndex) -> None:
    await index.upsert([product(colour, text=f"{colour} mug", colour=colour) for colour in ("red", "blue")])
    red = parse({"colour": "red"}, await index.fields())
    found = await index.search(None, "mug", limit=5, filter=red)
    assert ([hit.id for hit in found.hits], found.total) == (["red"], 1)


@pytest.mark.parametrize(
    ("wanted", "unwanted", "expected"),
    [
        ("", "leather", ["canvas", "cork"]),
        ("", "faux leather", ["canvas", "cork", "real"]),
        ("leather bag", "", ["faux", "real"]),
        ("bag", "leathers", ["canvas"]),
        ("of the bag", "", ["canvas", "faux", "real"]),
    ],
)
async def test_words_required_and_unwanted(
    index: ItemIndex, wanted: str, unwanted: str, expected: Sequence[str]
) -> None:
    texts = {"real": "Leather bag", "faux": "faux-leather bag", "canvas": "a canvas bag", "cork": "cork wallet"}
    await index.upsert([product(item_id, text) for item_id, text in texts.items()])
    parts: list[Condition] = [AnyOf(WORDS_KEY, (number,)) for number in required(wanted)]
    if unwanted:
        parts.append(Not(And(tuple(AnyOf(WORDS_KEY, (number,)) for number in required(unwanted)))))
    found = await index.search(query(1), "", limit=9, filter=And(tuple(parts)))
    assert sorted(hit.id for hit in found.hits) == expected


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("16gb", ["apart", "glued"]),
        ("16 GB", ["apart", "glued"]),
        ("pen drive 16gb", ["apart"]),
        ("1.5l kettle", ["kettle"]),
        ("325ml", []),
    ],
)
async def test_measures_in_a_phrase_are_found_however_they_are_written(
    index: ItemIndex, phrase: str, expected: Sequence[str]
) -> None:
    texts = {"apart": "pen drive 16 GB", "glued": "16GB stick", "kettle": "1.5 L kettle", "other": "325 mg, 16 of GB2"}
    await index.upsert([product(item_id, text) for item_id, text in texts.items()])
    found = await index.search(query(1), "", limit=9, filter=word_for_word(phrase))
    assert sorted(hit.id for hit in found.hits) == expected


async def test_rows_of_a_query_add_up(index: ItemIndex) -> None:
    """A picture and words in one query: MaxSim of each row, summed; a negative row counts against."""
    items = [item(str(n), seed=n) for n in range(30)]
    await index.upsert(items)
    rows = np.stack([0.7 * query(1), 0.3 * query(2), -0.2 * query(3)])
    expected = {one.id: float((one.tokens @ rows.T).max(axis=0).sum()) for one in items}
    found = (await index.search(rows, "", limit=30, explain=True)).hits
    assert best_first([hit.id for hit in found], expected)
    kept = {name: float((own @ rows.T).max(axis=0).sum()) for name, own in (await index.tokens([*expected])).items()}
    assert [hit.id for hit in found] == sorted(kept, key=lambda one: -kept[one])
    assert found[0].semantic == pytest.approx(expected[found[0].id], abs=PRECISION)


async def test_tokens_come_back(index: ItemIndex) -> None:
    await index.upsert([item("a"), item("b", pictures=2)])
    tokens = await index.tokens(["a", "b", "nobody"])
    assert tokens.keys() == {"a", "b"}
    np.testing.assert_allclose(tokens["b"], item("b", pictures=2).tokens, atol=2 * PRECISION)


async def test_tokens_that_were_read_and_are_written_again_stay_as_they_are(index: ItemIndex) -> None:
    """As a backup does, and what is restored is backed up again."""
    await index.upsert([item("a")])
    before = (await index.tokens(["a"]))["a"]
    await index.upsert([IndexedItem("a", before, "", {})])
    np.testing.assert_allclose((await index.tokens(["a"]))["a"], before, atol=1e-6)

"""Which fields there are, however many come and however they and their values are written: the same on every engine."""

import difflib
import unicodedata
from pathlib import Path

import pytest

from retriever.index import FilterError, ItemIndex, fields, known_fields, open_index
from retriever.index.fields import field_name, key
from retriever.index.filters import Among, between, parse
from retriever.index.points import point_id
from tests.contract.helpers import DIM, query
from tests.contract.test_filters import product, through

pytestmark = pytest.mark.anyio


async def test_what_is_built_in_can_be_filtered_by_however_many_attributes_came_before(
    index: ItemIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else `not` of it would hold for all: whoever deletes what is sold out would lose every item."""
    monkeypatch.setattr(known_fields, "MAX_FIELDS", 2)
    await index.upsert([product("a", colour="red", size="L", zip="yes")])
    await index.upsert([product("b", stock=3, price=5.0), product("c", stock=0)])
    assert await through(index, {"not": {"stock": {"gt": 0}}}) == ["a", "c"]
    await index.upsert([product("d", cut="slim", available=True)])
    assert {*await index.fields()} == {"colour", "size", "stock", "price", "available"}


async def test_a_rare_field_that_is_built_in_is_known_among_many_after_reopening(tmp_path: Path) -> None:
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    await index.upsert([product(str(n), **{f"field {m:04}": "yes" for m in range(1000)}) for n in range(2)])
    await index.upsert([product("b", stock=3)])
    await index.close()
    again = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    in_stock = await again.with_fields(lambda known: parse({"stock": {"gt": 0}}, known))
    assert await again.count(in_stock) == 1
    await again.close()


async def test_an_index_whose_items_list_a_field_that_no_engine_takes_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions wrote names with backslashes as they were, once there were more fields than are indexed."""
    many = {f"field {n}": "yes" for n in range(20)}
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    await index.upsert([product("a", **many)])
    with monkeypatch.context() as earlier:
        earlier.setattr(fields, "field_name", str.casefold)
        await index.upsert([product("b", **many, **{"W\\H": "4/3"})])
    await index.close()
    again = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    assert {*await again.fields()} == {*many}
    await again.upsert([product("b", **many, **{"W\\H": "4/3"})])
    assert await through(again, {"W\\H": "4/3"}) == ["b"]
    await again.close()


async def test_a_letter_and_its_accent_may_be_one_character_or_two(index: ItemIndex) -> None:
    """As some computers write the names of files, and what is exported there."""
    one, two = (unicodedata.normalize(form, "Größe Café") for form in ("NFC", "NFD"))
    await index.upsert([product("a", **{one: one}), product("b", **{two: two}), product("c", **{two: one.upper()})])
    for name, value in ((one, two), (two, one), (two, two)):
        assert await through(index, {name: value}) == ["a", "b", "c"]
        assert [count for _, count in (await index.facets([name]))[name].values] == [3]
    grouped = await index.search(query(0), "", limit=9, group_by=[key("keyword", field_name(two))])
    assert [hit.group_size for hit in grouped.hits] == [3]


async def test_ids_differ_by_how_an_accent_is_written(index: ItemIndex) -> None:
    one, two = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))
    await index.upsert([product(item_id, id=item_id) for item_id in (one, two)])
    assert await through(index, {"id": one}) == [one]
    assert await through(index, {"id": two}) == [two]


async def test_what_was_stored_with_its_accents_apart_is_found_as_it_is_shown(
    index: ItemIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By earlier versions, which left accents as they came."""
    apart = unicodedata.normalize("NFD", "Größe Café")
    with monkeypatch.context() as earlier:
        earlier.setattr(fields, "fold", str.casefold)
        await index.upsert([product("a", **{apart: apart})])
    assert await through(index, {apart: apart}) == ["a"]
    assert await through(index, {unicodedata.normalize("NFC", apart): apart}) == ["a"]


async def test_ranges_count_the_same_among_items_and_under_a_filter_that_lets_those_through(index: ItemIndex) -> None:
    await index.upsert([product(str(n), price=n, brand="AB"[n % 2]) for n in range(6)] + [product("none", brand="B")])
    bounds = ({"lt": 2}, {"gte": 2, "lt": 5}, {"gte": 5}, {"gt": 0, "lte": 1})
    ranges = await index.with_fields(lambda known: [between("price", one, known, "ranges") for one in bounds])
    assert await index.range_counts(ranges) == [2, 3, 1, 1]
    for some in parse({"brand": "B"}, await index.fields()), Among(tuple(map(point_id, ("1", "3", "5", "none")))):
        assert await index.range_counts(ranges, some) == [1, 1, 1, 1]
    assert await index.range_counts(ranges, Among(())) == [0, 0, 0, 0]


async def test_names_that_are_alike_are_looked_for_only_when_they_are_shown(
    index: ItemIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a while, which every search would take once the field of a standing boost has gone."""
    looked: list[str] = []
    monkeypatch.setattr(difflib, "get_close_matches", lambda word, *_: looked.append(word) or ["colour"])
    await index.upsert([product("a", colour="red")])
    with pytest.raises(FilterError) as raised:
        await index.with_fields(lambda known: parse({"colur": "red"}, known))
    assert (raised.value.code, raised.value.path, looked) == ("unknown_field", "filter.colur", [])
    assert str(raised.value) == f"filter.colur {raised.value.message}"
    assert "there are: colour" in raised.value.message
    assert looked == ["colur"]

"""Article numbers in a query: which are known as such, and what they find."""

import dataclasses
import re

import pytest

from retriever.index import IndexedItem, ItemIndex
from retriever.index.fields import key
from retriever.index.filters import AnyOf
from tests.contract.helpers import PRECISION, item, query

pytestmark = pytest.mark.anyio


CODES = ["424522-100", "424522-101", "424523-100", "602.456.78", "AB/12_7", "DM0029‑400"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("424522-100", 0),
        ("424522 100", 0),
        ("424522100", 0),
        ("running shoe 424522-101", 1),
        ("424523–100", 2),
        ("602.456.78", 3),
        ("60245678", 3),
        ("ab/12_7", 4),
        ("dm0029-400", 5),
        ("DM0029400", 5),
        ("４２４５２２-１０１", 1),
    ],
)
async def test_an_article_number_finds_its_item(index: ItemIndex, text: str, expected: int) -> None:
    """As it is written, with other hyphens, or without; and before the numbers that share a part with it."""
    await index.upsert([item(str(i), text=f"Running shoe, article {code}. Size 42.") for i, code in enumerate(CODES)])
    found = (await index.search(query(0), text, limit=10, lexical_weight=100, explain=True)).hits
    assert found[0].id == str(expected)
    assert found[1].lexical < 0.9


@pytest.mark.parametrize("explain", [True, False])
@pytest.mark.parametrize("code", ["TAN 215", "222-Blue", "40860V Gold", "CFR - 120 B", "30412-7 Red"])
async def test_an_article_number_of_several_words_comes_first(index: ItemIndex, code: str, explain: bool) -> None:
    """Though its item is the least alike, and others have its words apart, or one of them over and over."""
    parts = re.findall(r"\w+", code)
    await index.upsert(
        [
            IndexedItem("own", -query(0)[None], f"Shoe. {'Worn every day of a year. ' * 20} Article {code}.", {}),
            IndexedItem("apart", 0.1 * query(0)[None], " sold ".join(parts), {}),
            IndexedItem("often", 0.1 * query(0)[None], f"{parts[-1]} " * 9, {}),
        ]
    )
    _, named = await index.resolve_article_numbers(code)
    for _ in range(2):  # a server's words are counted after the first
        found = (await index.search(query(0), code, limit=5, named=named, lexical_weight=3, explain=explain)).hits
        assert found[0].id == "own"
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


@pytest.mark.parametrize("typed", ["PLO166", "plo-166", "watch PLO166"])
async def test_an_article_number_written_apart_is_found_as_one(index: ItemIndex, typed: str) -> None:
    others = [IndexedItem(str(n), query(0)[None], f"watch SKO {n}66", {}) for n in (2, 3)]
    await index.upsert([*others, IndexedItem("own", -query(0)[None], "watch PLO 166", {})])
    assert (await index.resolve_article_numbers(typed))[0] == typed
    assert (await index.search(query(0), typed, limit=1, lexical_weight=3)).hits[0].id == "own"


@pytest.mark.parametrize("typed", ["FMJN 4385", "1639 SL03", "IFC 6"])
async def test_an_article_number_typed_apart_finds_the_one_word_of_its_item(index: ItemIndex, typed: str) -> None:
    first, second = typed.split()
    others = [IndexedItem(one, 0.1 * query(0)[None], f"watch {one} 7", {}) for one in (first, second)]
    await index.upsert([*others, IndexedItem("own", -query(0)[None], f"watch {first}{second}", {})])
    known, named = await index.resolve_article_numbers(typed)
    assert (await index.search(query(0), known, limit=1, named=named, lexical_weight=3)).hits[0].id == "own"
    many = [item(str(n), text=f"pack {first}{second}") for n in range(8)]
    await index.upsert(many)
    assert (await index.resolve_article_numbers(typed))[1] is None


async def test_what_many_items_have_is_no_article_number(index: ItemIndex) -> None:
    await index.upsert([item(str(i), text="mug, 330 ml") for i in range(9)] + [item("kettle", text="steel, TAN 215")])
    assert (await index.resolve_article_numbers("330 ml"))[1] is None
    assert (await index.resolve_article_numbers("steel 330"))[1] is None
    assert (await index.resolve_article_numbers("TAN 215"))[1] is not None


async def test_an_article_number_leaves_other_words_their_worth(index: ItemIndex) -> None:
    """Where the query was none after all, all else is ranked as ever; and it keeps to the filter."""
    texts = ["size 12 shoes", "shoes in size 12", "red shoes", "size 12", "mug"]
    await index.upsert(
        [dataclasses.replace(item(str(i), text=text), fields={"kind": "ab"[i % 2]}) for i, text in enumerate(texts)]
    )
    _, named = await index.resolve_article_numbers("size 12 shoes")
    plain = await index.search(query(0), "size 12 shoes", limit=5, explain=True)
    first = await index.search(query(0), "size 12 shoes", limit=5, named=named, explain=True)
    assert first.hits[0].id == "0"
    rest = {hit.id: hit.score for hit in plain.hits if hit.id != "0"}
    assert {hit.id: hit.score for hit in first.hits[1:]} == pytest.approx(rest, abs=PRECISION)
    assert first.total == plain.total == 5
    others = AnyOf(key("keyword", "kind"), ("b",))
    kept = (await index.search(query(0), "size 12 shoes", limit=5, named=named, filter=others)).hits
    assert sorted(hit.id for hit in kept) == ["1", "3"]


async def test_a_decimal_number_is_not_a_code(index: ItemIndex) -> None:
    await index.upsert([item("jack", text="3.5mm jack"), item("lens", text="35mm lens")])
    found = (await index.search(query(0), "35mm", limit=2, lexical_weight=100, explain=True)).hits
    assert [(hit.id, round(hit.lexical or 0, 2)) for hit in found] == [("lens", 1), ("jack", 0)], "both are of mm"


async def test_article_numbers_that_no_item_has_are_left_out_whole(index: ItemIndex) -> None:
    await index.upsert([item("a", text="mug KC-17204")])
    assert (await index.resolve_article_numbers("red KC-17204 99887766"))[0] == "red KC-17204"
    assert (await index.resolve_article_numbers("12345 red AB-12345"))[0] == "red"
    assert (await index.resolve_article_numbers("xk\u20119921 red xk9921²"))[0] == "red", "in any characters"


@pytest.mark.parametrize(("typed", "known"), [("1639sl 03", ""), ("xk9921 03 mug", "03 mug"), ("03", "03")])
async def test_figures_beside_a_number_that_no_item_has_are_a_part_of_it(
    index: ItemIndex, typed: str, known: str
) -> None:
    """The id "grocery-03" has them."""
    await index.upsert([item("grocery-03", text="Satsumas grocery-03")])
    assert (await index.resolve_article_numbers(typed))[0] == known

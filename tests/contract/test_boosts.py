"""What a shop would rather sell comes first among what is about as relevant: the same on every engine."""

from typing import Any

import numpy as np
import pytest

from retriever.arrays import Floats
from retriever.index import Boost, IndexedItem, ItemIndex, SearchResult, Sort, boost, fusion, selection
from retriever.index.fields import FieldValue, key
from retriever.index.filters import Condition, parse
from tests.contract.helpers import DIM, PRECISION
from tests.contract.test_filters import SHOP

pytestmark = pytest.mark.anyio

NEAR, AWAY = np.eye(DIM, dtype=np.float32)[:2]
SOLD = key("number", "sold")


def look(likeness: float) -> Floats:
    """Tokens `(1, D)` whose MaxSim with `NEAR` is this."""
    tokens: Floats = (likeness * NEAR + (1 - likeness) * AWAY)[None]
    return tokens


def product(item_id: str, likeness: float, text: str = "", **fields: FieldValue) -> IndexedItem:
    return IndexedItem(item_id, look(likeness), text, {}, fields)


def ids(found: SearchResult) -> list[str]:
    return [hit.id for hit in found.hits]


async def test_a_boost_overtakes_what_is_more_relevant_by_less_than_its_weight(index: ItemIndex) -> None:
    """The best scores 0.8, so that a weight of 0.1 is worth 0.08."""
    await index.upsert(
        [product("best", 0.8, sold=1), product("near", 0.76, sold=900), product("far", 0.7, sold=1_000_000)]
    )
    order = {}
    for weight in (0.0, 0.04, 0.1, 0.2, -0.1):
        order[weight] = ids(await index.search(NEAR, "", limit=3, boosts=[Boost(SOLD, weight)]))
    assert order[0.0] == order[0.04] == ["best", "near", "far"]
    # "near" has the middle one of three values: half of the weight.
    assert order[0.1] == ["best", "near", "far"]
    assert order[0.2] == ["far", "near", "best"]
    assert order[-0.1] == ["best", "near", "far"]
    (first, *_) = (await index.search(NEAR, "", limit=3, boosts=[Boost(SOLD, 0.2)], explain=True)).hits
    assert (first.boost, first.score) == pytest.approx((0.16, 0.86), abs=PRECISION)
    assert first.semantic == pytest.approx(0.7, abs=PRECISION)


async def test_what_is_of_another_kind_does_not_count(index: ItemIndex) -> None:
    """Of two mugs the dearer brings the whole weight, whatever the sofas cost that are ranked behind them."""
    sofas = [product(f"sofa {n}", 0.3, sold=100 + n) for n in range(40)]
    await index.upsert([product("cheap", 0.8, sold=1), product("dear", 0.77, sold=2), *sofas])
    found = await index.search(NEAR, "", limit=50, boosts=[Boost(SOLD, 0.1)], explain=True)
    assert [(hit.id, hit.boost) for hit in found.hits[:2]] == [
        ("dear", pytest.approx(0.08, abs=PRECISION)),
        ("cheap", 0),
    ]


async def test_what_lacks_the_field_gets_nothing(index: ItemIndex) -> None:
    await index.upsert([product("lacks", 0.8), product("least", 0.79, sold=0), product("most", 0.78, sold=5)])
    assert ids(await index.search(NEAR, "", limit=3, boosts=[Boost(SOLD, 0.1)])) == ["most", "lacks", "least"]
    assert ids(await index.search(NEAR, "", limit=3, boosts=[Boost(SOLD, -0.1)])) == ["lacks", "least", "most"]


async def test_values_that_are_all_the_same_change_nothing(index: ItemIndex) -> None:
    await index.upsert([product("a", 0.7, sold=3), product("b", 0.8, sold=3)])
    found = await index.search(NEAR, "", limit=2, boosts=[Boost(SOLD, 0.5)], explain=True)
    assert [(hit.id, hit.boost) for hit in found.hits] == [("b", 0), ("a", 0)]


@pytest.mark.parametrize(
    "filter",
    [
        {"colour": "red"},
        {"colour": ["WHITE", "red"]},
        {"price": {"gte": 12, "lt": 60}},
        {"price": {"gt": 12, "lte": 60}},
        {"price": 12},
        {"category": "Home > Kitchen"},
        {"available": True},
        {"updated": {"gte": "2026-06-01"}},
        {"colour": "blue", "price": {"lt": 50}},
        {"or": [{"colour": "blue"}, {"price": {"lt": 10}}]},
        {"not": {"or": [{"colour": "blue"}, {"colour": "red"}]}},
        {"colour": "green"},
    ],
)
async def test_a_boost_by_a_filter_lifts_what_the_engine_lets_through(index: ItemIndex, filter: dict[str, Any]) -> None:
    await index.upsert(SHOP)
    condition = await condition_of(index, filter)
    through = await index.search(NEAR, "", limit=9, filter=condition)
    lifted = await index.search(NEAR, "", limit=9, boosts=[Boost(condition, 1.0)], explain=True)
    assert {hit.id for hit in lifted.hits if hit.boost} == set(ids(through))
    assert len(lifted.hits) == lifted.total == len(SHOP)
    both = await index.search(NEAR, "", limit=9, boosts=[Boost(condition, 0.3), Boost(condition, -0.3)], explain=True)
    assert [hit.boost for hit in both.hits] == pytest.approx([0] * len(SHOP))


async def condition_of(index: ItemIndex, filter: dict[str, Any]) -> Condition:
    condition = await index.with_fields(lambda fields: parse(filter, fields))
    assert condition is not None
    return condition


async def test_floors_do_not_look_at_boosts(index: ItemIndex) -> None:
    await index.upsert([product("best", 0.8, sold=1), product("near", 0.7, sold=2), product("junk", 0.4, sold=9)])
    boosts = [Boost(SOLD, 1.0)]
    assert ids(await index.search(NEAR, "", limit=3, boosts=boosts)) == ["near", "junk", "best"]
    relevant = await index.search(NEAR, "", limit=3, boosts=boosts, relevance_floor=0.75)
    assert (ids(relevant), relevant.total) == (["near", "best"], 2)
    # Of two values that are left, the greater is the most.
    assert relevant.hits[0].score == pytest.approx(0.7 + 0.8, abs=PRECISION)
    scored = await index.search(NEAR, "", limit=3, boosts=boosts, min_score=0.75)
    assert ids(scored) == ["best"]


async def test_pinned_items_stay_first_and_groups_show_their_boosted_best(index: ItemIndex) -> None:
    await index.upsert(
        [
            product("plain", 0.8, sold=1, style="shirt"),
            product("sold", 0.75, sold=50, style="shirt"),
            product("other", 0.7, sold=2, style="dress"),
        ]
    )
    boosts = [Boost(SOLD, 0.2)]
    pinned = await index.search(NEAR, "", limit=3, boosts=boosts, pinned=["other", "plain"])
    assert ids(pinned) == ["other", "plain", "sold"]
    groups = await index.search(NEAR, "", limit=3, boosts=boosts, group_by=[key("keyword", "style")])
    assert [(hit.group, hit.id, hit.group_size) for hit in groups.hits] == [("shirt", "sold", 2), ("dress", "other", 1)]
    by_price = Sort(SOLD, descending=False)
    assert ids(await index.search(NEAR, "", limit=3, boosts=boosts, sort=[by_price])) == ["plain", "other", "sold"]


async def test_boosts_hold_where_words_rank_alone(index: ItemIndex) -> None:
    await index.upsert([product("long", 0.1, "red mug of clay", sold=9), product("short", 0.9, "red mug", sold=1)])
    plain = await index.search(None, "red mug", limit=2, lexical_weight=1.0)
    lifted = await index.search(None, "red mug", limit=2, lexical_weight=1.0, boosts=[Boost(SOLD, 1.0)])
    assert ids(plain) == ["short", "long"]
    assert ids(lifted) == ["long", "short"]
    assert lifted.total == 2
    half = await index.search(None, "red mug", limit=2, lexical_weight=1.0, boosts=[Boost(SOLD, 0.5)], explain=True)
    lifts = {hit.id: hit.boost for hit in half.hits}
    assert lifts == {"long": pytest.approx(plain.hits[0].score / 2), "short": 0}, "a share of the best by words"


async def test_a_measure_is_no_article_number(index: ItemIndex) -> None:
    await index.upsert([product("more", 0.8, "500ml", sold=0), product("sold", 0.75, "500ml", sold=9)])
    assert ids(await index.search(NEAR, "500ml", limit=2, boosts=[Boost(SOLD, 0.2)])) == ["sold", "more"]


@pytest.mark.parametrize(
    ("asked", "named"),
    [("KC-17", False), ("mug KC-17", False), ("TAN 215", True)],
    ids=["a code", "with words", "named"],
)
async def test_who_asks_for_an_article_number_gets_that_item(index: ItemIndex, asked: str, named: bool) -> None:
    await index.upsert(
        [
            product("it", 0.5, "mug KC-17 TAN 215", sold=0),
            *(product(f"{n}", 0.7, "mug of clay", sold=n) for n in range(1, 9)),
        ]
    )
    condition = (await index.resolve_article_numbers(asked))[1] if named else None
    boosts = [Boost(SOLD, 1.0), Boost(await condition_of(index, {"sold": 0}), -1.0)]
    found = await index.search(NEAR, asked, limit=9, named=condition, boosts=boosts)
    assert found.hits[0].id == "it"
    plain = await index.search(NEAR, asked, limit=9, named=condition)
    assert ids(found) == ids(plain)


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiers of 8, 16, …; boosts about 8 or 12 hits, or 16 behind groups."""
    monkeypatch.setattr(fusion, "CANDIDATES", 8)
    monkeypatch.setattr(boost, "_FEW", 8)
    monkeypatch.setattr(boost, "_MANY", 12)
    monkeypatch.setattr(boost, "_FIRST_PAGE", 4)
    monkeypatch.setattr(selection, "POOL", (16, 100))


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(("weight", "lifted"), [(0.02, 8), (1.0, 12)], ids=["near", "far"])
async def test_pages_of_a_boosted_ranking_join(index: ItemIndex, weight: float, lifted: int) -> None:
    """What follows the lifted hits does so in its own order, however deep a page looks; the likest one comes late."""
    shop = [product(f"{n:02}", 0.9 - n / 100, "red" if n < 30 else "", sold=n) for n in range(40)]
    await index.upsert([*shop, product("like", 0.99, sold=99)])
    boosts = [Boost(SOLD, weight)]
    whole = await index.search(NEAR, "red", limit=50, boosts=boosts, explain=True)
    assert sorted(ids(whole)) == sorted([*(f"{n:02}" for n in range(40)), "like"])
    assert 0 < sum(bool(hit.boost) for hit in whole.hits) < lifted + 1
    for size in (1, 5, 7, 20):
        pages = [
            await index.search(NEAR, "red", limit=size, offset=at, boosts=boosts) for at in range(0, whole.total, size)
        ]
        assert [one for page in pages for one in ids(page)] == ids(whole)
        assert {page.total for page in pages} == {41}
    assert ids(await index.search(NEAR, "", limit=3, offset=50, boosts=boosts)) == []
    assert (await index.search(NEAR, "", limit=0, boosts=boosts)).total == 41


@pytest.mark.usefixtures("shallow")
async def test_pages_of_boosted_groups_join(index: ItemIndex) -> None:
    """Pages behind the first pool look deeper; what is lifted in the first is so on all of them."""
    await index.upsert([product(f"{n:02}", 0.9 - n / 100, sold=n, style=f"{n // 2}") for n in range(60)])
    asked: dict[str, Any] = {"boosts": [Boost(SOLD, 0.5)], "group_by": [key("keyword", "style")]}
    whole = await index.search(NEAR, "", limit=40, **asked)
    assert [hit.group for hit in whole.hits[:8]] == [f"{n}" for n in reversed(range(8))]
    pages = [await index.search(NEAR, "", limit=3, offset=at, **asked) for at in range(0, 30, 3)]
    assert [hit.group for page in pages for hit in page.hits] == [hit.group for hit in whole.hits]
    assert len(whole.hits) == 30

"""What every index finds, and in which order."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from retriever.index import Hit, IndexedItem, ItemIndex, Payload, fusion
from retriever.index.fields import key
from retriever.index.filters import AnyOf, Condition
from retriever.index.server import ServerIndex
from retriever.scoring import maxsim
from tests.contract.helpers import DIM, PRECISION, best_first, item, query

pytestmark = pytest.mark.anyio


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def exact(items: Sequence[IndexedItem], vector: np.ndarray) -> dict[str, float]:
    """MaxSim as `retriever.scoring` defines it, of each item by id."""
    question = torch.from_numpy(vector)[None]
    return {one.id: maxsim(question, torch.from_numpy(one.tokens)[None]).item() for one in items}


async def test_the_order_and_the_scores_are_those_of_exact_maxsim(index: ItemIndex) -> None:
    """Items with one, two and three pictures: 4, 8 and 12 tokens."""
    items = [item(f"sku-{i}", seed=i, pictures=1 + i % 3) for i in range(60)]
    await index.upsert(items)
    for seed in range(5):
        scores = exact(items, query(seed))
        found = await index.search(query(seed), "", limit=60, explain=True)
        tokens = await index.tokens([one.id for one in items])
        kept = exact([IndexedItem(name, own, "", {}) for name, own in tokens.items()], query(seed))
        assert ids(found.hits) == sorted(kept, key=lambda one: -kept[one])
        assert best_first(ids(found.hits), scores)
        assert found.total == 60
        for hit in found.hits:
            assert hit.semantic == pytest.approx(scores[hit.id], abs=PRECISION)
            assert hit.semantic == pytest.approx(kept[hit.id], abs=1e-4)
            assert (hit.score, hit.lexical) == (hit.semantic, 0)


async def test_payloads_come_with_the_hits(index: ItemIndex) -> None:
    await index.upsert([item("a", title="Red mug", tags=["x"])])
    assert (await index.search(query(0), "", limit=1)).hits[0].payload == {"id": "a", "title": "Red mug", "tags": ["x"]}


async def test_any_of_several_pictures_can_match(index: ItemIndex) -> None:
    """The mean of three pictures is near to none of them; the token of one is what counts."""
    front, back, side = np.eye(DIM, dtype=np.float32)[:3]
    await index.upsert(
        [
            IndexedItem("three pictures", np.stack([front, back, side]), "", {}),
            IndexedItem("one picture", (0.9 * back)[None], "", {}),
        ]
    )
    found = (await index.search(back, "", limit=2, explain=True)).hits
    assert [(hit.id, round(hit.semantic, 3)) for hit in found] == [("three pictures", 1.0), ("one picture", 0.9)]


async def test_an_item_that_is_deleted_while_it_is_found_is_left_out(
    index: ItemIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = index._payloads

    async def deleted_meanwhile(point_ids: list[str]) -> dict[str, Payload]:
        await index.delete(["goes"])
        return await payloads(point_ids)

    await index.upsert([item("stays"), item("goes")])
    monkeypatch.setattr(index, "_payloads", deleted_meanwhile)
    assert ids((await index.search(query(0), "", limit=5, explain=True)).hits) == ["stays"]


async def test_words_are_added_by_their_weight(index: ItemIndex) -> None:
    items = [item(str(i), seed=i, text=text) for i, text in enumerate(["red shoe", "shoe", "blue mug", "", "red mug"])]
    await index.upsert(items)
    semantic = exact(items, query(1))
    for weight in (0.15, 0.5, 50):
        found = (await index.search(query(1), "red shoes", limit=5, lexical_weight=weight, explain=True)).hits
        lexical = {hit.id: hit.lexical for hit in found}
        assert lexical["0"] == 1, "both words"
        assert 0 < lexical["1"] < 1
        assert 0 < lexical["4"] < 1
        assert lexical["2"] == lexical["3"] == 0
        for hit in found:
            assert hit.score == pytest.approx(semantic[hit.id] + weight * (hit.lexical or 0), abs=PRECISION)
        assert ids(found) == [hit.id for hit in sorted(found, key=lambda hit: -hit.score)]
    assert found[0].id == "0"


async def test_weight_zero_is_meaning_alone(index: ItemIndex) -> None:
    items = [item(str(i), seed=i, text="red shoe" if i == 7 else "") for i in range(20)]
    await index.upsert(items)
    words = await index.search(query(0), "red shoe", limit=20, lexical_weight=0)
    assert words == await index.search(query(0), "", limit=20)


async def test_rare_words_count_for_more(index: ItemIndex) -> None:
    await index.upsert(
        [item(str(i), text="cotton shirt") for i in range(30)] + [item("rare", text="velvet shirt"), item("none")]
    )
    found = (await index.search(query(0), "velvet cotton", limit=32, lexical_weight=100, explain=True)).hits
    assert (found[0].id, found[0].lexical) == ("rare", 1)
    assert 0 < found[1].lexical < 0.5


async def test_a_word_says_less_the_more_items_have_it(index: ItemIndex) -> None:
    """And what the index knows of that keeps up with a catalogue that grows."""
    await index.upsert([item("mug", text="mug"), *(item(f"plate {i}", text="plate") for i in range(9))])

    async def share() -> float:
        found = (await index.search(query(0), "mug lamp", limit=50, explain=True)).hits
        return next(hit.lexical for hit in found if hit.id == "mug")

    unknown = await share()  # "lamp" is in no item, so it says most of the query
    await index.upsert([item(f"lamp {i}", text="lamp") for i in range(20)])
    assert 0 < unknown < 0.5 < await share()


async def test_a_title_names_its_item_however_much_is_said_of_it(index: ItemIndex) -> None:
    said = "A gift for every day of the year. " * 30
    await index.upsert(
        [
            dataclasses.replace(item("own", seed=1, text=f"Wild and free mug. {said}"), title="Wild and free mug"),
            dataclasses.replace(item("other", seed=1, text="Happy birthday mug"), title="Happy birthday mug"),
            *(item(str(n), seed=1, text="Free gift") for n in range(3)),
        ]
    )
    found = (await index.search(query(0), "wild and free mug", limit=5, explain=True)).hits
    assert found[0].id == "own"
    assert (found[0].lexical or 0) > 0.9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("连衣裙", "zh"),
        ("裙", "zh"),
        ("红色的连衣裙", "zh"),
        ("ドレス", "ja"),
        ("드레스", "ko"),
        ("แดง", "th"),
        ("فستان", "ar"),
        ("ПЛАТЬЕ", "ru"),
        ("cafe creme", "fr"),
        ("CAFÉ", "fr"),
        ("tshirts", "en"),
        ("t-shirt", "en"),
        ("down", "en"),
    ],
)
async def test_words_of_every_script(index: ItemIndex, text: str, expected: str) -> None:
    texts = {
        "zh": "夏季新款红色连衣裙，修身显瘦 👗",
        "ja": "赤いドレス 夏",
        "ko": "빨간 드레스를 입다",
        "th": "ชุดเดรสสีแดง",
        "ar": "فستان أحمر",
        "ru": "красное платье",
        "fr": "Robe café crème",
        "en": "White T-Shirt with down",
    }
    await index.upsert([item(name, text=text) for name, text in texts.items()])
    found = (await index.search(query(0), text, limit=8, lexical_weight=100, explain=True)).hits
    assert found[0].id == expected
    assert found[0].lexical > 0.1
    assert found[1].lexical < 0.7


@pytest.mark.parametrize(
    "text", ["", "   ", "the of a", "👗🔥", "\u200b", "?!…", "x\x00y", "\ud800", "word " * 5000, "a" * 10_000, "-._/-"]
)
async def test_text_without_matching_words_leaves_meaning(index: ItemIndex, text: str) -> None:
    """In a query and in an item: neither breaks, and the ranking is that of MaxSim."""
    items = [dataclasses.replace(item(str(i), seed=i), text=odd) for i, odd in enumerate([text, "shoe", ""])]
    await index.upsert(items)
    found = (await index.search(query(0), "unheard", limit=3)).hits
    assert ids(found) == ids((await index.search(query(0), "", limit=3)).hits)
    assert len((await index.search(query(0), text, limit=3)).hits) == 3


async def test_pages_join_without_gaps_or_repeats(index: ItemIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the first tier of candidates too, whatever the size of the pages."""
    monkeypatch.setattr(fusion, "CANDIDATES", 8)
    items = [item(str(i), seed=i, text="red shoe" if i % 5 == 0 else "mug") for i in range(50)]
    await index.upsert(items)
    whole = await index.search(query(0), "red mug", limit=50)
    assert sorted(ids(whole.hits)) == sorted(one.id for one in items)
    for size in (1, 7, 20, 49):
        paged = [
            hit
            for offset in range(0, 50, size)
            for hit in (await index.search(query(0), "red mug", limit=size, offset=offset)).hits
        ]
        assert ids(paged) == ids(whole.hits)
    beyond = await index.search(query(0), "red mug", limit=10, offset=50)
    assert (beyond.hits, beyond.total) == ([], 50)
    assert len((await index.search(query(0), "red mug", limit=10, offset=45)).hits) == 5


@pytest.mark.parametrize("weight", [0, 0.4, 3])
@pytest.mark.parametrize("filter", [None, AnyOf(key("keyword", "kind"), ("b",))])
async def test_a_first_page_is_what_its_parts_add_up_to(
    index: ItemIndex, monkeypatch: pytest.MonkeyPatch, weight: float, filter: Condition | None
) -> None:
    """A server ranks it by a formula and sends the payloads along; asked to explain, it sends the parts."""
    monkeypatch.setattr(fusion, "CANDIDATES", 20)
    words = ["red", "mug", "blue", "shoe", "green", "lamp"]
    items = [
        dataclasses.replace(
            item(str(i), seed=i, text=f"{words[i % 6]} {words[i % 5]}", n=i), fields={"kind": "ab"[i % 2]}
        )
        for i in range(80)
    ]
    await index.upsert(items)
    for seed, text in enumerate(["red mug", "blue", "red mug", "green shoe lamp", "unheard mug", "blue"]):
        parts = await index.search(query(seed), text, limit=9, lexical_weight=weight, filter=filter, explain=True)
        with monkeypatch.context() as forbidden:
            if isinstance(index, ServerIndex):  # its words' counts are known by now
                forbidden.setattr(index, "_candidates", None)
            page = await index.search(query(seed), text, limit=9, lexical_weight=weight, filter=filter)
        assert page.total == parts.total
        assert [(hit.id, hit.payload) for hit in page.hits] == [(hit.id, hit.payload) for hit in parts.hits]
        for hit, part in zip(page.hits, parts.hits, strict=True):
            assert part.semantic is not None
            assert part.lexical is not None
            assert hit.score == pytest.approx(part.semantic + weight * part.lexical, abs=1e-5)


async def test_a_page_may_end_among_items_alike(index: ItemIndex) -> None:
    await index.upsert([item(str(i), seed=1, text="shoe") for i in range(30)])
    whole = ids((await index.search(query(0), "shoe", limit=30)).hits)
    for text in ("shoe", ""):
        pages = [(await index.search(query(0), text, limit=7, offset=offset)).hits for offset in range(0, 30, 7)]
        assert [hit.id for page in pages for hit in page] == whole


async def test_a_text_of_one_word_over_and_over(index: ItemIndex) -> None:
    """Its BM25 is more than that of a short text with all words of the query; it counts no more than the best."""
    await index.upsert([item("often", text="mug " * 30), item("once", text="mug"), item("none", text="lamp")])
    for explain in (True, False, False):
        found = (await index.search(query(0), "mug", limit=3, lexical_weight=100, explain=explain)).hits
        assert found[0].id == "often"
        assert 90 < found[0].score < 110


async def test_items_alike_keep_one_order(index: ItemIndex) -> None:
    items = [item(str(i), seed=1, text="shoe") for i in range(30)]
    await index.upsert(items)
    before = ids((await index.search(query(0), "shoe", limit=30)).hits)
    await index.upsert(items[::-1])
    assert ids((await index.search(query(0), "shoe", limit=30)).hits) == before


async def test_words_bring_in_what_vectors_leave_out(index: ItemIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item far from the query in meaning is a candidate by its words, with its true MaxSim."""
    monkeypatch.setattr(fusion, "CANDIDATES", 3)
    near = [IndexedItem(str(i), (query(0) + 0.01 * query(i))[None], "", {}) for i in range(1, 10)]
    far = IndexedItem("far", -query(0)[None], "424522-100", {})
    await index.upsert([*near, far])
    found = (await index.search(query(0), "424522-100", limit=2, lexical_weight=5, explain=True)).hits
    assert found[0].id == "far"
    assert found[0].semantic == pytest.approx(-1, abs=PRECISION)
    assert "far" not in ids((await index.search(query(0), "", limit=2)).hits)


@pytest.mark.parametrize(
    ("vector", "arguments", "message"),
    [
        (np.full(DIM, np.nan), {"limit": 1}, "NaN"),
        (np.ones(DIM + 1), {"limit": 1}, "shape"),
        (np.ones((1, 1, DIM)), {"limit": 1}, "shape"),
        (query(0), {"limit": -1}, "limit"),
        (query(0), {"limit": 1, "offset": -1}, "offset"),
        (query(0), {"limit": 1, "lexical_weight": -0.1}, "lexical_weight"),
        (query(0), {"limit": 1, "lexical_weight": float("nan")}, "lexical_weight"),
    ],
)
async def test_searches_that_cannot_be_answered_are_refused(
    index: ItemIndex, vector: np.ndarray, arguments: dict[str, float], message: str
) -> None:
    await index.upsert([item("a")])
    with pytest.raises(ValueError, match=message):
        await index.search(vector, "shoe", **arguments)  # type: ignore[arg-type]


async def test_pinned_items_come_first_in_their_order_on_every_page(index: ItemIndex) -> None:
    items = [item(f"sku-{i}", seed=i, text="mug") for i in range(30)]
    await index.upsert(items)
    plain = [hit.id for hit in (await index.search(query(1), "mug", limit=30)).hits]
    last, middle = plain[-1], plain[15]
    pinned = [last, "nobody", middle]
    expected = [last, middle, *(one for one in plain if one not in pinned)]
    pages = [await index.search(query(1), "mug", limit=7, offset=n, pinned=pinned) for n in range(0, 30, 7)]
    assert [hit.id for page in pages for hit in page.hits] == expected
    assert {page.total for page in pages} == {30}
    assert (await index.search(query(1), "mug", limit=1, pinned=pinned)).hits[0].id == last
    worst = plain[:-13:-1]
    assert ids((await index.search(query(1), "mug", limit=12, pinned=worst)).hits) == worst


async def test_pinned_items_keep_to_filters_but_not_to_floors(index: ItemIndex) -> None:
    size = key("keyword", "size")
    items = [item(f"sku-{i}", seed=i) for i in range(20)]
    sized = [dataclasses.replace(one, fields={"size": "ms"[i % 2]}) for i, one in enumerate(items)]
    await index.upsert(sized)
    plain = [hit.id for hit in (await index.search(query(1), "", limit=20)).hits]
    worst_of_m = next(one for one in reversed(plain) if int(one.removeprefix("sku-")) % 2 == 0)
    of_s = next(one for one in plain if int(one.removeprefix("sku-")) % 2)
    only_m: Condition = AnyOf(size, ("m",))
    found = await index.search(query(1), "", limit=20, pinned=[of_s, worst_of_m], filter=only_m)
    assert (found.hits[0].id, found.total) == (worst_of_m, 10)
    assert of_s not in ids(found.hits)
    floored = await index.search(query(1), "", limit=20, pinned=[worst_of_m], filter=only_m, relevance_floor=0.999)
    assert ids(floored.hits)[0] == worst_of_m
    assert floored.total == len(floored.hits) == 2
    of_groups = await index.search(query(1), "", limit=20, pinned=[worst_of_m], group_by=[size])
    assert ids(of_groups.hits)[0] == worst_of_m
    assert of_groups.total == 2

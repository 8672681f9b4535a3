"""What every index does with items: store, replace, list, delete, refuse."""

import asyncio
import dataclasses
from typing import Any

import numpy as np
import pytest

from retriever.index import ItemIndex, ModelMismatch
from tests.contract.conftest import OpenIndex
from tests.contract.helpers import DIM, PRECISION, item, query

pytestmark = pytest.mark.anyio

PAYLOAD: dict[str, Any] = {
    "title": "Größe 42 – 红色 👟 فستان",
    "price": 19.5,
    "whole": 7,
    "none": None,
    "empty": [],
    "category": ["Shoes", "Running"],
    "attributes": {"colour": "red", "nested": [{"a": 1.25}], "sold": True},
}


async def test_what_was_stored_comes_back(index: ItemIndex) -> None:
    await index.upsert([dataclasses.replace(item("a"), payload=PAYLOAD), item("b")])
    assert await index.get(["a", "nothing"]) == {"a": {**PAYLOAD, "id": "a"}}
    assert await index.get([]) == {}
    assert await index.count() == 2


@pytest.mark.parametrize("item_id", ["424522-100", "a/b?c#d", "红色 👗", " ", "x" * 200, "\u202eabc", "00", "0"])
async def test_any_string_is_an_id(index: ItemIndex, item_id: str) -> None:
    await index.upsert([item(item_id), item("another")])
    assert list(await index.get([item_id])) == [item_id]
    assert await index.delete([item_id]) == 1
    assert list(await index.get([item_id, "another"])) == ["another"]


async def test_the_same_id_again_replaces_everything(index: ItemIndex) -> None:
    await index.upsert([item("a", seed=1, text="old words", colour="red", old=True), item("b", seed=2)])
    new = item("a", seed=3, text="new shoes", colour="blue")
    await index.upsert([new])

    assert await index.get(["a"]) == {"a": {"id": "a", "colour": "blue"}}
    assert await index.count() == 2
    towards_new = new.tokens[0] / np.linalg.norm(new.tokens[0])
    best = (await index.search(towards_new, "", limit=1, explain=True)).hits[0]
    assert best.id == "a"
    assert best.semantic == pytest.approx((new.tokens @ towards_new).max(), abs=PRECISION)
    by_old_word = await index.search(query(0), "old", limit=2, explain=True)
    assert [hit.lexical for hit in by_old_word.hits] == [0, 0]


async def test_the_last_of_one_id_in_a_batch_wins(index: ItemIndex) -> None:
    await index.upsert([item("a", n=1), item("b", n=2), item("a", n=3)])
    assert await index.count() == 2
    assert (await index.get(["a"]))["a"]["n"] == 3


async def test_delete_says_how_many_were_there(index: ItemIndex) -> None:
    await index.upsert([item(str(i), text="shoe") for i in range(5)])
    assert await index.delete(["1", "2", "2", "nothing"]) == 2
    assert await index.delete(["1"]) == 0
    assert await index.delete([]) == 0
    assert await index.count() == 3
    found = await index.search(query(0), "shoe", limit=10)
    assert {hit.id for hit in found.hits} == {"0", "3", "4"}
    assert found.total == 3


async def test_scroll_lists_each_item_once(index: ItemIndex) -> None:
    await index.upsert([item(str(i), n=i) for i in range(25)])
    pages, cursor = [], None
    while True:
        page, cursor = await index.scroll(cursor, limit=10)
        pages.append(page)
        if cursor is None:
            break
    assert [len(page) for page in pages] == [10, 10, 5]
    listed = dict(pair for page in pages for pair in page)
    assert listed == {str(i): {"id": str(i), "n": i} for i in range(25)}
    assert (await index.scroll(None, limit=25))[1] is None


async def test_scroll_refuses_what_is_no_cursor(index: ItemIndex) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        await index.scroll("12; drop", limit=10)
    with pytest.raises(ValueError, match="limit"):
        await index.scroll(None, limit=0)


async def test_an_empty_index(index: ItemIndex) -> None:
    await index.ready()
    assert await index.count() == 0
    assert await index.scroll() == ([], None)
    assert await index.get(["a"]) == {}
    assert await index.delete(["a"]) == 0
    await index.upsert([])
    found = await index.search(query(0), "shoe", limit=10)
    assert (found.hits, found.total) == ([], 0)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (np.full((2, DIM), np.nan), "NaN"),
        (np.array([[1.0] * (DIM - 1) + [np.inf]]), "NaN or infinity"),
        (np.ones((2, DIM + 1)), rf"shape \(T, {DIM}\)"),
        (np.ones(DIM), "shape"),
        (np.ones((0, DIM)), "shape"),
    ],
)
async def test_tokens_that_cannot_be_searched_are_refused(index: ItemIndex, tokens: Any, message: str) -> None:
    bad = dataclasses.replace(item("bad"), tokens=tokens)
    with pytest.raises(ValueError, match=message) as caught:
        await index.upsert([item("good"), bad])
    assert "'bad'" in str(caught.value)
    assert await index.count() == 0, "a batch with a bad item writes nothing"


@pytest.mark.parametrize(
    "payload", [{"price": float("nan")}, {"when": object()}, {"text": "\ud800"}, {"id": "other"}, {"model_id": "x"}]
)
async def test_payloads_that_would_not_come_back_are_refused(index: ItemIndex, payload: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'bad'"):
        await index.upsert([dataclasses.replace(item("bad"), payload=payload)])
    assert await index.count() == 0


async def test_another_models_index_is_refused(open_engine: OpenIndex) -> None:
    index = await open_engine(model_id="model-a")
    await index.upsert([item("a")])
    with pytest.raises(ModelMismatch, match=r"model-a.*model-b.*Start with that model, .*(remove|delete)"):
        await open_engine(model_id="model-b")
    assert await index.count() == 1


async def test_single_writes_side_by_side(index: ItemIndex) -> None:
    await asyncio.gather(*(index.upsert([item(str(i), number=i)]) for i in range(30)))
    assert await index.count() == 30
    stored = await index.get([str(i) for i in range(30)])
    assert [stored[str(i)]["number"] for i in range(30)] == list(range(30))


async def test_writers_and_readers_at_once(index: ItemIndex) -> None:
    """Each writer replaces its own items over and over; whatever a reader sees is one whole version of an item."""
    rounds, writers, each = 6, 3, 8

    async def write(writer: int) -> None:
        for version in range(rounds):
            await index.upsert(
                [
                    item(f"{writer}-{i}", seed=version, text=f"shoe v{version}", a=version, b=version)
                    for i in range(each)
                ]
            )

    async def read(done: asyncio.Event) -> int:
        reads = 0
        while not done.is_set():
            found = await index.search(query(reads), "shoe", limit=50)
            assert all(hit.payload["a"] == hit.payload["b"] for hit in found.hits)
            assert len({hit.id for hit in found.hits}) == len(found.hits)
            reads += 1
            await asyncio.sleep(0)
        return reads

    done = asyncio.Event()
    readers = [asyncio.create_task(read(done)) for _ in range(2)]
    await asyncio.gather(*(write(writer) for writer in range(writers)))
    done.set()
    assert all(reads > 0 for reads in await asyncio.gather(*readers))

    assert await index.count() == writers * each
    stored = await index.get([f"{writer}-{i}" for writer in range(writers) for i in range(each)])
    assert {payload["a"] for payload in stored.values()} == {rounds - 1}

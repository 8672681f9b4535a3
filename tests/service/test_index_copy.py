"""Copying a catalogue into another model's index: only what changed, nothing twice, nobody's work undone."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient

from retriever import ItemInput, Retriever
from retriever.index import ItemIndex, Payload
from retriever.index.server import ServerIndex
from service.disk import Disk
from service.index_copy import IndexCopy, count_pictures
from service.media import MediaStore, PictureLimits, decode
from tests.service.helpers import picture_file

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def target(tiny_retriever: Retriever) -> ItemIndex:
    return await ServerIndex.open(
        AsyncQdrantClient(":memory:"), tiny_retriever.config.embed_dim, tiny_retriever.model_id
    )


class Counting:
    """The retriever, counting what it is asked to encode; breaks after so many."""

    def __init__(self, retriever: Retriever, breaks_after: int = 10**9) -> None:
        self.encoded, self._retriever, self._left = 0, retriever, breaks_after

    def encode_items(self, items: list[ItemInput]) -> Any:
        if self.encoded + len(items) > self._left:
            raise RuntimeError("killed")
        self.encoded += len(items)
        return self._retriever.encode_items(items)

    def encode_queries(self, texts: list[str]) -> Any:
        return self._retriever.encode_queries(texts)


def item(item_id: str, version: int = 1, title: str = "mug") -> Payload:
    return {
        **{"id": item_id, "title": f"{title} {item_id}", "description": "", "category": [], "price": None},
        **{"stock": None, "attributes": {}, "images": [], "version": version},
        **{"created_at": "2026-01-01T00:00:00.000+00:00", "updated_at": f"2026-01-0{version}T00:00:00.000+00:00"},
    }


async def source(items: list[Payload]) -> AsyncIterator[Payload]:
    for one in items:
        yield one


def make(target: ItemIndex, tmp_path: Path, retriever: Any) -> IndexCopy:
    return IndexCopy(target, MediaStore(tmp_path / "media"), Disk(tmp_path, 0), retriever)


async def titles(index: ItemIndex) -> dict[str, str]:
    return {payload["id"]: payload["title"] async for payload in index.every_item()}


async def test_a_pass_copies_what_changed_and_removes_what_is_gone(
    target: ItemIndex, tmp_path: Path, tiny_retriever: Retriever
) -> None:
    counting = Counting(tiny_retriever)
    copy = make(target, tmp_path, counting)
    assert await copy.begin() == 0
    shown: list[int] = []
    assert await copy.run(source([item(str(n)) for n in range(40)]), shown.append) == 40
    assert (counting.encoded, sum(shown)) == (40, 40)
    assert await copy.check(40, 0) is None
    assert await copy.check(45, 3) is None
    wrong = await copy.check(60, 3)
    assert wrong is not None
    assert "the old one 60" in wrong

    later = [item(str(n)) for n in range(1, 40)]
    later[6] = item("7", version=2, title="cup")
    assert await copy.run(source([*later, item("new")])) == 3
    assert counting.encoded == 42
    found = await titles(target)
    assert len(found) == 40
    assert (found["7"], found["new"], "0" in found) == ("cup 7", "mug new", False)
    assert await copy.run(source([*later, item("new")])) == 0


async def test_it_goes_on_where_it_was_killed(target: ItemIndex, tmp_path: Path, tiny_retriever: Retriever) -> None:
    items = [item(str(n)) for n in range(40)]
    with pytest.raises(RuntimeError, match="killed"):
        await make(target, tmp_path, Counting(tiny_retriever, breaks_after=20)).run(source(items))
    counting = Counting(tiny_retriever)
    again = make(target, tmp_path, counting)
    assert await again.begin() == 16
    await again.run(source(items))
    assert counting.encoded == 24
    assert await target.count() == 40


async def test_what_others_wrote_into_the_new_index_stays(
    target: ItemIndex, tmp_path: Path, tiny_retriever: Retriever
) -> None:
    """On a server, other processes have moved on already, while the last writes to the old index are copied."""
    copy = make(target, tmp_path, tiny_retriever)
    await copy.run(source([item("a"), item("b"), item("c")]))
    elsewhere = make(target, tmp_path, tiny_retriever)
    await elsewhere.begin()
    await elsewhere.run(source([item("a", 3, "newest"), item("b", 3, "newest"), item("c")]))
    await copy.run(source([item("a", 2, "late"), item("c", 2, "late")]))
    assert await titles(target) == {"a": "newest a", "b": "newest b", "c": "late c"}


async def test_an_index_that_does_not_find_its_items_is_refused(
    target: ItemIndex, tmp_path: Path, tiny_retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = make(target, tmp_path, tiny_retriever)
    await copy.run(source([item(str(n), title=f"mug{n}") for n in range(30)]))
    assert await copy.check(30, 0) is None
    search = target.search

    async def others(query: Any, text: str, *, limit: int) -> Any:
        return await search(query, "", limit=1)

    monkeypatch.setattr(target, "search", others)
    wrong = await copy.check(30, 0)
    assert wrong is not None
    assert "own words" in wrong
    monkeypatch.undo()
    await target.delete(["3"])
    wrong = await copy.check(30, 0)
    assert wrong is not None
    assert "29 items" in wrong


async def test_a_picture_that_is_lost_is_left_out_and_one_that_cannot_be_read_stops_it(
    target: ItemIndex, tmp_path: Path, tiny_retriever: Retriever
) -> None:
    media = MediaStore(tmp_path / "media")
    picture = decode(io.BytesIO(picture_file()), PictureLimits(10**6, 64, 10**6))
    whole, gone, damaged, unreadable = media.save("a", [picture] * 4)
    media.path(gone).unlink()
    media.path(damaged).write_bytes(picture.jpeg[:200])
    payload = item("a") | {"images": [{"file": name} for name in (whole, gone, damaged)]}
    copy = make(target, tmp_path, tiny_retriever)
    assert await count_pictures(source([payload, item("b")]), media) == (3, 1)
    assert await copy.run(source([payload])) == 1
    assert (await target.tokens(["a"]))["a"].shape[0] == tiny_retriever.config.num_query_tokens

    media.path(unreadable).unlink()
    media.path(unreadable).mkdir()
    with pytest.raises(IsADirectoryError):
        await copy.run(source([payload, item("c") | {"images": [{"file": unreadable}]}]))
    assert (await titles(target)).keys() == {"a"}

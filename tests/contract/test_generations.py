"""Indexes of several models side by side, on every engine: one serves, and another takes its place in one step."""

import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from qdrant_client import AsyncQdrantClient

from retriever.index import IndexUnavailable, ItemIndex, ModelMismatch, open_index
from retriever.index.generations import EdgeGenerations, Generation, Generations
from retriever.index.server import ServerIndex, connect
from retriever.index.server_generations import ServerGenerations
from tests.contract.helpers import DIM, item

pytestmark = pytest.mark.anyio

A = Generation("model-a", "runs/a", DIM)
B = A.followed_by("model-b", "runs/b", 8)


class Place:
    """A catalogue's indexes, and how a service opens the one that serves."""

    def __init__(self, folder: Path, client: AsyncQdrantClient | None) -> None:
        self._folder, self._client, self.alias = folder, client, f"contract-{uuid.uuid4().hex}"
        self.generations: Generations = EdgeGenerations(folder / "index")
        if client is not None:
            self.generations = ServerGenerations(lambda: client, alias=self.alias)

    async def serve(self, model_id: str, dim: int = DIM) -> ItemIndex:
        if self._client is None:
            return await open_index(data_dir=self._folder, dim=dim, model_id=model_id)
        return await ServerIndex.open(self._client, dim, model_id, self.alias)

    async def let_go(self, index: ItemIndex) -> None:
        if self._client is None:
            await index.close()


@pytest.fixture
async def place(engine: str, tmp_path: Path) -> AsyncIterator[Place]:
    client = None
    if engine == "memory":
        client = AsyncQdrantClient(":memory:")
    elif engine == "server":
        client = connect(os.environ["QDRANT_URL"], os.environ.get("QDRANT_API_KEY"))
    place = Place(tmp_path, client)
    yield place
    if client is not None:
        for collection in (await client.get_collections()).collections:
            if collection.name.startswith(place.alias):
                await client.delete_collection(collection.name)
        await client.close()


async def test_one_takes_over_and_the_old_one_is_kept(place: Place) -> None:
    assert await place.generations.current() is None
    old = await place.serve("model-a")
    await old.upsert([item("x", n=1)])
    await place.generations.promote(A)
    assert await place.generations.current() == A

    new = await place.generations.open("model-b", 8)
    assert await new.count() == 0
    assert await place.generations.current() == A, "opened beside it, and no more"
    with pytest.raises(ModelMismatch, match="reindex"):
        await place.serve("model-b", 8)
    await place.let_go(new)
    await place.generations.promote(B)
    assert await place.generations.current() == B
    await place.let_go(old)

    with pytest.raises(ModelMismatch, match="model-b"):
        await place.serve("model-a")
    kept = await place.generations.open("model-a", DIM)
    assert await kept.get(["x"]) == {"x": {"id": "x", "n": 1}}
    await place.let_go(kept)

    back = B.followed_by("model-a", "runs/a", DIM)
    await place.generations.promote(back)
    assert await place.generations.current() == back
    again = await place.serve("model-a")
    assert await again.count() == 1
    await place.let_go(again)


async def test_a_service_that_begins_while_a_new_index_is_made_takes_the_old_one(place: Place) -> None:
    await place.let_go(await place.serve("model-a"))
    await place.generations.promote(A)
    await place.let_go(await place.generations.open("model-b", 8))
    with pytest.raises(ModelMismatch, match="model-a"):
        await place.serve("model-b", 8)
    again = await place.serve("model-a")
    await again.ready()
    await place.let_go(again)


async def test_an_index_that_was_removed_by_hand_serves_no_more(tmp_path: Path) -> None:
    generations = EdgeGenerations(tmp_path / "index")
    await (await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")).close()
    await generations.promote(A)
    await (await generations.open("model-b", 8)).close()
    (tmp_path / "index" / "model-a").rename(tmp_path / "away")
    with pytest.raises(ModelMismatch, match="model-b"):
        await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    (tmp_path / "index" / "model-b").rename(tmp_path / "away-too")
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    assert await index.count() == 0
    await index.close()


async def test_of_several_indexes_none_serves_by_guess(tmp_path: Path) -> None:
    """The one before lacks what was written since; served again, it would be taken for the catalogue."""
    generations = EdgeGenerations(tmp_path / "index")
    await (await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")).close()
    await generations.promote(A)
    await (await generations.open("model-b", 8)).close()
    await generations.promote(B)
    (tmp_path / "index" / "current.json").unlink()
    for model_id, dim in (("model-a", DIM), ("model-b", 8)):
        with pytest.raises(IndexUnavailable, match=r"model-a, model-b.*Move all but the one that served last"):
            await open_index(data_dir=tmp_path, dim=dim, model_id=model_id)
    (tmp_path / "index" / "model-a").rename(tmp_path / "away")
    await (await open_index(data_dir=tmp_path, dim=8, model_id="model-b")).close()


async def test_a_note_is_left_answered_and_taken_away(tmp_path: Path) -> None:
    generations = EdgeGenerations(tmp_path)
    assert await generations.asked() is None
    await generations.ask(B)
    assert await generations.asked() == (B, None)
    await generations.answer("no such model")
    assert await generations.asked() == (B, "no such model")
    await generations.answer()
    await generations.answer()
    assert await generations.asked() is None


@pytest.mark.parametrize("content", ["", "[]", "{}"])
async def test_a_damaged_pointer_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "index" / "model-a").mkdir(parents=True)
    (tmp_path / "index" / "current.json").write_text(content)
    with pytest.raises(IndexUnavailable, match=r"current\.json is damaged: .* Remove that file"):
        await EdgeGenerations(tmp_path / "index").current()
    with pytest.raises(IndexUnavailable, match=r"current\.json is damaged: .* Remove that file"):
        await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")

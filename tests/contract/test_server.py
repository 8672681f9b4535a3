"""What the server's adapter adds to the contract: collections behind an alias, and a server that is away."""

import asyncio
import dataclasses
import socket
import time
from typing import Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, models

from retriever.index import FilterError, IndexUnavailable, ModelMismatch
from retriever.index.fields import WORDS_KEY, Kind, key
from retriever.index.filters import parse
from retriever.index.listing import order_of
from retriever.index.server import ServerIndex, connect
from retriever.index.server_generations import ServerGenerations
from tests.contract.helpers import DIM, item

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client() -> AsyncQdrantClient:
    return AsyncQdrantClient(":memory:")


async def aliases(client: AsyncQdrantClient) -> dict[str, str]:
    return {one.alias_name: one.collection_name for one in (await client.get_aliases()).aliases}


async def test_a_collection_named_by_the_model_behind_the_alias(client: AsyncQdrantClient) -> None:
    await ServerIndex.open(client, DIM, "model-a")
    assert await aliases(client) == {"items": "items-model-a"}
    described = (await client.get_collection("items-model-a")).config.params
    assert isinstance(described.vectors, dict)
    assert described.vectors["dense"].hnsw_config is None, "the server's own HNSW"
    assert described.vectors["tokens"].hnsw_config == models.HnswConfigDiff(m=0), "rescoring needs no graph"
    assert described.sparse_vectors is not None
    assert described.sparse_vectors["lexical"].modifier == models.Modifier.IDF


async def test_opening_again_finds_the_items(client: AsyncQdrantClient) -> None:
    await (await ServerIndex.open(client, DIM, "model-a")).upsert([item("a", n=1)])
    again = await ServerIndex.open(client, DIM, "model-a")
    assert await again.get(["a"]) == {"a": {"id": "a", "n": 1}}


async def test_what_a_start_cut_short_left_out_the_next_one_makes(
    client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    create = client.create_payload_index

    async def cut_short(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError

    async def counted(collection: str, name: str, *args: Any, **kwargs: Any) -> Any:
        made.append(name)
        return await create(collection, name, *args, **kwargs)

    monkeypatch.setattr(client, "create_payload_index", cut_short)
    with pytest.raises(IndexUnavailable):
        await ServerIndex.open(client, DIM, "model-a")
    monkeypatch.setattr(client, "create_payload_index", counted)
    await ServerIndex.open(client, DIM, "model-a")
    assert made == [WORDS_KEY]


async def test_a_collection_that_lost_its_alias_gets_it_back(client: AsyncQdrantClient) -> None:
    await (await ServerIndex.open(client, DIM, "model-a")).upsert([item("a")])
    gone = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="items"))
    await client.update_collection_aliases([gone])
    again = await ServerIndex.open(client, DIM, "model-a")
    assert await again.count() == 1
    assert await aliases(client) == {"items": "items-model-a"}


async def test_another_models_alias_leaves_the_server_as_it_was(client: AsyncQdrantClient) -> None:
    await ServerIndex.open(client, DIM, "model-a")
    with pytest.raises(ModelMismatch, match="items-model-a"):
        await ServerIndex.open(client, DIM, "model-b")
    assert await aliases(client) == {"items": "items-model-a"}
    assert not await client.collection_exists("items-model-b")


async def test_a_collection_that_went_away_is_not_ready(client: AsyncQdrantClient) -> None:
    index = await ServerIndex.open(client, DIM, "model-a")
    await index.ready()
    await client.delete_collection("items-model-a")
    with pytest.raises(IndexUnavailable, match="items-model-a"):
        await index.ready()


async def test_a_field_that_another_process_brought_is_known_once_it_is_asked_for(
    client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = [await ServerIndex.open(client, DIM, "model-a") for _ in range(2)]
    reads = 0

    async def read() -> dict[str, set[Kind]]:  # the client's local mode keeps no list of fields
        nonlocal reads
        reads += 1
        return await one._read_fields()

    monkeypatch.setattr(other._fields, "_read", read)
    await one.upsert([dataclasses.replace(item("a"), fields={"brand": "Kiln"})])
    brand = await other.with_fields(lambda fields: parse({"and": [{"attributes.brand": "kiln"}]}, fields))
    await one.upsert([dataclasses.replace(item("b"), fields={"brand": 7, "rating": 4.5})])
    rating = await other.with_fields(lambda fields: order_of("rating", fields, "sort", descending=True))
    await one.upsert([dataclasses.replace(item("c"), fields={"rating": "good"})])
    worded = await other.with_fields(lambda fields: parse({"rating": "good"}, fields))  # a kind that it had not
    assert (await other.count(brand), rating.key, await other.count(worded)) == (1, key("number", "rating"), 1)
    await other.with_fields(lambda fields: parse({"or": [{"brand": 7}, {"rating": 4.5}]}, fields))
    assert reads == 3, "what is known is not read again"
    with pytest.raises(FilterError, match="nope"):
        await other.facets(["nope"])


async def test_numbers_that_another_process_brought_a_field_of_words_are_soon_known(
    client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = [await ServerIndex.open(client, DIM, "model-a") for _ in range(2)]
    clock, seconds = time.monotonic, 0.0
    monkeypatch.setattr(other._fields, "_read", one._read_fields)  # the client's local mode keeps no list of fields
    monkeypatch.setattr(time, "monotonic", lambda: clock() + seconds)
    await one.upsert([dataclasses.replace(item("a"), fields={"size": "L"})])
    assert (await other.facets(["size"]))["size"].high is None
    await one.upsert([dataclasses.replace(item("b"), fields={"size": 42})])
    seconds = 5
    assert (await other.facets(["size"]))["size"].high == 42


async def test_a_first_page_is_ranked_while_the_items_are_counted(
    client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may be far away: two questions that do not depend on each other cost one journey."""
    index = await ServerIndex.open(client, DIM, "model-a")
    await index.upsert([item("a"), item("b")])
    asked = asyncio.Event()
    count, search = client.count, client.query_batch_points

    async def count_once_asked(*args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(10):
            await asked.wait()
        return await count(*args, **kwargs)

    async def ask(*args: Any, **kwargs: Any) -> Any:
        asked.set()
        return await search(*args, **kwargs)

    monkeypatch.setattr(client, "count", count_once_asked)
    monkeypatch.setattr(client, "query_batch_points", ask)
    result = await index.search(np.eye(DIM)[0], "", limit=10)
    assert (len(result.hits), result.total) == (2, 2)


async def test_a_first_page_takes_one_request_beside_the_counts(
    client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Candidates, MaxSim, the words' share and the payloads."""
    index = await ServerIndex.open(client, DIM, "model-a")
    described = "red mug " + " ".join(f"word{i}" for i in range(40))  # of two words, each would count for more
    await index.upsert([item("a", text=described, n=1), item("b", text="lamp", n=2)])
    await index.search(np.eye(DIM)[0], "red mug", limit=1)  # how many items have a word is kept
    calls = []
    for name in ("count", "query_batch_points", "retrieve", "query_points", "scroll"):

        def counted(call: Any, name: str) -> Any:
            async def ask(*args: Any, **kwargs: Any) -> Any:
                calls.append(name)
                return await call(*args, **kwargs)

            return ask

        monkeypatch.setattr(client, name, counted(getattr(client, name), name))
    found = await index.search(np.eye(DIM)[1], "red mug", limit=1, lexical_weight=50)
    assert (found.hits[0].payload, found.total) == ({"id": "a", "n": 1}, 2)
    assert sorted(calls) == ["count", "query_batch_points"]


async def test_a_server_that_is_away() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: the port refuses
        port = nobody.getsockname()[1]
        generations = ServerGenerations(lambda: connect(f"http://127.0.0.1:{port}", None))
        with pytest.raises(IndexUnavailable, match="Qdrant server"):
            await generations.open("m", DIM)
        await generations.close()

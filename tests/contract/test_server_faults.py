"""A Qdrant server that is down, slow, or restarts: a clear error soon, and all is well again by itself.

The server is gRPC's own, over TCP, with the few calls that these tests make.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc  # type: ignore[import-untyped]
import pytest
from qdrant_client import grpc as qdrant
from qdrant_client.grpc.collections_service_pb2_grpc import CollectionsServicer, add_CollectionsServicer_to_server
from qdrant_client.grpc.points_service_pb2_grpc import PointsServicer, add_PointsServicer_to_server

from retriever.index import IndexUnavailable, server
from retriever.index.fields import WORDS_KEY
from retriever.index.server import ServerIndex, connect
from tests.contract.helpers import DIM, item

pytestmark = pytest.mark.anyio

ITEMS = 7
CONFIG = qdrant.CollectionConfig(  # a server's own; the client reads no collection without
    params=qdrant.CollectionParams(shard_number=1),
    hnsw_config=qdrant.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10_000),
    optimizer_config=qdrant.OptimizersConfigDiff(
        deleted_threshold=0.2, vacuum_min_vector_number=1000, default_segment_number=0, flush_interval_sec=5
    ),
    wal_config=qdrant.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
)


class Qdrant(CollectionsServicer, PointsServicer):  # type: ignore[misc]
    """A server with one collection; `seconds` is how long each answer takes."""

    def __init__(self) -> None:
        self.seconds, self.port = 0.0, 0
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """On the same port each time."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_CollectionsServicer_to_server(self, self._server)
        add_PointsServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        assert self._server is not None
        await self._server.stop(None)

    async def ListAliases(self, request: object, context: object) -> object:
        await asyncio.sleep(self.seconds)
        alias = qdrant.AliasDescription(alias_name="items", collection_name="items-model-a")
        return qdrant.ListAliasesResponse(aliases=[alias])

    async def CollectionExists(self, request: object, context: object) -> object:
        await asyncio.sleep(self.seconds)
        return qdrant.CollectionExistsResponse(result=qdrant.CollectionExists(exists=True))

    async def Get(self, request: object, context: object) -> object:
        words = qdrant.PayloadSchemaInfo(data_type=qdrant.PayloadSchemaType.Integer)
        described = qdrant.CollectionInfo(status=qdrant.Green, config=CONFIG, payload_schema={WORDS_KEY: words})
        return qdrant.GetCollectionInfoResponse(result=described)

    async def Count(self, request: object, context: object) -> object:
        await asyncio.sleep(self.seconds)
        return qdrant.CountResponse(result=qdrant.CountResult(count=ITEMS))

    async def Upsert(self, request: object, context: grpc.aio.ServicerContext) -> object:
        await context.abort(grpc.StatusCode.INTERNAL, "No space left on device")
        raise AssertionError


@pytest.fixture
async def fake() -> AsyncIterator[Qdrant]:
    fake = Qdrant()
    await fake.start()
    yield fake
    await fake.stop()
    # gRPC has one queue for all event loops of a process: what is left in it would find its loop closed.
    await asyncio.sleep(0.2)


@pytest.fixture
async def index(fake: Qdrant, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ServerIndex]:
    monkeypatch.setattr(server, "_TIMEOUT", 1)
    client = connect("http://127.0.0.1:1", None, grpc_port=fake.port)
    index = await ServerIndex.open(client, DIM, "model-a")
    yield index
    await index.close()


async def test_down_and_up_again(fake: Qdrant, index: ServerIndex) -> None:
    assert await index.count() == ITEMS
    await fake.stop()
    for call in (index.ready(), index.count(), index.get(["a"]), index.fields()):
        with pytest.raises(IndexUnavailable, match="Qdrant server: unavailable"):
            await call
    await fake.start()
    async with asyncio.timeout(60):
        while True:
            try:
                await index.ready()
                break
            except IndexUnavailable:
                await asyncio.sleep(0.05)
    assert await index.count() == ITEMS


async def test_slow_is_not_ready_and_a_call_ends(fake: Qdrant, index: ServerIndex) -> None:
    fake.seconds = 5
    for call in (index.ready(), index.count()):
        with pytest.raises(IndexUnavailable, match="deadline"):
            await call
    fake.seconds = 0
    await index.ready()
    assert await index.count() == ITEMS


async def test_a_server_whose_disk_is_full_says_so(
    fake: Qdrant, index: ServerIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def known() -> dict[str, set[str]]:
        return {}

    monkeypatch.setattr(index._fields, "_read", known)
    with pytest.raises(IndexUnavailable, match="No space left"):
        await index.upsert([item("a")])
    await index.ready()

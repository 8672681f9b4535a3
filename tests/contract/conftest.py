"""One contract for every engine: embedded, the client's `:memory:` mode, and a server when `QDRANT_URL` names one."""

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from qdrant_client import AsyncQdrantClient

from retriever.index import ItemIndex, open_index
from retriever.index.server import ServerIndex, connect
from tests.contract.helpers import DIM

ENGINES = ["edge", "memory", *(["server"] if os.environ.get("QDRANT_URL") else [])]

OpenIndex = Callable[..., Awaitable[ItemIndex]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def open_engine(engine: str, tmp_path: Path) -> AsyncIterator[OpenIndex]:
    """Opens the same store again and again, under the model that the test says. Closes what was opened."""
    opened: list[ItemIndex] = []
    if engine == "edge":

        async def open_one(model_id: str = "model-a", dim: int = DIM) -> ItemIndex:
            opened.append(await open_index(data_dir=tmp_path, dim=dim, model_id=model_id))
            return opened[-1]

        yield open_one
    else:
        # A server may be in use: an alias of the test's own, and nothing else is touched.
        alias = f"contract-{uuid.uuid4().hex}"
        if engine == "memory":
            client = AsyncQdrantClient(":memory:")
        else:
            client = connect(os.environ["QDRANT_URL"], os.environ.get("QDRANT_API_KEY"))

        async def open_one(model_id: str = "model-a", dim: int = DIM) -> ItemIndex:
            return await ServerIndex.open(client, dim, model_id, alias=alias)

        yield open_one
        for collection in (await client.get_collections()).collections:
            if collection.name.startswith(alias):
                await client.delete_collection(collection.name)
        await client.close()
    for index in opened:
        await index.close()


@pytest.fixture
async def index(open_engine: OpenIndex) -> ItemIndex:
    return await open_engine()

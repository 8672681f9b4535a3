"""A whole service in this process: a tiny model with random weights, a real embedded index, a folder of its own."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from qdrant_client import AsyncQdrantClient

from retriever.index import server
from service import services
from service.app import create_app
from service.encoder import Encoder
from service.settings import Settings
from tests.service import openapi
from tests.service.helpers import MUGS, picture_file, post_item


@pytest.fixture(autouse=True)
def _calls_are_held_against_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    openapi.install(monkeypatch)


@pytest.fixture(autouse=True)
def _nothing_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service collects and freezes all objects of its process at its start: here, those of a thousand tests."""

    async def wait(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(services, "freeze_learned", wait)


@pytest.fixture
def settings(tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("QDRANT_URL", "QDRANT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Settings(data_dir=tmp_path / "data", model=str(tiny_checkpoint), device="cpu")


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items the model was asked to encode, call by call."""
    calls: list[int] = []
    encode = Encoder.encode_items

    async def counted(self: Encoder, items: Any) -> Any:
        calls.append(len(items))
        return await encode(self, items)

    monkeypatch.setattr(Encoder, "encode_items", counted)
    return calls


@pytest.fixture
def memory_server(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a Qdrant server: the client's `:memory:` mode, which outlives the connections to it."""
    client = AsyncQdrantClient(":memory:")

    async def stays() -> None:
        pass

    monkeypatch.setattr(client, "close", stays)
    monkeypatch.setattr(server, "connect", lambda url, api_key: client)
    return "http://memory"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A command of the service's, in the environment of a service with these settings."""

    def run(main: Callable[[list[str]], int], settings: Settings, *arguments: str) -> int:
        monkeypatch.setenv("SEARCH_DATA_DIR", str(settings.data_dir))
        monkeypatch.setenv("SEARCH_MODEL", settings.model)
        monkeypatch.setenv("SEARCH_DEVICE", "cpu")
        monkeypatch.setenv("QDRANT_URL", settings.qdrant_url or "")
        monkeypatch.setattr(os, "nice", lambda more: more)
        return main([*arguments, "--quiet"])

    return run


@pytest.fixture
def mugs(client: TestClient) -> TestClient:
    for n, product in enumerate(MUGS):
        fields = {name: value for name, value in product.items() if name not in ("id", "brand")}
        if brand := product.get("brand"):
            fields["attributes"] = f'{{"brand": "{brand}", "line": "A{n % 2}"}}'
        assert post_item(client, str(product["id"]), picture_file((60 * n, 0, 0)), **fields).status_code == 201
    return client

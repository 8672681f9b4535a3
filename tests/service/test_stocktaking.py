"""What is learned of the stored items at the start, while others are written."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from retriever.index.listing import Listing
from service.app import create_app
from service.settings import Settings
from tests.service.helpers import post_item


def test_what_is_written_while_stock_is_taken_counts_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(settings)) as client:
        for item_id, title in {
            "kept": "red mug",
            "changed": "blue mug",
            "gone": "pink mug",
            "twin": "pink mug",
        }.items():
            post_item(client, item_id, title=title)
    go = asyncio.Event()
    every_item = Listing.every_item

    async def held(self: Any) -> AsyncIterator[Any]:
        await go.wait()
        async for payload in every_item(self):
            yield payload

    monkeypatch.setattr(Listing, "every_item", held)
    with caplog.at_level("INFO"), TestClient(create_app(settings)) as client:

        def suggested() -> set[str]:
            return {one["text"] for one in client.get("/suggest?q=mug").json()["suggestions"]}

        client.patch("/items/changed", json={"title": "green mug"})
        client.delete("/items/gone")
        post_item(client, "new", title="white mug")
        client.portal.call(go.set)  # type: ignore[union-attr]
        deadline = time.monotonic() + 60
        while "learned from" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert suggested() == {"red mug", "green mug", "pink mug", "white mug"}
        for item_id in ("changed", "twin", "new"):
            client.delete(f"/items/{item_id}")
        assert suggested() == {"red mug"}

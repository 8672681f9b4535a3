"""What is learned of the stored items at the start, while others are written."""

import asyncio
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from retriever.index import IndexUnavailable
from retriever.index.listing import Listing
from service.app import create_app
from service.catalogue_scan import CatalogueScan
from service.lexicon import Lexicon
from service.media import MediaStore, PictureLimits, decode
from service.settings import Settings
from tests.service.helpers import picture_file, post_item


def take_stock(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    with caplog.at_level("INFO"), TestClient(create_app(settings)):
        deadline = time.monotonic() + 60
        while "pictures that a crash left" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_pictures_that_are_gone_are_told_at_the_start(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(create_app(settings)) as client:
        for n in range(3):
            post_item(client, str(n), picture_file("red"), title="red mug")
    take_stock(settings, caplog)
    assert "are not in" not in caplog.text
    next((settings.data_dir / "media").rglob("*.jpg")).write_bytes(b"")
    take_stock(settings, caplog)
    assert "1 of 3 pictures are not in" in caplog.text
    (settings.data_dir / "media").rename(settings.data_dir / "away")
    take_stock(settings, caplog)
    assert "3 of 3 pictures are not in" in caplog.text


def test_pictures_that_are_replaced_meanwhile_are_not_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    media = MediaStore(tmp_path)
    stock = CatalogueScan(Lexicon())
    picture = decode(io.BytesIO(picture_file()), PictureLimits(10**6, 64, 10**6))
    (old,) = media.save("a", [picture])
    stored = {"id": "a", "title": "mug", "description": "", "attributes": {}, "category": [], "images": [{"file": old}]}

    class Index:
        async def every_item(self) -> AsyncIterator[Any]:
            yield stored
            stock.before_write("a", stored)
            media.keep_only("a", media.save("a", [picture]))

    asyncio.run(stock.run(Index(), media))  # type: ignore[arg-type]
    assert "pictures that a crash left" in caplog.text
    assert "are not in" not in caplog.text


def test_an_index_that_fails_for_a_moment_leaves_no_item_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.catalogue_scan._AGAIN", 0.0)
    lexicon, failures = Lexicon(), iter([IndexUnavailable("gone")] * 2)
    scan = CatalogueScan(lexicon)
    first, second = (
        {"id": title, "title": title, "description": "", "attributes": {}, "category": [], "images": []}
        for title in ("mug", "tray")
    )

    class Index:
        async def every_item(self) -> AsyncIterator[Any]:
            yield first
            if failure := next(failures, None):
                raise failure
            yield second

    asyncio.run(scan.run(Index(), None))  # type: ignore[arg-type]
    assert [one.text for typed in ("mug", "tray") for one in lexicon.suggest(typed, 5)] == ["mug", "tray"]
    lexicon.forget(first)
    assert lexicon.suggest("mug", 5) == [], "it was learned once"


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
    caplog.clear()  # of what the first start has said
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

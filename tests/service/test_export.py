"""`GET /export`: what comes out is read again whole, and each item is as one moment had it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.export import Exported, Origin, OtherFolder, from_lines, to_lines
from tests.service.helpers import picture_file, post_item


def test_an_export_is_read_from_parts_of_any_size_and_must_be_whole() -> None:
    payload = {"id": "a", "title": "lines\u2028that \x85 are\x0bnone\n", "images": []}
    tokens = np.arange(6, dtype=np.float32).reshape(2, 3)

    async def items() -> AsyncIterator[Exported]:
        yield Exported(payload, tokens, [b"\n\n", None])
        yield Exported(payload)

    async def read(text: bytes, size: int, model: str = "model", folder: str | None = None) -> list[Exported]:
        async def parts() -> AsyncIterator[bytes]:
            for begin in range(0, len(text), size):
                yield text[begin : begin + size]

        return [item async for item in from_lines(Origin(model, folder), parts())]

    async def written() -> bytes:
        return b"".join([line async for line in to_lines(Origin("model", "mine"), items(), lambda: False)])

    text = asyncio.run(written())
    for size in (1, 7, len(text)):
        first, second = asyncio.run(read(text, size))
        assert (first.payload, first.pictures, second) == (payload, [b"\n\n", None], Exported(payload))
        np.testing.assert_array_equal(first.tokens, tokens)  # type: ignore[arg-type]
    for cut in (text[: text.rindex(b'{"end"')], text[: len(text) // 2], b"", text.replace(b'"end":2', b'"end":3')):
        with pytest.raises(ValueError, match=r"broke off|unexpected|EOF"):
            asyncio.run(read(cut, 50))
    with pytest.raises(ValueError, match="not other"):
        asyncio.run(read(text, 50, "other"))
    with pytest.raises(OtherFolder):
        asyncio.run(read(text, 50, "model", "other"))
    with pytest.raises(ValueError, match="UTF-8"):
        asyncio.run(read("no export".encode("utf-16"), 50))


def test_an_item_that_changes_while_it_is_read_is_exported_as_one_moment_had_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_item(client, "a", picture_file("red"), title="first")
    services = client.app.state.services  # type: ignore[attr-defined]
    tokens = services.index.tokens
    writes = iter(["second", "third"])

    async def meanwhile(ids: Any) -> Any:
        found = await tokens(ids)
        if title := next(writes, None):
            await asyncio.to_thread(post_item, client, "a", picture_file("blue"), title=title)
        return found

    monkeypatch.setattr(services.index, "tokens", meanwhile)
    lines = [json.loads(line) for line in client.get("/export?whole=true").text.splitlines()]
    assert [line["item"]["title"] for line in lines[1:-1]] == ["third"]
    assert lines[1]["pictures"][0] is not None
    assert lines[-1] == {"end": 1}
    assert "tokens" not in client.get("/export").text

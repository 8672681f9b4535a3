"""What several tests of whole lives do: fill a shop, read it back, and look at its vectors."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import retriever
from retriever import ItemInput, item_text
from retriever.index import open_index
from service.media import MediaStore

NDJSON = {"Content-Type": "application/x-ndjson"}


def send(client: httpx.Client, *items: tuple[str, str, list[bytes]]) -> None:
    """Items of id, title and pictures, in one bulk request."""
    lines = [
        json.dumps({"id": item_id, "title": title, "images": [base64.b64encode(one).decode() for one in pictures]})
        for item_id, title, pictures in items
    ]
    answer = client.post("/items/bulk", content="\n".join(lines), headers=NDJSON)
    assert all(json.loads(line)["status"] in (200, 201) for line in answer.text.splitlines()), answer.text


def stored(client: httpx.Client) -> dict[str, Any]:
    """Every item that the service lists."""
    items: dict[str, Any] = {}
    cursor = None
    while True:
        page = client.get("/items", params={"limit": 100} | ({"cursor": cursor} if cursor else {})).json()
        items |= {item["id"]: item for item in page["items"]}
        if (cursor := page["next_cursor"]) is None:
            assert page["total"] == len(items)
            return items


async def check_vectors(data_dir: Path, checkpoint: Path) -> int:
    """Asserts that every stored item's vectors are those of its own words and pictures; returns how many there are."""
    model = retriever.load(checkpoint)
    media = MediaStore(data_dir / "media")
    index = await open_index(data_dir=data_dir, dim=model.config.embed_dim, model_id=model.model_id)
    try:
        count = 0
        async for payload in index.every_item():
            count += 1
            text = item_text(payload["title"], payload["description"], payload["category"], payload["attributes"])
            pictures = [media.load(image["file"]) for image in payload["images"]]
            inputs = [ItemInput(picture, text or None) for picture in pictures] or [ItemInput(text=text)]
            expected = np.concatenate(model.encode_items(inputs))
            found = (await index.tokens([payload["id"]]))[payload["id"]]
            np.testing.assert_allclose(found, expected, atol=1e-2)  # tokens are stored in eight bits
        return count
    finally:
        await index.close()

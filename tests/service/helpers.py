"""What several test files send to the service."""

import io
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image


def picture_file(
    colour: Any = "red", size: tuple[int, int] = (60, 40), file_format: str = "PNG", mode: str = "RGB", **save: Any
) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, file_format, **save)
    return buffer.getvalue()


def post_item(client: TestClient, item_id: str, *pictures: bytes, **fields: Any) -> Any:
    """POST /items as multipart, whether there are pictures or not."""
    parts: list[tuple[str, Any]] = [("id", (None, item_id))]
    for name, value in fields.items():
        parts += [(name, (None, str(one))) for one in (value if isinstance(value, list) else [value])]
    parts += [("image", (f"{n}.png", content)) for n, content in enumerate(pictures)]
    return client.post("/items", files=parts)

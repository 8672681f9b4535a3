"""What several test files send to the service."""

import io
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image

MUGS = [
    {"id": "mug-1", "title": "Stoneware mug", "category": "Home > Kitchen", "price": 12, "brand": "Kiln"},
    {"id": "mug-2", "title": "Enamel mug", "category": "Home > Kitchen", "price": 8, "brand": "Nord", "stock": 0},
    {"id": "mug-3", "title": "Travel mug of steel", "category": "Outdoor", "price": 20, "brand": "Nord", "stock": 4},
    {"id": "lamp", "title": "Desk lamp", "description": "A lamp, not a mug.", "category": "Home", "price": 40},
]


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

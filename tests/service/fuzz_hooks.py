"""What schemathesis does not know by itself: lines of JSON, and what a picture is."""

import io
import json
from typing import Any

import schemathesis
from PIL import Image
from schemathesis.generation import GenerationMode
from schemathesis.transport import SerializationContext
from schemathesis.transport.requests import multipart_serializer


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = _picture()


@schemathesis.serializer("application/x-ndjson")
def one_line(context: Any, value: Any) -> dict[str, Any]:
    return {"data": value if isinstance(value, bytes) else json.dumps(value).encode()}


@schemathesis.deserializer("application/x-ndjson")
def first_line(context: Any, response: Any) -> Any:
    return json.loads(response.content.splitlines()[0])


@schemathesis.serializer("multipart/form-data")
def form(context: SerializationContext, value: Any) -> dict[str, Any]:
    """Puts pictures that can be read into forms that the schema allows; other forms are sent as they are."""
    meta = context.case.meta
    if isinstance(value, dict) and "image" in value and meta and meta.generation.mode == GenerationMode.POSITIVE:
        image = value["image"]
        value = {**value, "image": [PICTURE] * min(2, len(image)) if isinstance(image, list) else PICTURE}
    return multipart_serializer(context, value)

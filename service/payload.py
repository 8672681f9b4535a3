"""What is stored of an item, its payload: how one is made, and what the model and the index see of it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time_ns
from typing import Any

from retriever import ItemInput, item_text
from retriever.arrays import Floats
from retriever.index import IndexedItem, Payload
from retriever.index.fields import FieldValue, field_name
from service.media import MediaStore, Picture
from service.schemas import ItemFields

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedItem:
    """An item that needs only to be stored."""

    fields: ItemFields
    pictures: list[Picture]
    tokens: Floats  # (T, D), T = Q × pictures


def new_payload(fields: ItemFields, images: Sequence[dict[str, Any]], previous: Payload | None) -> Payload:
    """`schemas.Item`, with file names in place of the images' addresses: of a new item, or one more version of it."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        **fields.model_dump(),
        "images": list(images),
        # Of the clock, and finer than one can write: no item that was removed under this id had it.
        "version": previous["version"] + 1 if previous else time_ns() // 1000,
        "created_at": fields.created_at or (previous["created_at"] if previous else now),
        "updated_at": now,
    }


def images_of(names: Sequence[str], pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """A payload's `images`, of pictures that `MediaStore.save` has given these names."""
    return [
        {
            "file": name,
            "width": picture.image.width,
            "height": picture.image.height,
            "sha256": picture.sha256,
            "source_sha256": picture.source_sha256,
        }
        for name, picture in zip(names, pictures, strict=True)
    ]


def indexed(payload: Payload, tokens: Floats) -> IndexedItem:
    """A payload as the index takes it, with the item's tokens `(T, D)`."""
    return IndexedItem(payload["id"], tokens, lexical_text(payload), payload, filterable(payload), payload["title"])


def text_of(payload: Payload) -> str:
    """What the model reads of it."""
    return item_text(payload["title"], payload["description"], payload["category"], payload["attributes"])


def lexical_text(payload: Payload) -> str:
    """What BM25 sees: the model's text, the whole category, the id, and every attribute (article numbers, codes)."""
    values: list[Any] = []
    for value in payload["attributes"].values():
        values.extend(value if isinstance(value, list) else [value])
    codes = [str(value) for value in values if not isinstance(value, bool)]
    return " ".join(part for part in [text_of(payload), *payload["category"], *codes, payload["id"]] if part)


def picture_files(payload: Payload) -> list[str]:
    """The names of its pictures in the `MediaStore`."""
    return [image["file"] for image in payload["images"]]


def stored_inputs(media: MediaStore, payload: Payload, *lost: type[OSError]) -> list[ItemInput]:
    """What the model sees of it: its kept pictures, each with the text. Blocking.

    Args:
        lost: The errors by which a picture is taken for lost, and left out.

    Raises:
        OSError: a picture cannot be read for another reason.
    """
    text, pictures = text_of(payload), []
    for name in picture_files(payload):
        try:
            pictures.append(media.load(name))
        except lost as error:
            # Replaced a moment ago, and whoever did that encodes the new one; or lost, and the words must do.
            log.warning("item %r: its picture %s cannot be read: %s", payload["id"], name, error)
    return [ItemInput(one, text or None) for one in pictures] or [ItemInput(text=text or payload["id"])]


def filterable(payload: Payload) -> dict[str, FieldValue]:
    """What an item can be filtered, counted and sorted by: these of its own, and every attribute of another name.

    An attribute called "Price" is none of these where the item has no price, either: it may be text, or mean another.
    """
    steps = payload["category"]
    own: dict[str, FieldValue | None] = {
        "id": payload["id"],
        "category": [" > ".join(steps[: n + 1]) for n in range(len(steps))],  # so that a path finds all below it
        "price": payload["price"],
        "stock": payload["stock"],
        "available": payload["stock"] != 0,
        "created_at": datetime.fromisoformat(payload["created_at"]),
        "updated_at": datetime.fromisoformat(payload["updated_at"]),
    }
    known: dict[str, FieldValue] = {name: value for name, value in own.items() if value is not None}
    return known | {name: value for name, value in payload["attributes"].items() if field_name(name) not in own}

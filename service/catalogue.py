"""The shop's items: where pictures, the model and the index meet.

A write has two halves. `prepare` (decode, encode) changes nothing and may be cancelled at any time. `store` makes it
durable in an order that a crash cannot spoil: new pictures, then the point that names them, then the old pictures
away. Until the point is written the old item stands whole; from then on the new one does.
"""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

import numpy as np

from retriever import ItemInput, item_text
from retriever.index.base import IndexedItem, ItemIndex
from service.encoder import Encoder, Vectors
from service.media import MediaStore, Picture, decode
from service.metrics import Metrics
from service.problems import Problem
from service.schemas import ItemFields

Payload = dict[str, Any]


@dataclass(frozen=True)
class PreparedItem:
    """An item that needs only to be stored."""

    fields: ItemFields
    pictures: list[Picture]
    tokens: Vectors  # (T, D), T = Q × pictures


class Catalogue:
    """Items by the shop's own id. Payloads are `schemas.Item`, with file names in place of the images' addresses."""

    def __init__(
        self,
        index: ItemIndex,
        encoder: Encoder,
        media: MediaStore,
        metrics: Metrics,
        *,
        max_pixels: int,
        picture_side: int,
    ) -> None:
        self._index, self._encoder, self._media, self._metrics = index, encoder, media, metrics
        self._max_pixels, self._picture_side = max_pixels, picture_side
        # Few threads: each may hold a decoded picture of `max_pixels`.
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="pictures")
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def close(self) -> None:
        self._threads.shutdown()

    async def prepare(self, fields: ItemFields, files: Sequence[BinaryIO] = ()) -> PreparedItem:
        """Decodes the pictures and encodes the item.

        Raises:
            Problem: `empty_item`, `invalid_image`, `image_too_large`, `overloaded`.
        """
        text = item_text(fields.title, fields.description, fields.category, fields.attributes)
        if not text and not files:
            raise Problem(
                422, "empty_item", "An item needs a picture or some text: send image, title, description or category."
            )
        with self._encoder.admit(max(1, len(files))):
            if files:
                decoded = await asyncio.gather(*(self._decode(i, file, text) for i, file in enumerate(files)))
            else:
                decoded = []
            inputs = [given for _, given in decoded] or [ItemInput(text=text)]
            tokens = np.concatenate(await self._encoder.encode_items(inputs))  # (T, D)
        return PreparedItem(fields, [picture for picture, _ in decoded], tokens)

    async def _decode(self, number: int, file: BinaryIO, text: str) -> tuple[Picture, ItemInput]:
        def work() -> tuple[Picture, ItemInput]:
            with self._metrics.stage("decode"):
                picture = decode(
                    file, max_pixels=self._max_pixels, max_side=self._picture_side, name=f"image {number + 1}"
                )
                # Resized for the model here too: the model's own thread has better to do.
                return picture, ItemInput(self._encoder.retriever.processor.image(picture.image), text or None)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def store(self, item: PreparedItem) -> tuple[Payload, bool]:
        """Writes an item, new or in place of the one with its id; returns its payload and whether it is new.

        When it returns, the item survives the process.

        Raises:
            Problem: `storage_failed`, when the disk does not take the pictures.
            IndexUnavailable: the index does not take the point; the item is as it was.
        """
        fields = item.fields
        started = perf_counter()
        async with self._lock(fields.id):
            previous = (await self._index.get([fields.id])).get(fields.id)
            try:
                names = await asyncio.to_thread(self._media.save, fields.id, item.pictures)
            except OSError as error:
                raise Problem(507, "storage_failed", f"The picture could not be stored: {error.strerror}.") from error
            payload: Payload = {
                **fields.model_dump(),
                "images": [
                    {
                        "file": name,
                        "width": picture.image.width,
                        "height": picture.image.height,
                        "sha256": picture.sha256,
                    }
                    for name, picture in zip(names, item.pictures, strict=True)
                ],
                "version": previous["version"] + 1 if previous else 1,
                "updated_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
            await self._index.upsert([IndexedItem(fields.id, item.tokens, lexical_text(fields), payload)])
            if previous is not None:
                await asyncio.to_thread(self._media.keep_only, fields.id, names)
        self._metrics.stage_seconds.labels("store").observe(perf_counter() - started)
        return payload, previous is None

    async def get(self, item_id: str) -> Payload:
        """Raises Problem (`item_not_found`)."""
        payload = (await self._index.get([item_id])).get(item_id)
        if payload is None:
            raise Problem(404, "item_not_found", f"There is no item {item_id!r}.")
        return payload

    async def delete(self, item_id: str) -> None:
        """Removes an item and its pictures. Raises Problem (`item_not_found`)."""
        async with self._lock(item_id):
            if not await self._index.delete([item_id]):
                raise Problem(404, "item_not_found", f"There is no item {item_id!r}.")
            await asyncio.to_thread(self._media.keep_only, item_id, [])

    async def picture(self, item_id: str, number: int) -> Path:
        """The file of an item's picture, counted from 0. Raises Problem (`item_not_found`, `image_not_found`)."""
        images = (await self.get(item_id))["images"]
        if number >= len(images):
            raise Problem(404, "image_not_found", f"Item {item_id!r} has {len(images)} pictures, counted from 0.")
        return self._media.path(images[number]["file"])

    def _lock(self, item_id: str) -> asyncio.Lock:
        """One writer at a time for each id; the lock is forgotten when nobody holds or awaits it."""
        return self._locks.setdefault(item_id, asyncio.Lock())


def lexical_text(fields: ItemFields) -> str:
    """What BM25 sees: the model's text, the whole category, the id, and every attribute (article numbers, codes)."""
    values: list[Any] = []
    for value in fields.attributes.values():
        values.extend(value if isinstance(value, list) else [value])
    text = item_text(fields.title, fields.description, fields.category, fields.attributes)
    codes = [str(value) for value in values if not isinstance(value, bool)]
    return " ".join(part for part in [text, *fields.category, *codes, fields.id] if part)

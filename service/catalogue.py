"""The shop's items: where pictures, the model and the index meet.

A write has two halves. `prepare` (decode, encode) changes nothing and may be cancelled at any time. `store` makes it
durable in an order that a crash cannot spoil: new pictures, then the point that names them, then the old pictures
away. Until the point is written the old item stands whole; from then on the new one does.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

import numpy as np

from retriever import ItemInput
from retriever.arrays import Floats
from retriever.index import ItemIndex, Payload
from retriever.index.fields import field_name
from retriever.index.filters import Among, Condition, conjoin
from retriever.index.points import point_id
from service.catalogue_scan import CatalogueScan
from service.disk import Disk, remedy
from service.encoder import Encoder
from service.fetch import Fetched
from service.lexicon import Lexicon
from service.media import DamagedPicture, MediaStore, Picture, PictureLimits, decode
from service.metrics import Metrics
from service.payload import PreparedItem, images_of, indexed, new_payload, picture_files, stored_inputs, text_of
from service.problems import Problem
from service.schemas import ItemFields, ItemPatch
from service.shared_lock import SharedLock

log = logging.getLogger(__name__)

_DELETED_AT_ONCE = 100
_UNSET: dict[str, Any] = {"title": "", "description": "", "category": []}  # what null in a patch means


@dataclass(frozen=True)
class Precondition:
    """What must hold for a write (RFC 9110 §13): the versions it may replace, or that there is nothing yet."""

    versions: frozenset[int] | None = None  # None: any
    must_exist: bool = False
    must_be_new: bool = False

    def check(self, item_id: str, previous: Payload | None) -> None:
        """Raises Problem (412 `version_mismatch`, `already_exists`)."""
        if self.must_be_new and previous is not None:
            raise Problem(412, "already_exists", f"There is an item {item_id!r} already.")
        found = None if previous is None else previous["version"]
        if self.must_exist and found is None:
            raise Problem(412, "version_mismatch", f"There is no item {item_id!r} any more.")
        if self.versions is not None and found not in self.versions:
            raise Problem(412, "version_mismatch", f"Item {item_id!r} has been changed: its version is {found} now.")


ANY = Precondition()


class Catalogue:
    """Items by the shop's own id."""

    def __init__(
        self,
        index: ItemIndex,
        encoder: Encoder,
        media: MediaStore,
        metrics: Metrics,
        lexicon: Lexicon,
        disk: Disk,
        limits: PictureLimits,
    ) -> None:
        self._index, self._encoder, self.media, self._metrics = index, encoder, media, metrics
        self._lexicon, self.disk, self._limits = lexicon, disk, limits
        # Few threads: each may hold a decoded picture of `limits.pixels`.
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="pictures")
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.refusal: str | None = None  # why no write is made, if none is
        self._write_lock = SharedLock()  # each write shares it
        self._successor: Catalogue | None = None
        self._touched: set[str] | None = None
        self.scan: CatalogueScan | None = None  # told of an item before its first write

    def close(self) -> None:
        self._threads.shutdown()

    async def watch(self) -> set[str]:
        """From now on, the ids of the items that are written or removed are added to this set.

        Writes under way finish first: whoever reads the index afterwards finds each write there, or its id here.
        """
        async with self._write_lock.exclusive():
            self._touched = set()
        return self._touched

    @contextlib.asynccontextmanager
    async def handing_over(self) -> AsyncIterator[Callable[["Catalogue"], None]]:
        """Lets writes under way finish and holds new ones back until the block ends.

        It yields a function: called with another catalogue, it sends all writes there from then on. If it is not
        called, they go on here.
        """

        def hand_over(successor: Catalogue) -> None:
            self._successor = successor

        async with self._write_lock.exclusive():
            yield hand_over

    @property
    def handed_over(self) -> bool:
        """Whether another catalogue makes the writes by now: this one's items stay as they are, their pictures not."""
        return self._successor is not None

    @contextlib.asynccontextmanager
    async def _writing(self, *, removing: bool = False) -> AsyncIterator[None]:
        async with self._write_lock.shared():
            if self.refusal is not None:
                raise Problem(503, "index_moved", self.refusal, retry_after=30)
            try:
                await asyncio.to_thread(self.disk.check, removing=removing)
            except OSError as error:
                raise Problem(507, "storage_full", f"Nothing was written: {error}.") from error
            yield

    async def prepare(self, fields: ItemFields, files: Sequence[BinaryIO] = ()) -> PreparedItem:
        """Decodes the pictures and encodes the item.

        Raises:
            Problem: `empty_item`, `invalid_image`, `image_too_large`, `file_too_large`, `overloaded`.
        """
        text = fields.text
        if not text and not files:
            raise _empty()
        with self._encoder.admit(max(1, len(files))):
            decoded = await asyncio.gather(*(self._decode(i, file, text) for i, file in enumerate(files)))
            inputs = [given for _, given in decoded] or [ItemInput(text=text)]
            tokens = np.concatenate(await self._encoder.encode_items(inputs))  # (T, D)
        return PreparedItem(fields, [picture for picture, _ in decoded], tokens)

    async def _decode(self, number: int, file: BinaryIO, text: str) -> tuple[Picture, ItemInput]:
        def work() -> tuple[Picture, ItemInput]:
            with self._metrics.stage("decode"):
                if isinstance(file, Fetched):
                    picture = replace(decode(file, self._limits, file.url), source_sha256=file.url_sha256)
                else:
                    picture = decode(file, self._limits, f"image {number + 1}")
                # Resized for the model here too: the model's own thread has better to do.
                return picture, ItemInput(self._encoder.retriever.processor.image(picture.image), text or None)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def encode_picture(self, file: BinaryIO) -> tuple[Picture, Floats]:
        """A picture alone, which is not kept, and its tokens `(Q, D)`.

        Raises:
            Problem: `invalid_image`, `image_too_large`, `file_too_large`, `overloaded`.
        """
        with self._encoder.admit(1):
            picture, given = await self._decode(0, file, "")
            return picture, (await self._encoder.encode_items([given]))[0]

    async def model_input(self, payload: Payload, number: int = 0) -> ItemInput:
        """A stored item as the model saw it, with one of its pictures.

        Raises:
            OSError: the picture is gone.
        """
        text = text_of(payload) or None
        names = picture_files(payload)
        if not names:
            return ItemInput(text=text)

        def work() -> ItemInput:
            # It may have fewer pictures by now.
            picture = self.media.load(names[min(number, len(names) - 1)])
            return ItemInput(self._encoder.retriever.processor.image(picture), text)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def store(self, item: PreparedItem, precondition: Precondition = ANY) -> tuple[Payload, bool]:
        """Writes an item, new or in place of the one with its id; returns its payload and whether it is new.

        When it returns, the item survives the process.

        Raises:
            Problem: `storage_full`, when the disk has no room; `storage_failed`, when it does not take the pictures
                all the same; as `Precondition.check`.
            IndexUnavailable: the index does not take the point; the item is as it was.
        """
        async with self._writing():
            if self._successor is None:
                async with self._lock(item.fields.id):
                    previous = (await self._index.get([item.fields.id])).get(item.fields.id)
                    precondition.check(item.fields.id, previous)
                    return await self._replace(item.fields, item.tokens, previous, item.pictures), previous is None
        # Its vectors are another model's by now.
        return await self._successor.store(await self._successor._prepare_again(item), precondition)

    async def _prepare_again(self, item: PreparedItem) -> PreparedItem:
        text = item.fields.text or None
        inputs = [ItemInput(picture.image, text) for picture in item.pictures] or [ItemInput(text=text)]
        # Past the queue's bound: it was admitted once.
        tokens = np.concatenate(await self._encoder.encode_items(inputs))  # (T, D)
        return PreparedItem(item.fields, item.pictures, tokens)

    async def change(
        self,
        item_id: str,
        patch: ItemPatch,
        precondition: Precondition = ANY,
        pictures: Sequence[BinaryIO] | None = None,
    ) -> Payload:
        """Changes some of an item, and its `pictures` if any are given; the model runs only if it sees a change.

        Raises:
            Problem: `item_not_found`, `empty_item`, `overloaded`, `picture_unreadable`, and as `store`.
        """
        async with self._writing():
            if self._successor is None:
                return await self._change(item_id, patch, precondition, pictures)
        return await self._successor.change(item_id, patch, precondition, pictures)

    async def _change(
        self, item_id: str, patch: ItemPatch, precondition: Precondition, pictures: Sequence[BinaryIO] | None
    ) -> Payload:
        async with self._lock(item_id):
            previous = await self.get(item_id)
            precondition.check(item_id, previous)
            changes = patch.model_dump(exclude_unset=True, exclude={"images", "image_urls"})
            given = changes.pop("attributes", None) or {}
            replaced = {field_name(name) for name in given}  # "Brand" too, where "brand" is given
            old = previous["attributes"].items()
            kept = {name: value for name, value in old if name in given or field_name(name) not in replaced}
            fields = ItemFields.model_validate(
                {
                    **{name: previous[name] for name in ItemFields.model_fields},
                    "category": [" > ".join(previous["category"])],  # steps of earlier versions may hold a >
                    **{name: _UNSET.get(name) if value is None else value for name, value in changes.items()},
                    "attributes": {name: value for name, value in (kept | given).items() if value is not None},
                }
            )
            if pictures is not None:
                prepared = await self.prepare(fields, pictures)
                return await self._replace(fields, prepared.tokens, previous, prepared.pictures)
            if fields.text == text_of(previous):
                tokens = (await self._index.tokens([item_id]))[item_id]
            else:
                tokens = await self._encode_again({**previous, **fields.model_dump()})
            return await self._replace(fields, tokens, previous, None)

    async def _encode_again(self, changed: Payload) -> Floats:
        """The tokens of an item's kept pictures with another text. Raises Problem as `change` does."""
        if not changed["images"] and not text_of(changed):
            raise _empty()
        with self._encoder.admit(max(1, len(changed["images"]))):
            try:
                inputs = await asyncio.to_thread(stored_inputs, self.media, changed, FileNotFoundError)
            except DamagedPicture as error:
                log.error("item %r: a picture of it is damaged: %s", changed["id"], error)
                detail = "A picture of the item is damaged: send its pictures with the change."
                raise Problem(503, "picture_unreadable", detail) from error
            except OSError as error:  # the item would lose for good what may be read in a moment
                log.error("item %r: a picture of it cannot be read: %s", changed["id"], error)
                detail = "A picture of the item cannot be read now. Try again, or send its pictures with the change."
                raise Problem(503, "picture_unreadable", detail, retry_after=2) from error
            return np.concatenate(await self._encoder.encode_items(inputs))  # (T, D)

    async def _replace(
        self, fields: ItemFields, tokens: Floats, previous: Payload | None, pictures: Sequence[Picture] | None
    ) -> Payload:
        """Writes an item whose lock is held; without `pictures`, it keeps those that it has."""
        with self._metrics.stage("store"):
            images: list[dict[str, Any]] = previous["images"] if previous and pictures is None else []
            if pictures:
                try:
                    names = await asyncio.to_thread(self.media.save, fields.id, pictures)
                except OSError as error:
                    detail = f"The picture could not be stored: {error.strerror}.{remedy(error, self.media.folder)}"
                    raise Problem(507, "storage_failed", detail) from error
                images = images_of(names, pictures)
            payload = new_payload(fields, images, previous)
            self._touch(fields.id, previous)
            await self._index.upsert([indexed(payload, tokens)])
            if previous is not None:
                self._lexicon.forget(previous)
                if pictures is not None:
                    await asyncio.to_thread(self.media.keep_only, fields.id, picture_files(payload))
            self._lexicon.learn(payload)
            return payload

    async def get(self, item_id: str) -> Payload:
        """Raises Problem (`item_not_found`)."""
        payload = (await self._index.get([item_id])).get(item_id)
        if payload is None:
            raise Problem(404, "item_not_found", f"There is no item {item_id!r}.")
        return payload

    async def delete(self, item_id: str, precondition: Precondition = ANY) -> None:
        """Removes an item and its pictures. Raises Problem (`item_not_found`, and as `Precondition.check`)."""
        async with self._writing(removing=True):
            if self._successor is None:
                async with self._lock(item_id):
                    previous = await self.get(item_id)
                    precondition.check(item_id, previous)
                    await self._remove(previous)
                    return
        await self._successor.delete(item_id, precondition)

    async def _remove(self, item: Payload) -> None:
        """Removes an item whose lock is held."""
        item_id = item["id"]
        self._touch(item_id, item)
        await self._index.delete([item_id])
        self._lexicon.forget(item)
        await asyncio.to_thread(self.media.keep_only, item_id, [])

    def _touch(self, item_id: str, previous: Payload | None) -> None:
        if self.scan is not None:
            self.scan.before_write(item_id, previous)
        if self._touched is not None:
            self._touched.add(item_id)

    async def delete_where(self, condition: Condition | None) -> int:
        """Removes the items that a filter lets through (None: all) and their pictures; returns how many.

        An item that was changed meanwhile, so that the filter lets it through no longer, stays. Those that were removed
        stay so if it fails halfway: ask again.
        """
        removed = 0
        catalogue, cursor = self, None
        while True:
            page, cursor = await catalogue._index.scroll(cursor, _DELETED_AT_ONCE, condition)
            for item_id, _ in page:
                removed += await catalogue._delete_if(item_id, condition)
            if cursor is None:
                return removed
            catalogue = catalogue._successor or catalogue  # whose index has the same order

    async def _delete_if(self, item_id: str, condition: Condition | None) -> bool:
        """Removes an item if a filter lets it through still, and says whether it did."""
        async with self._writing(removing=True):
            if self._successor is None:
                async with self._lock(item_id):
                    only = conjoin(Among((point_id(item_id),)), condition)
                    found, _ = await self._index.scroll(None, 1, only)
                    for _, item in found:
                        await self._remove(item)
                    return bool(found)
        return await self._successor._delete_if(item_id, condition)

    async def picture(self, item_id: str, number: int) -> Path:
        """The file of an item's picture, counted from 0. Raises Problem (`item_not_found`, `image_not_found`)."""
        images = (await self.get(item_id))["images"]
        if number >= len(images):
            raise Problem(404, "image_not_found", f"Item {item_id!r} has {len(images)} pictures, counted from 0.")
        return self.media.path(images[number]["file"])

    def _lock(self, item_id: str) -> asyncio.Lock:
        """One writer at a time for each id; the lock is forgotten when nobody holds or awaits it."""
        return self._locks.setdefault(item_id, asyncio.Lock())


def _empty() -> Problem:
    return Problem(
        422, "empty_item", "An item needs a picture or some text: send image, title, description or category."
    )

"""Making one index equal to another, with another model's vectors: by `python -m service.reindex` and the service.

What is copied is known by its stamp, so a pass over the source costs the model only what has changed since the last,
whether that was seconds ago or before a kill.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence

import numpy as np

from retriever import Retriever
from retriever.arrays import Floats
from retriever.index import ItemIndex, Payload
from service.disk import Disk
from service.media import DamagedPicture, MediaStore
from service.payload import indexed, lexical_text, picture_files, stored_inputs

Stamp = tuple[int, str]

_AT_ONCE = 16  # items encoded and written together
_LOOKED_AT = 256  # pictures looked for together
_SAMPLE = 32  # items that must be found by their own words
_DEPTH = 10


def stamp(payload: Payload) -> Stamp:
    """What every write of an item changes."""
    return payload["version"], payload["updated_at"]


class IndexCopy:
    """Copies a source's items into `target`."""

    def __init__(self, target: ItemIndex, media: MediaStore, disk: Disk, retriever: Retriever) -> None:
        self._target, self._media, self._disk, self._retriever = target, media, disk, retriever
        self._copied: dict[str, Stamp] = {}

    async def begin(self) -> int:
        """Finds out what an earlier run has copied; returns how many items that are."""
        async for payload in self._target.every_item():
            self._copied[payload["id"]] = stamp(payload)
        return len(self._copied)

    async def run(self, source: AsyncIterator[Payload], progress: Callable[[int], object] = lambda _: None) -> int:
        """Copies what a whole pass over the source shows as changed, and removes what it does not show.

        Returns how many items that were.

        Raises:
            IndexUnavailable, NoRoom, OSError: an engine failed, the disk is full, or a picture cannot be read; what was
                copied so far stays copied.
        """
        seen: set[str] = set()
        changed: list[Payload] = []
        count = 0
        async for payload in source:
            seen.add(payload["id"])
            if self._copied.get(payload["id"]) == stamp(payload):
                progress(1)
                continue
            changed.append(payload)
            if len(changed) == _AT_ONCE:
                count += await self._copy(changed)
                progress(len(changed))
                changed = []
        count += await self._copy(changed)
        progress(len(changed))
        return count + await self._remove(self._copied.keys() - seen)

    async def follow(self, ids: Collection[str], source: ItemIndex) -> None:
        """Brings some items up to date. Raises IndexUnavailable."""
        there = await source.get(list(ids))
        changed = [payload for payload in there.values() if self._copied.get(payload["id"]) != stamp(payload)]
        for begin in range(0, len(changed), _AT_ONCE):
            await self._copy(changed[begin : begin + _AT_ONCE])
        await self._remove(set(ids) - there.keys())

    async def check(self, expected: int, changed: int) -> str | None:
        """Counts, and searches for some items by their own words; returns what is wrong, if anything is.

        Args:
            expected: How many items the source holds.
            changed: How many the last pass found changed: about as many may have come or gone since.
        """
        found = await self._target.count()
        if found != len(self._copied):
            return f"the new index holds {found} items, and {len(self._copied)} were copied"
        if abs(found - expected) > changed + expected // 20:
            return f"the new index holds {found} items, and the old one {expected}"
        sample = (await self._target.scroll(None, _SAMPLE))[0]
        words = {item_id: lexical_text(payload) for item_id, payload in sample}
        missed = []
        for item_id, text in words.items():
            query = (await asyncio.to_thread(self._retriever.encode_queries, [text]))[0]  # (D,)
            hits = (await self._target.search(query, text, limit=_DEPTH)).hits
            if item_id not in [hit.id for hit in hits]:
                missed.append(item_id)
        if len(missed) > len(words) // 4:
            return (
                f"{len(missed)} of {len(words)} items are not among the first {_DEPTH} hits for their own words: "
                f"{', '.join(missed[:5])} …"
            )
        return None

    async def _copy(self, payloads: Sequence[Payload]) -> int:
        """Writes items, but for those that somebody else has changed in the target since they were copied."""
        if not payloads:
            return 0
        await asyncio.to_thread(self._disk.check)
        there = await self._target.get([payload["id"] for payload in payloads])
        ours = [
            payload
            for payload in payloads
            if payload["id"] not in there or stamp(there[payload["id"]]) == self._copied.get(payload["id"])
        ]
        vectors = await asyncio.to_thread(encode_stored, self._retriever, self._media, ours)
        await self._target.upsert([indexed(payload, tokens) for payload, tokens in zip(ours, vectors, strict=True)])
        self._copied.update((payload["id"], stamp(payload)) for payload in ours)
        return len(ours)

    async def _remove(self, ids: Collection[str]) -> int:
        there = await self._target.get(list(ids))
        ours = [item_id for item_id, payload in there.items() if stamp(payload) == self._copied.get(item_id)]
        await self._target.delete(ours)
        for item_id in ids:
            self._copied.pop(item_id, None)
        return len(ours)


async def count_pictures(items: AsyncIterator[Payload], media: MediaStore) -> tuple[int, int]:
    """How many pictures the items have, and how many of them are not there.

    Raises:
        IndexUnavailable, OSError: the items, or the pictures' folder, cannot be read.
    """
    count = missing = 0
    names: list[str] = []
    async for payload in items:
        names += picture_files(payload)
        if len(names) >= _LOOKED_AT:
            count, missing = count + len(names), missing + len(await asyncio.to_thread(media.missing, names))
            names = []
    return count + len(names), missing + len(await asyncio.to_thread(media.missing, names))


def encode_stored(retriever: Retriever, media: MediaStore, payloads: Sequence[Payload]) -> list[Floats]:
    """The tokens `(T, D)` of each stored item, from its words and its kept pictures. Blocking.

    Raises:
        OSError: a picture is there and cannot be read: without it, an item would be worse for good.
    """
    inputs = [stored_inputs(media, payload, FileNotFoundError, DamagedPicture) for payload in payloads]
    flat = [one for some in inputs for one in some]
    tokens: list[Floats] = []  # (Q, D) of each input
    for begin in range(0, len(flat), _AT_ONCE):
        tokens += list(retriever.encode_items(flat[begin : begin + _AT_ONCE]))
    ends = np.cumsum([len(some) for some in inputs])
    return [np.concatenate(tokens[end - len(some) : end]) for some, end in zip(inputs, ends, strict=True)]

"""What shoppers were shown and what they did, kept on disk for `training.prepare events` and `service.search_report`.

JSON lines in segments, `events/{when}-{number}.jsonl`, of two kinds: a search with the items that it showed, and an
event that names that search. Both go through one queue into one file, so an event comes before its search only where
another process, which shares the folder, answered that.

An event is acknowledged after fsync; the searches before it are durable then, too. All that waits while a write is
under way goes into the next one (group commit), so that many events cost one fsync. When all segments together outgrow
their bound, the oldest goes: old clicks are worth least. Processes that share a folder share the bound, too.

Where the disk takes nothing, or has no more room than `Disk` keeps free, events are refused and searches are left out;
a few seconds later the next write tries again. A search key must not be able to fill the disk.
"""

import asyncio
import contextlib
import itertools
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson

from retriever.files import sync
from service.cursors import decode_offset
from service.disk import Disk, NoRoom
from service.problems import Problem
from service.search_schemas import Page, SearchResponse

log = logging.getLogger(__name__)

By = Literal["words", "picture", "item", "nothing"]  # what a search was by; pairs for training come from words alone

SEGMENTS = 16  # that the bound is shared by: what is removed at once
_MOST_WAITING = 16 << 20  # bytes
_PAUSE = 3  # seconds from a write that failed to the next: for each search would be one


class EventLog:
    """Writes segments of its own to a folder, beside those of other processes.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, disk: Disk, *, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._disk, self._max_bytes = folder, disk, max_bytes
        self._numbers = itertools.count()
        self._file: BinaryIO | None = None
        self._waiting: list[tuple[bytes, asyncio.Future[OSError | None] | None]] = []
        self._bytes_waiting = 0
        self._lost = 0
        self._failure: OSError | None = None  # of the latest write
        self._next_try = 0.0
        self._unwritten = 0  # searches, since writes fail
        self._wanted = asyncio.Event()
        self._closing = False
        self._writer = asyncio.create_task(self._write_all(), name="events")

    async def append(self, records: Sequence[dict[str, Any]]) -> None:
        """Keep records; returns when they are durable.

        Raises:
            Problem: 429 `overloaded`, the disk does not keep up; 507 `storage_full`, it has no room, or
                `storage_failed`, it is broken.
        """
        if self._bytes_waiting > _MOST_WAITING:
            raise Problem(429, "overloaded", "Events come faster than the disk takes them.", retry_after=1)
        future: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()
        self._put(_lines(records), future)
        error = await future
        if isinstance(error, NoRoom):
            raise Problem(507, "storage_full", f"The events were not stored: {error}.") from error
        if error is not None:
            raise Problem(507, "storage_failed", f"The events could not be stored: {error.strerror}.") from error

    def searched(
        self, query: str, page: Page, response: SearchResponse, by: By = "words", *, complete: bool = False
    ) -> None:
        """Note what a search showed, without waiting: no shopper waits for a disk. Lost if that does not keep up.

        Args:
            query: what was typed, beside a picture too; the item's id where items like one were
                asked for, a JSON list of them for several.
            complete: it may have been searched for while it was typed.
        """
        if not page.limit:  # to count alone: it showed nothing
            return
        if self._bytes_waiting > _MOST_WAITING:
            self._lost += 1
            if self._lost % 1000 == 1:
                log.error("the disk does not keep up: %d searches are missing in the event log", self._lost)
            return
        record = {
            "time": _now(),
            "kind": "search",
            "by": by,
            "search_id": response.search_id,
            "query": response.corrected_query or query,
            "model_id": response.model_id,
            "offset": page.offset if page.cursor is None else decode_offset(page.cursor),
            "items": [hit.id for hit in response.hits],
            "total": response.total,
            "score": max((hit.score for hit in response.hits), default=None),
            "complete": complete,
        }
        self._put(_lines([record]), None)

    async def close(self) -> None:
        """Writes what waits."""
        self._closing = True
        self._wanted.set()
        await self._writer
        self._end()

    def _put(self, lines: bytes, future: asyncio.Future[OSError | None] | None) -> None:
        self._waiting.append((lines, future))
        self._bytes_waiting += len(lines)
        self._wanted.set()

    async def _write_all(self) -> None:
        while not (self._closing and not self._waiting):
            await self._wanted.wait()
            self._wanted.clear()
            batch, self._waiting = self._waiting, []
            if not batch:
                continue
            data = b"".join(lines for lines, _ in batch)
            await self._try_to_write(data)
            self._bytes_waiting -= len(data)
            for _, future in batch:
                if future is None:
                    self._unwritten += self._failure is not None
                elif not future.done():  # done: its client has gone
                    future.set_result(self._failure)
            if self._waiting:
                self._wanted.set()

    async def _try_to_write(self, data: bytes) -> None:
        """Writes, or sets `_failure`; of many failures in a row the first is logged, and the end of all."""
        loop = asyncio.get_running_loop()
        if self._failure is not None and loop.time() < self._next_try:
            return
        try:
            await asyncio.to_thread(self._write, data)
        except OSError as error:
            if self._failure is None:
                log.error("events cannot be stored, and searches are not noted meanwhile: %s", error)
            self._failure, self._next_try = error, loop.time() + _PAUSE
        else:
            if self._failure is not None:
                log.warning("events are stored again; %d searches are missing in their log", self._unwritten)
            self._failure, self._unwritten = None, 0

    def _write(self, data: bytes) -> None:
        self._disk.check()
        try:
            while True:
                file = self._file or self._begin()
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if os.fstat(file.fileno()).st_nlink:
                    break
                self._end()  # somebody has cleared the folder, maybe at this very moment: it is written again
        except OSError:
            # Half a line may be in it now; the next segment begins with a whole one.
            self._end()
            raise
        if file.tell() >= self._max_bytes // SEGMENTS:
            self._end()
            self._make_room()

    def _begin(self) -> BinaryIO:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{next(self._numbers):06}.jsonl"
        self._folder.mkdir(parents=True, exist_ok=True)  # somebody may have cleared it away
        self._make_room()
        self._file = (self._folder / name).open("ab")
        sync(self._folder)
        return self._file

    def _end(self) -> None:
        """Closes the segment, and removes it where nothing is in it."""
        if self._file is not None:
            file, self._file = self._file, None
            with contextlib.suppress(OSError):  # what could not be written was said to be lost already
                file.close()
            with contextlib.suppress(OSError):
                path = Path(file.name)
                if not path.stat().st_size:
                    path.unlink()

    def _make_room(self) -> None:
        """Removes segments until another whole one is within the bound; the newest stays, whatever its size.

        The oldest is the one that was written to longest ago: one that another process began long ago may hold an event
        of just now.
        """
        try:
            segments = _segments(self._folder)
            most = self._max_bytes - self._max_bytes // SEGMENTS
            while len(segments) > 1 and sum(size for _, _, size in segments) > most:
                _, oldest, _ = segments.pop(0)
                oldest.unlink(missing_ok=True)
                log.warning("the event log is full: %s was removed (SEARCH_EVENTS_MAX_BYTES bounds it)", oldest.name)
        except OSError as error:  # the events themselves are durable
            log.error("the event log is full, and its oldest part cannot be removed: %s", error)


def event_records(events: Sequence[Any]) -> list[dict[str, Any]]:
    """Events of a request, with the time at which they came."""
    now = _now()
    return [{"time": now, **event.model_dump()} for event in events]


def _segments(folder: Path) -> list[tuple[int, Path, int]]:
    """When each was last written to, its file and its size; the oldest first."""
    found = []
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # another process has just removed it
            status = path.stat()
            found.append((status.st_mtime_ns, path, status.st_size))
    return sorted(found)


def _lines(records: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

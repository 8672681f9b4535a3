"""Many items in one request: lines of JSON come in, and one line of JSON goes out for each, while more come in.

The items are lines of JSON with their pictures in base64, or parts of a form: each `item` a line, and each `image`
that follows a picture of it.

At most `AT_ONCE` items are in the works. While they are, the request's body is not read, so a fast client waits (TCP
slows it down) and a million items need no more memory than a few. Results go out in the order of the items.
"""

import asyncio
import codecs
import io
import json
import logging
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakValueDictionary

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from retriever.index import IndexUnavailable
from service.catalogue import Catalogue
from service.encoder import when_free
from service.fetch import PictureFetcher
from service.limits import Permit
from service.lines import lines_of
from service.multipart import parts_of
from service.problems import Problem, first_message, index_unavailable, internal_error, problem_of
from service.schemas import BulkLine, BulkResult, PatchLine

log = logging.getLogger(__name__)

Action = Literal["replace", "update"]

AT_ONCE = 8  # lines decoded, encoded and stored at the same time


async def until(stop: asyncio.Event, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The parts of a body as they arrive, and an end to waiting for the next.

    Raises:
        Problem: 503 (`draining`), once the event is set.
        ClientDisconnect: the body ends before its end.
    """
    stopped = asyncio.ensure_future(stop.wait())
    part = None
    try:
        while True:
            part = asyncio.ensure_future(anext(parts, None))
            await asyncio.wait({part, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                raise _draining()
            if (content := part.result()) is None:
                return
            yield content
    finally:
        stopped.cancel()
        if part is not None:
            part.cancel()


@dataclass
class Sent:
    """One item as it came. Of one that is too long, nothing is kept."""

    line: bytes | None
    pictures: list[bytes] = field(default_factory=list)


async def items_of(body: AsyncIterator[bytes], content_type: str, longest: int) -> AsyncIterator[Sent | None]:
    """The items of a body as they arrive, each of at most `longest` bytes; None for a blank line.

    Raises:
        ClientDisconnect: the body ends before its end.
        Problem: `malformed_body`, when a form is none, or lines are UTF-16 or an array; the items before were given.
    """
    if content_type.strip().lower().startswith("multipart/"):
        async for item in _items_of_form(body, content_type, longest):
            yield item
        return
    first = True
    async for line in lines_of(body, longest):
        if first and line and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise Problem(400, "malformed_body", "The body is UTF-16: save it as UTF-8.")
        if first and line and line.lstrip().startswith(b"["):
            detail = (
                "The body is an array: send each of its objects on a line of its own, as `jq -c '.[]'` writes them."
            )
            raise Problem(400, "malformed_body", detail)
        first = False
        yield Sent(line) if line is None or line.strip() else None


async def _items_of_form(body: AsyncIterator[bytes], content_type: str, longest: int) -> AsyncIterator[Sent]:
    item: Sent | None = None
    length = 0
    async for part in parts_of(body, content_type, longest):
        length += len(part.content or b"")
        if part.name == "item":
            if item:
                yield item
            item, length = Sent(part.content), len(part.content or b"")
        elif part.name != "image" or item is None:
            raise Problem(
                400, "malformed_body", f"A part {part.name!r} is not expected here: send item, then its image."
            )
        elif part.content is None or length > longest or item.line is None:
            item.line = None
            item.pictures.clear()
        else:
            item.pictures.append(part.content)
    if item:
        yield item


class BulkIngest:
    """Stores the items of a body's lines. One bad line fails alone.

    Args:
        action: `replace` takes whole items (`BulkLine`), `update` what changes about some (`PatchLine`).
    """

    def __init__(
        self,
        catalogue: Catalogue,
        fetcher: PictureFetcher,
        draining: asyncio.Event,
        *,
        longest_line: int,
        action: Action = "replace",
    ) -> None:
        self._catalogue, self._fetcher, self._draining = catalogue, fetcher, draining
        self._longest, self._action = longest_line, action

    async def results(self, request: Request) -> AsyncIterator[BulkResult]:
        """One result an item, in their order.

        When the service closes, no more items are read; those that were end as ever, and a last result says so. In the
        same way it ends when the rest of the body does not come.

        Raises:
            Problem: 400 (`no_items`), the body came whole and has none. A body that was lost on the way must not look
                like success.
        """
        permit: Permit = request.state.permit
        number, told = 0, False
        latest: WeakValueDictionary[str, asyncio.Task[Any]] = WeakValueDictionary()  # by item id
        # Two more are outside of the queue: one that waits to be put in, and one whose result is awaited.
        under_way: asyncio.Queue[asyncio.Task[BulkResult] | None] = asyncio.Queue(AT_ONCE - 2)

        async def read() -> None:
            nonlocal number
            try:
                body, content_type = until(self._draining, request.stream()), request.headers.get("content-type", "")
                async for item in items_of(body, content_type, self._longest):
                    if self._draining.is_set():
                        raise _draining()
                    number += 1
                    if item:
                        if number > 1:  # the first line was counted when the request was let in
                            await permit.pace()
                        await under_way.put(asyncio.create_task(self._store(number, item, latest)))
            finally:
                await under_way.put(None)

        reader = asyncio.create_task(read())
        try:
            while (task := await under_way.get()) is not None:
                result, told = await task, True
                yield result
            await reader
        except (Problem, HTTPException) as error:
            told = True
            yield _failed(number + 1, error if isinstance(error, Problem) else problem_of(error))
        finally:
            reader.cancel()
            while not under_way.empty():
                if task := under_way.get_nowait():
                    task.cancel()
        if not told:
            raise Problem(400, "no_items", "The body has no items: send one line of JSON, or one part, for each.")

    async def _store(self, number: int, sent: Sent, latest: MutableMapping[str, asyncio.Task[Any]]) -> BulkResult:
        if sent.line is None:
            detail = f"The item has more than {self._longest} bytes; SEARCH_MAX_BODY_BYTES sets the limit."
            return BulkResult(line=number, id=None, status=413, code="line_too_large", detail=detail)
        item_id = None
        try:
            line_type = BulkLine if self._action == "replace" else PatchLine
            item: BulkLine | PatchLine = line_type.model_validate_json(sent.line)
            item_id = item.id
            # Tasks begin in the order of the lines: of those of one item, the last is to be the one that stays.
            before, latest[item_id] = latest.get(item_id), asyncio.current_task()  # type: ignore[assignment]
            if before is not None:
                await asyncio.wait([before])
            if sent.pictures:
                item.images = [*(item.images or ()), *sent.pictures]
            created = await self._write(item)
            return BulkResult(line=number, id=item_id, status=201 if created else 200)
        except ValidationError as error:
            return _failed(number, Problem(422, "validation_failed", first_message(error)), _id_in(sent.line))
        except Problem as problem:
            return _failed(number, problem, item_id)
        except IndexUnavailable as error:
            return _failed(number, index_unavailable(error), item_id)
        except Exception:
            log.exception("bulk line %d failed", number)
            return _failed(number, internal_error(), item_id)

    async def _write(self, item: BulkLine | PatchLine) -> bool:
        """Whether the item is new."""
        sent = [io.BytesIO(picture) for picture in item.images or ()]
        files = await self._fetcher.collect(sent, item.image_urls or ())
        if isinstance(item, PatchLine):
            pictures = None if item.images is None and item.image_urls is None else files
            await when_free(lambda: self._catalogue.change(item.id, item, pictures=pictures), files)
            return False
        prepared = await when_free(lambda: self._catalogue.prepare(item.content, files), files)
        _, created = await self._catalogue.store(prepared)
        return created


def _draining() -> Problem:
    return Problem(503, "draining", "The service is about to close: send this line, and what follows, again.")


def _id_in(line: bytes) -> str | None:
    """The id of a line that may be wrong in everything else, so that whoever sent it knows which it was."""
    try:
        item_id = json.loads(line).get("id")
    except (ValueError, AttributeError, RecursionError):
        return None
    return item_id if isinstance(item_id, str) and len(item_id) <= 200 else None


def _failed(number: int, problem: Problem, item_id: str | None = None) -> BulkResult:
    return BulkResult(line=number, id=item_id, status=problem.status, code=problem.code, detail=problem.detail)


class NdjsonResponse(Response):
    """Sends lines as they come to be, while the request's body is still being read; a problem, where none comes.

    Starlette's own streaming response watches for a disconnect by reading the body, which here has another reader.
    """

    media_type = "application/x-ndjson"

    def __init__(self, results: AsyncIterator[BulkResult]) -> None:
        self.results = results
        self.status_code, self.background, self.body = 200, None, b""
        self.init_headers({"Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        begun = False
        try:
            async for result in self.results:
                if not begun:
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    begun = True
                line = result.model_dump_json(exclude_none=True).encode() + b"\n"
                await send({"type": "http.response.body", "body": line, "more_body": True})
        except ClientDisconnect:
            log.info("bulk: the client went away; what was answered is stored")
            if not begun:
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

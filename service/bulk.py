"""Many items in one request: lines of JSON come in, and one line of JSON goes out for each, while more come in.

At most `AT_ONCE` lines are in the works. While they are, the request's body is not read, so a fast client waits (TCP
slows it down) and a million lines need no more memory than a few. Results go out in the order of the lines.
"""

import asyncio
import io
import logging
from collections.abc import AsyncIterator

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from retriever.index import IndexUnavailable
from service.catalogue import Catalogue
from service.fetch import PictureFetcher
from service.limits import Permit
from service.problems import Problem, problem_of
from service.schemas import BulkLine, BulkResult, ItemFields

log = logging.getLogger(__name__)

AT_ONCE = 8  # lines decoded, encoded and stored at the same time
_BUSY_SECONDS = 0.2  # before a line is tried again that found the model's queue full


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


async def lines_of(parts: AsyncIterator[bytes], longest: int) -> AsyncIterator[bytes | None]:
    """The lines of a body as they arrive, blank ones too; None in place of a line of more than `longest` bytes."""
    buffer = bytearray()
    overlong = False
    async for part in parts:
        begin = 0
        while (end := part.find(b"\n", begin)) >= 0:
            buffer += part[begin:end]
            yield None if overlong or len(buffer) > longest else bytes(buffer)
            buffer.clear()
            overlong, begin = False, end + 1
        buffer += part[begin:]
        if len(buffer) > longest:
            overlong = True
            buffer.clear()
    if buffer or overlong:
        yield None if overlong else bytes(buffer)


class BulkIngest:
    """Stores the items of a body's lines. One bad line fails alone."""

    def __init__(
        self, catalogue: Catalogue, fetcher: PictureFetcher, draining: asyncio.Event, *, longest_line: int
    ) -> None:
        self._catalogue, self._fetcher, self._draining = catalogue, fetcher, draining
        self._longest = longest_line

    async def results(self, request: Request) -> AsyncIterator[BulkResult]:
        """One result a line that is not blank, in their order.

        When the service closes, no more lines are read; those that were end as ever, and a last result says so. In the
        same way it ends when the rest of the body does not come.
        """
        permit: Permit = request.state.permit
        number = 0
        under_way: asyncio.Queue[asyncio.Task[BulkResult] | None] = asyncio.Queue(AT_ONCE)

        async def read() -> None:
            nonlocal number
            try:
                async for line in lines_of(until(self._draining, request.stream()), self._longest):
                    if self._draining.is_set():
                        raise _draining()
                    number += 1
                    if line is None or line.strip():
                        if number > 1:  # the first was counted when the request was let in
                            await permit.pace()
                        await under_way.put(asyncio.create_task(self._store(number, line)))
            finally:
                await under_way.put(None)

        reader = asyncio.create_task(read())
        try:
            while (task := await under_way.get()) is not None:
                yield await task
            await reader
        except (Problem, HTTPException) as error:
            problem = error if isinstance(error, Problem) else problem_of(error)
            yield BulkResult(line=number + 1, id=None, status=problem.status, code=problem.code, detail=problem.detail)
        finally:
            reader.cancel()
            while not under_way.empty():
                if task := under_way.get_nowait():
                    task.cancel()

    async def _store(self, number: int, line: bytes | None) -> BulkResult:
        if line is None:
            detail = f"The line has more than {self._longest} bytes; SEARCH_MAX_BODY_BYTES sets the limit."
            return BulkResult(line=number, id=None, status=413, code="line_too_large", detail=detail)
        item_id = None
        try:
            item = BulkLine.model_validate_json(line)
            item_id = item.id
            created = await self._write(item)
            return BulkResult(line=number, id=item_id, status=201 if created else 200)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "line"
            detail = f"{where}: {str(first['msg']).removeprefix('Value error, ')}"
            return BulkResult(line=number, id=item_id, status=422, code="validation_failed", detail=detail)
        except Problem as problem:
            return BulkResult(line=number, id=item_id, status=problem.status, code=problem.code, detail=problem.detail)
        except IndexUnavailable as error:
            return BulkResult(line=number, id=item_id, status=503, code="index_unavailable", detail=str(error))
        except Exception:
            log.exception("bulk line %d failed", number)
            detail = "Something went wrong in the service; its log has the details."
            return BulkResult(line=number, id=item_id, status=500, code="internal_error", detail=detail)

    async def _write(self, item: BulkLine) -> bool:
        fields = ItemFields.model_validate(item.model_dump(exclude={"images", "image_urls"}))
        files = await self._fetcher.collect([io.BytesIO(picture) for picture in item.images], item.image_urls)
        while True:
            try:
                prepared = await self._catalogue.prepare(fields, files)
                break
            except Problem as problem:
                # Bulk waits where a single request is refused: shoppers' queries come first.
                if problem.code != "overloaded":
                    raise
                await asyncio.sleep(_BUSY_SECONDS)
                for file in files:
                    file.seek(0)
        _, created = await self._catalogue.store(prepared)
        return created


def _draining() -> Problem:
    return Problem(503, "draining", "The service is about to close: send this line, and what follows, again.")


class NdjsonResponse(Response):
    """Sends lines as they come to be, while the request's body is still being read.

    Starlette's own streaming response watches for a disconnect by reading the body, which here has another reader.
    """

    media_type = "application/x-ndjson"

    def __init__(self, results: AsyncIterator[BulkResult]) -> None:
        self.results = results
        self.status_code, self.background, self.body = 200, None, b""
        self.init_headers({"Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async for result in self.results:
                line = result.model_dump_json(exclude_none=True).encode() + b"\n"
                await send({"type": "http.response.body", "body": line, "more_body": True})
        except ClientDisconnect:
            log.info("bulk: the client went away; what was answered is stored")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

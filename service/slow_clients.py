"""Clients that take their time: they wait for the service, it does not wait for them.

Two parts. `BodyTimeoutMiddleware` answers 408 to a body that does not come. `Connection` cuts off what no answer can
reach: a request's head that never ends, an answer that nobody reads, and connections without number. It also stays with
HTTP/1.1 where a client would rather speak something else.
"""

import asyncio
import resource
from typing import Any, ClassVar

import httptools
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.problems import Problem

_LEAST_RATE = 1000  # bytes a second, on average and after the first `seconds`: nobody's line is slower
_MOST_HEAD = 64 * 2**10  # bytes


class BodyTimeoutMiddleware:
    """Ends requests whose body stops coming for `seconds`, or comes too slowly to be meant.

    Only the time that the service spends waiting counts. The paths in `endless` take bodies that go on for as long as
    somebody has something to send; of them only the pauses are bounded.
    """

    def __init__(self, app: ASGIApp, seconds: float, endless: frozenset[str]) -> None:
        self.app, self.seconds, self.endless = app, seconds, endless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        whole, waited, received = False, 0.0, 0

        async def receive_soon() -> Message:
            nonlocal whole, waited, received
            if whole:  # from now on it is the client that waits
                return await receive()
            left = self.seconds
            if scope["path"] not in self.endless:
                left = min(left, self.seconds + received / _LEAST_RATE - waited)
            began = loop.time()
            try:
                async with asyncio.timeout(left):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, headers={"Connection": "close"}) from None
            waited += loop.time() - began
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            return message

        await self.app(scope, receive_soon, send)


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with bounds on what it leaves open.

    A head has to come whole within `head_seconds` of the connection or the answer before, in at most 64 KiB; an answer
    has to be taken, some of it at least every `head_seconds`. Beyond `most` connections the one that has been without
    a request for longest makes room; where every one has a request, the newcomer's is answered 503.

    `Upgrade` is ignored, as a server may (RFC 9110, 7.8): Java's HTTP client and `curl --http2` offer h2c with every
    request. The parser stops at such a head, and would skip its body whatever uvicorn makes of it, so the head is given
    to a parser again without that header.
    """

    head_seconds: float = 30
    most: int = 1000
    idle: ClassVar[dict["Connection", None]] = {}  # of one server, without a request under way; the longest first

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.most:
            if self.idle:
                next(iter(self.idle))._leave()
            else:
                self.app = _refuse
        self._stalled: asyncio.TimerHandle | None = None
        self._late: asyncio.TimerHandle | None = None
        self._head_bytes: int | None = 0  # of the head that is coming; None: a body is
        self._ended = False  # a head or a body, in the piece that came last
        self._plain_head: bytes | None = None  # of the request at which the parser stopped
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """In place of uvicorn's, which drops what follows a head with `Upgrade`."""
        self._ended = False
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message, extra={"fields": {"client": self.client[0] if self.client else None}})
            self.send_400_response(message)
            return
        # A piece in which a head or a body ended is not all of the next head, if it holds any of that.
        if self._head_bytes is not None and not self._ended:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD and not self.transport.is_closing():
                self.send_400_response("The request's head is too long.")

    def _parse(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._plain_head = None
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as stopped:
                rest = rest[stopped.args[0] :]
            if self._plain_head is None:  # CONNECT: what follows it is for another host
                return
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            self.parser.feed_data(self._plain_head)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            version = self.parser.get_http_version().encode()
            lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
            lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
            self._plain_head = b"\r\n".join([*lines, b"", b""])
            return
        self._head_bytes, self._ended = None, True
        self._forget()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._plain_head is not None and self.parser.should_upgrade():  # its body is still to come
            return
        self._head_bytes, self._ended = 0, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle is None or self.cycle.response_complete:  # else a pipelined request is answered next
            self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.head_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def _watch(self) -> None:
        self._forget()
        if not self.transport.is_closing():
            self._late = self.loop.call_later(self.head_seconds, self._leave)
            self.idle[self] = None

    def _leave(self) -> None:
        self._forget()
        self.transport.close()

    def _forget(self) -> None:
        self.idle.pop(self, None)
        if self._late is not None:
            self._late.cancel()
            self._late = None


def most_connections() -> int:
    """How many connections a process takes: three quarters of the files that it may have open, and 10,000 at most."""
    return min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 3 // 4)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a connection that is one too many."""
    problem = Problem(
        503,
        "too_many_connections",
        "As many requests are being answered as this process may have open files.",
        headers={"Connection": "close"},
        retry_after=1,
    )
    await problem.response()(scope, receive, send)

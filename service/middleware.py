"""What surrounds every request: its id, its log line, its metrics, how its path is read, and the answer to HEAD."""

import asyncio
import logging
import re
import uuid
from time import perf_counter
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.logs import request_fields, request_id
from service.metrics import Metrics

log = logging.getLogger("service.request")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# What probes and scrapers ask every few seconds would bury the shoppers' lines.
QUIET = ("/health/", "/metrics")


class RequestMiddleware:
    """Gives each request an id (the client's own `X-Request-ID`, if it is a plain one), one log line and metrics.

    An error that nothing else has answered is logged with its traceback and answered with `internal_error`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, draining: asyncio.Event) -> None:
        self.app = app
        self.metrics = metrics
        self.draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        status = 0
        sent = Headers(scope=scope).get("x-request-id", "")
        current = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        path, about = scope["path"], dict[str, Any]()
        tokens = request_id.set(current), request_fields.set(about)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                headers["X-Request-ID"] = current
                if self.draining.is_set():  # the client's next request should find another instance
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            log.exception("unhandled error")
            if status:  # the answer had begun: cutting the connection is the only honest end
                raise
            await problems.internal_error().response()(scope, receive, send_with_id)
        finally:
            seconds = perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.requests.labels(method, route, status).inc()
            self.metrics.request_seconds.labels(method, route).observe(seconds)
            log.log(
                logging.DEBUG if path.startswith(QUIET) else logging.INFO,
                "request",
                extra={
                    "fields": {
                        "method": scope["method"],
                        "path": path,
                        "status": status,
                        "duration_ms": round(seconds * 1000, 1),
                        "client": scope["client"][0] if scope.get("client") else None,
                        **about,
                    }
                },
            )
            request_id.reset(tokens[0])
            request_fields.reset(tokens[1])


# Methods are the client's to invent; as labels they must not be.
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class HeadMiddleware:
    """Answers HEAD as GET without the body (RFC 9110, 9.3.2): link checkers and monitors ask so.

    Not of what is made while it is sent: it would be made for nothing.
    """

    def __init__(self, app: ASGIApp, streamed: frozenset[str]) -> None:
        self.app = app
        self.streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"] in self.streamed:
            await self.app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self.app({**scope, "method": "GET"}, receive, send_head)


class EscapedItemPathMiddleware:
    """Routes `/items/…` by the path as it was sent, still percent-encoded.

    A shop's id may hold slashes. Servers decode `/items/a%2Fimage` before routing, and then nothing tells it from the
    picture of item `a`. Undecoded, an id is always one segment; `field_types.PathItemId` decodes it, once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/items/") and scope.get("raw_path"):
            scope = {**scope, "path": scope["raw_path"].partition(b"?")[0].decode("latin-1")}
        await self.app(scope, receive, send)

"""What routes ask of a request: that its body is of their kind, and that somebody still waits for the answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Depends, Request
from starlette.datastructures import Headers

from service.problems import Problem

T = TypeVar("T")


def media_type_of(headers: Headers) -> str:
    """What a body is said to be; empty if nothing is said."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def body_of(media_types: str | tuple[str, ...], advice: str) -> Any:
    """A dependency that refuses other bodies with 415, where validation would say that every field is missing."""

    allowed = (media_types,) if isinstance(media_types, str) else media_types

    async def check(request: Request) -> None:
        if media_type_of(request.headers) not in allowed:
            raise Problem(415, "unsupported_media_type", f"The body must be {' or '.join(allowed)}: {advice}.")

    return Depends(check)


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work`, and cancels it as soon as the client closes the connection.

    To be called after the request's body has been read: from then on, the server has nothing to deliver but the
    disconnect.

    Raises:
        Problem: 499, for the log alone, since nobody is left to read it.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Problem(499, "client_gone", "The client closed the connection before the answer was ready.")
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""A turnstile that many pass at a time, until somebody closes it for a moment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Turnstile:
    """For the event loop alone."""

    def __init__(self) -> None:
        self._inside = 0
        self._opened, self._empty = asyncio.Event(), asyncio.Event()
        self._opened.set()
        self._empty.set()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Passes, once it is open, and is inside for as long as the block runs."""
        while not self._opened.is_set():
            await self._opened.wait()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @contextlib.asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Shuts the gate, waits until nobody is inside, and keeps it shut for as long as the block runs."""
        while not self._opened.is_set():
            await self._opened.wait()
        self._opened.clear()
        try:
            await self._empty.wait()
            yield
        finally:
            self._opened.set()

"""A readers–writer lock: many share it at a time, or one has it alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class SharedLock:
    """For the event loop alone. Who wants it alone comes before those who come later to share it."""

    def __init__(self) -> None:
        self._sharing = 0
        self._open, self._empty = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._empty.set()

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Waits while somebody has it alone, or is about to; shares it for as long as the block runs."""
        while not self._open.is_set():
            await self._open.wait()
        self._sharing += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._sharing -= 1
            if not self._sharing:
                self._empty.set()

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Lets nobody in any more, waits until nobody shares it, and has it alone for as long as the block runs."""
        while not self._open.is_set():
            await self._open.wait()
        self._open.clear()
        try:
            await self._empty.wait()
            yield
        finally:
            self._open.set()

"""Writes of many callers, made together.

An engine takes a batch for less than its items one by one (docs/performance.md). Single writes that come while another
is under way therefore wait for it, and all that wait go as one: nobody waits for a batch to fill, and what each caller
sees is its own write.

Source: group commit, DeWitt et al., "Implementation techniques for main memory database systems", SIGMOD 1984.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from retriever.index.points import Point


class GroupCommit:
    """Joins writes on their way to `write`, which inserts or replaces points durably. For the event loop alone."""

    def __init__(self, write: Callable[[Sequence[Point]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[tuple[Sequence[Point], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def write(self, points: Sequence[Point]) -> None:
        """Returns when these points are durable; raises whatever `write` raises for them alone."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((points, done))
        if self._task is None:
            self._task = asyncio.create_task(self._commit_waiting())
        await done

    async def _commit_waiting(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._commit(group)
        finally:
            self._task = None

    async def _commit(self, group: Sequence[tuple[Sequence[Point], asyncio.Future[None]]]) -> None:
        last = {point.id: point for points, _ in group for point in points}  # an engine takes each id once
        try:
            await self._write(list(last.values()))
        except Exception as error:
            if len(group) > 1:  # who is to blame fails alone; to write the others again changes nothing
                await asyncio.gather(*(self._commit([one]) for one in group))
                return
            for _, done in group:
                if not done.done():
                    done.set_exception(error)
        else:
            for _, done in group:
                if not done.done():  # its caller may have gone
                    done.set_result(None)

"""A lock that many share, step by step: who holds it at which moment."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from service.shared_lock import SharedLock


class Scene:
    """Who holds it, and what lets each of them leave."""

    def __init__(self) -> None:
        self.lock = SharedLock()
        self.holding: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leave: dict[str, asyncio.Event] = {}

    async def shares(self, name: str) -> None:
        await self._comes(name, self.lock.shared())

    async def takes(self, name: str) -> None:
        await self._comes(name, self.lock.exclusive())

    async def leaves(self, name: str) -> None:
        self._leave[name].set()
        await self._settled()

    async def fails(self, name: str) -> None:
        self._tasks[name].cancel()
        await self._settled()

    async def _comes(self, name: str, lock: AbstractAsyncContextManager[None]) -> None:
        leave = self._leave[name] = asyncio.Event()

        async def stay() -> None:
            async with lock:
                self.holding.add(name)
                try:
                    await leave.wait()
                finally:
                    self.holding.remove(name)

        self._tasks[name] = asyncio.create_task(stay())
        await self._settled()

    async def _settled(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


def play(act: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        await act(Scene())

    asyncio.run(main())


def test_one_has_it_alone_when_the_last_has_left_and_nobody_shares_it_meanwhile() -> None:
    async def act(scene: Scene) -> None:
        await scene.shares("a")
        await scene.shares("b")
        assert scene.holding == {"a", "b"}, "many at a time"
        await scene.takes("alone")
        await scene.shares("late")
        await scene.leaves("a")
        assert scene.holding == {"b"}
        await scene.leaves("b")
        assert scene.holding == {"alone"}
        await scene.leaves("alone")
        assert scene.holding == {"late"}

    play(act)


def test_those_who_want_it_alone_take_turns() -> None:
    async def act(scene: Scene) -> None:
        for name in ("first", "second", "third"):
            await scene.takes(name)
        await scene.shares("a")
        for name in ("first", "second", "third"):
            assert scene.holding == {name}
            await scene.leaves(name)
        assert scene.holding == {"a"}

    play(act)


@pytest.mark.parametrize("failing", ["sharing", "alone", "waiting"])
def test_what_fails_lets_it_go(failing: str) -> None:
    async def act(scene: Scene) -> None:
        if failing == "sharing":
            await scene.shares(failing)
        elif failing == "alone":
            await scene.takes(failing)
        else:
            await scene.shares("a")
            await scene.takes(failing)
        await scene.fails(failing)
        await scene.shares("next")
        assert "next" in scene.holding
        await scene.leaves("next")
        if failing == "waiting":
            await scene.leaves("a")
        await scene.takes("last")
        assert scene.holding == {"last"}

    play(act)

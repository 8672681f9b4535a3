"""A turnstile, step by step: who is inside at which moment."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from service.turnstile import Turnstile


class Scene:
    """Who is inside, and what lets each of them leave."""

    def __init__(self) -> None:
        self.turnstile = Turnstile()
        self.inside: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leave: dict[str, asyncio.Event] = {}

    async def opens(self, name: str) -> None:
        await self._comes(name, self.turnstile.open())

    async def closes(self, name: str) -> None:
        await self._comes(name, self.turnstile.closed())

    async def leaves(self, name: str) -> None:
        self._leave[name].set()
        await self._settled()

    async def fails(self, name: str) -> None:
        self._tasks[name].cancel()
        await self._settled()

    async def _comes(self, name: str, gate: AbstractAsyncContextManager[None]) -> None:
        leave = self._leave[name] = asyncio.Event()

        async def stay() -> None:
            async with gate:
                self.inside.add(name)
                try:
                    await leave.wait()
                finally:
                    self.inside.remove(name)

        self._tasks[name] = asyncio.create_task(stay())
        await self._settled()

    async def _settled(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


def play(act: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        await act(Scene())

    asyncio.run(main())


def test_it_closes_when_the_last_has_left_and_nobody_passes_meanwhile() -> None:
    async def act(scene: Scene) -> None:
        await scene.opens("a")
        await scene.opens("b")
        assert scene.inside == {"a", "b"}, "many at a time"
        await scene.closes("closer")
        await scene.opens("late")
        await scene.leaves("a")
        assert scene.inside == {"b"}
        await scene.leaves("b")
        assert scene.inside == {"closer"}
        await scene.leaves("closer")
        assert scene.inside == {"late"}

    play(act)


def test_whoever_closes_it_is_alone() -> None:
    async def act(scene: Scene) -> None:
        for name in ("first", "second", "third"):
            await scene.closes(name)
        await scene.opens("a")
        for name in ("first", "second", "third"):
            assert scene.inside == {name}
            await scene.leaves(name)
        assert scene.inside == {"a"}

    play(act)


@pytest.mark.parametrize("failing", ["inside", "closer", "waiting"])
def test_what_fails_leaves_it_open(failing: str) -> None:
    async def act(scene: Scene) -> None:
        if failing == "inside":
            await scene.opens(failing)
        elif failing == "closer":
            await scene.closes(failing)
        else:
            await scene.opens("a")
            await scene.closes(failing)
        await scene.fails(failing)
        await scene.opens("next")
        assert "next" in scene.inside
        await scene.leaves("next")
        if failing == "waiting":
            await scene.leaves("a")
        await scene.closes("last")
        assert scene.inside == {"last"}

    play(act)

"""What lives as long as the process is not visited by the garbage collector, once it is learned."""

import asyncio
import gc
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from service import garbage_collection, services
from service.app import create_app
from service.garbage_collection import freeze_learned
from service.lexicon import Lexicon
from service.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def learn(lexicon: Lexicon, first: int, last: int) -> None:
    for number in range(first, last):
        title = "".join(chr(ord("a") + int(digit)) for digit in f"{number:05}")
        lexicon.learn({"title": title, "description": "", "category": [], "attributes": {}})


async def frozen_within(seconds: float, least: int) -> bool:
    deadline = asyncio.get_running_loop().time() + seconds
    while gc.get_freeze_count() < least:
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


async def test_what_was_learned_is_frozen_and_again_when_it_has_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage_collection, "_EVERY", 0.01)
    lexicon, learned = Lexicon(), asyncio.Event()
    learning = asyncio.create_task(learned.wait())
    task = asyncio.create_task(freeze_learned(lexicon, after=[learning]))
    learn(lexicon, 0, 1000)
    assert not await frozen_within(0.1, 1), "it waits until all is learned"

    learned.set()
    assert await frozen_within(10, 1)
    first = gc.get_freeze_count()
    assert not any(one is lexicon.words for one in gc.get_objects()), "no collection visits it"

    learn(lexicon, 1000, 1200)
    assert not await frozen_within(0.1, first + 1000), "a few words more are no reason"
    learn(lexicon, 1200, 4000)
    assert await frozen_within(10, first + 1000)
    task.cancel()


async def test_garbage_is_still_collected() -> None:
    class Cycle:
        collected = 0

        def __init__(self) -> None:
            self.own = self

        def __del__(self) -> None:
            Cycle.collected += 1

    task = asyncio.create_task(freeze_learned(Lexicon(), after=[]))
    Cycle()
    assert await frozen_within(10, 1)
    assert Cycle.collected == 1, "what was garbage before"
    Cycle()
    gc.collect()
    assert Cycle.collected == 2, "and what is garbage after"
    task.cancel()


def test_a_service_freezes_what_it_learned_at_its_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "freeze_learned", freeze_learned)
    with TestClient(create_app(settings)) as client:
        assert client.portal is not None
        assert client.portal.call(frozen_within, 10, 1)

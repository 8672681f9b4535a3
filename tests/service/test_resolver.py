"""Lookups of hosts: a name server that does not answer holds up nobody else, and is not asked again at once."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence

import pytest

from service.fetch import PictureFetcher
from service.problems import Problem
from service.resolver import Resolver, Unanswered


class NameServer:
    """Knows every host, but does not answer for those that begin with `silent` before it is let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let_go = threading.Event()

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host.startswith("silent"):
            self.let_go.wait(60)
        return ["192.0.2.1"]


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.let_go.set()


def test_hosts_that_do_not_answer_hold_up_no_other(names: NameServer) -> None:
    async def main() -> None:
        lookup = Resolver(16, 30, names)
        silent = [asyncio.create_task(lookup.addresses(f"silent-{n}.example", 80)) for n in range(15)]
        assert await lookup.addresses("shop.example", 80) == ["192.0.2.1"]
        await asyncio.wait_for(asyncio.to_thread(str), 30)  # nor anything else that works in a thread
        assert not any(task.done() for task in silent)
        names.let_go.set()
        await asyncio.gather(*silent)

    asyncio.run(main())


def test_a_host_that_did_not_answer_is_asked_for_again_after_a_minute(names: NameServer) -> None:
    now = 1000.0

    async def main() -> None:
        nonlocal now
        lookup = Resolver(2, 0.5, names, clock=lambda: now)
        for later, asked in ((0, 1), (59, 1), (1, 2)):
            now += later
            with pytest.raises(Unanswered):
                await lookup.addresses("silent.example", 80)
            assert len(names.asked) == asked

    asyncio.run(main())


def test_every_host_that_did_not_answer_is_remembered(names: NameServer) -> None:
    async def main() -> None:
        lookup = Resolver(4, 0.1, names, clock=lambda: 1000.0)
        for host in ("silent-a.example", "silent-b.example") * 2:
            with pytest.raises(Unanswered):
                await lookup.addresses(host, 80)

    asyncio.run(main())
    assert names.asked == ["silent-a.example", "silent-b.example"]


def test_waiting_for_a_thread_says_nothing_of_a_host(names: NameServer) -> None:
    async def main() -> None:
        lookup = Resolver(1, 0.5, names)
        for host in ("silent.example", "shop.example"):
            with pytest.raises(Unanswered):
                await lookup.addresses(host, 80)
        names.let_go.set()
        found: Sequence[str] = []
        for _ in range(20):  # until the thread is free
            with contextlib.suppress(Unanswered):
                found = await lookup.addresses("shop.example", 80)
                break
        assert found == ["192.0.2.1"]

    asyncio.run(main())


def test_a_picture_of_such_a_host_is_refused_with_the_reason(names: NameServer) -> None:
    resolve = Resolver(1, 0.05, names).addresses
    getter = PictureFetcher(
        enabled=True, max_pictures=8, max_bytes=1000, max_item_bytes=1000, seconds=30, resolve=resolve
    )
    with pytest.raises(Problem, match="no name server answers") as refused:
        asyncio.run(getter.fetch_all(["http://silent.example/a.png"]))
    assert (refused.value.status, refused.value.code) == (422, "url_failed")

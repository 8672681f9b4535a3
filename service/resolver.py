"""The addresses of a host, as the system knows them.

A name server may answer nobody, and the system asks on for half a minute. It is asked in threads of its own, so that
only other lookups can wait for it; and of a host that nobody knew of in time, not again for a minute.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TypeAlias

Ask: TypeAlias = Callable[[str, int], Sequence[str]]
"""Host and port → addresses, or OSError. Blocking."""

_REMEMBERED = 60  # seconds


class Unanswered(Exception):
    """No name server says in time whether there is such a host."""


def ask_system(host: str, port: int) -> list[str]:
    """Raises OSError, or UnicodeError: a part of the name is empty or too long."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """Asks for `at_once` hosts at a time, and waits `seconds` for each."""

    def __init__(
        self, at_once: int, seconds: float, ask: Ask = ask_system, clock: Callable[[], float] = monotonic
    ) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="lookup")
        self._seconds, self._ask, self._clock = seconds, ask, clock
        self._silent: dict[str, float] = {}  # host → until when it is not asked for

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Raises Unanswered, and as `ask` does."""
        if self._clock() < self._silent.get(host, 0):
            raise Unanswered
        asked = self._threads.submit(self._ask, host, port)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(asked)
        except TimeoutError:
            if not asked.cancel():  # it has its thread; otherwise it waited for one, which says nothing of its host
                self._remember(host)
            raise Unanswered from None

    def _remember(self, host: str) -> None:
        now = self._clock()
        self._silent = {one: until for one, until in self._silent.items() if now < until}
        self._silent[host] = now + _REMEMBERED

"""How much one caller may ask for: so many a second, and so many at the same time, apart for each scope."""

import asyncio
import contextlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

from service.problems import Problem

_REMEMBERED = 10_000  # callers; without keys they are addresses, of which anybody can have many


class Bucket:
    """A token bucket: `rate` tokens a second, saved up to a second's worth and never less than one.

    A cost beyond what is there is taken as a debt, so that a batch larger than the bucket still gets through: its
    caller waits the longer afterwards.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._most = self._tokens = max(1.0, rate)
        self._at = clock()

    def take(self, cost: float = 1) -> float:
        """Takes `cost` tokens and returns 0; or takes none, and returns the seconds until it would."""
        self._refill()
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= cost
        return 0.0

    def owe(self, cost: float = 1) -> float:
        """Takes `cost` tokens, there or not; returns the seconds until the debt is paid, if there is one."""
        self._refill()
        self._tokens -= cost
        return max(0.0, -self._tokens / self._rate)

    def _refill(self) -> None:
        now = self._clock()
        self._tokens, self._at = min(self._most, self._tokens + (now - self._at) * self._rate), now


@dataclass
class Permit:
    """What one caller has under way."""

    bucket: Bucket | None
    running: int = 0

    def charge(self, more: float) -> None:
        """For a request that has been let in, and turns out to be worth several."""
        if self.bucket is not None:
            self.bucket.owe(more)

    async def pace(self) -> None:
        """Counts one more, and waits until it may be done."""
        if self.bucket is not None:
            await asyncio.sleep(self.bucket.owe())


class Limiter:
    """The limits of one scope, for every caller on its own."""

    def __init__(self, what: str, *, rate: float | None, at_once: int) -> None:
        self._what, self._rate, self._at_once = what, rate, at_once
        self._permits: OrderedDict[str, Permit] = OrderedDict()

    @contextlib.contextmanager
    def admit(self, caller: str) -> Iterator[Permit]:
        """Counts a request while it runs.

        Raises:
            Problem: 429 with `Retry-After` (`too_many_at_once`, `rate_limited`).
        """
        permit = self._permit(caller)
        if permit.running >= self._at_once:
            detail = f"{self._at_once} requests of yours are being answered; this service does no more at a time."
            raise Problem(429, "too_many_at_once", detail, retry_after=1)
        if permit.bucket is not None and (seconds := permit.bucket.take()):
            wait = math.ceil(seconds)
            detail = f"No more than {self._rate:g} {self._what} a second are allowed; try again in {wait} s."
            raise Problem(429, "rate_limited", detail, retry_after=wait)
        permit.running += 1
        try:
            yield permit
        finally:
            permit.running -= 1

    def _permit(self, caller: str) -> Permit:
        permit = self._permits.get(caller)
        if permit is None:
            if len(self._permits) >= _REMEMBERED:
                idle = next((name for name, one in self._permits.items() if not one.running), None)
                if idle is not None:
                    del self._permits[idle]
            permit = self._permits[caller] = Permit(Bucket(self._rate) if self._rate else None)
        self._permits.move_to_end(caller)
        return permit

"""The fields that can be filtered by, as far as this process knows: each is learned when its first value is written."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

from retriever.index.fields import BUILT_IN, MAX_FIELDS, Kind, key, kinds_of
from retriever.index.filters import Fields, FilterError
from retriever.index.points import Point, fields_of

log = logging.getLogger(__name__)

Schema = Literal["keyword", "float"]
T = TypeVar("T")


class KnownFields:
    """Fields with the kinds of their values.

    Args:
        read: Asks the engine for them.
        create: Makes one known there.
        trusted: Seconds for which what was read is taken for all that there is; other processes may write, too.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[dict[str, set[Kind]]]],
        create: Callable[[str, Schema], Awaitable[None]],
        trusted: float = math.inf,
    ) -> None:
        self._read, self._create, self._trusted = read, create, trusted
        self._known: dict[str, set[Kind]] = {}
        self._read_at = -math.inf  # by the monotonic clock
        self._refused: set[tuple[Kind, str]] = set()  # fields that came when there were enough
        self._learning = asyncio.Lock()  # making a payload index is slow, and two writers often bring the same field

    async def all(self) -> Fields:
        now = time.monotonic()
        if not self._known or now - self._read_at > self._trusted:
            self._read_at = now  # at once: whoever asks meanwhile goes by what is known, and does not wait
            self._known = await self._read()
        return self._known

    async def read_by(self, read: Callable[[Fields], T]) -> T:
        """What `read` makes of the fields, read anew where it meets one that is not known, or not of that kind.

        Another process may have brought it. If none has, a built-in field is one without values.

        Raises:
            FilterError: what `read` raises, twice.
        """
        try:
            return read(await self.all())
        except FilterError as error:
            if error.code not in ("unknown_field", "wrong_type"):
                raise
        self._known = await self._read()
        return read({name: set() for name in BUILT_IN} | self._known)

    async def learn(self, points: Sequence[Point]) -> None:
        """Makes the fields of points known, before these are written."""
        brought = {pair for point in points for pair in kinds_of(fields_of(point))} - self._refused
        if all(kind in self._known.get(name, ()) for kind, name in brought):
            return
        async with self._learning:
            known = await self._read()
            for kind, name in sorted(brought):
                if kind in known.get(name, ()):
                    continue
                # What is built in comes always: where it is not known, a filter holds for none, and its `not` for all.
                if name not in BUILT_IN and _attributes(known) >= MAX_FIELDS:
                    if len(self._refused) < 100 * MAX_FIELDS:  # remembered to be quiet and quick, not at any cost
                        self._refused.add((kind, name))
                    log.warning("field %r cannot be filtered by: there are %d fields already", name, MAX_FIELDS)
                    continue
                await self._create(key(kind, name), "float" if kind in ("number", "date") else "keyword")
                known.setdefault(name, set()).add(kind)
            self._known = known


def _attributes(known: Fields) -> int:
    """How many fields there are beside those built in, each kind of one for itself."""
    return sum(len(kinds) for name, kinds in known.items() if name not in BUILT_IN)

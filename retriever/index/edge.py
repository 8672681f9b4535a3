"""The embedded engine: Qdrant's own, in a folder. No server to run, and one process at a time.

A payload index takes a tenth of a second to make, and longer the more there are: everything is synced to the disk each
time. Catalogues have hundreds of attributes, of which few are ever filtered by. So only the first fields are indexed
as they come, and each of the others when it is first asked for. Which fields there are, indexed or not, the items say.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from retriever.arrays import Floats
from retriever.index import fusion
from retriever.index.answer_cache import AnswerCache
from retriever.index.base import ItemIndex
from retriever.index.edge_process import EngineProcess
from retriever.index.edge_room import need_room
from retriever.index.edge_shard import Shard
from retriever.index.fields import Kind, fields_at, parse_key
from retriever.index.filters import Condition, keys_of
from retriever.index.known_fields import Schema
from retriever.index.points import Payload, Point, chunks
from retriever.index.query import IndexQuery
from retriever.index.results import Facet, Hit, SearchResult
from retriever.index.selection import Values

_CHUNK = 128 * 1024  # token components in one write: a few milliseconds
# The write-ahead log makes each write outlive the process. Without a flush now and then it would grow for ever, and be
# replayed whole at the next start; a flush takes about as long as writing a thousand items.
_FLUSH_EVERY = 4096  # items
_INDEXED_AT_ONCE = 16  # fields: an item's own, and as many attributes as most shops have


Change = TypeVar("Change", bound=Sequence[Any])
Made = TypeVar("Made")


class EdgeIndex(ItemIndex):
    """Items in `<folder>/<model_id>`."""

    def __init__(self, engine: EngineProcess, folder: Path, dim: int, model_id: str) -> None:
        super().__init__(dim, model_id)
        self._engine, self._folder = engine, folder
        self._unflushed = 0
        self._kept = AnswerCache()
        self._making = asyncio.Lock()  # of payload indexes
        self._indexed: set[tuple[Kind, str]] = set()  # fields that surely have one
        self._field_keys: set[str] | None = None  # payload keys of all fields, once they were read

    @classmethod
    async def open(cls, folder: Path, dim: int, model_id: str, *, beside: bool = False) -> "EdgeIndex":
        """Opens a model's index, and creates it if the folder holds none.

        Args:
            beside: Open it though another model's serves from this folder, as while that is replaced.

        Raises:
            IndexInUse: another process has it open.
            IndexUnavailable: its files cannot be read, or its disk is too full to open it.
            ModelMismatch: the index of another model serves from this folder.
        """
        engine = EngineProcess(folder, dim, model_id, beside)
        await engine.start()
        return cls(engine, folder, dim, model_id)

    @property
    def engine_pid(self) -> int | None:
        return self._engine.pid

    async def count(self, filter: Condition | None = None) -> int:
        if filter is None:
            return self._engine.items if self._engine.pid else await self._engine.call(Shard.items)
        await self._need(filter)
        return await self._kept.get(filter, lambda: self._engine.call(Shard.count, filter))

    async def ready(self) -> None:
        await self._engine.call(Shard.items)

    async def close(self) -> None:
        self._kept.forget()
        await self._engine.close()

    async def _write(self, points: Sequence[Point]) -> None:
        for chunk in chunks(points, _CHUNK):
            await self._change(Shard.write, chunk)

    async def _delete(self, point_ids: list[str]) -> int:
        return await self._change(Shard.delete, point_ids)

    async def _change(self, make: Callable[[Shard, Change], Made], change: Change) -> Made:
        try:
            made = await self._engine.call(make, change)
        finally:  # of a change that fails, a part may have been made
            self._kept.forget()
        self._unflushed += len(change)
        if self._unflushed >= _FLUSH_EVERY:
            self._unflushed = 0
            await self._engine.call(Shard.flush)
        return made

    async def _payloads(self, point_ids: list[str]) -> dict[str, Payload]:
        return await self._engine.call(Shard.payloads, point_ids)

    async def _tokens(self, point_ids: list[str]) -> dict[str, Floats]:
        return await self._engine.call(Shard.tokens, point_ids)

    async def _values(self, point_ids: list[str], keys: Sequence[str]) -> Values:
        await self._need(
            None, *(path for path in keys if (field := parse_key(path)) and field[0] in ("number", "date"))
        )
        return await self._engine.call(Shard.values, point_ids, keys)

    async def _read_fields(self) -> dict[str, set[Kind]]:
        if self._field_keys is None:
            self._field_keys = set(await self._engine.call(Shard.field_keys))
        return fields_at([*await self._engine.call(Shard.indexed), *self._field_keys])

    async def _create_field(self, payload_key: str, schema: Schema) -> None:
        if len(await self._engine.call(Shard.indexed)) < _INDEXED_AT_ONCE:
            await self._make_index(payload_key)
        elif self._field_keys is not None:
            self._field_keys.add(payload_key)

    async def _need(self, filter: Condition | None, *payload_keys: str) -> None:
        """Makes the indexes that a request lacks. Counts and orders cannot do without, and filters would be slow."""
        needed = {path: field for path in (*payload_keys, *keys_of(filter)) if (field := parse_key(path))}
        if not self._indexed.issuperset(needed.values()):
            async with self._making:
                there = fields_at(await self._engine.call(Shard.indexed))
                self._indexed = {(kind, name) for name, kinds in there.items() for kind in kinds}
                for path, field in needed.items():
                    if field not in self._indexed:
                        await self._make_index(path)
                        self._indexed.add(field)

    async def _make_index(self, payload_key: str) -> None:
        need_room(self._folder, "a field that is filtered, counted or sorted by for the first time")
        await self._engine.call(Shard.make_index, payload_key)

    async def _field_facet(self, name: str, filter: Condition | None, limit: int) -> Facet:
        ask = super()._field_facet
        return await self._kept.get((name, filter, limit), lambda: ask(name, filter, limit))

    async def _counts(self, payload_key: str, filter: Condition | None, limit: int) -> list[tuple[str, int]]:
        await self._need(filter, payload_key)
        return await self._engine.call(Shard.counts, payload_key, filter, limit)

    async def _ordered(
        self, payload_key: str, filter: Condition | None, limit: int, *, descending: bool, start: float | None = None
    ) -> list[tuple[str, float]]:
        await self._need(filter, payload_key)
        return await self._engine.call(Shard.ordered, payload_key, filter, limit, descending, start)

    async def _scroll(
        self, cursor: str | None, limit: int, filter: Condition | None
    ) -> tuple[list[Payload], str | None]:
        await self._need(filter)
        return await self._engine.call(Shard.scroll, cursor, limit, filter)

    async def _ids(self, cursor: str | None, limit: int, filter: Condition | None) -> tuple[list[str], str | None]:
        await self._need(filter)
        return await self._engine.call(Shard.ids, cursor, limit, filter)

    async def _first_page(self, asked: IndexQuery, limit: int) -> SearchResult | None:
        if limit > fusion.CANDIDATES:
            return None
        total, ideal = await self.count(asked.filter), await self._ideal(asked)
        found = await self._engine.call(Shard.first_page, asked, fusion.CANDIDATES, limit, ideal)
        return SearchResult([Hit(payload["id"], score, payload) for score, payload in found], total, asked.filter)

    async def _candidates(self, asked: IndexQuery, depths: Sequence[int]) -> list[fusion.Candidates]:
        await self._need(asked.filter)
        return fusion.candidates(asked, await self._engine.call(Shard.candidates, asked, depths))

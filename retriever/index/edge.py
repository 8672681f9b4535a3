"""The embedded engine: Qdrant's own, in a folder. No server to run, and one process at a time.

A payload index takes a tenth of a second to make, and longer the more there are: everything is synced to the disk each
time. Catalogues have hundreds of attributes, of which few are ever filtered by. So only the first fields are indexed
as they come, and each of the others when it is first asked for. Which fields there are, indexed or not, the items say.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retriever.arrays import Floats
from retriever.index import fusion
from retriever.index.base import ItemIndex
from retriever.index.edge_process import EngineProcess
from retriever.index.edge_room import need_room
from retriever.index.fields import Kind, fields_at, parse_key
from retriever.index.filters import Condition, keys_of
from retriever.index.kept import Kept
from retriever.index.known_fields import Schema
from retriever.index.points import Payload, Point, chunks
from retriever.index.question import Question
from retriever.index.results import Facet, Hit, SearchResult
from retriever.index.selection import Values

_CHUNK = 128 * 1024  # token components in one write: a few milliseconds
# The write-ahead log makes each write outlive the process. Without a flush now and then it would grow for ever, and be
# replayed whole at the next start; a flush takes about as long as writing a thousand items.
_FLUSH_EVERY = 4096  # items
_INDEXED_AT_ONCE = 16  # fields: an item's own, and as many attributes as most shops have


class EdgeIndex(ItemIndex):
    """Items in `<folder>/<model_id>`."""

    def __init__(self, engine: EngineProcess, folder: Path, dim: int, model_id: str) -> None:
        super().__init__(dim, model_id)
        self._engine, self._folder = engine, folder
        self._unflushed = 0
        self._kept = Kept()
        self._making = asyncio.Lock()  # of payload indexes
        self._indexed: set[tuple[Kind, str]] = set()  # fields that surely have one
        self._field_keys: set[str] | None = None  # payload keys of all fields, once they were read

    @classmethod
    async def open(cls, folder: Path, dim: int, model_id: str, *, beside: bool = False) -> "EdgeIndex":
        """Opens a model's index, and creates it if the folder holds none.

        Args:
            beside: Another model's may serve from this folder.

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
            return self._engine.items if self._engine.pid else int(await self._engine.call("items"))
        await self._need(filter)
        count: int = await self._kept.get(filter, lambda: self._engine.call("count", filter))
        return count

    async def ready(self) -> None:
        await self._engine.call("items")

    async def close(self) -> None:
        self._kept.forget()
        await self._engine.close()

    async def _write(self, points: Sequence[Point]) -> None:
        for chunk in chunks(points, _CHUNK):
            await self._change("write", chunk)

    async def _delete(self, point_ids: list[str]) -> int:
        deleted: int = await self._change("delete", point_ids)
        return deleted

    async def _change(self, method: str, what: Sequence[Any]) -> Any:
        try:
            made = await self._engine.call(method, what)
        finally:  # of a change that fails, a part may have been made
            self._kept.forget()
        self._unflushed += len(what)
        if self._unflushed >= _FLUSH_EVERY:
            self._unflushed = 0
            await self._engine.call("flush")
        return made

    async def _payloads(self, point_ids: list[str]) -> dict[str, Payload]:
        payloads: dict[str, Payload] = await self._engine.call("payloads", point_ids)
        return payloads

    async def _tokens(self, point_ids: list[str]) -> dict[str, Floats]:
        tokens: dict[str, Floats] = await self._engine.call("tokens", point_ids)
        return tokens

    async def _values(self, point_ids: list[str], keys: Sequence[str]) -> Values:
        await self._need(
            None, *(path for path in keys if (field := parse_key(path)) and field[0] in ("number", "date"))
        )
        values: Values = await self._engine.call("values", point_ids, keys)
        return values

    async def _read_fields(self) -> dict[str, set[Kind]]:
        if self._field_keys is None:
            self._field_keys = set(await self._engine.call("field_keys"))
        return fields_at([*await self._engine.call("indexed"), *self._field_keys])

    async def _create_field(self, payload_key: str, schema: Schema) -> None:
        if len(await self._engine.call("indexed")) < _INDEXED_AT_ONCE:
            await self._make_index(payload_key)
        elif self._field_keys is not None:
            self._field_keys.add(payload_key)

    async def _need(self, filter: Condition | None, *payload_keys: str) -> None:
        """Makes the indexes that a request lacks. Counts and orders cannot do without, and filters would be slow."""
        needed = {path: field for path in (*payload_keys, *keys_of(filter)) if (field := parse_key(path))}
        if not self._indexed.issuperset(needed.values()):
            async with self._making:
                there = fields_at(await self._engine.call("indexed"))
                self._indexed = {(kind, name) for name, kinds in there.items() for kind in kinds}
                for path, field in needed.items():
                    if field not in self._indexed:
                        await self._make_index(path)
                        self._indexed.add(field)

    async def _make_index(self, payload_key: str) -> None:
        need_room(self._folder, "a field that is filtered, counted or sorted by for the first time")
        await self._engine.call("make_index", payload_key)

    async def _field_facet(self, name: str, filter: Condition | None, limit: int) -> Facet:
        ask = super()._field_facet
        return await self._kept.get((name, filter, limit), lambda: ask(name, filter, limit))

    async def _counts(self, payload_key: str, filter: Condition | None, limit: int) -> list[tuple[str, int]]:
        await self._need(filter, payload_key)
        counts: list[tuple[str, int]] = await self._engine.call("counts", payload_key, filter, limit)
        return counts

    async def _ordered(
        self, payload_key: str, filter: Condition | None, limit: int, *, descending: bool, start: float | None = None
    ) -> list[tuple[str, float]]:
        await self._need(filter, payload_key)
        found: list[tuple[str, float]] = await self._engine.call(
            "ordered", payload_key, filter, limit, descending, start
        )
        return found

    async def _scroll(
        self, cursor: str | None, limit: int, filter: Condition | None
    ) -> tuple[list[Payload], str | None]:
        await self._need(filter)
        page: tuple[list[Payload], str | None] = await self._engine.call("scroll", cursor, limit, filter)
        return page

    async def _ids(self, cursor: str | None, limit: int, filter: Condition | None) -> tuple[list[str], str | None]:
        await self._need(filter)
        page: tuple[list[str], str | None] = await self._engine.call("ids", cursor, limit, filter)
        return page

    async def _first_page(self, asked: Question, limit: int) -> SearchResult | None:
        if limit > fusion.CANDIDATES:
            return None
        total, ideal = await self.count(asked.filter), await self._ideal(asked)
        found = await self._engine.call("first_page", asked, fusion.CANDIDATES, limit, ideal)
        return SearchResult([Hit(payload["id"], score, payload) for score, payload in found], total, asked.filter)

    async def _candidates(self, asked: Question, depths: Sequence[int]) -> list[fusion.Candidates]:
        await self._need(asked.filter)
        return fusion.candidates(asked, await self._engine.call("candidates", asked, depths))

"""The embedded engine: Qdrant's own, in this process, in a folder. No server to run, and one process at a time.

The `dense` vectors have no HNSW graph here: the engine would build it in `optimize()`, which stops every other thread
for many seconds. A scan of all of them in eight bits takes as long as a graph's work at 100,000 items, and needs
neither building nor mending.

Calls are made from threads: the engine lets go of Python's global lock while it searches, so that searches run side by
side and the event loop goes on. Writes hold the lock while they convert, so they go in small chunks.

A payload index takes a tenth of a second to make, holding the lock, and longer the more there are: everything is synced
to the disk each time. Catalogues have hundreds of attributes, of which few are ever filtered by. So only the first
fields are indexed as they come, and each of the others when it is first asked for. Which fields there are, indexed or
not, the items say.
"""

import asyncio
import contextlib
import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import qdrant_edge as engine

from retriever.index.base import Facet, IndexInUse, IndexUnavailable, ItemIndex, ModelMismatch
from retriever.index.fields import MAX_FIELDS, SECTION, WORDS_KEY, Kind, fields_at, key, kinds_of, parse_key, values_at
from retriever.index.filters import And, AnyOf, Condition, Not, Or, Range, keys_of
from retriever.index.fusion import Candidates, candidates
from retriever.index.kept import Kept
from retriever.index.lexical import SparseVector
from retriever.index.points import Payload, Point, Vector, caller_payload, chunks, dense_query, fields_of
from retriever.index.selection import Values

T = TypeVar("T")

CURRENT = "current.json"  # beside the models' folders: which of them serves

_CHUNK = 128 * 1024  # token components in one write: a few milliseconds
# The write-ahead log makes each write outlive the process. Without a flush now and then it would grow for ever, and be
# replayed whole at the next start; a flush takes about as long as writing a thousand items.
_FLUSH_EVERY = 4096  # items
_INDEXED_AT_ONCE = 16  # fields: an item's own, and as many attributes as most shops have
_NAMES_KEY = f"{SECTION}.fields"  # the payload keys of an item's fields
_CALLERS = engine.PayloadSelector.Exclude([SECTION])  # the part of a payload that callers see


class EdgeIndex(ItemIndex):
    """Items in `<folder>/<model_id>`."""

    def __init__(self, shard: Any, dim: int, model_id: str) -> None:
        super().__init__(dim, model_id)
        self._shard = shard
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="index")
        self._writing = threading.Lock()
        self._unflushed = 0
        self._kept = Kept()
        self._closed = False
        self._making = asyncio.Lock()  # of payload indexes
        self._indexed: set[tuple[Kind, str]] = set()  # fields that surely have one
        self._named: set[str] | None = None  # payload keys of all other fields, once they were asked for

    @classmethod
    async def open(cls, folder: Path, dim: int, model_id: str, *, beside: bool = False) -> "EdgeIndex":
        """Opens a model's index, and creates it if the folder holds none.

        Args:
            beside: Another model's may serve from this folder.

        Raises:
            IndexInUse: another process has it open.
            IndexUnavailable: its files cannot be read.
            ModelMismatch: the index of another model serves from this folder.
        """
        return cls(await asyncio.to_thread(_open_shard, folder, dim, model_id, beside), dim, model_id)

    async def count(self, filter: Condition | None = None) -> int:
        if filter is None:
            # Exact while there is one segment, and only `optimize()` makes more; a `CountRequest` visits every item.
            every: int = self._at_once(self._shard.info).points_count
            return every
        await self._need(filter)
        request = engine.CountRequest(exact=True, filter=_engine_filter(filter))
        count: int = await self._kept.get(filter, lambda: self._run(lambda: self._shard.count(request)))
        return count

    async def ready(self) -> None:
        self._at_once(self._shard.info)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._kept.forget()
        await asyncio.to_thread(self._threads.shutdown)
        with _engine_errors():
            await asyncio.to_thread(self._shard.flush)
            await asyncio.to_thread(self._shard.close)

    def _at_once(self, job: Callable[[], T]) -> T:
        """For what takes microseconds, where going to a thread and back would take a hundred times as long."""
        if self._closed:
            raise IndexUnavailable("the embedded index is closed")
        with _engine_errors():
            return job()

    async def _run(self, job: Callable[[], T]) -> T:
        if self._closed:
            raise IndexUnavailable("the embedded index is closed")
        with _engine_errors():
            return await asyncio.get_running_loop().run_in_executor(self._threads, job)

    async def _write(self, points: Sequence[Point]) -> None:
        def write() -> None:
            for chunk in chunks(points, _CHUNK):
                update = engine.UpdateOperation.upsert_points([_engine_point(point) for point in chunk])
                with self._writing:
                    self._change(update, len(chunk))

        await self._run(write)

    async def _delete(self, point_ids: list[str]) -> int:
        def delete() -> int:
            with self._writing:
                there = [record.id for record in self._shard.retrieve(point_ids, False, False)]
                self._change(engine.UpdateOperation.delete_points(there), len(there))
            return len(there)

        return await self._run(delete)

    def _change(self, update: Any, items: int) -> None:
        try:
            self._shard.update(update)
        finally:  # of an update that fails, a part may have been made
            self._kept.forget()
        self._unflushed += items
        if self._unflushed >= _FLUSH_EVERY:
            self._shard.flush()
            self._unflushed = 0

    async def _payloads(self, point_ids: list[str]) -> dict[str, Payload]:
        records = await self._run(lambda: self._shard.retrieve(point_ids, _CALLERS, False))
        return {str(record.id): caller_payload(record.payload) for record in records}

    async def _tokens(self, point_ids: list[str]) -> dict[str, Vector]:
        records = await self._run(lambda: self._shard.retrieve(point_ids, False, ["tokens"]))
        return {str(record.id): np.asarray(record.vector["tokens"], dtype=np.float32) for record in records}

    async def _values(self, point_ids: list[str], keys: Sequence[str]) -> Values:
        columns = {path: await self._column(path, point_ids) for path in keys}
        values: dict[str, dict[str, list[Any]]] = {}
        if unread := [path for path, column in columns.items() if column is None]:
            only = engine.PayloadSelector.Include(unread)
            records = await self._run(lambda: self._shard.retrieve(point_ids, only, False))
            values = {str(record.id): values_at(record.payload, unread) for record in records}
        for path, column in columns.items():
            for point, value in (column or {}).items():
                values.setdefault(point, {})[path] = [value]
        return values

    async def _column(self, payload_key: str, point_ids: list[str]) -> dict[str, float] | None:
        """The numbers or dates that points have, out of their index: a fifth of the time that payloads take.

        None of keywords, and where a point has several values: an index does not say which of them is the first.
        """
        kind, _ = parse_key(payload_key) or ("keyword", "")
        if kind not in ("number", "date"):
            return None
        await self._need(None, payload_key)
        among = engine.Filter(must=[engine.HasIdCondition(set(point_ids))])
        # One more than one value each: then some point has come twice.
        request = engine.ScrollRequest(
            limit=len(point_ids) + 1, filter=among, order_by=engine.OrderBy(payload_key), with_payload=False
        )

        def read() -> tuple[dict[str, float], int]:
            records, _ = self._shard.scroll(request)
            return {str(record.id): float(record.order_value) for record in records}, len(records)

        column, count = await self._run(read)
        return column if len(column) == count else None

    async def _read_fields(self) -> dict[str, set[Kind]]:
        if self._named is None:
            request = engine.FacetRequest(_NAMES_KEY, limit=MAX_FIELDS, exact=True)
            answer = await self._run(lambda: self._shard.facet(request))
            self._named = {hit.value for hit in answer.hits}
        paths = (await self._run(self._shard.info)).payload_schema
        return fields_at([*paths, *self._named])

    async def _create_field(self, payload_key: str, schema: Literal["keyword", "float"]) -> None:
        if len((await self._run(self._shard.info)).payload_schema) < _INDEXED_AT_ONCE:
            await self._make_index(payload_key)
        elif self._named is not None:
            self._named.add(payload_key)

    async def _need(self, filter: Condition | None, *payload_keys: str) -> None:
        """Makes the indexes that a request lacks. Counts and orders cannot do without, and filters would be slow."""
        needed = {path: field for path in (*payload_keys, *keys_of(filter)) if (field := parse_key(path))}
        if not self._indexed.issuperset(needed.values()):
            async with self._making:
                there = fields_at((await self._run(self._shard.info)).payload_schema)
                self._indexed = {(kind, name) for name, kinds in there.items() for kind in kinds}
                for path, field in needed.items():
                    if field not in self._indexed:
                        await self._make_index(path)
                        self._indexed.add(field)

    async def _make_index(self, payload_key: str) -> None:
        field, _ = parse_key(payload_key) or ("keyword", "")
        kind = engine.PayloadSchemaType.Float if field in ("number", "date") else engine.PayloadSchemaType.Keyword
        update = engine.UpdateOperation.create_field_index(payload_key, kind)

        def make() -> None:
            with self._writing:
                self._shard.update(update)

        await self._run(make)

    async def _field_facet(self, name: str, filter: Condition | None, limit: int) -> Facet:
        ask = super()._field_facet
        return await self._kept.get((name, filter, limit), lambda: ask(name, filter, limit))

    async def _counts(self, payload_key: str, filter: Condition | None, limit: int) -> list[tuple[str, int]]:
        await self._need(filter, payload_key)
        request = engine.FacetRequest(payload_key, limit=limit, exact=True, filter=_engine_filter(filter))
        answer = await self._run(lambda: self._shard.facet(request))
        return [(hit.value, hit.count) for hit in answer.hits]

    async def _ordered(
        self, payload_key: str, filter: Condition | None, limit: int, *, descending: bool, start: float | None = None
    ) -> list[tuple[str, float]]:
        await self._need(filter, payload_key)
        direction = engine.Direction.Desc if descending else engine.Direction.Asc
        order = engine.OrderBy(payload_key, direction=direction, start_from=start)
        request = engine.ScrollRequest(limit=limit, filter=_engine_filter(filter), order_by=order, with_payload=False)
        records, _ = await self._run(lambda: self._shard.scroll(request))
        return [(str(record.id), float(record.order_value)) for record in records]

    async def _scroll(
        self, cursor: str | None, limit: int, filter: Condition | None
    ) -> tuple[list[Payload], str | None]:
        await self._need(filter)
        request = engine.ScrollRequest(offset=cursor, limit=limit, with_payload=_CALLERS, filter=_engine_filter(filter))
        records, following = await self._run(lambda: self._shard.scroll(request))
        return [caller_payload(record.payload) for record in records], None if following is None else str(following)

    async def _candidates(
        self, query: Vector | None, words: SparseVector | None, depths: Sequence[int], filter: Condition | None
    ) -> list[Candidates]:
        await self._need(filter)
        allowed = _engine_filter(filter)
        alike = None
        if words is not None:
            alike = engine.Query.Nearest(engine.SparseVector(words.indices, words.values), "lexical")
        sources = [alike] if alike else []
        rescore = alike
        if query is not None:
            sources = [engine.Query.Nearest(dense_query(query), "dense"), *sources]
            rescore = engine.Query.Nearest(query.tolist(), "tokens")
        requests = []
        for depth in depths:
            found = [engine.Prefetch(limit=depth, query=source, filter=allowed) for source in sources]
            requests.append(engine.QueryRequest(limit=depth * len(found), query=rescore, prefetches=found))
            if alike:
                requests.append(engine.QueryRequest(limit=depth, query=alike, filter=allowed))
        batch = engine.QueryBatchRequest(requests)
        answers = [_scores(answer) for answer in await self._run(lambda: self._shard.query_batch(batch))]
        return candidates(answers, by_meaning=query is not None, by_words=alike is not None)


@contextlib.contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not _is_engines(error):
            raise
        raise IndexUnavailable(f"the embedded index failed: {error}") from error


def _is_engines(error: BaseException) -> bool:
    """The engine raises bare `Exception`, and where it panics (over damaged files), what is not even that.

    Anything more precise is a mistake of ours.
    """
    return type(error) is Exception or type(error).__name__ == "PanicException"


def _engine_filter(condition: Condition | None) -> Any:
    """The engine's own form of a condition."""
    match condition:
        case None:
            return None
        case And(parts):
            return engine.Filter(must=[_engine_filter(part) for part in parts])
        case Or(parts):
            return engine.Filter(should=[_engine_filter(part) for part in parts])
        case Not(part):
            return engine.Filter(must_not=[_engine_filter(part)])
        case AnyOf(key, values):
            return engine.Filter(must=[engine.FieldCondition(key, match=engine.MatchAny(list(values)))])
        case Range(key, gt, gte, lt, lte):
            bounds = engine.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte)
            return engine.Filter(must=[engine.FieldCondition(key, range=bounds)])


def _scores(answer: list[Any]) -> dict[int, float]:
    return {point.id.int: point.score for point in answer}


def _engine_point(point: Point) -> Any:
    names = [key(kind, name) for kind, name in kinds_of(fields_of(point))]
    return engine.Point(
        point.id,
        {
            "dense": point.dense.tolist(),
            "tokens": point.tokens.tolist(),
            "lexical": engine.SparseVector(point.lexical.indices, point.lexical.values),
        },
        {**point.payload, SECTION: {**point.payload[SECTION], "fields": names}},
    )


def _config(dim: int) -> Any:
    """How a shard is made. One that is there is opened as it is: those of data format 1 have 32 bits throughout."""
    # Dot throughout: `dense` has unit length already, and the length of a token carries its weight.
    return engine.EdgeConfig(
        vectors={
            # Every search reads all of `dense`, and only to find candidates: eight bits (rotated, then rounded) find
            # 99 in 100 of the nearest two hundred, in a quarter of the time.
            "dense": engine.EdgeVectorParams(
                size=dim, distance=engine.Distance.Dot, datatype=engine.VectorStorageDatatype.Turbo8
            ),
            # These rank: half precision moves a score by less than 0.001, and halves the folder.
            "tokens": engine.EdgeVectorParams(
                size=dim,
                distance=engine.Distance.Dot,
                datatype=engine.VectorStorageDatatype.Float16,
                multivector_config=engine.MultiVectorConfig(engine.MultiVectorComparator.MaxSim),
            ),
        },
        sparse_vectors={"lexical": engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf)},
        wal_enabled=True,
    )


def _open_shard(folder: Path, dim: int, model_id: str, beside: bool) -> Any:
    ours = folder / model_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not beside and (serving := _serving(folder, model_id)) != model_id:
            raise ModelMismatch(
                f"the index in {folder} was written by the model {serving}, and this is the model {model_id}: their "
                "vectors cannot be compared. Start with that model, and move the index to this one by `python -m "
                f"service.reindex --model …`; or remove {folder / serving} and send the items again."
            )
        if not ours.exists():
            _create_shard(ours, dim)
    except OSError as error:
        raise IndexUnavailable(f"the embedded index in {ours} cannot be created: {error}") from error
    # A part without this file the engine drops, with all its items, and says nothing.
    if lost := [path for path in ours.glob("segments/*") if not (path / "version.info").exists()]:
        raise _damaged(ours, f"{lost[0] / 'version.info'} is missing")
    try:
        shard = engine.EdgeShard.load(str(ours))
        # It opens over files that are gone, and fails when it is to read them: better now than at a shopper's search.
        shard.scroll(engine.ScrollRequest(limit=1, with_payload=True, with_vector=True))
        if _NAMES_KEY not in shard.info().payload_schema:  # of a version that indexed every field as it came
            _list_fields(shard)
        return shard
    except BaseException as error:
        if not _is_engines(error):
            raise
        if "WouldBlock" in str(error):
            raise IndexInUse(
                f"the embedded index in {ours} is open already, here or in another process, and takes one at a time. "
                "Stop that process, use another data folder, or share a Qdrant server (QDRANT_URL)."
            ) from error
        raise _damaged(ours, error) from error


def _damaged(folder: Path, reason: object) -> IndexUnavailable:
    return IndexUnavailable(
        f"the embedded index in {folder} cannot be opened: {reason}. If its files are damaged, move the whole data "
        "folder away and restore a backup: `python -m service.backup --restore FILE`."
    )


def _serving(folder: Path, model_id: str) -> str:
    """The model whose index serves from a folder; `model_id` itself where none does."""
    others = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not others:
        return model_id
    if (folder / CURRENT).exists():
        try:
            named = str(json.loads((folder / CURRENT).read_bytes())["model_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise IndexUnavailable(f"{folder / CURRENT}, which names the model, is damaged: {error}") from error
        if named in others:  # and was not removed by hand
            return named
    return model_id if model_id in others else " and ".join(others)


def _create_shard(folder: Path, dim: int) -> None:
    """Makes a shard beside and moves it into place, so that a crash leaves all of it or nothing."""
    beside = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        shard = engine.EdgeShard.create(str(beside), _config(dim))
        shard.update(engine.UpdateOperation.create_field_index(WORDS_KEY, engine.PayloadSchemaType.Integer))
        _list_fields(shard)
        shard.close()
        if not folder.exists():  # another process may have been quicker
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _list_fields(shard: Any) -> None:
    shard.update(engine.UpdateOperation.create_field_index(_NAMES_KEY, engine.PayloadSchemaType.Keyword))

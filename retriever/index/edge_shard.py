"""The embedded engine itself: Qdrant's own, over a folder. It runs in a process of its own (see `edge_process`).

Plain arguments in, plain values out, one call at a time. `edge_opening` makes and opens it.

The `dense` vectors have no HNSW graph here: the engine would build it in `optimize()`, which stops everything else for
many seconds. A scan of all of them in eight bits takes as long as a graph's work at 100,000 items, and needs neither
building nor mending.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, get_args

import numpy as np
import qdrant_edge as engine

from retriever.arrays import Floats
from retriever.index import edge_files, fusion
from retriever.index.fields import BUILT_IN, MAX_FIELDS, SECTION, Kind, key, kinds_of, parse_key, values_at
from retriever.index.filters import Among, And, AnyOf, Condition, Has, Not, Or, Range
from retriever.index.points import Payload, Point, caller_payload, dense_query, fields_of
from retriever.index.query import IndexQuery
from retriever.index.results import IndexUnavailable
from retriever.index.selection import Values

NAMES_KEY = f"{SECTION}.fields"  # the payload keys of an item's fields

_CALLERS = engine.PayloadSelector.Exclude([SECTION])  # the part of a payload that callers see
_SORTED = 1000  # values of a field that are looked at for the commonest


class Shard:
    """One folder of the engine, open. Every method raises `IndexUnavailable` where the engine fails."""

    def __init__(self, folder: Path, shard: Any, lock: IO[bytes]) -> None:
        self._folder, self._shard, self._lock = folder, shard, lock

    def items(self) -> int:
        """Exact while there is one segment, and only `optimize()` makes more; a `CountRequest` visits every item."""
        with _engine_errors():
            every: int = self._shard.info().points_count
        return every

    def indexed(self) -> list[str]:
        """The payload keys that have an index."""
        with _engine_errors():
            return list(self._shard.info().payload_schema)

    def field_keys(self) -> list[str]:
        """The payload keys of fields that items have: of all that are built in, and of the commonest."""
        own = [key(kind, name) for name in BUILT_IN for kind in get_args(Kind)]
        own = [path for path in own if self.count(AnyOf(NAMES_KEY, (path,)))]
        return own + [path for path, _ in self.counts(NAMES_KEY, None, MAX_FIELDS)]

    def make_index(self, payload_key: str) -> None:
        field, _ = parse_key(payload_key) or ("keyword", "")
        kind = engine.PayloadSchemaType.Float if field in ("number", "date") else engine.PayloadSchemaType.Keyword
        with _engine_errors():
            self._shard.update(engine.UpdateOperation.create_field_index(payload_key, kind))

    def write(self, points: Sequence[Point]) -> None:
        with _engine_errors():
            self._shard.update(engine.UpdateOperation.upsert_points([_engine_point(point) for point in points]))

    def delete(self, point_ids: list[str]) -> int:
        """Returns how many of them were there."""
        with _engine_errors():
            there = [record.id for record in self._shard.retrieve(point_ids, False, False)]
            self._shard.update(engine.UpdateOperation.delete_points(there))
        return len(there)

    def flush(self) -> None:
        with _engine_errors():
            self._shard.flush()
        edge_files.record(self._folder)

    def close(self) -> None:
        self.flush()
        with _engine_errors():
            self._shard.close()
        self._lock.close()

    def count(self, filter: Condition) -> int:
        # How many items have one value, an index knows without a look at them (see `counts`); of others it would guess.
        exact = not (isinstance(filter, AnyOf) and len(filter.values) == 1)
        with _engine_errors():
            count: int = self._shard.count(engine.CountRequest(exact=exact, filter=_engine_filter(filter)))
        return count

    def counts(self, payload_key: str, filter: Condition | None, limit: int) -> list[tuple[str, int]]:
        """The commonest values of a field, and how many items have each. The key needs an index.

        Of values that are equally common, the first by name; of more than `_SORTED` values, any.
        """
        # Not `exact`, which goes through the items once for each value. The index's own counts are off only where an
        # item may be in two segments, and there is one (see `items`).
        request = engine.FacetRequest(
            payload_key, limit=max(limit, _SORTED), exact=False, filter=_engine_filter(filter)
        )
        with _engine_errors():
            hits = self._shard.facet(request).hits
        return sorted(((hit.value, hit.count) for hit in hits), key=lambda one: (-one[1], one[0]))[:limit]

    def ordered(
        self, payload_key: str, filter: Condition | None, limit: int, descending: bool, start: float | None
    ) -> list[tuple[str, float]]:
        """See `Listing._ordered`."""
        direction = engine.Direction.Desc if descending else engine.Direction.Asc
        order = engine.OrderBy(payload_key, direction=direction, start_from=start)
        request = engine.ScrollRequest(limit=limit, filter=_engine_filter(filter), order_by=order, with_payload=False)
        with _engine_errors():
            records, _ = self._shard.scroll(request)
        return [(str(record.id), float(record.order_value)) for record in records]

    def scroll(self, cursor: str | None, limit: int, filter: Condition | None) -> tuple[list[Payload], str | None]:
        """See `Listing._scroll`."""
        request = engine.ScrollRequest(offset=cursor, limit=limit, with_payload=_CALLERS, filter=_engine_filter(filter))
        with _engine_errors():
            records, following = self._shard.scroll(request)
        return [caller_payload(record.payload) for record in records], None if following is None else str(following)

    def ids(self, cursor: str | None, limit: int, filter: Condition | None) -> tuple[list[str], str | None]:
        """See `Listing._ids`."""
        request = engine.ScrollRequest(offset=cursor, limit=limit, with_payload=False, filter=_engine_filter(filter))
        with _engine_errors():
            records, following = self._shard.scroll(request)
        return [str(record.id) for record in records], None if following is None else str(following)

    def payloads(self, point_ids: list[str]) -> dict[str, Payload]:
        with _engine_errors():
            records = self._shard.retrieve(point_ids, _CALLERS, False)
        return {str(record.id): caller_payload(record.payload) for record in records}

    def tokens(self, point_ids: list[str]) -> dict[str, Floats]:
        with _engine_errors():
            records = self._shard.retrieve(point_ids, False, ["tokens"])
        return {str(record.id): np.asarray(record.vector["tokens"], dtype=np.float32) for record in records}

    def values(self, point_ids: list[str], keys: Sequence[str]) -> Values:
        """See `Listing._values`. Keys of numbers and dates need an index."""
        columns = {path: self._column(path, point_ids) for path in keys}
        values: dict[str, dict[str, list[Any]]] = {}
        if unread := [path for path, column in columns.items() if column is None]:
            with _engine_errors():
                records = self._shard.retrieve(point_ids, engine.PayloadSelector.Include(unread), False)
            values = {str(record.id): values_at(record.payload, unread) for record in records}
        for path, column in columns.items():
            for point, value in (column or {}).items():
                values.setdefault(point, {})[path] = [value]
        return values

    def candidates(self, asked: IndexQuery, depths: Sequence[int]) -> list[dict[int, float]]:
        """Scores by point, of each depth: by meaning (by words, without vectors), and then by words, if there are."""
        query, words = asked.vectors, asked.words
        allowed = _engine_filter(asked.filter)
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
        with _engine_errors():
            answers = self._shard.query_batch(engine.QueryBatchRequest(requests))
        return [{point.id.int: point.score for point in answer} for answer in answers]

    def first_page(self, asked: IndexQuery, depth: int, limit: int, ideal: float) -> list[tuple[float, Payload]]:
        """The best candidates, with their scores: only a page of those that are ranked has to cross over."""
        tiers = fusion.candidates(asked, self.candidates(asked, [depth]))
        ranked = fusion.rank(tiers, asked.lexical_weight, limit, ideal)
        payloads = self.payloads([one.point_id for one in ranked])
        return [(one.score, payloads[one.point_id]) for one in ranked]

    def _column(self, payload_key: str, point_ids: list[str]) -> dict[str, float] | None:
        """The numbers or dates that points have, out of their index: a fifth of the time that payloads take.

        None of keywords, and where a point has several values: an index does not say which of them is the first.
        """
        kind, _ = parse_key(payload_key) or ("keyword", "")
        if kind not in ("number", "date"):
            return None
        among = engine.Filter(must=[engine.HasIdCondition(set(point_ids))])
        # One more than one value each: then some point has come twice.
        request = engine.ScrollRequest(
            limit=len(point_ids) + 1, filter=among, order_by=engine.OrderBy(payload_key), with_payload=False
        )
        with _engine_errors():
            records, _ = self._shard.scroll(request)
        column = {str(record.id): float(record.order_value) for record in records}
        return column if len(column) == len(records) else None


@contextlib.contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not is_engines(error):
            raise
        raise IndexUnavailable(f"the embedded index failed: {error}") from error


def is_engines(error: BaseException) -> bool:
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
        case AnyOf(key, (value,)):  # a quarter less to scan than one of a list of one
            return engine.Filter(must=[engine.FieldCondition(key, match=engine.MatchValue(value))])
        case AnyOf(key, values):
            return engine.Filter(must=[engine.FieldCondition(key, match=engine.MatchAny(list(values)))])
        case Range(key, gt, gte, lt, lte):
            bounds = engine.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte)
            return engine.Filter(must=[engine.FieldCondition(key, range=bounds)])
        case Has(key):
            return engine.Filter(must_not=[engine.IsEmptyCondition(key)])
        case Among(point_ids):
            return engine.Filter(must=[engine.HasIdCondition(set(point_ids))])


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

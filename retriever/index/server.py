"""A Qdrant server or cluster, through its client. The client's `:memory:` mode serves tests."""

import asyncio
import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException

from retriever.arrays import Floats
from retriever.index import fusion
from retriever.index.base import ItemIndex
from retriever.index.cluster import Cluster
from retriever.index.fields import WORDS_KEY, Kind, fields_at, values_at
from retriever.index.filters import Among, And, AnyOf, Condition, Has, Not, Or, Range
from retriever.index.known_fields import Schema
from retriever.index.points import Payload, Point, caller_payload, chunks, dense_query
from retriever.index.query import IndexQuery
from retriever.index.results import Hit, IndexUnavailable, ModelMismatch, SearchResult
from retriever.index.selection import Values
from retriever.index.server_first_page import CALLERS, FirstPage

ALIAS = "items"  # names the collection of the model that serves

# Token components in one request: 1 MB over gRPC. The client turns them into messages on the event loop: keep it short.
_CHUNK = 256 * 1024
_TIMEOUT = 30  # seconds
# Seconds: what kind of value another process brought a field counts here soon, and one search in so long waits for it.
_FIELDS_TRUSTED = 3.0


class ServerIndex(ItemIndex):
    """Items in the collection `<alias>-<model_id>`, at which the alias must point."""

    def __init__(
        self, client: AsyncQdrantClient, dim: int, model_id: str, alias: str = ALIAS, cluster: Cluster | None = None
    ) -> None:
        super().__init__(dim, model_id, fields_trusted=_FIELDS_TRUSTED)
        self._client = client
        self._cluster = cluster or Cluster()
        # By its own name, not the alias: when the alias moves on to another model's collection, vectors of this model
        # are of no use there.
        self._collection = f"{alias}-{model_id}"
        self._created: dict[str, set[Kind]] = {}

    @classmethod
    async def open(
        cls,
        client: AsyncQdrantClient,
        dim: int,
        model_id: str,
        alias: str = ALIAS,
        cluster: Cluster | None = None,
        *,
        beside: bool = False,
    ) -> "ServerIndex":
        """Opens a model's collection, and creates it with its alias if the server has none.

        Args:
            beside: The alias may point at another model's, and stays as it is.

        Raises:
            IndexUnavailable: the server does not answer, or refuses.
            ModelMismatch: the alias points at the collection of another model.
        """
        index = cls(client, dim, model_id, alias, cluster)
        with server_errors():
            aliases = (await client.get_aliases()).aliases
            target = next((one.collection_name for one in aliases if one.alias_name == alias), None)
            if not beside and target not in (None, index._collection):
                raise ModelMismatch(
                    f"the server's alias {alias!r} points at the collection {target!r}, and this model's is "
                    f"{index._collection!r}: vectors of two models cannot be compared. Start with that model, and "
                    "move the index to this one by `python -m service.reindex --model …`; or delete the collection "
                    f"{target!r} and send the items again."
                )
            if not await client.collection_exists(index._collection):
                await index._create()
            # Whoever made the collection may have been stopped before this.
            if WORDS_KEY not in (await client.get_collection(index._collection)).payload_schema:
                await index._create_index(WORDS_KEY, index._cluster.field("integer"))
            if target is None and not beside:
                point = models.CreateAlias(collection_name=index._collection, alias_name=alias)
                await client.update_collection_aliases([models.CreateAliasOperation(create_alias=point)])
        return index

    async def _create(self) -> None:
        dot = models.Distance.DOT  # `dense` has unit length already, and the length of a token carries its weight
        try:
            await self._client.create_collection(
                self._collection,
                vectors_config={
                    "dense": models.VectorParams(size=self._dim, distance=dot, **self._cluster.dense()),
                    "tokens": models.VectorParams(
                        size=self._dim,
                        distance=dot,
                        multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                        hnsw_config=models.HnswConfigDiff(m=0),  # only ever rescored, never searched
                        **self._cluster.tokens(),
                    ),
                },
                sparse_vectors_config={
                    "lexical": models.SparseVectorParams(modifier=models.Modifier.IDF, index=self._cluster.lexical())
                },
                metadata={"model_id": self._model_id},
                **self._cluster.collection(),
            )
        except (ApiException, grpc.RpcError):
            # Another process that starts at the same time may have been quicker.
            if not await self._client.collection_exists(self._collection):
                raise

    async def count(self, filter: Condition | None = None) -> int:
        with server_errors():
            return (await self._client.count(self._collection, _server_filter(filter), exact=True)).count

    async def ready(self) -> None:
        with server_errors():
            if not await self._client.collection_exists(self._collection):
                raise IndexUnavailable(f"the server has no collection {self._collection!r} any more")

    async def close(self) -> None:
        await self._client.close()

    async def _write(self, points: Sequence[Point]) -> None:
        with server_errors():
            for chunk in chunks(points, _CHUNK):
                await self._client.upsert(self._collection, [_server_point(point) for point in chunk], wait=True)

    async def _delete(self, point_ids: list[str]) -> int:
        with server_errors():
            records = await self._client.retrieve(self._collection, point_ids, with_payload=False)
            there: list[Any] = [record.id for record in records]
            if there:
                await self._client.delete(self._collection, models.PointIdsList(points=there), wait=True)
        return len(there)

    async def _create_index(self, payload_key: str, schema: Any) -> None:
        with warnings.catch_warnings():
            # The client's local mode filters without indexes, and says so each time.
            warnings.filterwarnings("ignore", message="Payload indexes have no effect")
            await self._client.create_payload_index(self._collection, payload_key, schema, wait=True)

    async def _payloads(self, point_ids: list[str]) -> dict[str, Payload]:
        with server_errors():
            records = await self._client.retrieve(self._collection, point_ids, with_payload=CALLERS)
        return {str(record.id): caller_payload(record.payload or {}) for record in records}

    async def _tokens(self, point_ids: list[str]) -> dict[str, Floats]:
        with server_errors():
            records = await self._client.retrieve(
                self._collection, point_ids, with_payload=False, with_vectors=["tokens"]
            )
        return {str(record.id): np.asarray(record.vector["tokens"], dtype=np.float32) for record in records}  # type: ignore[index,call-overload]

    async def _values(self, point_ids: list[str], keys: Sequence[str]) -> Values:
        with server_errors():
            records = await self._client.retrieve(self._collection, point_ids, with_payload=list(keys))
        return {str(record.id): values_at(record.payload, keys) for record in records}

    async def _read_fields(self) -> dict[str, set[Kind]]:
        with server_errors():
            schema = (await self._client.get_collection(self._collection)).payload_schema
        known = fields_at(schema)
        # The client's local mode keeps no list of indexes.
        for name, kinds in self._created.items():
            known.setdefault(name, set()).update(kinds)
        return known

    async def _create_field(self, payload_key: str, schema: Schema) -> None:
        with server_errors():
            await self._create_index(payload_key, self._cluster.field(schema))
        for name, kinds in fields_at([payload_key]).items():
            self._created.setdefault(name, set()).update(kinds)

    async def _counts(self, payload_key: str, filter: Condition | None, limit: int) -> list[tuple[str, int]]:
        with server_errors():
            answer = await self._client.facet(
                self._collection, payload_key, facet_filter=_server_filter(filter), limit=limit, exact=True
            )
        return [(str(hit.value), hit.count) for hit in answer.hits]

    async def _ordered(
        self, payload_key: str, filter: Condition | None, limit: int, *, descending: bool, start: float | None = None
    ) -> list[tuple[str, float]]:
        direction = models.Direction.DESC if descending else models.Direction.ASC
        order = models.OrderBy(key=payload_key, direction=direction, start_from=start)
        with server_errors():
            records, _ = await self._client.scroll(
                self._collection, scroll_filter=_server_filter(filter), limit=limit, order_by=order, with_payload=False
            )
        return [(str(record.id), float(record.order_value)) for record in records]  # type: ignore[arg-type]

    async def _scroll(
        self, cursor: str | None, limit: int, filter: Condition | None
    ) -> tuple[list[Payload], str | None]:
        with server_errors():
            records, following = await self._client.scroll(
                self._collection,
                offset=cursor,
                limit=limit,
                scroll_filter=_server_filter(filter),
                with_payload=CALLERS,
            )
        payloads = [caller_payload(record.payload or {}) for record in records]
        return payloads, None if following is None else str(following)

    async def _ids(self, cursor: str | None, limit: int, filter: Condition | None) -> tuple[list[str], str | None]:
        wanted = _server_filter(filter)
        with server_errors():
            records, following = await self._client.scroll(
                self._collection, offset=cursor, limit=limit, scroll_filter=wanted, with_payload=False
            )
        return [str(record.id) for record in records], None if following is None else str(following)

    async def _first_page(self, asked: IndexQuery, limit: int) -> SearchResult | None:
        vectors, words, filter = asked.vectors, asked.words, asked.filter
        ideal = 0.0 if words is None else self._words.known_ideal(asked.text, words)
        if vectors is None or ideal is None or limit >= fusion.CANDIDATES:
            return None
        allowed = _server_filter(filter)
        near = self._nearest(vectors, fusion.CANDIDATES, allowed)
        page = FirstPage(vectors, words, near, allowed, limit, asked.lexical_weight)

        async def ask(requests: Sequence[models.QueryRequest]) -> list[models.QueryResponse]:
            with server_errors():
                return await self._client.query_batch_points(self._collection, requests)

        counted = [None] if filter is None else [None, filter]
        counts, best = await asyncio.gather(asyncio.gather(*map(self.count, counted)), page.best(ask, ideal))
        items, total = counts[0], counts[-1]
        if best is None or (words is not None and self._words.outgrown(items)):
            return None
        payloads = [(point.score, caller_payload(point.payload or {})) for point in best]
        return SearchResult([Hit(payload["id"], score, payload) for score, payload in payloads], total, filter)

    def _nearest(self, query: Floats, depth: int, allowed: models.Filter | None) -> models.Prefetch:
        near = models.Prefetch(query=dense_query(query), using="dense", limit=depth, filter=allowed)
        return near.model_copy(update={"params": self._cluster.search_params()})

    async def _candidates(self, asked: IndexQuery, depths: Sequence[int]) -> list[fusion.Candidates]:
        query, words = asked.vectors, asked.words
        allowed = _server_filter(asked.filter)
        alike = words and models.SparseVector(indices=words.indices, values=words.values)
        requests = []
        for depth in depths:
            found = []
            if query is not None:
                found.append(self._nearest(query, depth, allowed))
            if alike:
                found.append(models.Prefetch(query=alike, using="lexical", limit=depth, filter=allowed))
            rescore: dict[str, Any] = {"query": alike, "using": "lexical"}
            if query is not None:
                rescore = {"query": query.tolist(), "using": "tokens"}
            requests.append(models.QueryRequest(prefetch=found, limit=depth * len(found), **rescore))
            if alike:
                requests.append(models.QueryRequest(query=alike, using="lexical", limit=depth, filter=allowed))
        with server_errors():
            answers = await self._client.query_batch_points(self._collection, requests)
        scores = [{_number(str(point.id)): point.score for point in answer.points} for answer in answers]
        return fusion.candidates(asked, scores)


def connect(url: str, api_key: str | None, grpc_port: int = 6334) -> AsyncQdrantClient:
    """A client that speaks gRPC, and HTTP for the little that has no gRPC."""
    return AsyncQdrantClient(
        url=url,
        api_key=api_key,
        prefer_grpc=True,
        grpc_port=grpc_port,
        timeout=_TIMEOUT,
        # The check of versions would hold up the event loop for as long as a server that is away takes to answer.
        check_compatibility=False,
        grpc_options={
            # By default two minutes may pass before a server that is back is tried again.
            "grpc.initial_reconnect_backoff_ms": 100,
            "grpc.max_reconnect_backoff_ms": 2000,
            # A machine that went away without a word is noticed within these, not after a quarter of an hour.
            "grpc.keepalive_time_ms": 20_000,
            "grpc.keepalive_timeout_ms": 5000,
        },
    )


@contextlib.contextmanager
def server_errors() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise IndexUnavailable(f"the Qdrant server: {error.code().name.lower()}: {error.details()}") from error
    except (ApiException, QdrantException, grpc.RpcError, OSError) as error:
        raise IndexUnavailable(f"the Qdrant server: {error}") from error


def _number(point_id: str) -> int:
    """A UUID's 128 bits; `uuid.UUID` would take several times as long."""
    return int(point_id.replace("-", ""), 16)


def _server_filter(condition: Condition | None) -> models.Filter | None:
    """The server's own form of a condition."""
    match condition:
        case None:
            return None
        case And(parts):
            return models.Filter(must=[_server_filter(part) for part in parts])  # type: ignore[misc]
        case Or(parts):
            return models.Filter(should=[_server_filter(part) for part in parts])  # type: ignore[misc]
        case Not(part):
            return models.Filter(must_not=[_server_filter(part)])  # type: ignore[list-item]
        case AnyOf(key, values):
            return models.Filter(must=[models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))])
        case Range(key, gt, gte, lt, lte):
            bounds = models.Range(gt=gt, gte=gte, lt=lt, lte=lte)
            return models.Filter(must=[models.FieldCondition(key=key, range=bounds)])
        case Has(key):
            empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
            return models.Filter(must_not=[empty])
        case Among(point_ids):
            return models.Filter(must=[models.HasIdCondition(has_id=list(point_ids))])


def _server_point(point: Point) -> models.PointStruct:
    return models.PointStruct(
        id=point.id,
        vector={
            "dense": point.dense.tolist(),
            "tokens": point.tokens.tolist(),
            "lexical": models.SparseVector(indices=point.lexical.indices, values=point.lexical.values),
        },
        payload=point.payload,
    )

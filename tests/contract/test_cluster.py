"""What the settings of a cluster ask of the server, seen in the calls themselves; `:memory:` takes and ignores them.

That the server's gRPC form of each call can hold them is part of it: what the client cannot write down, it drops.
"""

from dataclasses import replace
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.conversions.conversion import RestToGrpc

from retriever.index import Cluster, fusion
from retriever.index.server import ServerIndex
from service.settings import Settings
from tests.contract.helpers import DIM, item, query

pytestmark = pytest.mark.anyio

LARGE = Cluster(shards=6, replicas=2, write_consistency=2, quantization="int8", oversampling=3, on_disk=True)


class Recorder(AsyncQdrantClient):
    """Keeps what the adapter asks for."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.created: dict[str, Any] = {}
        self.fields: dict[str, Any] = {}
        self.searched: list[models.QueryRequest] = []

    async def create_collection(self, collection_name: str, **options: Any) -> bool:  # type: ignore[override]
        self.created = options
        return await super().create_collection(collection_name, **options)

    async def create_payload_index(
        self, collection_name: str, field_name: str, field_schema: Any, **options: Any
    ) -> Any:  # type: ignore[override]
        self.fields[field_name] = field_schema
        return await super().create_payload_index(collection_name, field_name, field_schema, **options)

    async def query_batch_points(self, collection_name: str, requests: Any, **options: Any) -> Any:
        self.searched += requests
        return await super().query_batch_points(collection_name, requests, **options)


@pytest.fixture
def client() -> Recorder:
    return Recorder()


async def test_a_large_collection(client: Recorder) -> None:
    index = await ServerIndex.open(client, DIM, "model-a", cluster=LARGE)
    assert client.created["shard_number"] == 6
    assert client.created["replication_factor"] == 2
    assert client.created["write_consistency_factor"] == 2
    assert client.created["on_disk_payload"] is True
    dense, tokens = (RestToGrpc.convert_vector_params(client.created["vectors_config"][n]) for n in ("dense", "tokens"))
    assert dense.on_disk
    assert tokens.on_disk
    assert dense.quantization_config.scalar.always_ram, "or every step through the graph would wait for the disk"
    assert not tokens.HasField("quantization_config"), "what ranks is exact"

    lexical = RestToGrpc.convert_sparse_vector_params(client.created["sparse_vectors_config"]["lexical"])
    assert lexical.index.on_disk

    items = [item(str(n), text="red mug") for n in range(5)]
    await index.upsert([replace(one, fields={"brand": "Kiln", "price": 9.5}) for one in items])
    assert {type(schema) for schema in client.fields.values()} == {
        models.IntegerIndexParams,
        models.KeywordIndexParams,
        models.FloatIndexParams,
    }
    assert all(RestToGrpc.convert_payload_schema_params(schema) for schema in client.fields.values())
    assert all(schema.on_disk for schema in client.fields.values())
    found = await index.search(query(1), "mug", limit=3)
    assert len(found.hits) == 3
    dense_prefetch, lexical_prefetch = (RestToGrpc.convert_prefetch_query(one) for one in client.searched[0].prefetch)
    assert dense_prefetch.params.quantization.rescore
    assert dense_prefetch.params.quantization.oversampling == 3
    assert not lexical_prefetch.HasField("params")

    client.searched.clear()
    await index.search(query(1), "mug", limit=3)  # how many items have its words is known by now
    asked = RestToGrpc.convert_query_request(client.searched[0], "items")
    assert asked.query.formula.expression.sum.sum[1].mult.mult[1].pow.exponent.constant == fusion.SHARPNESS
    dense_prefetch, lexical_prefetch = asked.prefetch[0].prefetch
    assert dense_prefetch.params.quantization.rescore
    assert dense_prefetch.params.quantization.oversampling == 3
    assert not lexical_prefetch.HasField("params")


async def test_by_default_all_is_as_the_server_has_it(client: Recorder) -> None:
    index = await ServerIndex.open(client, DIM, "model-a")
    assert client.created["shard_number"] is None
    assert client.created["vectors_config"]["dense"].quantization_config is None
    await index.upsert([item("a")])
    await index.search(query(1), "", limit=1)
    assert client.searched[0].prefetch[0].params is None


async def test_what_finds_candidates_is_in_memory(client: Recorder) -> None:
    await ServerIndex.open(client, DIM, "model-a", cluster=Cluster(on_disk=True))
    vectors = client.created["vectors_config"]
    assert vectors["dense"].on_disk is None
    assert vectors["tokens"].on_disk is True


def test_settings_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"SHARDS": 6, "REPLICAS": 2, "WRITE_CONSISTENCY": 2, "QUANTIZATION": "int8", "OVERSAMPLING": 3}
    for name, value in {**values, "ON_DISK": "true"}.items():
        monkeypatch.setenv(f"QDRANT_{name}", str(value))
    assert Settings().cluster() == LARGE


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WRITE_CONSISTENCY", "2", "QDRANT_WRITE_CONSISTENCY"),
        ("OVERSAMPLING", "1", "greater than or equal to 2"),
        ("QUANTIZATION", "binary", "int8"),
        ("SHARDS", "0", "greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(f"QDRANT_{name}", value)
    with pytest.raises(ValueError, match=said):
        Settings()

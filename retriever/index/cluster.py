"""How a collection lies on a Qdrant cluster: in how many parts and copies, and what of it is in memory."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # imported where it is used: a second of start-up that the embedded index does not need
    from qdrant_client import models

Quantization = Literal["none", "int8"]


@dataclass(frozen=True)
class Cluster:
    """Decided when a collection is created; docs/scaling.md says how it follows from the size of a catalogue.

    Int8 and nothing smaller: with oversampling it finds what the vectors as given find, and one bit a number does not.
    """

    shards: int | None = None  # None: as the server is configured
    replicas: int = 1
    write_consistency: int = 1  # copies that must have a write before it is acknowledged
    quantization: Quantization = "none"  # of `dense`, which finds candidates; `tokens` rank them as they are
    oversampling: float = 2.0  # with int8, how many times as many candidates are looked at as they are
    on_disk: bool = False  # all but what finds candidates by meaning: read from disk, through the page cache

    def __post_init__(self) -> None:
        if self.write_consistency > self.replicas:
            raise ValueError(
                f"a write cannot wait for {self.write_consistency} copies (QDRANT_WRITE_CONSISTENCY) where there are "
                f"{self.replicas} (QDRANT_REPLICAS)"
            )

    def collection(self) -> dict[str, Any]:
        """The arguments of `create_collection` that say so."""
        return {
            "shard_number": self.shards,
            "replication_factor": self.replicas,
            "write_consistency_factor": self.write_consistency,
            "on_disk_payload": self.on_disk or None,
        }

    def dense(self) -> dict[str, Any]:
        """The part of `VectorParams` that holds for the vector that finds candidates."""
        from qdrant_client import models

        if self.quantization == "none":
            return {}  # in memory, for it is what candidates are found by
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        return {
            "on_disk": self.on_disk or None,
            "quantization_config": models.ScalarQuantization(scalar=scalar),
        }

    def tokens(self) -> dict[str, Any]:
        """The part of `VectorParams` that holds for the vectors that rank them."""
        return {"on_disk": self.on_disk or None}

    def lexical(self) -> "models.SparseIndexParams | None":
        """The index of BM25's words."""
        from qdrant_client import models

        return models.SparseIndexParams(on_disk=True) if self.on_disk else None

    def field(self, schema: Literal["keyword", "float", "integer"]) -> Any:
        """The index of a field that is filtered by; integers are only ever looked up, never compared."""
        from qdrant_client import models

        disk = self.on_disk or None
        match schema:
            case "keyword":
                return models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, on_disk=disk)
            case "float":
                return models.FloatIndexParams(type=models.FloatIndexType.FLOAT, on_disk=disk)
        kind = models.IntegerIndexType.INTEGER
        return models.IntegerIndexParams(type=kind, lookup=True, range=False, on_disk=disk)

    def search_params(self) -> "models.SearchParams | None":
        """How candidates are looked for: more than are wanted by int8, and the best of them by the vectors as given."""
        from qdrant_client import models

        if self.quantization == "none":
            return None
        precise = models.QuantizationSearchParams(rescore=True, oversampling=self.oversampling)
        return models.SearchParams(quantization=precise)

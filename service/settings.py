"""Everything that can be set, from the environment alone: `SEARCH_PORT=9000 python -m service`."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from retriever.index.cluster import Cluster, Quantization


class Settings(BaseSettings):
    """The service's settings. Each is the environment variable `SEARCH_<NAME>`, but for Qdrant's: `QDRANT_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="SEARCH_", env_ignore_empty=True, populate_by_name=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on.")
    data_dir: Path = Field(
        default=Path("data"), description="Folder for pictures and, without `QDRANT_URL`, the index."
    )
    model: str = Field(
        default="compact", description="Retriever: a shipped preset, a checkpoint folder, or a hub name."
    )
    device: str = Field(
        default="auto", description="Where the model runs: `cpu`, `cuda`, `cuda:1`; `auto` takes a GPU if any."
    )
    demo_catalogue: bool = Field(default=False, description="Fill an empty catalogue with the demonstration products.")

    qdrant_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("QDRANT_URL", "qdrant_url"),
        description="URL of a Qdrant server or cluster; without it the index is embedded, in the data folder.",
    )
    qdrant_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("QDRANT_API_KEY", "qdrant_api_key"),
        description="API key of the Qdrant server.",
    )

    # How a collection is made that the server does not have yet.
    qdrant_shards: int | None = Field(
        default=None,
        ge=1,
        validation_alias=AliasChoices("QDRANT_SHARDS", "qdrant_shards"),
        description="Parts of a new collection, spread over the nodes; by default as many as there are nodes.",
    )
    qdrant_replicas: int = Field(
        default=1,
        ge=1,
        validation_alias=AliasChoices("QDRANT_REPLICAS", "qdrant_replicas"),
        description="Copies of each part of a new collection, on different nodes.",
    )
    qdrant_write_consistency: int = Field(
        default=1,
        ge=1,
        validation_alias=AliasChoices("QDRANT_WRITE_CONSISTENCY", "qdrant_write_consistency"),
        description="Copies that must have a write before it is acknowledged.",
    )
    qdrant_quantization: Quantization = Field(
        default="none",
        validation_alias=AliasChoices("QDRANT_QUANTIZATION", "qdrant_quantization"),
        description="`int8`: candidates are found by vectors of a quarter the size. For large catalogues.",
    )
    qdrant_oversampling: float = Field(
        default=2.0,
        ge=2,
        le=16,
        validation_alias=AliasChoices("QDRANT_OVERSAMPLING", "qdrant_oversampling"),
        description="With `int8`, how many times as many candidates are looked at with the vectors as given.",
    )
    qdrant_on_disk: bool = Field(
        default=False,
        validation_alias=AliasChoices("QDRANT_ON_DISK", "qdrant_on_disk"),
        description="A new collection stays on the server's disk, but for what finds candidates by meaning.",
    )

    max_batch: int | None = Field(
        default=None,
        ge=1,
        description="Most inputs encoded in one run of the model; by default 4 on a CPU and 32 on a GPU.",
    )
    max_queue: int = Field(
        default=128,
        ge=1,
        description="Most inputs (queries, pictures) waiting for or inside the model; beyond it requests get 429.",
    )
    query_cache: int = Field(default=10_000, ge=0, description="How many queries' embeddings are kept in memory.")

    max_body_bytes: int = Field(default=32 * 2**20, ge=1024, description="Largest upload, pictures included, in bytes.")
    max_field_bytes: int = Field(default=64 * 2**10, ge=1024, description="Longest text field of an upload, in bytes.")
    max_pictures: int = Field(default=8, ge=1, description="Most pictures of one item.")
    max_pixels: int = Field(
        default=40_000_000, ge=1, description="Most pixels of one picture, read from its header before decoding."
    )
    stored_picture_side: int = Field(default=1024, ge=64, description="Longer side of a stored picture, in pixels.")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severe log lines written."
    )
    shutdown_seconds: int = Field(default=30, ge=0, description="How long SIGTERM lets running requests finish.")

    def cluster(self) -> Cluster:
        """How a collection is made on a Qdrant server."""
        return Cluster(
            self.qdrant_shards,
            self.qdrant_replicas,
            self.qdrant_write_consistency,
            self.qdrant_quantization,
            self.qdrant_oversampling,
            self.qdrant_on_disk,
        )

    @model_validator(mode="after")
    def _a_write_waits_for_copies_that_there_are(self) -> "Settings":
        self.cluster()
        return self

    @model_validator(mode="after")
    def _one_item_fits_the_queue(self) -> "Settings":
        if self.max_queue < self.max_pictures:
            raise ValueError(f"MAX_QUEUE ({self.max_queue}) must be at least MAX_PICTURES ({self.max_pictures})")
        return self

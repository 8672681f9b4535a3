"""Everything that can be set, from the environment alone: `SEARCH_PORT=9000 python -m service`."""

import difflib
import ipaddress
import os
import re
import sys
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from retriever.index.cluster import Cluster, Quantization
from retriever.index.edge_room import ROOM
from retriever.inference import Inference

# docker-compose.yml's keys, the Qdrant server's own settings, and what Kubernetes says of services that are called so.
_OTHERS = re.compile(r"SEARCH_KEYS|QDRANT__\w+|QDRANT_INIT_FILE_PATH|\w+_SERVICE_(HOST|PORT)\w*|\w+_PORT_\d+_\w+")


class Settings(BaseSettings):
    """The service's settings. Each is the environment variable `SEARCH_<NAME>`, but for Qdrant's: `QDRANT_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="SEARCH_",
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # keys among them
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on.")

    search_keys: SecretStr | None = Field(
        default=None, description="API keys that may search and read, joined by commas. With any key, all need one."
    )
    ingest_keys: SecretStr | None = Field(
        default=None, description="API keys that may write and read; a key in both lists may do all."
    )
    allow_no_keys: bool = Field(
        default=False, description="Listen beyond this machine without keys: something else keeps strangers out."
    )
    cors_origins: str | None = Field(
        default=None, description="Origins whose pages may call the API, joined by commas; by default none may."
    )
    search_rate: float | None = Field(
        default=None, ge=1e-3, description="Most searches and reads a second for each key (without keys: each address)."
    )
    ingest_rate: float | None = Field(
        default=None, ge=1e-3, description="Most writes a second for each key; a line of bulk is a write."
    )
    search_at_once: int = Field(default=256, ge=1, description="Most searches and reads of one key at the same time.")
    ingest_at_once: int = Field(default=32, ge=1, description="Most writing requests of one key at the same time.")
    client_seconds: float = Field(
        default=30, gt=0, description="How long a client may keep the service waiting for the next piece of a request."
    )

    data_dir: Path = Field(
        default=Path("data"), description="Folder for pictures and, without `QDRANT_URL`, the index."
    )
    min_free_bytes: int = Field(
        default=256 * 2**20, ge=0, description="Writes stop when the data folder's disk has less room than this."
    )
    model: str = Field(
        default="compact", description="Retriever: a shipped preset, a checkpoint folder, or a hub name."
    )
    device: str = Field(
        default="auto", description="Where the model runs: `cpu`, `cuda`, `cuda:1`; `auto` takes a GPU if any."
    )
    inference: Inference = Field(
        default="auto",
        description="How the model runs: `torch`, `bf16`, `graphs` (CUDA), `onnx`, `int8` (ONNX Runtime); `auto` takes "
        "the fastest that is ready; `python -m retriever.export` makes what suits the CPU, `int8` or `onnx`.",
    )
    demo_catalogue: bool = Field(default=False, description="Fill an empty catalogue with the demonstration products.")

    qdrant_url: str | None = Field(
        default=None,
        validation_alias="QDRANT_URL",
        description="URL of a Qdrant server or cluster; without it the index is embedded, in the data folder.",
    )
    qdrant_api_key: SecretStr | None = Field(
        default=None,
        validation_alias="QDRANT_API_KEY",
        description="API key of the Qdrant server.",
    )

    # How a collection is made that the server does not have yet.
    qdrant_shards: int | None = Field(
        default=None,
        ge=1,
        validation_alias="QDRANT_SHARDS",
        description="Parts of a new collection, spread over the nodes; by default as many as there are nodes.",
    )
    qdrant_replicas: int = Field(
        default=1,
        ge=1,
        validation_alias="QDRANT_REPLICAS",
        description="Copies of each part of a new collection, on different nodes.",
    )
    qdrant_write_consistency: int = Field(
        default=1,
        ge=1,
        validation_alias="QDRANT_WRITE_CONSISTENCY",
        description="Copies that must have a write before it is acknowledged.",
    )
    qdrant_quantization: Quantization = Field(
        default="none",
        validation_alias="QDRANT_QUANTIZATION",
        description="`int8`: candidates are found by vectors of a quarter the size. For large catalogues.",
    )
    qdrant_oversampling: float = Field(
        default=2.0,
        ge=2,
        le=16,
        validation_alias="QDRANT_OVERSAMPLING",
        description="With `int8`, how many times as many candidates are looked at with the vectors as given.",
    )
    qdrant_on_disk: bool = Field(
        default=False,
        validation_alias="QDRANT_ON_DISK",
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
    max_file_bytes: int = Field(default=16 * 2**20, ge=1024, description="Largest single picture, in bytes.")
    max_field_bytes: int = Field(default=64 * 2**10, ge=1024, description="Longest text field of an upload, in bytes.")
    max_pictures: int = Field(default=11, ge=1, description="Most pictures of one item.")
    max_pixels: int = Field(
        default=40_000_000, ge=1, description="Most pixels of one picture, read from its header before decoding."
    )
    stored_picture_side: int = Field(default=1024, ge=64, description="Longer side of a stored picture, in pixels.")

    image_urls: bool = Field(default=False, description="Fetch pictures by URL, from the public internet alone.")
    image_url_seconds: float = Field(default=10, gt=0, description="How long fetching one picture may take.")
    events: bool = Field(
        default=False, description="Keep what shoppers search for and do (`POST /events`), to train on it."
    )
    events_max_bytes: int = Field(
        default=2**30, ge=2**16, description="Most bytes of kept events; beyond it the oldest go."
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severe log lines written."
    )
    log_format: Literal["json", "text"] = Field(
        default="json", description="Log lines as JSON objects, or as text for people."
    )
    drain_seconds: float = Field(
        default=3, ge=0, le=3600, description="How long after SIGTERM requests are still taken, while ready says 503."
    )
    shutdown_seconds: int = Field(default=30, ge=0, description="How long running requests may finish after that.")

    @field_validator("search_keys", "ingest_keys")
    @classmethod
    def _hard_to_guess(cls, keys: SecretStr | None) -> SecretStr | None:
        for key in comma_separated(keys):
            if not re.fullmatch(r"[!-~]{16,200}", key):  # the message must not repeat the key
                raise ValueError("must be keys of 16 to 200 visible ASCII characters, joined by commas")
        return keys

    @model_validator(mode="after")
    def _no_stranger_without_a_key(self) -> "Settings":
        if not (
            comma_separated(self.search_keys)
            or comma_separated(self.ingest_keys)
            or self.allow_no_keys
            or _is_loopback(self.host)
        ):
            raise ValueError(
                f"SEARCH_HOST ({self.host}) lets other machines in, and there are no keys: set SEARCH_SEARCH_KEYS and "
                "SEARCH_INGEST_KEYS, or SEARCH_ALLOW_NO_KEYS=true if something else keeps strangers out"
            )
        return self

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
    def _writes_stop_while_the_embedded_engine_has_room(self) -> "Settings":
        if not self.qdrant_url and self.min_free_bytes < ROOM:
            raise ValueError(
                f"SEARCH_MIN_FREE_BYTES ({self.min_free_bytes}) must be at least {ROOM}: the embedded engine needs it"
            )
        return self

    @model_validator(mode="after")
    def _one_item_fits_the_queue(self) -> "Settings":
        if self.max_queue < self.max_pictures:
            pictures = f"SEARCH_MAX_PICTURES ({self.max_pictures})"
            raise ValueError(f"SEARCH_MAX_QUEUE ({self.max_queue}) must be at least {pictures}")
        return self


def from_environment() -> Settings:
    """The settings of the service and its commands. Raises SystemExit (2) once it has said what is wrong with them."""
    try:
        return Settings()
    except ValidationError as error:
        reasons = [f"{_variable(one['loc'])} {one['msg']}".strip() for one in error.errors()]
        told = f"A setting is wrong: {'; '.join(reasons)}"
        print(told, file=sys.stderr)
        raise SystemExit(2) from None


def unknown_variables() -> list[str]:
    """What to say of each variable of the environment that looks like a setting and is none."""
    known = [_variable((name,)) for name in Settings.model_fields]
    return [
        f"{name} is no setting, and does nothing. Is {difflib.get_close_matches(name.upper(), known, 1, 0)[0]} meant?"
        for name, value in sorted(os.environ.items())
        if name.upper().startswith(("SEARCH_", "QDRANT_"))
        and name.upper() not in known
        and not _OTHERS.fullmatch(name)
        and not value.startswith("tcp://")  # Kubernetes: where a service listens that is called so
    ]


def _variable(place: tuple[int | str, ...]) -> str:
    """The environment variable of a field; of what concerns several, nothing."""
    name = "_".join(map(str, place)).upper()
    return name if not name or name.startswith("QDRANT_") else f"SEARCH_{name}"


def comma_separated(joined: SecretStr | str | None) -> list[str]:
    """The values of a setting that joins several by commas."""
    text = joined.get_secret_value() if isinstance(joined, SecretStr) else joined or ""
    return [part for part in (part.strip() for part in text.split(",")) if part]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

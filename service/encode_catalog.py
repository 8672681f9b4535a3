"""Encode a catalogue of any size, on one machine or many: `python -m service.encode_catalog products/ encoded/`.

Parquet in: a column `id` (text, each id once), and any of `title`, `description`, `category`, `price`, `stock`,
`attributes` and `image`, as `POST /items` takes them. `image` is a picture's bytes, its path, or a list of either.
Parquet out: `service.encoded` says what is in it, and `python -m service.load_catalog` puts it into the index.

Ray Data spreads the work over processors or GPUs, here or on a cluster (`--address auto`), and writes down which rows
are done: killed and started again, it goes on where it was. Rows that cannot be encoded are named, and tried again by
the next run. It takes SEARCH_MODEL, SEARCH_INFERENCE and the limits on pictures from the environment.

Exit status: 0 when every row is encoded, 1 when some could not be, 2 when it could not begin or was broken off.
"""

import argparse
import contextlib
import functools
import io
import logging
import os
import posixpath
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from PIL import Image
from pydantic import ValidationError
from ray.data.checkpoint import CheckpointConfig
from tqdm import tqdm

import retriever
from retriever import ItemInput, checkpoint_folder
from retriever.inference import Inference
from retriever.retriever import find
from service.encoded import DONE, ITEMS, SCHEMA, Folder, Manifest
from service.from_settings import picture_limits_of
from service.media import PictureLimits, decode
from service.problems import Problem, first_message
from service.schemas import ItemFields
from service.settings import Settings, from_environment

_AT_ONCE = 16  # items in one run of the model
_POLL_SECONDS = 0.5
_SHOWN = 20  # rejected rows that are named
_STARTS = 3  # tries
_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nobody is told what it does here
    "RAY_worker_register_timeout_seconds": "600",  # a busy machine is slow to start a process, and not broken
}


def main(arguments: list[str] | None = None) -> int:
    settings = from_environment()
    args = _parse(arguments)
    try:
        rejected = encode(args, settings)
    except (OSError, ValueError, RuntimeError, pa.ArrowException, ray.exceptions.RayError) as error:
        why = getattr(error, "cause", None) or error  # a worker's own words, without its traceback in ours
        print(f"Not everything is encoded: {why}. What is written stays; the same command goes on.", file=sys.stderr)
        return 2
    finally:
        ray.shutdown()
    return 1 if rejected else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m service.encode_catalog", description="Encode a catalogue of Parquet files with Ray Data."
    )
    parser.add_argument("input", help="a Parquet file or a folder of them: a path, s3://… or gs://…")
    parser.add_argument("output", help="a folder for what is encoded, that every machine reaches")
    parser.add_argument("--images", help="the folder that paths in `image` begin in (default: the input's)")
    parser.add_argument("--workers", type=int, help="copies of the model (default: one a processor, or GPU)")
    parser.add_argument("--rows", type=int, default=500, help="written together; what a kill costs a worker (500)")
    parser.add_argument("--gpu", action="store_true", help="each worker has a GPU to itself")
    parser.add_argument("--address", help="a Ray cluster, `auto` for the one of this machine (default: this machine)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args(arguments)
    if args.rows < 1 or (args.workers is not None and args.workers < 1):
        parser.error("--workers and --rows must be at least 1")
    return args


def encode(args: argparse.Namespace, settings: Settings) -> int:
    """Encodes every row that is not in the output yet; returns how many could not be.

    Raises:
        ValueError: the input has no ids, the output is another model's, or the cluster has no GPU.
        OSError, ArrowException: a file cannot be read or written.
        RayError: a worker failed.
    """
    source, output = Folder.of(args.input), Folder.of(args.output)
    files = source.parquet()
    _check_columns(source, files)
    total = _rows(source, files)
    folder = find(settings.model)
    manifest = Manifest(retriever.identify(folder), settings.model, checkpoint_folder.load_config(folder).embed_dim)
    before = output.read_manifest()
    if before is None:
        output.write_manifest(manifest)
    elif before.model_id != manifest.model_id:
        raise ValueError(
            f"{output.url} was encoded by the model {before.model} ({before.model_id}), and SEARCH_MODEL="
            f"{settings.model} is {manifest.model_id}: set SEARCH_MODEL to that one, or choose another folder"
        )
    if not (total := total - _rows(output, output.done())):
        print(f"{output.url} holds every row already.")
        return 0

    spare = 2  # processors that read and write while the workers encode
    _start_ray(args.address, (args.workers or os.cpu_count() or 1) + spare)
    there = ray.cluster_resources()
    workers = args.workers or int(there.get("GPU", 0) if args.gpu else max(1, there.get("CPU", 0) - spare))
    if not workers:
        raise ValueError("Ray finds no GPU: leave out --gpu, or join machines that have one")
    ledger = ray.remote(num_cpus=0)(Ledger).remote()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # The newer reader looks for aiohttp from several threads at once, and trips where it is not installed.
    context.use_datasource_v2 = False
    context.checkpoint_config = CheckpointConfig("id", output.address(DONE), delete_checkpoint_on_success=False)
    images = Folder.of(args.images) if args.images else Folder(source.files, posixpath.dirname(files[0]), source.url)
    limits = picture_limits_of(settings)
    prepare = functools.partial(
        prepared, images=images, max_pictures=settings.max_pictures, limits=limits, ledger=ledger
    )
    rows = ray.data.read_parquet(files, filesystem=source.files)
    parts = rows.repartition(target_num_rows_per_block=args.rows)
    encoded = parts.map_batches(prepare, batch_format="pyarrow", batch_size=_AT_ONCE).map_batches(
        Worker,
        fn_constructor_args=(settings.model, manifest.model_id, settings.inference, args.gpu, ledger),
        batch_format="pyarrow",
        batch_size=_AT_ONCE,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=0 if args.gpu else 1,
        num_gpus=1 if args.gpu else 0,
    )
    with _progress(ledger, total, quiet=args.quiet):
        encoded.write_parquet(output.under(ITEMS), filesystem=output.files, mode="append")
    encoded_now, rejected = ray.get(ledger.state.remote())
    print(
        f"{encoded_now} items encoded, {len(rejected)} rejected; load them: python -m service.load_catalog {output.url}"
    )
    for item_id, why in list(rejected.items())[:_SHOWN]:
        print(f"  {item_id}: {why}", file=sys.stderr)
    if rejected:
        print("Rejected rows are tried again by the next run.", file=sys.stderr)
    return len(rejected)


def _start_ray(address: str | None, processors: int) -> None:
    """Joins a cluster, or starts one of this machine alone. Raises RuntimeError."""
    for name, value in _RAY.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # the plan of its work, and that we draw our own bar
    here = {} if address else {"num_cpus": processors}
    for left in reversed(range(_STARTS)):
        try:
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level="ERROR", **here)
            return
        except Exception as error:  # a bare one, after 30 seconds in which a busy machine started nothing
            ray.shutdown()
            if address or not left:
                raise RuntimeError(f"Ray does not start: {error}") from error


class Ledger:
    """How far all workers together have come. A Ray actor."""

    def __init__(self) -> None:
        self._encoded = 0
        self._rejected: dict[str, str] = {}

    def add(self, encoded: int, rejected: Mapping[str, str] = MappingProxyType({})) -> None:
        self._encoded += encoded
        self._rejected.update(rejected)

    def state(self) -> tuple[int, dict[str, str]]:
        """How many items were encoded, and why each of the others was not, by id."""
        return self._encoded, self._rejected


def prepared(batch: pa.Table, images: Folder, max_pictures: int, limits: PictureLimits, ledger: Any) -> pa.Table:
    """Rows as they came → checked fields, and pictures as they will be kept; without those that are refused."""
    rows, rejected = [], {}
    for row in batch.to_pylist():
        try:
            rows.append(_prepare(row, images, max_pictures, limits))
        except ValidationError as error:
            rejected[str(row["id"])] = first_message(error)
        except Problem as problem:
            rejected[str(row["id"])] = str(problem.detail)
        except (ValueError, OSError) as error:
            rejected[str(row["id"])] = str(error)
    if rejected:
        ray.get(ledger.add.remote(0, rejected))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _prepare(row: Mapping[str, Any], images: Folder, max_pictures: int, limits: PictureLimits) -> dict[str, Any]:
    """Raises ValidationError, Problem, ValueError or OSError."""
    given = {name: row[name] for name in ItemFields.model_fields if row.get(name) is not None}
    attributes = given.get("attributes")
    if isinstance(attributes, (list, dict)):  # a Parquet map, or a struct that has all fields of all rows
        given["attributes"] = {name: value for name, value in dict(attributes).items() if value is not None}
    fields = ItemFields.model_validate(given)
    if fields.id != row["id"]:  # what is done is known by it
        raise ValueError("id: has blanks before or after it")
    sources = row.get("image")
    sources = sources if isinstance(sources, list) else [] if sources is None else [sources]
    if len(sources) > max_pictures:
        raise ValueError(f"image: {len(sources)} pictures, and {max_pictures} are allowed (SEARCH_MAX_PICTURES)")
    if not sources and not fields.text:
        raise ValueError("an item needs a picture or some text")
    pictures = []
    for number, source in enumerate(sources, start=1):
        picture = decode(io.BytesIO(_read(source, images)), limits, f"image {number}")
        pictures.append({"jpeg": picture.jpeg, "sha256": picture.sha256})
    return {"id": fields.id, "fields": fields.model_dump_json(), "tokens": [], "pictures": pictures}


def _read(source: Any, images: Folder) -> bytes:
    """A picture's bytes, from themselves, a path, or `datasets`' {bytes, path}. Raises ValueError, OSError."""
    if isinstance(source, Mapping):
        source = source.get("bytes") or source.get("path")
    if isinstance(source, str):
        with images.files.open_input_stream(images.under(source)) as file:
            return bytes(file.read())
    if isinstance(source, bytes):
        return source
    raise ValueError(f"image: must be a picture's bytes or its path, not {type(source).__name__}")


class Worker:
    """The model in one process. A Ray actor."""

    def __init__(self, model: str, model_id: str, inference: Inference, gpu: bool, ledger: Any) -> None:
        self._retriever = retriever.load(model, "cuda" if gpu else "cpu", inference)
        if self._retriever.model_id != model_id:
            raise ValueError(f"{model} is {self._retriever.model_id} on this machine, and elsewhere {model_id}")
        self._ledger = ledger

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = batch.to_pylist()
        inputs = [self._inputs(row) for row in rows]
        tokens = iter(self._retriever.encode_items([one for some in inputs for one in some]))  # (Q, D) each
        for row, some in zip(rows, inputs, strict=True):
            row["tokens"] = np.concatenate([next(tokens) for _ in some]).ravel()
        self._ledger.add.remote(len(rows))
        return pa.Table.from_pylist(rows, schema=SCHEMA)

    def _inputs(self, row: Mapping[str, Any]) -> list[ItemInput]:
        text = ItemFields.model_validate_json(row["fields"]).text or None
        pictures = [Image.open(io.BytesIO(picture["jpeg"]), formats=("JPEG",)) for picture in row["pictures"]]
        return [ItemInput(picture, text) for picture in pictures] or [ItemInput(text=text)]


@contextlib.contextmanager
def _progress(ledger: Any, total: int, *, quiet: bool) -> Iterator[None]:
    """A bar that follows the ledger while the block runs."""
    ended = threading.Event()

    def follow(bar: "tqdm[Any]") -> None:
        last = False
        while not last:
            last = ended.wait(_POLL_SECONDS)
            with contextlib.suppress(ray.exceptions.RayError):  # the work itself says what has failed
                encoded, rejected = ray.get(ledger.state.remote())
                bar.set_postfix(rejected=len(rejected), refresh=False)
                bar.update(encoded + len(rejected) - bar.n)

    with tqdm(total=total, desc="encoding", unit=" items", disable=quiet) as bar:
        thread = threading.Thread(target=follow, args=[bar])
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _rows(folder: Folder, files: list[str]) -> int:
    """How many rows there are, from the files' ends alone. Raises OSError, ArrowException."""
    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(lambda file: pq.read_metadata(file, filesystem=folder.files).num_rows, files))


def _check_columns(source: Folder, files: list[str]) -> None:
    """Raises ValueError for what has no ids; says which columns are left out."""
    if not files:
        raise ValueError(f"{source.url} holds no Parquet file (*.parquet)")
    schema = pq.read_schema(files[0], filesystem=source.files)
    known = [*ItemFields.model_fields, "image"]
    if "id" not in schema.names:
        raise ValueError(f"{files[0]} has no column `id`; its columns are {', '.join(schema.names)}")
    if not (pa.types.is_string(schema.field("id").type) or pa.types.is_large_string(schema.field("id").type)):
        raise ValueError(f"{files[0]}: the column `id` must be text, not {schema.field('id').type}: cast it")
    if unused := [name for name in schema.names if name not in known]:
        print(f"Columns that are left out: {', '.join(unused)} (known: {', '.join(known)})", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

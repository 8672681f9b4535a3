"""Put an encoded catalogue into the index: `python -m service.load_catalog encoded/`.

`encoded/` is what `python -m service.encode_catalog` wrote. Items go in as if they had been uploaded: an id that is
there already is replaced, and what is there with the same words and pictures stays as it is, so that a load which was
cut off goes on quickly when it is run again. Of several rows of one id the first is loaded, and the others are named.
No model runs.

Run it with the service's own settings (SEARCH_DATA_DIR, SEARCH_MODEL, QDRANT_URL …). On a Qdrant server the service may
run meanwhile; the embedded index belongs to one process at a time, so stop the service first. Exit status: 0 when every
item is there, 2 when it could not begin or was broken off.
"""

import argparse
import asyncio
import io
import os
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tqdm import tqdm

import retriever
from retriever.index import IndexUnavailable, ItemIndex, ModelMismatch, Payload
from retriever.index.generations import Generation
from service.data_folder import UnusableDataFolder, open_data_folder
from service.encoded import Folder
from service.from_settings import disk_of, generations_of, lasting_name, media_of
from service.media import MediaStore, Picture
from service.payload import PreparedItem, images_of, indexed, new_payload, picture_files
from service.schemas import ItemFields
from service.settings import Settings, from_environment

_AT_ONCE = 64  # items written together
_SHOWN = 20  # repeated ids that are named


def main(arguments: list[str] | None = None) -> int:
    settings = from_environment()
    args = _parse(arguments)
    os.nice(10)  # shoppers first
    try:
        asyncio.run(load(args, settings))
    except (
        *(OSError, ValueError, RuntimeError, pa.ArrowException),
        *(IndexUnavailable, ModelMismatch, UnusableDataFolder),
    ) as error:
        print(f"Not everything is loaded: {error}. What is loaded stays; the same command goes on.", file=sys.stderr)
        return 2
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m service.load_catalog", description="Put an encoded catalogue into the index."
    )
    parser.add_argument("encoded", help="the folder that service.encode_catalog wrote: a path, s3://… or gs://…")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser.parse_args(arguments)


async def load(args: argparse.Namespace, settings: Settings) -> None:
    """Loads every item.

    Raises:
        ValueError: it is no encoded catalogue, or another model's.
        OSError, ArrowException: a file cannot be read, or the disk is full.
        IndexUnavailable, ModelMismatch, UnusableDataFolder: as for the service's start.
    """
    folder = Folder.of(args.encoded)
    manifest = folder.read_manifest()
    if manifest is None:
        raise ValueError(f"{folder.url} is no encoded catalogue: `python -m service.encode_catalog` makes one")
    if (model_id := await asyncio.to_thread(retriever.identify, settings.model)) != manifest.model_id:
        raise ValueError(
            f"{folder.url} was encoded by the model {manifest.model} ({manifest.model_id}), and SEARCH_MODEL="
            f"{settings.model} is {model_id}: vectors of two models cannot be compared"
        )
    files = folder.items()
    await asyncio.to_thread(open_data_folder, settings.data_dir)
    media, disk = media_of(settings), disk_of(settings)
    generations = generations_of(settings)
    index: ItemIndex | None = None
    try:
        index = await generations.open(model_id, manifest.dim, beside=False)
        if await generations.current() is None:
            await generations.describe(Generation(model_id, lasting_name(settings.model), manifest.dim))
        written = same = 0
        seen, repeated = set[str](), list[str]()
        total = sum(pq.read_metadata(file, filesystem=folder.files).num_rows for file in files)
        with tqdm(total=total, desc="loading", unit=" items", disable=args.quiet) as bar:
            for items in _batches(folder, files, manifest.dim):
                disk.check()
                first = _first(items, seen, repeated)
                new = await _write(first, index, media)
                written, same = written + new, same + len(first) - new
                bar.update(len(items))
        count = await index.count()
    finally:
        if index:
            await index.close()
        await generations.close()
    print(f"{written} items written, {same} were there already; the index holds {count}.")
    if repeated:
        named = ", ".join(list(dict.fromkeys(repeated))[:_SHOWN])
        print(f"{len(repeated)} rows left out, whose ids had come before: {named}", file=sys.stderr)


def _first(items: Sequence[PreparedItem], seen: set[str], repeated: list[str]) -> list[PreparedItem]:
    """Those whose ids were not seen yet; the ids of the others go to `repeated`.

    Two rows of one id would replace each other at every load, and remove each other's pictures.
    """
    first = []
    for item in items:
        if item.fields.id in seen:
            repeated.append(item.fields.id)
        else:
            seen.add(item.fields.id)
            first.append(item)
    return first


def _batches(folder: Folder, files: Sequence[str], dim: int) -> Iterator[list[PreparedItem]]:
    for path in files:
        with folder.files.open_input_file(path) as file:
            for batch in pq.ParquetFile(file).iter_batches(_AT_ONCE):
                yield [
                    PreparedItem(
                        ItemFields.model_validate_json(row["fields"]),
                        [_picture(one["jpeg"], one["sha256"]) for one in row["pictures"]],
                        np.asarray(row["tokens"], dtype=np.float32).reshape(-1, dim),
                    )
                    for row in batch.to_pylist()
                ]


def _picture(jpeg: bytes, sha256: str) -> Picture:
    return Picture(Image.open(io.BytesIO(jpeg), formats=("JPEG",)), jpeg, sha256)


async def _write(items: Sequence[PreparedItem], index: ItemIndex, media: MediaStore) -> int:
    """Writes those that are not there as they are, each id once; returns how many.

    In the order of `Catalogue.store`: new pictures, the points that name them, the old pictures away.
    """
    there = await index.get([item.fields.id for item in items])
    changed = [item for item in items if not _is(there.get(item.fields.id), item)]
    points = []
    for item in changed:
        previous = there.get(item.fields.id)
        names = await asyncio.to_thread(media.save, item.fields.id, item.pictures)
        payload = new_payload(item.fields, images_of(names, item.pictures), previous)
        points.append(indexed(payload, item.tokens))
    await index.upsert(points)
    for point in points:  # a new item too may have pictures of a run that was killed before it wrote the point
        await asyncio.to_thread(media.keep_only, point.id, picture_files(point.payload))
    return len(changed)


def _is(stored: Payload | None, item: PreparedItem) -> bool:
    """Whether an item is stored with these words and these pictures."""
    if stored is None:
        return False
    given = item.fields.model_dump(exclude=set() if item.fields.created_at else {"created_at"})
    pictures = [picture.sha256 for picture in item.pictures]
    return all(stored[name] == value for name, value in given.items()) and pictures == [
        image["sha256"] for image in stored["images"]
    ]


if __name__ == "__main__":
    sys.exit(main())

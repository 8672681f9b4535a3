"""Back the catalogue up into one file, and restore it: `python -m service.backup --output shop.tar`.

Works beside a running service, while it is written to, or on a stopped one: all that was acknowledged before it began
is in the file, each item whole. Restores into an empty catalogue, embedded or on a server, whichever it came from:

    python -m service.backup --restore shop.tar

Run it with the service's own settings (SEARCH_DATA_DIR, SEARCH_MODEL, QDRANT_URL …). Exit status: 0 when it is done, 1
when the backup is damaged, 2 for whatever else stopped it.
"""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

import retriever
from retriever import Retriever
from retriever.files import write_whole
from retriever.index import IndexedItem, IndexInUse, IndexUnavailable, ItemIndex, ModelMismatch
from retriever.index.generations import Generation
from service.archive import DamagedBackup, Manifest, Reader, Writer, remove_unfinished
from service.data_folder import RESTORING, UnusableDataFolder, folder_id, open_data_folder
from service.export import Exported, Origin, export
from service.from_settings import (
    device_of,
    disk_of,
    generations_of,
    lasting_name,
    load_model,
    media_of,
    served_generation,
)
from service.index_copy import encode_stored
from service.media import MediaStore
from service.payload import indexed
from service.remote import RemoteCatalogue, ServiceUnavailable, add_service_arguments
from service.rules import Rules, read_rules, write_rules
from service.settings import Settings, from_environment

_AT_ONCE = 64  # items written to the index together


def main(arguments: list[str] | None = None) -> int:
    settings = from_environment()
    args = _parse(arguments, settings)
    try:
        if args.output:
            asyncio.run(back_up(args, settings))
        else:
            asyncio.run(restore(args, settings))
    except DamagedBackup as error:
        print(f"Nothing was restored: {error}", file=sys.stderr)
        return 1
    except (
        *(OSError, ValueError, RuntimeError, IndexUnavailable, ModelMismatch),
        *(UnusableDataFolder, ServiceUnavailable),
    ) as error:
        print(f"{'No backup was made' if args.output else 'The backup was not restored'}: {error}", file=sys.stderr)
        return 2
    return 0


def _parse(arguments: list[str] | None, settings: Settings) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m service.backup", description="Back the catalogue up into one file, or restore it from one."
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--output", type=Path, help="the file to write; in a folder, one named by the time")
    which.add_argument("--restore", type=Path, metavar="FILE", help="a backup, into an empty catalogue")
    parser.add_argument(
        "--encode", action="store_true", help="restore under another model: SEARCH_MODEL encodes every item anew"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_service_arguments(parser, settings)
    return parser.parse_args(arguments)


async def back_up(args: argparse.Namespace, settings: Settings) -> None:
    """Writes a backup.

    Raises:
        OSError, ValueError, IndexUnavailable, ServiceUnavailable: no file was written, or the old one still stands.
    """
    await asyncio.to_thread(open_data_folder, settings.data_dir)
    generations = generations_of(settings)
    index: ItemIndex | None = None
    try:
        current = await served_generation(generations)
        items: AsyncGenerator[Exported]
        try:
            index = await generations.open(current.model_id, current.dim)
            items, total = export(index, media_of(settings), whole=True), await index.count()
        except IndexInUse:
            origin = Origin(current.model_id, await asyncio.to_thread(folder_id, settings.data_dir))
            remote = RemoteCatalogue(args.url, args.key, origin)
            items, total = remote.items(whole=True), await remote.count()
        path = args.output
        if path.is_dir():
            await asyncio.to_thread(remove_unfinished, path)
            path = path / f"backup-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar"
        beside_data, disk = path.parent.stat().st_dev == settings.data_dir.stat().st_dev, disk_of(settings)
        rules = await asyncio.to_thread(read_rules, settings.data_dir)  # before the hours that the items may take
        writer = Writer(path, Manifest(current.model_id, current.model, current.dim))
        try:
            with tqdm(total=total, desc="backup", unit=" items", disable=args.quiet) as bar:
                async with contextlib.aclosing(items):
                    async for item in items:
                        if beside_data:
                            disk.check()
                        await asyncio.to_thread(writer.add, item)
                        bar.update()
            if rules != Rules():
                await asyncio.to_thread(writer.add_rules, rules)
            await asyncio.to_thread(writer.finish)
        finally:
            writer.abandon()
    finally:
        if index:
            await index.close()
        await generations.close()
    done = writer.manifest
    lost = f" {done.lost_pictures} pictures were lost before and are not in it." if done.lost_pictures else ""
    print(f"{path}: {done.items} items, {done.pictures} pictures, {path.stat().st_size / 1e6:.1f} MB.{lost}")


async def restore(args: argparse.Namespace, settings: Settings) -> None:
    """Fills an empty catalogue from a backup; begun again after it was cut off, it goes through all of it again.

    Raises:
        DamagedBackup: nothing was written.
        OSError, ValueError, IndexUnavailable, ModelMismatch: begin again when the reason is gone.
    """
    print(f"Checking {args.restore} …", file=sys.stderr)
    backup = await asyncio.to_thread(Reader, args.restore)
    manifest, rules = backup.manifest, await asyncio.to_thread(backup.rules)
    model_id = await asyncio.to_thread(retriever.identify, settings.model)
    model: Retriever | None = None
    if model_id != manifest.model_id:
        if not args.encode:
            raise ValueError(
                f"its vectors are of the model {manifest.model_id} ({manifest.model}), and SEARCH_MODEL="
                f"{settings.model} is {model_id}. Set SEARCH_MODEL to that model, or add --encode to encode every item "
                "anew with this one"
            )
        model = await load_model(settings.model, device_of(settings.device), settings.inference)
    await asyncio.to_thread(open_data_folder, settings.data_dir, restoring=True)
    dim = model.config.embed_dim if model else manifest.dim
    generations = generations_of(settings)
    index: ItemIndex | None = None
    under_way = settings.data_dir / RESTORING
    try:
        index = await generations.open(model_id, dim, beside=False)
        mark = f"{manifest.model_id} {manifest.created_at} {manifest.items}\n".encode()
        if under_way.exists():
            if under_way.read_bytes() != mark:
                raise ValueError(f"the restore of another backup into {settings.data_dir} was cut off: finish that one")
        elif found := await index.count():
            raise ValueError(
                f"there are {found} items already. Restore into an empty data folder (SEARCH_DATA_DIR), and an empty "
                "server if QDRANT_URL is set"
            )
        await asyncio.to_thread(write_whole, under_way, mark)
        media = media_of(settings)
        disk = disk_of(settings)
        with tqdm(total=manifest.items, desc="restore", unit=" items", disable=args.quiet) as bar:
            for part in backup.parts():
                for begin in range(0, len(part), _AT_ONCE):
                    some = part[begin : begin + _AT_ONCE]
                    disk.check()
                    await index.upsert(await asyncio.to_thread(_restored, some, backup, media, model))
                    bar.update(len(some))
        if (found := await index.count()) != manifest.items:
            raise ValueError(
                f"the index holds {found} items and the backup {manifest.items}: something else writes to it"
            )
        if rules is not None:
            await asyncio.to_thread(write_rules, settings.data_dir, rules)
        await asyncio.to_thread(os.sync)  # the pictures
        await generations.promote(Generation(model_id, lasting_name(settings.model), dim))
        under_way.unlink()
    finally:
        if index:
            await index.close()
        await generations.close()
        backup.close()
    print(f"{manifest.items} items and {manifest.pictures} pictures of {manifest.created_at} are there.")


def _restored(
    items: Sequence[Exported], backup: Reader, media: MediaStore, model: Retriever | None
) -> list[IndexedItem]:
    """Items as the index takes them, their pictures in place."""
    for item in items:
        kept = []
        for image in item.payload["images"]:
            if (picture := backup.picture(image["file"])) is not None:
                media.put(image["file"], picture)
                kept.append(image)
        item.payload["images"] = kept
    payloads = [item.payload for item in items]
    vectors = [item.tokens for item in items] if model is None else encode_stored(model, media, payloads)
    return [indexed(payload, tokens) for payload, tokens in zip(payloads, vectors, strict=True) if tokens is not None]


if __name__ == "__main__":
    sys.exit(main())

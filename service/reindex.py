"""Move the catalogue to another model while the service goes on: `python -m service.reindex --model runs/mine`.

The new index is filled beside the one that serves, from the service's own items and pictures. It may be killed and
started again: what is encoded stays. Then it catches up with what was written meanwhile, is checked, and takes over;
searches never stop. The old index is kept: `--rollback` goes back to it, with all that was written since.

Run it with the service's own settings (SEARCH_DATA_DIR, QDRANT_URL …), beside it or while it is stopped. Exit status: 0
when the new model serves and has every write, 1 when it has not, 2 when nothing was changed.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

from tqdm import tqdm

from retriever import Retriever
from retriever.index import IndexInUse, IndexUnavailable, ItemIndex, Payload
from retriever.index.generations import EdgeGenerations, Generation, Generations
from service.data_folder import UnusableDataFolder, folder_id, open_data_folder
from service.disk import Disk, NoRoom
from service.export import Origin
from service.from_settings import (
    device_of,
    generations_of,
    lasting_name,
    load_model,
    media_of,
    served_generation,
)
from service.index_copy import IndexCopy, count_pictures
from service.media import MediaStore
from service.remote import RemoteCatalogue, ServiceUnavailable, add_service_arguments
from service.settings import Settings, from_environment
from service.takeover import POLL_SECONDS

_ENOUGH = 100  # changed items of one pass that the takeover itself copies in no time
_PASSES = 5
_LOST_PART = 20  # of so many pictures, one may be lost
_RESERVES = 2  # so many times what the service keeps free: its own writes must not stop for this command
_SETTLE_SECONDS = 5 * POLL_SECONDS  # in which every process on a server notices that the alias has moved
_TAKEOVER_SECONDS = 600


class Failed(Exception):
    """It did not end as it should; the message says what serves now, and why."""


def main(arguments: list[str] | None = None) -> int:
    settings = from_environment()
    args = _parse(arguments, settings)
    os.nice(10)  # shoppers first
    try:
        asyncio.run(_reindex(args, settings))
    except (OSError, ValueError, RuntimeError, IndexUnavailable, UnusableDataFolder, ServiceUnavailable) as error:
        print(f"Nothing was changed: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parse(arguments: list[str] | None, settings: Settings) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m service.reindex",
        description="Encode the stored catalogue with another model, and let it take over without an outage.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", help="a shipped preset, a checkpoint folder, or a hub name")
    which.add_argument("--rollback", action="store_true", help="go back to the model before, and what is kept of it")
    parser.add_argument(
        "--force", action="store_true", help="take over even if pictures are missing or the sample queries fail"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_service_arguments(parser, settings)
    return parser.parse_args(arguments)


async def _reindex(args: argparse.Namespace, settings: Settings) -> None:
    await asyncio.to_thread(open_data_folder, settings.data_dir)
    generations = generations_of(settings)
    try:
        current = await served_generation(generations)
        asked = current.previous_model if args.rollback else args.model
        if not asked:
            raise ValueError(f"the model {current.model} took over from no other: there is nothing to go back to")
        name = lasting_name(asked)
        model = await load_model(name, device_of(settings.device), settings.inference)
        if args.rollback and model.model_id != current.previous_id:
            raise ValueError(f"{name} is another model than the one before ({current.previous_id}): it has changed")
        if model.model_id == current.model_id:
            print(f"{name} ({model.model_id}) serves already.")
            return
        await _move(
            args,
            settings,
            generations,
            current,
            current.followed_by(model.model_id, name, model.config.embed_dim),
            model,
        )
    finally:
        await generations.close()
    print(f"{name} ({model.model_id}) serves. Set SEARCH_MODEL to it; `--rollback` goes back to {current.model}.")


async def _move(
    args: argparse.Namespace,
    settings: Settings,
    generations: Generations,
    current: Generation,
    wanted: Generation,
    model: Retriever,
) -> None:
    disk, media = Disk(settings.data_dir, _RESERVES * settings.min_free_bytes), media_of(settings)
    await asyncio.to_thread(disk.check)  # before the new index takes some
    try:
        target = await generations.open(model.model_id, model.config.embed_dim)
    except IndexInUse as error:
        assert isinstance(generations, EdgeGenerations)
        note = await generations.asked()
        if note is None or note[0].model_id != wanted.model_id:
            raise Failed(
                f"The index of {wanted.model} is in use: another run of this command fills it, or the service has just "
                "moved and has it open still. Run the same command again when that is over."
            ) from error
        await _wait(generations, wanted)  # the service moves to it, as a run that was killed has asked it to
        return
    source: ItemIndex | None = None
    try:
        source = await _open_source(generations, current)
        items: Callable[[], AsyncIterator[Payload]]
        count: Callable[[], Awaitable[int]]
        if source is None:
            origin = Origin(current.model_id, await asyncio.to_thread(folder_id, settings.data_dir))
            remote = RemoteCatalogue(args.url, args.key, origin)
            items, count = remote.payloads, remote.count
        else:
            items, count = source.every_item, source.count
        await _check_pictures(items(), media, args.force)
        copy = IndexCopy(target, media, disk, model)
        there = await copy.begin()
        if there:
            print(f"Going on: {there} items are encoded already.", file=sys.stderr)
        for number in range(1, _PASSES + 1):
            title = "encoding" if number == 1 else f"catching up ({number})"
            with tqdm(total=await count(), desc=title, unit=" items", disable=args.quiet) as bar:
                changed = await copy.run(items(), bar.update)
            wrong = await copy.check(await count(), changed)
            if changed <= _ENOUGH and not wrong:
                break
        if wrong and not args.force:
            raise Failed(f"The new model does not take over: {wrong}. The old one serves on; --force insists.")
        if isinstance(generations, EdgeGenerations):
            await target.close()
            if source is None:
                await generations.ask(wanted)  # the service that has the index open
                await _wait(generations, wanted)
            else:
                await generations.promote(wanted)
        else:
            await generations.promote(wanted)
            try:
                while True:
                    await asyncio.sleep(_SETTLE_SECONDS)
                    # What a process wrote into the old collection before it noticed.
                    if not await copy.run(items()):
                        break
            except (OSError, RuntimeError, IndexUnavailable) as error:
                raise Failed(
                    f"The new model serves, but writes of the last minute may be missing: {error}. Send them again."
                ) from error
    except NoRoom as error:
        new = settings.data_dir / "index" / wanted.model_id
        place = "" if settings.qdrant_url else f", or remove the unfinished {new} to make room"
        raise NoRoom(
            f"{error}, and this command leaves the service {_RESERVES} times that setting. Make room and run the same "
            f"command again: it goes on where it was{place}"
        ) from error
    finally:
        await target.close()
        if source:
            await source.close()


async def _check_pictures(items: AsyncIterator[Payload], media: MediaStore, force: bool) -> None:
    """Raises ValueError where so many are missing that it looks like a disk that is not mounted.

    Before anything is encoded: what is encoded without its pictures stays so, and nobody sees it from outside.
    """
    count, missing = await count_pictures(items, media)
    if missing > count // _LOST_PART and not force:
        raise ValueError(
            f"{missing} of {count} pictures are not in {media.folder}, and their items would be encoded by their words "
            "alone. Mount that folder or restore it, and run the same command again; --force does without them."
        )
    if missing:
        print(f"{missing} of {count} pictures are lost: their items are encoded without them.", file=sys.stderr)


async def _open_source(generations: Generations, current: Generation) -> ItemIndex | None:
    """The index that serves; None if it is the embedded one of a service that runs."""
    try:
        return await generations.open(current.model_id, current.dim)
    except IndexInUse:
        return None


async def _wait(generations: EdgeGenerations, wanted: Generation) -> None:
    """Returns when the service has followed the note. Raises Failed."""
    try:
        async with asyncio.timeout(_TAKEOVER_SECONDS):
            while (note := await generations.asked()) is not None:
                if note[1] is not None:
                    raise Failed(f"The service could not take the new model over: {note[1]}. The old one serves on.")
                await asyncio.sleep(POLL_SECONDS / 4)
    except TimeoutError:
        raise Failed(
            f"The service did not take the new model over within {_TAKEOVER_SECONDS} s; its log says more. Run the "
            "same command again."
        ) from None
    finally:
        await generations.answer()
    current = await generations.current()
    if current is None or current.model_id != wanted.model_id:
        raise Failed("The note for the service was taken away before it moved. Run the same command again.")


if __name__ == "__main__":
    sys.exit(main())

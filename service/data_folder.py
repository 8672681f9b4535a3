"""The data folder's format: stamped when the folder is made, checked before anything in it is touched.

Format 1: `media/` with the pictures (`service.media`), and without a Qdrant server `index/` with one engine's folder a
model (`retriever.index.edge`). Folders from before there was a stamp are format 1 too.

Format 2: an engine's folder that is made has smaller vectors, which earlier versions cannot open; one that was there
stays as it is. A folder of format 1 becomes one of format 2 when it is opened.

The stamp also holds a random id, by which a command beside a running service knows that they work on the same folder.
"""

import contextlib
import json
import os
import uuid
from importlib.metadata import version
from pathlib import Path

from retriever.files import write_whole
from service.disk import remedy

FORMAT = 2
STAMP = "format.json"
_FOLDERS = ("media", "index", "events")
RESTORING = "restore.under-way"  # there while a backup is being restored


class UnusableDataFolder(Exception):
    """This version cannot work with the folder; the message says why and what to do."""


def open_data_folder(folder: Path, *, restoring: bool = False) -> None:
    """Makes the folder where there is none, and stamps it. Blocking.

    Args:
        restoring: The caller is about to finish a restore that may have been cut off.

    Raises:
        UnusableDataFolder: it was written by a newer version, its stamp cannot be read, a restore was cut off, or
            something else lies where a folder belongs; or it cannot be made or written.
    """
    try:
        _open(folder, restoring)
    except OSError as error:
        advice = remedy(error, folder) or " SEARCH_DATA_DIR names it."
        raise UnusableDataFolder(f"the data folder {folder} cannot be made or written: {error}.{advice}") from error


def _open(folder: Path, restoring: bool) -> None:
    for path in (folder, *(folder / name for name in _FOLDERS)):
        if os.path.lexists(path) and not path.is_dir():  # a link that leads nowhere, too
            raise UnusableDataFolder(f"{path} must be a folder, or a link to one: move away what is there instead")
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / STAMP
    if stamp.is_dir():
        raise UnusableDataFolder(f"{stamp} must be a file: move away the folder that is there instead")
    if not stamp.exists():
        _stamp(stamp, None)
    try:
        content = json.loads(stamp.read_bytes())
        found = int(content["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableDataFolder(
            f'{stamp} is damaged ({error}). If this is the service\'s data folder, write {{"format": {FORMAT}}} '
            "into that file; if it is not, set SEARCH_DATA_DIR to another one."
        ) from error
    if found > FORMAT:
        raise UnusableDataFolder(
            f"the data folder {folder.resolve()} has format {found}, written by version {content.get('version', '?')} "
            f"of the service, and this is version {version('fused-product-search')}, which knows formats up to "
            f"{FORMAT}. Start that version or a newer one, or set SEARCH_DATA_DIR to another folder."
        )
    if found < FORMAT:
        _stamp(stamp, content.get("id"))
    elif "id" not in content:
        with contextlib.suppress(OSError):  # a folder is as good without
            _stamp(stamp, None)
    if not restoring and (folder / RESTORING).exists():
        raise UnusableDataFolder(
            f"a restore into {folder.resolve()} was cut off: run the same `python -m service.backup --restore` again, "
            "and it goes on from there."
        )


def folder_id(folder: Path) -> str | None:
    """The id in the folder's stamp; None where there is none. Blocking."""
    try:
        found = json.loads((folder / STAMP).read_bytes()).get("id")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None


def _stamp(path: Path, known: str | None) -> None:
    content = {"format": FORMAT, "version": version("fused-product-search"), "id": known or uuid.uuid4().hex}
    write_whole(path, json.dumps(content).encode() + b"\n")

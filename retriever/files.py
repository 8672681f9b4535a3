"""Files that a crash leaves whole: the old content or the new, and durable once the call returns."""

import os
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, or replaces it, in one step, durably. Blocking. Raises OSError."""
    replace(path, content)
    sync_folder(path.parent)


def replace(path: Path, content: bytes) -> None:
    """The same for several files of a folder, which is synced once afterwards. Blocking. Raises OSError."""
    # A name of its own: another process may be writing the same file, on another machine even.
    unfinished = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable: a file's own fsync does not. Blocking."""
    _sync(folder)


def sync_file(file: Path) -> None:
    """Makes a file durable that a library has written. Blocking."""
    _sync(file)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

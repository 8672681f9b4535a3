"""Files that a crash leaves whole: the old content or the new, and durable once the call returns."""

import contextlib
import os
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, or replaces it, in one step, durably. Blocking. Raises OSError."""
    write_unsynced(path, content)
    sync(path.parent)


def write_unsynced(path: Path, content: bytes) -> None:
    """Writes a file, or replaces it, in one step, durably once its folder is synced. Blocking. Raises OSError."""
    with whole(path) as file:
        file.buffer.write(content)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[TextIOWrapper]:
    """A file to write, in UTF-8, that takes its name in one step when the block ends, and is removed where that fails.

    Durable once its folder is synced. Blocking. Raises OSError.
    """
    # A name of its own: another process may be writing the same file, on another machine even.
    unfinished = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        with open(unfinished, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Makes a file's content durable, or the names in a folder: syncing the file does not. Blocking. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

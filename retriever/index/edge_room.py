"""How much room on the disk the embedded engine must find before it makes files or opens a folder."""

import shutil
from pathlib import Path

from retriever.index.results import IndexUnavailable

# It makes files of tens of MiB when it makes an index. When it opens a folder, three that begin as holes, of 32 MiB
# each, may be filled. Where the disk is full by then, the engine is killed.
ROOM = 100 << 20


def need_room(folder: Path, purpose: str) -> None:
    """Returns if the disk of a folder, or of the nearest above that is there, has room enough. Blocking.

    Raises:
        IndexUnavailable: it has not; the message says that the `purpose` needs it.
    """
    there = folder
    while not there.exists():
        there = there.parent
    if (free := shutil.disk_usage(there).free) < ROOM:
        raise IndexUnavailable(
            f"the disk of {folder} has {free >> 20} MiB left, and {purpose} needs up to {ROOM >> 20} MiB: make room. "
            "Nothing is damaged"
        )

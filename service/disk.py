"""Whether the data folder's disk takes another write, asked before each.

The embedded engine writes through memory maps of files with holes. On a full disk the kernel has no page for a hole,
and ends the whole process (SIGBUS): no error reaches anybody. So writes stop while there is still a reserve, and
searches go on; as soon as there is room again, so do the writes.
"""

import errno
import os
from pathlib import Path


class NoRoom(OSError):
    """The disk is full, or takes no writes at all; the message says which, and where."""


def remedy(error: OSError, folder: Path) -> str:
    """What to do where a folder takes no writes, as a sentence to append; empty where the error itself says it."""
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return f" Give {folder} and all in it to the user that the service runs as."
        case errno.EROFS:
            return f" Mount {folder} so that it can be written."
    return ""


class Disk:
    """The disk under a folder."""

    def __init__(self, folder: Path, reserve: int) -> None:
        self._folder, self._reserve = folder, reserve

    def check(self, *, removing: bool = False) -> None:
        """Returns if there is room to write. Blocking: one system call, which a disk of the network may keep waiting.

        Args:
            removing: What makes room again may use half of the reserve.

        Raises:
            NoRoom: there is not.
        """
        found = os.statvfs(self._folder)
        if found.f_flag & os.ST_RDONLY:
            raise NoRoom(f"the disk of {self._folder} can only be read")
        free, reserve = found.f_bavail * found.f_frsize, self._reserve // 2 if removing else self._reserve
        if free < reserve:
            raise NoRoom(
                f"the disk of {self._folder} has {free / 2**20:.0f} MiB left, and writes stop at "
                f"{reserve / 2**20:.0f} MiB (SEARCH_MIN_FREE_BYTES)"
            )
        if found.f_files and not found.f_favail:
            raise NoRoom(f"the disk of {self._folder} has room for no more files (inodes)")

"""Checks that no file of the engine is missing or cut off: it would open all the same, and silently lack items.

The ids of a part's items lie in two files, to which the engine only appends; no part is ever replaced by another, which
only its `optimize()` does. So after each flush, which syncs both, their sizes are recorded: neither is ever shorter.

The log lies in `wal/`: the engine writes to the first of its `open-{number}`. When that is full it becomes
`closed-{first operation}`, and the next one is written to; of the closed, the newest always stays. So the first open
one can only change together with the newest closed one. Without either, the engine counts its operations anew, and
takes what is written for older than what is there: it says that it was stored, and drops it.
"""

import contextlib
import json
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from retriever.files import write_whole

SIZES = "sizes.json"
_LOG_FILE = 32 << 20  # bytes, at least, of each file of the log, from the moment that it has its name
_LOG_NAME = re.compile(r"(open|closed)-(\d+)")
_IDS = ("mutable_id_tracker.mappings", "mutable_id_tracker.versions")


def record(folder: Path) -> None:
    """Takes down what is there, directly after a flush. Blocking."""
    files = [path for name in _IDS for path in folder.glob(f"segments/*/{name}")]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    content = json.dumps({"engine": _engine(), "sizes": sizes, "log": _ends(_log(folder))}).encode()
    with contextlib.suppress(OSError):  # a full disk: what was recorded before holds as well
        write_whole(folder / SIZES, content)


def lost(folder: Path) -> str | None:
    """What is not there any more, in words, before the engine opens it; None if all is there. Blocking."""
    for part in folder.glob("segments/*"):
        if not (part / "version.info").exists():
            return f"{part / 'version.info'} is missing"
    recorded = _recorded(folder)
    for name, size in recorded.get("sizes", {}).items():
        path = folder / name
        if not path.exists():
            return f"{path} is missing"
        if path.stat().st_size < size:
            return f"{path} is cut off: it had {size} bytes"
    return _lost_of_log(folder, recorded.get("log"))


def _lost_of_log(folder: Path, recorded: list[int] | None) -> str | None:
    log = _log(folder)
    for path in log.values():
        if path.stat().st_size < _LOG_FILE:
            return f"{path} is cut off: such a file has {_LOG_FILE} bytes"
    closed, first = _ends(log)
    if first < 0:
        return f"{folder / 'wal'} has no file open-…, to which the engine writes"
    if recorded is not None:
        if closed < recorded[0]:
            return f"{folder / 'wal' / f'closed-{recorded[0]}'} is missing"
        if closed == recorded[0] and first != recorded[1]:
            return f"{folder / 'wal' / f'open-{recorded[1]}'} is missing"
    return None


def _log(folder: Path) -> dict[tuple[str, int], Path]:
    """The files of the log, by their kind and number."""
    found = {path: _LOG_NAME.fullmatch(path.name) for path in folder.glob("wal/*")}
    return {(name[1], int(name[2])): path for path, name in found.items() if name}


def _ends(log: Iterable[tuple[str, int]]) -> tuple[int, int]:
    """The numbers of the newest closed and of the first open file; -1 where there is none."""
    closed = [number for kind, number in log if kind == "closed"]
    opened = [number for kind, number in log if kind == "open"]
    return max(closed, default=-1), min(opened, default=-1)


def _recorded(folder: Path) -> dict[str, Any]:
    """Empty where nothing certain is known: of an earlier version's folder, or after another version of the engine."""
    try:
        content = json.loads((folder / SIZES).read_bytes())
        return dict(content) if content["engine"] == _engine() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _engine() -> str:
    return version("qdrant-edge-py")

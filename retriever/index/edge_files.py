"""What an embedded index must have in its folder. The engine opens without it, says nothing, and lacks items.

The ids of a part's items lie in two files, to which the engine only appends; no part is ever replaced by another, which
only its `optimize()` does. So after each flush, which syncs both, their sizes are recorded: neither is ever shorter.
"""

import contextlib
import json
from importlib.metadata import version
from pathlib import Path

from retriever.files import write_whole

SIZES = "sizes.json"
_IDS = ("mutable_id_tracker.mappings", "mutable_id_tracker.versions")


def record(folder: Path) -> None:
    """Takes down what is there, directly after a flush. Blocking."""
    files = [path for name in _IDS for path in folder.glob(f"segments/*/{name}")]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    content = json.dumps({"engine": _engine(), "sizes": sizes}).encode()
    with contextlib.suppress(OSError):  # a full disk: what was recorded before holds as well
        write_whole(folder / SIZES, content)


def lost(folder: Path) -> str | None:
    """What is not there any more, in words, before the engine opens it; None if all is there. Blocking."""
    for part in folder.glob("segments/*"):
        if not (part / "version.info").exists():
            return f"{part / 'version.info'} is missing"
    for name, size in _recorded(folder).items():
        path = folder / name
        if not path.exists():
            return f"{path} is missing"
        if path.stat().st_size < size:
            return f"{path} is cut off: it had {size} bytes"
    return None


def _recorded(folder: Path) -> dict[str, int]:
    """Empty where nothing certain is known: of an earlier version's folder, or after another version of the engine."""
    try:
        content = json.loads((folder / SIZES).read_bytes())
        return dict(content["sizes"]) if content["engine"] == _engine() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _engine() -> str:
    return version("qdrant-edge-py")

"""The folder that is written to. Only what an earlier run wrote there is ever replaced or deleted.

It may hold a shop's originals, as `images/` beside its `items.jsonl` does. So what is written is listed in
`prepared.txt`, a name a line, before it is there.
"""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from tqdm import tqdm

from retriever.files import whole
from training.prepare.job import Job, JobError

LISTING = "prepared.txt"


def check(output: Path, names: Collection[str]) -> None:
    """Raises JobError where a file of these names, or anything in `images/`, was not written by an earlier run."""
    there = {name for name in names if (output / name).exists()}
    # Hidden files are a file manager's: no picture is named like that.
    there |= {f"images/{path.name}" for path in (output / "images").glob("*") if not path.name.startswith(".")}
    if foreign := sorted(there - _listed(output)):
        raise JobError(
            f"{output / foreign[0]} was not written by training.prepare, and would be replaced or mixed with what it "
            "writes: name a new folder as --output"
        )


def claim(output: Path, names: Collection[str]) -> None:
    """List files that are about to be written. Raises JobError as `check`, and OSError."""
    output.mkdir(parents=True, exist_ok=True)
    check(output, names)
    _list(output, _listed(output) | set(names))


def release(output: Path, names: Collection[str]) -> None:
    """Delete files that were claimed, and forget them: a later file of such a name is somebody else's.

    Raises OSError.
    """
    for name in names:
        (output / name).unlink(missing_ok=True)
    _list(output, _listed(output) - set(names))


def put_pictures(job: Job, output: Path) -> None:
    """The pictures of all clean items into `images/`; of an earlier run's, those that no item has any more go.

    They are linked where the disk can, so that they are there only once. Raises JobError as `check`, and OSError.
    """
    (output / "images").mkdir(parents=True, exist_ok=True)
    items = job.pages("clean_items", "item_id")
    pictures = (job.one("SELECT picture FROM items WHERE item_id = ?", item_id) for (item_id,) in items)
    names = {f"images/{picture}": picture for picture in pictures if picture}
    claim(output, names)
    release(output, {name for name in _listed(output) - set(names) if name.startswith("images/")})
    for name, picture in tqdm(names.items(), desc="pictures", unit="picture"):
        _link(job.pictures / picture, output / name)


def _listed(output: Path) -> set[str]:
    listing = output / LISTING
    return set(listing.read_text(encoding="utf-8").splitlines()) if listing.exists() else set()


def _list(output: Path, names: Collection[str]) -> None:
    with whole(output / LISTING) as file:
        file.writelines(f"{name}\n" for name in sorted(names))


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)

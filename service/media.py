"""Pictures: from a stranger's bytes to a bounded JPEG that is kept, and back.

What comes in is judged by its header before a pixel is decoded. What is kept is always the same kind of file: RGB
JPEG of bounded size without metadata (photographs from telephones carry positions). The model sees the kept file, so
vectors made again from the service's own data are the same vectors.
"""

import hashlib
import io
import os
import re
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from retriever.files import sync, write_unsynced
from retriever.pictures import upright_rgb
from service.problems import Problem

FORMATS = ("JPEG", "PNG", "WEBP")

_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}/[0-9a-f]{32}\.jpg")
_ORPHANS = 100  # pictures without an item that a crash or two may leave

# Pillow only warns of 90 to 180 million pixels; `decode` refuses far fewer, so its warning would be noise.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class DamagedPicture(OSError):
    """A kept file is no whole picture any more."""


@dataclass(frozen=True)
class PictureLimits:
    """What an uploaded picture may be, and how much of it is kept."""

    pixels: int
    side: int  # the longer one of what is kept, in pixels
    file_bytes: int


@dataclass(frozen=True)
class Picture:
    """A decoded picture, with the file that will be kept."""

    image: Image.Image  # RGB, as decoded from `jpeg`
    jpeg: bytes
    sha256: str  # of the file as it was uploaded
    source_sha256: str | None = None  # of the URL that it was fetched from


def decode(file: BinaryIO, limits: PictureLimits, name: str = "image") -> Picture:
    """Reads an uploaded picture; blocking, to be called in a thread.

    Upright (EXIF), first frame only, transparency on white, any colour mode made RGB, made smaller where it is larger
    than is kept.

    Raises:
        Problem: not a readable JPEG, PNG or WebP (`invalid_image`), too many pixels (`image_too_large`) or bytes (413
            `file_too_large`); `name` says which of several.
    """
    data = file.read(limits.file_bytes + 1)
    if len(data) > limits.file_bytes:
        raise Problem(413, "file_too_large", f"{name} has more than the {limits.file_bytes} bytes that are allowed.")
    try:
        # Naming the formats keeps Pillow's forty other parsers out of a stranger's reach.
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise _too_large(name, limits) from None
    except Exception as error:
        raise _invalid(name) from error
    if image.width * image.height > limits.pixels:
        raise _too_large(name, limits)
    try:
        # JPEG: decodes at 1/2, 1/4 or 1/8, where that is large enough still
        image.draft("RGB", (limits.side, limits.side))
        image = upright_rgb(image, limits.side)
    except MemoryError:
        raise
    except Exception as error:  # parsers of broken files raise whatever they stumble over
        raise _invalid(name) from error
    buffer = io.BytesIO()
    # Full colour resolution: colour is what shoppers ask for. Pillow would keep the comment of the uploaded file.
    image.save(buffer, "JPEG", quality=90, subsampling=0, comment=b"")
    jpeg = buffer.getvalue()
    kept = Image.open(io.BytesIO(jpeg), formats=("JPEG",))
    kept.load()
    return Picture(kept, jpeg, hashlib.sha256(data).hexdigest())


def _is_from_before(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime < moment
    except FileNotFoundError:  # another writer's, whole by now and under its name
        return False


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _invalid(name: str) -> Problem:
    return Problem(422, "invalid_image", f"{name} is not a whole JPEG, PNG or WebP picture that can be read.")


def _too_large(name: str, limits: PictureLimits) -> Problem:
    return Problem(
        422,
        "image_too_large",
        f"{name} has more than the {limits.pixels / 1e6:g} million pixels that are allowed; send a smaller copy.",
    )


class MediaStore:
    """Kept pictures: `<folder>/<2 hex>/<item>/<file>.jpg`, one folder an item, every file written once.

    A new version of an item gets new file names, so whoever reads the old version meanwhile still finds its pictures.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, item_id: str, pictures: Sequence[Picture]) -> list[str]:
        """Writes pictures so that they survive a crash from here on; returns their names. Blocking."""
        folder = self._item_folder(item_id)
        if pictures and not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            sync(self.folder)
            sync(folder.parent)
        names = []
        for picture in pictures:
            path = folder / f"{uuid.uuid4().hex}.jpg"
            write_unsynced(path, picture.jpeg)
            names.append(path.relative_to(self.folder).as_posix())
        if pictures:
            sync(folder)
        return names

    def keep_only(self, item_id: str, names: Sequence[str]) -> None:
        """Removes every file of the item but these: older versions, and what a crash left behind. Blocking."""
        folder = self._item_folder(item_id)
        if not names:
            shutil.rmtree(folder, ignore_errors=True)
            return
        kept = {self.path(name) for name in names}
        for path in folder.iterdir():
            if path not in kept:
                path.unlink(missing_ok=True)

    def load(self, name: str) -> Image.Image:
        """A picture as it was kept. Blocking.

        Raises:
            OSError: it is not there, or cannot be read.
            DamagedPicture: it was read, and is none.
        """
        jpeg = self.path(name).read_bytes()
        try:
            image = Image.open(io.BytesIO(jpeg), formats=("JPEG",))
            image.load()
        except OSError as error:
            raise DamagedPicture(str(error)) from error
        return image

    def put(self, name: str, jpeg: bytes) -> None:
        """Puts a file back under the name that `save` gave it; not durable before the disk is synced. Blocking.

        Raises:
            ValueError: `save` gives no such names.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a picture")
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_bytes(jpeg)

    def now(self) -> float:
        """The time by the clock that stamps these files, which on a network's disk is not this machine's. Blocking."""
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".now-") as probe:
            return os.stat(probe.name).st_mtime

    def names(self) -> set[str]:
        """All files, also what was not finished, by the names that `save` gives. Blocking. Raises OSError."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.glob("??/*/*")}

    def sweep(self, there: Set[str], named: Set[str], before: float) -> int:
        """Removes what a crash left behind: files from before a time that no item names. Returns how many. Blocking.

        Args:
            there: What `names` has found.

        Raises:
            ValueError: there are more of them than crashes leave; then the pictures are another index's, and all stay.
        """
        orphans = [path for name in there - named if _is_from_before(path := self.path(name), before)]
        if len(orphans) > _ORPHANS + len(there) // 100:
            raise ValueError(f"{len(orphans)} of {len(there)} pictures in {self.folder} belong to no item of the index")
        for path in orphans:
            path.unlink(missing_ok=True)
        return len(orphans)

    def missing(self, names: Iterable[str]) -> set[str]:
        """Those of these pictures that are not there, or of which an accident has left an empty file. Blocking.

        Raises:
            OSError: the folder cannot be read.
        """
        return {name for name in names if not _has_content(self.path(name))}

    def path(self, name: str) -> Path:
        """Where the picture that `save` called so lies."""
        return self.folder / name

    def _item_folder(self, item_id: str) -> Path:
        # Hashed: a shop's id may hold slashes, dots, or more letters than a file name can.
        key = uuid.uuid5(uuid.NAMESPACE_URL, item_id).hex
        return self.folder / key[:2] / key

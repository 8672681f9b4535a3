"""Pictures of items, by id, in one folder."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from retriever.pictures import upright_rgb
from training.formats import GalleryItem
from training.json_records import FormatError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class PictureFolder:
    """Pictures named `{image_id}.{jpg,jpeg,png,webp}` in one folder, found by id.

    The folder is listed once, so that asking for a picture that is not there costs nothing.

    Raises:
        FormatError: the folder does not exist, or two files carry the same id.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FormatError(f"{folder}: no such folder of pictures")
        self.folder = folder
        self._paths: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in PICTURE_SUFFIXES:
                continue
            other = self._paths.setdefault(path.stem, path)
            if other is not path:
                raise FormatError(f"{folder}: both {other.name} and {path.name} are pictures of {path.stem}; keep one")

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._paths

    def __len__(self) -> int:
        return len(self._paths)

    def find(self, image_id: str) -> Path | None:
        """The picture's file, or None if there is no picture of that id."""
        return self._paths.get(image_id)

    def path(self, image_id: str) -> Path:
        """Raises FormatError if there is no picture of that id."""
        try:
            return self._paths[image_id]
        except KeyError:
            tried = ", ".join(image_id + suffix for suffix in PICTURE_SUFFIXES)
            raise FormatError(f"{self.folder}: no picture of {image_id} (looked for {tried})") from None

    def load(self, image_id: str) -> Image.Image:
        """The decoded picture. Raises FormatError if there is none, and as `open_picture`."""
        return open_picture(self.path(image_id))


def pictures_of(items: Sequence[GalleryItem], queries: Path, images: Path | None) -> PictureFolder | None:
    """The items' pictures: those in `images`, or else in `images/` beside the queries; None without any there.

    Raises:
        FormatError: as `PictureFolder`, or no item has a picture in `images`.
    """
    folder = images or queries.parent / "images"
    if images is None and not folder.is_dir():
        return None
    pictures = PictureFolder(folder)
    if any(item.item_id in pictures for item in items):
        return pictures
    if images is None:
        return None
    raise FormatError(f"{folder}: none of the {len(items)} items has a picture here, e.g. {items[0].item_id}.jpg")


def without_picture(file: Path, pictures: Sequence[Path | None]) -> list[str]:
    """A note on the items of a file without a picture, where others have one."""
    count = pictures.count(None)
    return [f"{file}: {count} of {len(pictures)} items have no picture"] if 0 < count < len(pictures) else []


def open_picture(path: Path) -> Image.Image:
    """The decoded picture, as `upright_rgb` makes it. Raises FormatError if it cannot be decoded."""
    try:
        with Image.open(path) as picture:
            return upright_rgb(picture)
    except MemoryError:
        raise
    except Exception as error:  # parsers of broken files raise whatever they stumble over
        raise FormatError(f"{path}: this picture cannot be decoded ({error})") from error

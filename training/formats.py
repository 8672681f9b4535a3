"""The file formats that training data and evaluation sets come in, read into typed records.

    train    JSON list   {"query_id", "query_text", "image_id", "text_input": [caption, …]}, and maybe "weight"
    valid    JSON lines  {"query_id", "query_text", "item_ids": {item_id: caption, …}}
    gallery  JSON lines  {"item_id", "text"}
    negatives  JSON lines  {"query_text", "image_ids": [image_id, …]}, mined for a training file
    images   a folder of {image_id}.jpg, .jpeg, .png or .webp

Train, valid and images are the formats of https://github.com/Yali998/tianchi_multimodal. Ids may be numbers or
strings in the files; they are strings here. Every reader is a generator that holds one record at a time and raises
`FormatError`, which names the file and the line, at the first record that is not what it should be.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

from PIL import Image

from retriever.pictures import upright_rgb

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

_RECORD_CHARS = 1 << 20  # no training record may be longer: it bounds what is held while reading one
_CHUNK_CHARS = 4 << 20

_T = TypeVar("_T")


class FormatError(ValueError):
    """A file is not in the expected format. The message names the file, the line and what was expected."""


@dataclass(frozen=True, slots=True)
class TrainRecord:
    """One training pair: what a shopper typed, and the picture (with captions of it) that was chosen."""

    query_id: str
    query: str
    image_id: str
    captions: tuple[str, ...]  # training draws one a step; none: the item is to be found by its picture alone
    weight: float = 1.0  # how often it is drawn, beside others of its file


@dataclass(frozen=True, slots=True)
class ValidQuery:
    """One evaluation query and every item that answers it."""

    query_id: str
    query: str
    items: dict[str, str]  # item id → caption, which may be empty; at least one item


@dataclass(frozen=True, slots=True)
class GalleryItem:
    """One candidate of an evaluation, with the text that it is indexed with (may be empty)."""

    item_id: str
    text: str


def read_train(path: Path) -> Iterator[TrainRecord]:
    """Training pairs of a JSON list, one at a time, however long the list is.

    Raises:
        FormatError: not a JSON list, a broken record, or one without its fields.
        OSError: the file cannot be read.
    """
    for where, record in _json_list(path):
        captions = _field(record, "text_input", list, where)
        if not all(isinstance(caption, str) and caption.strip() for caption in captions):
            raise FormatError(f"{where}: text_input must be a list of captions, none of them empty")
        yield TrainRecord(
            query_id=_id(record, "query_id", where),
            query=_text(record, "query_text", where),
            image_id=_id(record, "image_id", where),
            captions=tuple(captions),
            weight=_weight(record, where),
        )


def read_valid(path: Path) -> Iterator[ValidQuery]:
    """Evaluation queries of a JSON-lines file.

    Raises:
        FormatError: a broken line, one without its fields, or a query_id seen before.
        OSError: the file cannot be read.
    """
    seen: dict[str, int] = {}
    for line, where, record in _json_lines(path):
        query_id = _id(record, "query_id", where)
        if query_id in seen:
            raise FormatError(f"{where}: query_id {query_id} was on line {seen[query_id]} already")
        seen[query_id] = line
        items = _field(record, "item_ids", dict, where)
        if not items:
            raise FormatError(f"{where}: item_ids is empty; a query needs at least one item that answers it")
        for item_id, caption in items.items():
            if not isinstance(caption, str):
                raise FormatError(f"{where}: the caption of item {item_id} must be a string, not {_name(caption)}")
        yield ValidQuery(query_id, _text(record, "query_text", where), items)


def read_gallery(path: Path) -> Iterator[GalleryItem]:
    """Candidates of a JSON-lines file.

    Raises:
        FormatError: a broken line, one without its fields, or an item_id seen before.
        OSError: the file cannot be read.
    """
    seen: dict[str, int] = {}
    for line, where, record in _json_lines(path):
        item_id = _id(record, "item_id", where)
        if item_id in seen:
            raise FormatError(f"{where}: item_id {item_id} was on line {seen[item_id]} already")
        seen[item_id] = line
        yield GalleryItem(item_id, _field(record, "text", str, where))


def read_negatives(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Queries of a training file, and ids of its items that look as if they answered them but do not.

    Raises:
        FormatError: a broken line, or one without its fields.
        OSError: the file cannot be read.
    """
    for _, where, record in _json_lines(path):
        image_ids = _field(record, "image_ids", list, where)
        if not all(isinstance(image_id, str) for image_id in image_ids):
            raise FormatError(f"{where}: image_ids must be a list of ids, each a string")
        yield _text(record, "query_text", where), image_ids


def gallery_of(queries: list[ValidQuery]) -> list[GalleryItem]:
    """The union of the queries' items, in order of appearance; an item's text is the first caption seen."""
    texts: dict[str, str] = {}
    for query in queries:
        for item_id, caption in query.items.items():
            texts.setdefault(item_id, caption)
    return [GalleryItem(item_id, text) for item_id, text in texts.items()]


def in_order(items: Iterable[GalleryItem]) -> list[GalleryItem]:
    """By a digest of the ids: equal scores rank in that order (see `training.metrics`), and it must not follow the
    order of the queries' answers in a file.
    """
    return sorted(items, key=lambda item: hashlib.sha256(item.item_id.encode()).digest())


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


def open_picture(path: Path) -> Image.Image:
    """The decoded picture, as `upright_rgb` makes it. Raises FormatError if it cannot be decoded."""
    try:
        with Image.open(path) as picture:
            return upright_rgb(picture)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's ways to say "broken file"
        raise FormatError(f"{path}: this picture cannot be decoded ({error})") from error


def _json_lines(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Line number, "file, line n" and the object of each line that is not blank."""
    empty = True
    with path.open("rb") as file:  # bytes, so that a line that is not UTF-8 is known by its number
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise FormatError(f"{where}: not UTF-8 (byte {error.start + 1})") from error
            except json.JSONDecodeError as error:
                raise FormatError(f"{where}: not JSON ({error.msg}, column {error.colno})") from error
            empty = False
            yield number, where, _object(record, where)
    if empty:
        raise FormatError(f"{path}: the file is empty; expected one JSON object a line")


def _json_list(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and object of each element of a JSON list."""
    with path.open(encoding="utf-8-sig") as file:
        reader = _ListReader(path, file)
        reader.expect("[", "'[' (the training format is one JSON list)")
        if reader.peek() == "]":
            raise FormatError(f"{path}: the list is empty")
        while True:
            reader.peek()
            where = reader.where
            yield where, _object(reader.decode(), where)
            if reader.expect(",]", "',' or ']'") == "]":
                break
        if reader.peek():
            reader.fail("there is something after the end of the list")


class _ListReader:
    """Takes a JSON list apart in chunks, since the whole may not fit in memory.

    `raw_decode` needs all of an element, so the buffer is filled up whenever less than the longest permitted record
    is left in it; an element that still does not decode is broken, not merely cut off by the chunk.
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._at = 0
        self._line = 1
        self._ended = False

    @property
    def where(self) -> str:
        return f"{self._path}, line {self._line}"

    def fail(self, problem: str) -> NoReturn:
        raise FormatError(f"{self.where}: {problem}")

    def peek(self) -> str:
        """The next character that is not white space, without taking it; "" at the end of the file."""
        while True:
            self._fill()
            start = self._at
            while self._at < len(self._buffer) and self._buffer[self._at] in " \t\r\n":
                self._at += 1
            self._line += self._buffer.count("\n", start, self._at)
            if self._at < len(self._buffer) or self._ended:
                return self._buffer[self._at : self._at + 1]

    def expect(self, wanted: str, name: str) -> str:
        """Take the next character, which must be one of `wanted`."""
        found = self.peek()
        if not found:
            self.fail(f"the file ends where {name} was expected; is it cut off?")
        if found not in wanted:
            self.fail(f"expected {name}, found {found!r}")
        self._at += 1
        return found

    def decode(self) -> Any:
        """Take the next JSON value. The caller has moved to its first character with `peek`."""
        start = self._at
        try:
            value, self._at = self._decoder.raw_decode(self._buffer, start)
        except json.JSONDecodeError as error:
            self._line += self._buffer.count("\n", start, error.pos)
            self.fail(f"not JSON, or a record of more than {_RECORD_CHARS:,} characters ({error.msg})")
        self._line += self._buffer.count("\n", start, self._at)
        return value

    def _fill(self) -> None:
        while not self._ended and len(self._buffer) - self._at < _RECORD_CHARS:
            try:
                chunk = self._file.read(_CHUNK_CHARS)
            except UnicodeDecodeError as error:
                self.fail(f"not UTF-8, here or later in the file ({error.reason})")
            self._buffer, self._at, self._ended = self._buffer[self._at :] + chunk, 0, not chunk


def _object(record: Any, where: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise FormatError(f"{where}: expected a JSON object, found {_name(record)}")
    return record


def _field(record: dict[str, Any], field: str, kind: type[_T], where: str) -> _T:
    if field not in record:
        raise FormatError(f"{where}: {field} is missing (found {', '.join(record) or 'nothing'})")
    value = record[field]
    if not isinstance(value, kind):
        raise FormatError(f"{where}: {field} must be {_NAMES[kind]}, not {_name(value)}")
    return value


def _text(record: dict[str, Any], field: str, where: str) -> str:
    value = _field(record, field, str, where)
    if not value.strip():
        raise FormatError(f"{where}: {field} is empty")
    return value


def _id(record: dict[str, Any], field: str, where: str) -> str:
    value = record.get(field)
    return str(value) if type(value) is int else _text(record, field, where)


def _weight(record: dict[str, Any], where: str) -> float:
    value = record.get("weight", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise FormatError(f"{where}: weight must be a number above 0, not {value!r}")
    return float(value)


_NAMES: dict[type, str] = {str: "a string", list: "a list", dict: "an object", bool: "a boolean", type(None): "null"}


def _name(value: Any) -> str:
    return _NAMES.get(type(value), "a number")

"""Where raw data comes from, as a stream of items and queries; one record is held at a time.

muge      a folder of `MR_{train,valid}_queries.jsonl` and `MR_{train,valid}_imgs.tsv` (Tianchi's, MUGE's)
table     a CSV or JSON-lines file of products, pictures by path beside it
folder    a folder of pictures, each a product
coco      a JSON file in Karpathy's split, the pictures in folders beside it
service   the address of a running service of this project: its own catalogue, with its pictures
"""

import base64
import binascii
import csv
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import httpx
import ijson

from training.catalogue import category_of
from training.picture_folder import PICTURE_SUFFIXES
from training.prepare.settings import EndpointSettings

LONGEST_LINE = 64 << 20  # bytes; a longer one is no record but a broken file, and is skipped without being held
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|data:", re.IGNORECASE)
_ID_BYTES = 200  # a file name has at most 255


class SourceError(ValueError):
    """The source is not one of the kinds that are known, or cannot be read."""


@dataclass(frozen=True)
class SourceItem:
    """A product: its picture as bytes or as a file, and what its shop says about it."""

    item_id: str
    picture: bytes | Path | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)  # title, description, category, attributes
    split: str | None = None  # "train" or "valid" where the source says so


@dataclass(frozen=True)
class SourceQuery:
    """What somebody typed, and the items that answer it."""

    query_id: str
    text: str
    item_ids: Sequence[str]
    split: str | None = None
    texts: Sequence[str] = ()  # what the items may say beside this query (COCO: the other captions)


@dataclass(frozen=True)
class Broken:
    """A row that is no record, or not all of one; `rule` says why."""

    rule: str
    where: str
    detail: str


Record = SourceItem | SourceQuery | Broken


def kind_of(source: str) -> str:
    """Raises SourceError if the source is of no known kind."""
    if source.startswith(("http://", "https://")):
        return "service"
    path = Path(source)
    if path.is_dir():
        if any(path.glob("MR_*_queries.jsonl")):
            return "muge"
        if any(one.suffix.lower() in PICTURE_SUFFIXES for one in path.rglob("*")):
            return "folder"
        raise SourceError(f"{source} holds neither MR_*_queries.jsonl files nor pictures")
    if not path.is_file():
        raise SourceError(f"{source} does not exist")
    kinds = {".csv": "table", ".jsonl": "table", ".json": "coco"}
    if path.suffix.lower() not in kinds:
        raise SourceError(
            f"{source} is neither .csv, .jsonl nor Karpathy's .json; a folder or an http:// address do too"
        )
    return kinds[path.suffix.lower()]


def records(source: str, limit: int | None = None) -> Iterator[Record]:
    """All records of a source; with a limit, those of its first so many queries (products where it has none).

    Queries of MUGE come before the pictures, so that only pictures that are asked for need be looked at.

    Raises:
        SourceError: it is of no known kind, or a running service refuses.
        OSError, httpx.HTTPError: it cannot be read.
    """
    readers = {"muge": _muge, "table": _table, "folder": _folder, "coco": _coco, "service": _service}
    return readers[kind_of(source)](source, limit)


def safe_id(value: Any) -> str:
    """An id as a file name: characters that a file name cannot have are percent-encoded, so no two ids collide.

    Raises:
        ValueError: it is empty, neither a string nor a number, or too long.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise ValueError(f"an id must be a string or a number, not {value!r}")
    name = quote(str(value).strip(), safe=" !#$&'()+,;=@[]{}~")
    if len(name) > _ID_BYTES:
        raise ValueError(f"an id may have {_ID_BYTES} bytes, this has {len(name)}: {name[:40]}…")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def lines(path: Path, longest: int = LONGEST_LINE) -> Iterator[tuple[int, bytes | None]]:
    """Number and bytes of each line; None in place of a line of more than `longest` bytes."""
    with path.open("rb") as file:
        for number in itertools.count(1):
            line = file.readline(longest + 1)
            if not line:
                return
            if len(line) <= longest:
                yield number, line
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(longest)
            yield number, None


def _objects(path: Path) -> Iterator[tuple[str, dict[str, Any] | Broken]]:
    for number, line in lines(path):
        where = f"{path.name}, line {number}"
        if line is None:
            yield where, Broken("overlong_row", where, f"more than {LONGEST_LINE} bytes")
        elif line.strip():
            try:
                record = json.loads(line.decode("utf-8-sig"))
                if not isinstance(record, dict):
                    raise ValueError(f"expected an object, found {type(record).__name__}")
                yield where, record
            except (ValueError, RecursionError) as error:
                yield where, Broken("broken_json", where, f"{error}: {line[:80]!r}")


def _muge(source: str, limit: int | None) -> Iterator[Record]:
    found = [split for split in ("train", "valid") if (Path(source) / f"MR_{split}_queries.jsonl").exists()]
    for split in found:
        for where, record in itertools.islice(_objects(Path(source) / f"MR_{split}_queries.jsonl"), limit):
            if isinstance(record, Broken):
                yield record
                continue
            try:
                item_ids = [safe_id(item_id) for item_id in _required(record, "item_ids", list)]
                text = _required(record, "query_text", str)
                yield SourceQuery(str(_required(record, "query_id", str | int)), text, item_ids, split)
            except ValueError as error:
                yield Broken("missing_field", where, str(error))
    for split in found:
        path = Path(source) / f"MR_{split}_imgs.tsv"
        if not path.exists():
            raise SourceError(f"{path} is missing: it holds the pictures of MR_{split}_queries.jsonl")
        for number, line in lines(path):
            where = f"{path.name}, line {number}"
            name, tab, encoded = (line or b"").partition(b"\t")
            try:
                if line is None or not tab:
                    raise ValueError("expected an id, a tab and a picture in base64")
                item_id = safe_id(name.decode())
                yield SourceItem(item_id, _decode(encoded), split=split)
            except ValueError as error:
                if line is None or line.strip():
                    yield Broken("overlong_row" if line is None else "broken_row", where, str(error))


def _decode(encoded: bytes) -> bytes:
    encoded = encoded.strip()
    # MUGE's is URL-safe and may lack its padding.
    try:
        return base64.b64decode(
            encoded + b"=" * (-len(encoded) % 4),
            altchars=b"-_" if b"-" in encoded or b"_" in encoded else None,
            validate=True,
        )
    except binascii.Error:
        return b""  # not even base64: no picture, which the reader reports under the item's id


def _required(record: Mapping[str, Any], name: str, kind: Any) -> Any:
    value = record.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is missing or of another kind (found {', '.join(record) or 'nothing'})")
    return value


def _table(source: str, limit: int | None) -> Iterator[Record]:
    path = Path(source)
    rows = _csv(path) if path.suffix.lower() == ".csv" else _objects(path)
    for number, (where, record) in enumerate(itertools.islice(rows, limit)):
        if isinstance(record, Broken):
            yield record
            continue
        try:
            item_id = safe_id(record.get("item_id", record.get("id", record.get("image_id"))))
        except ValueError as error:
            yield Broken("missing_field", where, f"item_id (or id): {error}")
            continue
        typed = record.get("queries") or record.get("query") or []
        typed = typed if isinstance(typed, list) else [typed]
        if not all(isinstance(text, str) for text in typed):
            yield Broken("missing_field", where, f"query (or queries) is no text: {typed}")
            continue
        image = _image(record)
        if image and _ADDRESS.match(image):
            yield Broken("remote_picture", where, image)
            image = None
        yield SourceItem(item_id, _picture_path(image, path.parent, item_id), _fields(record))
        for n, text in enumerate(typed):
            yield SourceQuery(f"{number}-{n}", text, [item_id])


def _csv(path: Path) -> Iterator[tuple[str, dict[str, Any] | Broken]]:
    """Columns of other names are attributes; a category is a path with > between its steps."""
    own = {"item_id", "id", "image_id", "image", "title", "description", "category", "query", "queries"}
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        reader = csv.DictReader(file)
        while True:
            where = f"{path.name}, line {reader.line_num + 1}"
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield where, Broken("broken_row", where, str(error))
                continue
            record: dict[str, Any] = {name: value for name, value in row.items() if name in own and value}
            record["attributes"] = {name: value for name, value in row.items() if name and name not in own and value}
            if row.get("queries"):
                record["queries"] = [one.strip() for one in row["queries"].split("|") if one.strip()]
            yield where, record


def _image(record: Mapping[str, Any]) -> str | None:
    image = record.get("image") or record.get("images")
    first = image[0] if isinstance(image, list) and image else image
    return first if isinstance(first, str) else None


def _picture_path(image: str | None, folder: Path, item_id: str) -> Path | None:
    if image is not None:
        return folder / image
    named = (folder / "images" / f"{item_id}{suffix}" for suffix in PICTURE_SUFFIXES)
    return next((path for path in named if path.exists()), None)


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """Title, description, category and attributes, each of its kind; what is of another is left out."""
    attributes = record.get("attributes")
    return {
        "title": str(record.get("title") or record.get("text") or ""),  # a gallery file will do
        "description": str(record.get("description") or ""),
        "category": category_of(record.get("category")),
        "attributes": {str(k): v for k, v in attributes.items() if v} if isinstance(attributes, dict) else {},
    }


def _folder(source: str, limit: int | None) -> Iterator[Record]:
    folder = Path(source)
    paths = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES)
    for path in itertools.islice(paths, limit):
        name = path.relative_to(folder)
        try:
            yield SourceItem(safe_id(name.with_suffix("").as_posix()), path)
        except ValueError as error:
            yield Broken("missing_field", str(name), str(error))


def _coco(source: str, limit: int | None) -> Iterator[Record]:
    """One caption is the query, the picture's others are the text. A picture is one validation query, with its first.

    Karpathy's `restval` is training, `val` is validation; `test` is left alone.

    Raises:
        SourceError: the file has no such list of pictures.
    """
    path, number = Path(source), 0
    with path.open("rb") as file:
        try:
            for number, image in enumerate(itertools.islice(ijson.items(file, "images.item"), limit), start=1):
                try:
                    yield from _of_coco(image, path.parent)
                except ValueError as error:
                    yield Broken("missing_field", f"{path.name}, picture {number}", str(error))
        except ijson.JSONError as error:
            yield Broken("broken_json", path.name, str(error))
            return
    if not number:
        raise SourceError(f"{source} lists no images, as Karpathy's file does; products are read from .jsonl and .csv")


def _of_coco(image: Any, folder: Path) -> Iterator[SourceItem | SourceQuery]:
    """Raises ValueError, before it gives anything, for a picture without a file name or a second caption."""
    if not isinstance(image, dict):
        raise ValueError(f"expected an object, found {type(image).__name__}")
    split = {"train": "train", "restval": "train", "val": "valid"}.get(str(image.get("split")))
    if split is None:
        return
    name, sentences = _required(image, "filename", str), _required(image, "sentences", list)
    captions = [_required(one, "raw", str).strip() for one in sentences if isinstance(one, dict)]
    if len(captions) < 2:
        raise ValueError("a picture needs two captions, one to ask for it and one to know it by")
    item_id = safe_id(Path(name).stem)
    yield SourceItem(item_id, folder / str(image.get("filepath") or "") / name, split=split)
    for n, caption in enumerate(captions if split == "train" else captions[:1]):
        others = captions[:n] + captions[n + 1 :]
        yield SourceQuery(f"{item_id}-{n}", caption, [item_id], split, others)


def _service(source: str, limit: int | None) -> Iterator[Record]:
    key = EndpointSettings().service_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    with httpx.Client(timeout=60, headers=headers) as client:
        found = 0
        cursor: str | None = None
        while True:
            answer = client.get(
                urljoin(source, "/items"), params={"cursor": cursor, "limit": 100} if cursor else {"limit": 100}
            )
            if answer.status_code != 200:
                raise SourceError(f"{source} answered {answer.status_code} to GET /items: {answer.text[:200]}")
            page = answer.json()
            for item in page["items"]:
                if limit is not None and found >= limit:
                    return
                found += 1
                picture = None
                if item["images"]:
                    loaded = client.get(urljoin(source, item["images"][0]["url"]))
                    picture = loaded.content if loaded.status_code == 200 else b""
                yield SourceItem(safe_id(item["id"]), picture, _fields(item))
            cursor = page["next_cursor"]
            if not cursor:
                return

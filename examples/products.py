"""The products of a shop's own file or folder, as the service takes them: of JSON, a feed or pictures."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples import feeds
from examples.feed_values import BadRow

FIELDS = ("title", "description", "category", "price", "stock", "attributes", "created_at")
_JSON_LINES = (".jsonl", ".ndjson", ".json")
PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
# One file does for the service and for training, where these have a meaning.
_KNOWN = {"id", "item_id", "image", *FIELDS, "captions", "query", "queries"}
_LONGEST_ID = 200  # characters
_HALF = r"it holds half of a character (such as \ud83d without its other half): write whole ones"


@dataclass(frozen=True)
class Product:
    """One product, as the service takes it."""

    id: str
    fields: dict[str, Any] = field(default_factory=dict)
    pictures: tuple[Path, ...] = ()
    urls: tuple[str, ...] = ()  # of more pictures


class Rejected(Exception):
    """This product cannot be sent; the others can. `item_id` is its id, if that could be read."""

    def __init__(self, reason: str, item_id: str | None = None) -> None:
        super().__init__(reason)
        self.item_id = item_id


def read_products(source: Path) -> Iterator[Product | Rejected]:
    """The products of a file or a folder, one at a time; a line that is none is given as `Rejected`.

    Raises:
        UnreadableFeed: the file is of no kind that is read here, or a feed's header does not say which column is which.
        OSError: the file cannot be read.
    """
    if source.is_dir():
        for path in sorted(path for path in source.rglob("*") if path.suffix.lower() in PICTURES):
            try:
                yield Product(_id({"id": path.relative_to(source).with_suffix("").as_posix()}), pictures=(path,))
            except ValueError as error:  # a name in another encoding than the system's
                yield Rejected(f"{str(path)!a}: {error}")
        return
    ending = source.suffix.lower()
    if ending not in (*feeds.ENDINGS, *_JSON_LINES):
        known = ", ".join((*_JSON_LINES, *feeds.ENDINGS))
        raise feeds.UnreadableFeed(f"Only files that end in {known} are read: export it as one of them.")
    place = "product" if ending == feeds.XML else "line"
    if ending in feeds.ENDINGS:
        rows: Iterator[tuple[int, Any]] = feeds.read_feed(source)
    elif ending == ".json" and _is_array(source):
        rows, place = _json_array(source), "product"
    else:
        rows = _json_lines(source)
    for number, row in rows:
        try:
            if isinstance(row, ValueError):
                raise row
            yield _product(row, source.parent)
        except ValueError as error:
            yield Rejected(f"{place} {number}: {error}", _known_id(row))


def _is_array(source: Path) -> bool:
    with source.open(encoding="utf-8-sig", errors="replace") as file:
        return file.read(1000).lstrip().startswith("[")


def _json_array(source: Path) -> Iterator[tuple[int, Any]]:
    """The members of a file that is one array, which is held in memory. Raises UnreadableFeed."""
    try:
        return enumerate(json.loads(source.read_text("utf-8-sig")), start=1)
    except (ValueError, RecursionError) as error:
        raise feeds.UnreadableFeed(f"It begins as an array of JSON and is none: {error}.") from error


def _json_lines(source: Path) -> Iterator[tuple[int, Any]]:
    with source.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line.decode("utf-8-sig"))
                except ValueError as error:
                    yield number, error
                except RecursionError:
                    yield number, ValueError("is nested too deep")


def _product(row: Any, folder: Path) -> Product:
    """Raises ValueError."""
    if not isinstance(row, dict):
        raise ValueError("must be an object, as in {...}")
    if unknown := sorted(row.keys() - _KNOWN):
        is_picture = unknown[0].startswith("image")
        advice = "pictures are given as 'image'" if is_picture else "what is your own goes into 'attributes'"
        raise ValueError(f"{unknown[0]!r} is not known here: {advice}")
    images = row.get("image") or []
    images = [images] if isinstance(images, str) else images
    if not _are_strings(images):
        raise ValueError("image must be a path, a URL, or a list of them")
    urls = tuple(image for image in images if image.startswith(("http://", "https://")))
    pictures = tuple(folder / image for image in images if image not in urls)
    fields = {name: row[name] for name in FIELDS if row.get(name) is not None}
    for name, read in (("category", _category), ("attributes", _attributes), ("price", _number), ("stock", _number)):
        if name in fields:
            fields[name] = read(name, fields[name])
    if isinstance(description := fields.get("description"), str):
        fields["description"] = description.replace("\r\n", "\n")  # as the service keeps it
    fields = {name: value for name, value in fields.items() if value not in (None, "", [], {})}
    if half := next((name for name, value in {"image": images, **fields}.items() if not _is_unicode(value)), None):
        raise ValueError(f"{half}: {_HALF}")
    return Product(_id(row), fields, pictures, urls)


def _known_id(row: Any) -> str | None:
    """The id of what is no product for another reason."""
    if isinstance(row, BadRow):
        return row.item_id
    try:
        return _id(row) if isinstance(row, dict) else None
    except ValueError:
        return None


def _id(row: dict[str, Any]) -> str:
    """Raises ValueError."""
    item_id = row.get("id", row.get("item_id"))
    if item_id is None or isinstance(item_id, bool) or not isinstance(item_id, (str, int, float)):
        raise ValueError("must have an id (or item_id)")
    item_id = str(item_id).strip()
    if item_id in ("", ".", ".."):
        raise ValueError(f"{item_id!r} cannot be an id: no URL could name it")
    if len(item_id) > _LONGEST_ID:
        raise ValueError(f"{item_id[:20]!a}… cannot be an id: the service takes {_LONGEST_ID} characters")
    if not _is_unicode(item_id):
        raise ValueError(f"{item_id!a} cannot be an id: {_HALF}")
    return item_id


def _category(name: str, value: Any) -> list[str]:
    """The steps of a path (`Home > Kitchen`), of a list of it or of its steps, or of such a list as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _json(name, value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return [step.strip() for step in value.split(">") if step.strip()]
    if not _are_strings(value):
        raise ValueError(f"{name} must be a string or a list of strings")
    return [step.strip() for step in value]


def _attributes(name: str, value: Any) -> dict[str, Any]:
    value = _json(name, value) if isinstance(value, str) and value.strip() else value or {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object")
    return {key: one for key, one in value.items() if one is not None}


def _number(name: str, value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) and value else value
    except ValueError:
        raise ValueError(f"{name} must be a number, and {value!r} is none") from None


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}") from None


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)

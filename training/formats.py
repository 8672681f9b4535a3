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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from training.json_records import (
    FormatError,
    field_of,
    id_of,
    json_lines,
    json_list,
    kind_of,
    new_id,
    refuse_surrogates,
    text_of,
)


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
    for where, record in json_list(path):
        captions = field_of(record, "text_input", list, where)
        if not all(isinstance(caption, str) and caption.strip() for caption in captions):
            raise FormatError(f"{where}: text_input must be a list of captions, none of them empty")
        yield TrainRecord(
            query_id=id_of(record, "query_id", where),
            query=text_of(record, "query_text", where),
            image_id=id_of(record, "image_id", where),
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
    for line, where, record in json_lines(path):
        query_id = new_id(record, "query_id", seen, line, where)
        items = field_of(record, "item_ids", dict, where)
        if not items:
            raise FormatError(f"{where}: item_ids is empty; a query needs at least one item that answers it")
        for item_id, caption in items.items():
            if not isinstance(caption, str):
                raise FormatError(f"{where}: the caption of item {item_id} must be a string, not {kind_of(caption)}")
            refuse_surrogates(item_id + caption, "item_ids", where)
        yield ValidQuery(query_id, text_of(record, "query_text", where), items)


def read_gallery(path: Path) -> Iterator[GalleryItem]:
    """Candidates of a JSON-lines file.

    Raises:
        FormatError: a broken line, one without its fields, or an item_id seen before.
        OSError: the file cannot be read.
    """
    seen: dict[str, int] = {}
    for line, where, record in json_lines(path):
        item_id = new_id(record, "item_id", seen, line, where)
        yield GalleryItem(item_id, field_of(record, "text", str, where))


def read_negatives(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Queries of a training file, and ids of its items that look as if they answered them but do not.

    There may be none: nothing was passed over, or everything near an answer was one.

    Raises:
        FormatError: a broken line, or one without its fields.
        OSError: the file cannot be read.
    """
    if not path.stat().st_size:
        return
    for _, where, record in json_lines(path):
        image_ids = field_of(record, "image_ids", list, where)
        if not all(isinstance(image_id, str) for image_id in image_ids):
            raise FormatError(f"{where}: image_ids must be a list of ids, each a string")
        yield text_of(record, "query_text", where), image_ids


def gallery_of(queries: list[ValidQuery]) -> list[GalleryItem]:
    """The union of the queries' items, in order of appearance; an item's text is the first caption seen."""
    texts: dict[str, str] = {}
    for query in queries:
        for item_id, caption in query.items.items():
            texts.setdefault(item_id, caption)
    return [GalleryItem(item_id, text) for item_id, text in texts.items()]


def check_answers(queries: Iterable[ValidQuery], items: Iterable[GalleryItem], path: Path) -> None:
    """Raises FormatError if a query's item is not in the gallery; the message names `path`, the file of the queries."""
    known = {item.item_id for item in items}
    for query in queries:
        if missing := [item_id for item_id in query.items if item_id not in known]:
            raise FormatError(f"{path}: item {missing[0]} answers query {query.query_id} but is not in the gallery")


def in_digest_order(items: Iterable[GalleryItem]) -> list[GalleryItem]:
    """By a digest of the ids: equal scores rank in that order (see `training.metrics`), and it must not follow the
    order of the queries' answers in a file.
    """
    return sorted(items, key=lambda item: hashlib.sha256(item.item_id.encode()).digest())


def write_train(file: TextIO, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes training pairs, one row a line, and returns how many there are."""
    count = 0
    file.write("[")
    for count, row in enumerate(rows, start=1):
        file.write((",\n" if count > 1 else "\n") + json.dumps(row, ensure_ascii=False))
    file.write("\n]\n")
    return count


def _weight(record: dict[str, Any], where: str) -> float:
    value = record.get("weight", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise FormatError(f"{where}: weight must be a number above 0, not {value!r}")
    return float(value)

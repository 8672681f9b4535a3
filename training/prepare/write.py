"""Step 6: the job in the formats of `training.formats`, with the pictures.

train.json          [{"query_id", "query_text", "image_id", "text_input": […]}, …]
dev.valid.jsonl     {"query_id", "query_text", "item_ids": {id: caption, …}}
dev.gallery.jsonl   {"item_id", "text"}
images/             {id}.jpg, .png or .webp
report.json, report.md, dropped.jsonl
prepared.txt        what of all this, and of `events`, is there: see `training.prepare.output`
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from retriever.files import whole
from training.data import normalise
from training.formats import write_train
from training.prepare import report
from training.prepare.clean import texts_beside
from training.prepare.job import Job
from training.prepare.output import claim, put_pictures, release

FILES = ("train.json", "dev.valid.jsonl", "dev.gallery.jsonl", "report.json", "report.md", "dropped.jsonl")
_PAIRS = (
    "SELECT q.id, q.query_id, q.text, p.item_id, p.texts, i.captions, i.texts FROM clean_pairs p"
    " JOIN clean_queries q ON q.id = p.id JOIN clean_items i USING (item_id)"
)


class NothingLeft(ValueError):
    """No pair survived; the report says what dropped them."""


@dataclass(frozen=True)
class Written:
    """How much was written."""

    pairs: int
    train_items: int
    queries: int
    valid_items: int


def write(job: Job, output: Path) -> Written:
    """Write the split job to a folder; a file of that name is replaced when the new one is whole.

    Raises:
        JobError: the job has not been split, or the folder holds files of these names that are somebody else's.
        NothingLeft: there is nothing to train on.
        OSError: the folder cannot be written.
    """
    job.check("write")
    claim(output, FILES)
    with whole(output / "train.json") as file:
        pairs = write_train(file, _train_rows(job))
    queries = _lines(output / "dev.valid.jsonl", _valid_rows(job))
    valid_items = _lines(output / "dev.gallery.jsonl", _gallery_rows(job))
    if not queries:
        release(output, ("dev.valid.jsonl", "dev.gallery.jsonl"))
    put_pictures(job, output)
    written = Written(pairs, _count_items(job, "train"), queries, valid_items)
    report.write(job, output, written.__dict__)
    if not pairs:
        raise NothingLeft(f"no training pair is left; {output / 'report.md'} says what dropped them")
    return written


def _train_rows(job: Job) -> Iterator[dict[str, Any]]:
    for _, query_id, query, item_id, *row in _joined(job, "train"):
        texts = texts_beside(query, *row)
        yield {"query_id": _shown(query_id), "query_text": query, "image_id": item_id, "text_input": texts}


def _valid_rows(job: Job) -> Iterator[dict[str, Any]]:
    for (_, query_id, query), rows in groupby(_joined(job, "valid"), key=lambda row: row[:3]):
        texts = {item_id: _gallery_text(job, item_id) for _, _, _, item_id, *_ in rows}
        yield {"query_id": _shown(query_id), "query_text": query, "item_ids": texts}


def _shown(query_id: str) -> int | str:
    """A number, as the seed's ids are, where nothing is lost by it: 7 and 007 are two ids."""
    return int(query_id) if re.fullmatch("0|[1-9][0-9]{0,17}", query_id) else query_id


def _gallery_rows(job: Job) -> Iterator[dict[str, Any]]:
    for (item_id,) in job.pages("clean_items", "item_id", f"side = 'valid' AND item_id IN ({_ASKED_FOR})"):
        yield {"item_id": item_id, "text": _gallery_text(job, item_id)}


_ASKED_FOR = "SELECT p.item_id FROM clean_pairs p JOIN clean_queries q ON q.id = p.id WHERE q.side = 'valid'"


def _gallery_text(job: Job, item_id: str) -> str:
    """The one text that an item is indexed with: the first that is no query of its own."""
    rows = job.all(f"{_PAIRS} WHERE p.item_id = ? AND q.side = 'valid' ORDER BY p.rowid", item_id)
    queries = {normalise(row[2]) for row in rows}
    texts = (text for row in rows for text in texts_beside(row[2], *row[4:]))
    return next((text for text in texts if normalise(text) not in queries), "")


def _joined(job: Job, side: str) -> Iterator[tuple[Any, ...]]:
    """Pairs whose query and item are both on this side, by query, a page of queries at a time."""
    for (number,) in job.pages("clean_queries", "id", f"side = '{side}'"):
        yield from job.all(f"{_PAIRS} WHERE q.id = ? AND i.side = ? ORDER BY p.rowid", number, side)


def _count_items(job: Job, side: str) -> int:
    sql = (
        "SELECT COUNT(*) FROM clean_items i WHERE side = ? AND EXISTS (SELECT 1 FROM clean_pairs p JOIN clean_queries q"
        " ON q.id = p.id WHERE p.item_id = i.item_id AND q.side = i.side)"
    )
    return int(job.one(sql, side))


def _lines(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    with whole(path) as file:
        for count, row in enumerate(rows, start=1):  # noqa: B007
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return count

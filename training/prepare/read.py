"""Step 1: a source into the job. Every picture is decoded here, so that no model is paid to look at a broken one."""

import json
import shutil
from pathlib import Path

from tqdm import tqdm

from training.prepare.job import Job
from training.prepare.pictures import BrokenPicture, check
from training.prepare.sources import Broken, SourceError, SourceItem, SourceQuery, kind_of, records


def read(job: Job, source: str, limit: int | None = None) -> None:
    """Store items, queries and pictures of a source; what was in the job before is forgotten.

    Raises:
        SourceError: the source is of no known kind, or pictures of it are the job's own, which go first.
        OSError: it cannot be read, or the disk is full.
    """
    kind = kind_of(source)
    only_asked = kind == "muge"
    if kind != "service":
        _check_apart(Path(source), job.pictures, searched=kind == "folder")
    job.begin("read")
    shutil.rmtree(job.pictures, ignore_errors=True)
    job.pictures.mkdir()
    with tqdm(records(source, limit), desc="read", unit="record") as progress:
        for record in progress:
            if isinstance(record, Broken):
                job.drop("read", record.rule, "row", record.where, record.detail)
            elif isinstance(record, SourceQuery):
                _store_query(job, record)
            elif not only_asked or job.one("SELECT 1 FROM pairs WHERE item_id = ?", record.item_id):
                _store_item(job, record)
    job.done("read")


def _check_apart(source: Path, pictures: Path, *, searched: bool) -> None:
    """Raises SourceError if one folder is in the other. `searched`: the source is read with its subfolders."""
    one, other = source.resolve(), pictures.resolve()
    if one.is_relative_to(other) or (searched and other.is_relative_to(one)):
        raise SourceError(
            f"{source} and {pictures}, the job's own pictures, which are deleted before it is read anew, lie in one "
            "another: name another folder as --job"
        )


def _store_query(job: Job, query: SourceQuery) -> None:
    job.write("INSERT INTO queries (query_id, text, split) VALUES (?, ?, ?)", query.query_id, query.text, query.split)
    number = job.one("SELECT last_insert_rowid()")
    texts = json.dumps(list(query.texts), ensure_ascii=False)
    for item_id in query.item_ids:
        job.write("INSERT OR IGNORE INTO pairs VALUES (?, ?, ?)", number, item_id, texts)


def _store_item(job: Job, item: SourceItem) -> None:
    previous = job.all("SELECT split FROM items WHERE item_id = ?", item.item_id)
    if previous:
        # Tianchi's pictures may be in both files; validation must not be trained on.
        if item.split == "valid" and previous[0][0] == "train":
            job.write("UPDATE items SET split = 'valid' WHERE item_id = ?", item.item_id)
        else:
            job.drop("read", "duplicate_item", "item", item.item_id)
        return
    fields = json.dumps(dict(item.fields), ensure_ascii=False)
    row: tuple[object, ...] = (None, None, None, None)
    if item.picture is not None:
        try:
            content = item.picture.read_bytes() if isinstance(item.picture, Path) else item.picture
            picture = check(content)
        except FileNotFoundError:
            job.drop("read", "missing_picture", "item", item.item_id, str(item.picture))
            return
        except BrokenPicture as error:
            job.drop("read", "undecodable_picture", "item", item.item_id, str(error))
            return
        name = f"{item.item_id}{picture.suffix}"
        (job.pictures / name).write_bytes(picture.content)
        row = (name, picture.width, picture.height, picture.likeness)
    job.write("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?)", item.item_id, fields, item.split, *row)

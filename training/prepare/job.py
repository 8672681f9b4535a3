"""The job: everything that the steps know, in one SQLite file in one folder, with the pictures beside it.

A step empties its own tables and the later ones' before it begins, and is marked as done when all of it is written; so
a step that was killed is simply run again. Rows are read in pages, however many there are.
"""

import json
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

STEPS = ("read", "translate", "caption", "clean", "split")
NEEDED = {
    **dict.fromkeys(("translate", "caption", "clean"), ("read",)),
    **dict.fromkeys(("split", "events"), ("clean",)),
    "write": ("split",),
}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS steps (step TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS dropped (step TEXT, rule TEXT, kind TEXT, id TEXT, detail TEXT);
CREATE TABLE IF NOT EXISTS changed (step TEXT, rule TEXT, count INTEGER, examples TEXT, PRIMARY KEY (step, rule));

CREATE TABLE IF NOT EXISTS items (
    item_id TEXT PRIMARY KEY, fields TEXT, split TEXT, picture TEXT, width INTEGER, height INTEGER, likeness TEXT);
CREATE TABLE IF NOT EXISTS queries (id INTEGER PRIMARY KEY, query_id TEXT, text TEXT, split TEXT);
CREATE TABLE IF NOT EXISTS pairs (id INTEGER, item_id TEXT, texts TEXT, PRIMARY KEY (id, item_id));
CREATE INDEX IF NOT EXISTS pairs_of_item ON pairs (item_id);

CREATE TABLE IF NOT EXISTS english (text TEXT PRIMARY KEY, english TEXT);
CREATE TABLE IF NOT EXISTS captions (item_id TEXT PRIMARY KEY, captions TEXT);

CREATE TABLE IF NOT EXISTS clean_items (
    item_id TEXT PRIMARY KEY, captions TEXT, texts TEXT, split TEXT, family TEXT, side TEXT);
CREATE TABLE IF NOT EXISTS clean_queries (
    id INTEGER PRIMARY KEY, query_id TEXT, text TEXT, normal TEXT, split TEXT, side TEXT);
CREATE TABLE IF NOT EXISTS clean_pairs (id INTEGER, item_id TEXT, texts TEXT, PRIMARY KEY (id, item_id));
CREATE INDEX IF NOT EXISTS clean_pairs_of_item ON clean_pairs (item_id);
CREATE INDEX IF NOT EXISTS clean_normal ON clean_queries (normal);
"""
_TABLES = {
    "read": ("items", "queries", "pairs"),
    "translate": ("english",),
    "caption": ("captions",),
    "clean": ("clean_items", "clean_queries", "clean_pairs"),
    "split": (),
}
_PAGE = 500
_EXAMPLES = 5


class JobError(ValueError):
    """A step cannot run yet, or not in this folder; the message says what to do."""


class Job:
    """An open job.

    Raises:
        JobError: there is no job in this folder, and none is to be begun; or its `pictures/` are somebody else's.
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, *, begin: bool = False) -> None:
        self.folder = folder
        self.pictures = folder / "pictures"
        path = folder / "job.sqlite"
        if not path.exists() and not begin:
            raise JobError(f"there is no job in {folder}; begin with: python -m training.prepare read --job {folder}")
        self.pictures.mkdir(parents=True, exist_ok=True)
        if not path.exists() and any(self.pictures.iterdir()):  # reading begins by deleting what is there
            raise JobError(f"{self.pictures} holds files, but there is no job in {folder}: name a new folder as --job")
        self._db = sqlite3.connect(path)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA cache_size = -16000")  # 16 MB
        self._db.executescript(_SCHEMA)
        self._db.create_function("crc32", 1, lambda text: zlib.crc32(text.encode()), deterministic=True)
        self._changed: dict[tuple[str, str], tuple[int, list[Any]]] = defaultdict(lambda: (0, []))
        self._written = 0

    def __enter__(self) -> "Job":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def begin(self, step: str) -> None:
        """Forget what this step and the later ones found.

        Raises:
            JobError: a step that must come before has not been run to its end.
        """
        self.check(step)
        for later in STEPS[STEPS.index(step) :]:
            # A translation or a caption does not depend on the other, and neither on what was cleaned.
            if later == step or later in ("clean", "split") or step == "read":
                self._db.execute("DELETE FROM steps WHERE step = ?", (later,))
                self._db.execute("DELETE FROM dropped WHERE step = ?", (later,))
                self._db.execute("DELETE FROM changed WHERE step = ?", (later,))
                for table in _TABLES[later]:
                    self._db.execute(f"DELETE FROM {table}")
        self._db.commit()

    def check(self, step: str) -> None:
        """Raises JobError if a step that must come before this one has not been run to its end."""
        for before in NEEDED.get(step, ()):
            if not self.is_done(before):
                raise JobError(f"{step} needs {before}: python -m training.prepare {before} --job {self.folder}")

    def is_done(self, step: str) -> bool:
        return self.one("SELECT 1 FROM steps WHERE step = ?", step) is not None

    def done(self, step: str) -> None:
        for (at, rule), (count, examples) in self._changed.items():
            row = (at, rule, count, json.dumps(examples, ensure_ascii=False))
            self._db.execute("INSERT OR REPLACE INTO changed VALUES (?, ?, ?, ?)", row)
        self._changed.clear()
        self._db.execute("INSERT OR REPLACE INTO steps VALUES (?)", (step,))
        self._db.commit()

    def write(self, sql: str, *values: Any) -> int:
        """One change; it is durable by the end of the step. Returns how many rows it touched."""
        touched = self._db.execute(sql, values).rowcount
        self._written += 1
        if self._written % 1000 == 0:
            self._db.commit()
        return touched

    def drop(self, step: str, rule: str, kind: str, name: str, detail: str = "") -> None:
        """Record that a rule dropped an item, a query, a pair, a text or a row of the source."""
        self.write("INSERT INTO dropped VALUES (?, ?, ?, ?, ?)", step, rule, kind, name, detail[:500])

    def change(self, step: str, rule: str, before: str, after: str) -> None:
        """Count that a rule changed a text; the first few are kept as examples."""
        count, examples = self._changed[step, rule]
        if len(examples) < _EXAMPLES:
            examples.append([before[:200], after[:200]])
        self._changed[step, rule] = (count + 1, examples)

    def one(self, sql: str, *values: Any) -> Any:
        """The first column of the first row; None if there is none."""
        row = self._db.execute(sql, values).fetchone()
        return row[0] if row else None

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values).fetchall()

    def pages(self, table: str, columns: str, where: str = "1") -> Iterator[tuple[Any, ...]]:
        """Rows in the order in which they were written, read in pages: the table may be written to meanwhile."""
        last = -1
        while True:
            sql = f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? AND ({where}) ORDER BY rowid LIMIT {_PAGE}"
            page = self._db.execute(sql, (last,)).fetchall()
            for row in page:
                yield row[1:]
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def english(self, text: str) -> str:
        """A text's translation, or the text itself where none was needed or asked for."""
        found = self.one("SELECT english FROM english WHERE text = ?", text)
        return text if found is None else str(found)

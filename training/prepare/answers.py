"""Answers that were paid for, by the content of the question: nothing is asked twice, not even after a kill.

One SQLite file in write-ahead mode. An answer is on the disk before anybody hears of it, and a half-written one does
not exist after a crash.
"""

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a model said, word for word, or why it would not."""

    content: str
    refused: bool = False  # the content is the reason then
    tokens_in: int = 0
    tokens_out: int = 0


def key_of(*parts: Any) -> str:
    """A digest of a question: model, words, digest of the picture, and number of the try."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


class Answers:
    """Raises sqlite3.Error: the file is no such file, or cannot be written."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=60)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # also when the power fails
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, model TEXT, content TEXT, refused INTEGER,"
            " tokens_in INTEGER, tokens_out INTEGER)"
        )
        self._db.commit()

    def close(self) -> None:
        self._db.close()

    def get(self, key: str) -> Answer | None:
        sql = "SELECT content, refused, tokens_in, tokens_out FROM answers WHERE key = ?"
        row = self._db.execute(sql, (key,)).fetchone()
        return Answer(row[0], bool(row[1]), row[2], row[3]) if row else None

    def put(self, key: str, model: str, answer: Answer) -> None:
        """Returns when the answer is durable."""
        row = (key, model, answer.content, answer.refused, answer.tokens_in, answer.tokens_out)
        self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", row)
        self._db.commit()

    def mean_tokens(self, model: str) -> tuple[int, float, float]:
        """How many answers of a model there are, and what they took on average, in and out."""
        sql = "SELECT COUNT(*), AVG(tokens_in), AVG(tokens_out) FROM answers WHERE model = ? AND tokens_in > 0"
        count, tokens_in, tokens_out = self._db.execute(sql, (model,)).fetchone()
        return count, tokens_in or 0.0, tokens_out or 0.0

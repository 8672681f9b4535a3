"""The service's event log → training pairs, mined negatives and a test, for a catalogue that is in a job.

A hit that was clicked, put into the cart or bought is a pair of its query and item. Clicks are biased: what stands
first is looked at most. So a click counts 1 / θ(position), the inverse propensity (Joachims et al., arXiv 1608.04468),
with θ from `training.prepare.propensity`, clipped so that no single click far down outweighs all others.

A hit that stood above a click and was never chosen for that query was looked at and passed over: a negative
("skip above", Joachims, "Optimizing Search Engines Using Clickthrough Data", KDD 2002).

A search while one types (`complete`) counts only if something was chosen of it, as in `service.search_report`.

Whole queries are held out for the test, with all of their clicks; the catalogue is the same on both sides.
"""

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from retriever.files import whole
from training.data import normalise
from training.formats import write_train
from training.prepare.job import Job
from training.prepare.output import claim, put_pictures, release
from training.prepare.propensity import estimate
from training.prepare.rules import clean_text
from training.prepare.sources import lines, safe_id
from training.prepare.write import NothingLeft

FILES = ("train.json", "negatives.jsonl", "dev.valid.jsonl", "dev.gallery.jsonl", "events.json", "events.sqlite")
CHOSEN = ("click", "add_to_cart", "purchase")
LEAST_PROPENSITY = 0.05  # a click counts 20 times at most
LEAST_SHARE = 0.3  # of the attraction of the query's best item: below that, clicks are thought to be slips
FOREIGN = "searches in other languages, left out"
NEGATIVES = 16  # kept for a query

_SCHEMA = """
CREATE TABLE searches (search_id TEXT PRIMARY KEY, query TEXT, offset INTEGER, items TEXT,
                       complete INTEGER);
CREATE TABLE told (search_id TEXT, item_id TEXT, position INTEGER, chosen INTEGER);
CREATE INDEX told_of ON told (search_id);
CREATE TABLE counts (query TEXT, item_id TEXT, position INTEGER, shown INTEGER, clicks INTEGER,
                     PRIMARY KEY (query, item_id, position));
CREATE TABLE skipped (query TEXT, item_id TEXT, times INTEGER, PRIMARY KEY (query, item_id));
CREATE TABLE pairs (query TEXT, item_id TEXT, weight REAL, side TEXT, PRIMARY KEY (query, item_id));
CREATE INDEX pairs_of_item ON pairs (item_id);
"""


@dataclass
class Learned:
    """What the log said."""

    counts: Counter[str] = field(default_factory=Counter)
    propensities: list[float] = field(default_factory=list)  # by position


def learn(job: Job, log: Path, output: Path, hold_out: float = 0.1, *, corrected: bool = True) -> Learned:
    """Write `train.json`, `negatives.jsonl`, `dev.valid.jsonl`, `dev.gallery.jsonl`, `images/` and `events.json`.

    Args:
        log: a folder of event segments, or one of them.
        hold_out: share of the queries for the test, below 1.
        corrected: weigh clicks by inverse propensity; without, all count the same (to compare).

    Raises:
        JobError: the job's catalogue has not been read and cleaned, or the folder holds files of these names that are
            somebody else's.
        NothingLeft: nobody clicked on an item of the catalogue.
        OSError: the log cannot be read, or the folder not be written.
    """
    job.check("events")
    claim(output, FILES)
    scratch = output / "events.sqlite"
    scratch.unlink(missing_ok=True)
    learned = Learned()
    database = sqlite3.connect(scratch)
    try:
        # It can be made again at any time: no journal, no waiting for the disk.
        database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_SCHEMA}")
        _read(database, job, log, learned)
        _count(database, learned)
        _weigh(database, job, learned, corrected)
        _hold_out(database, hold_out)
        _write(database, job, output, learned)
    finally:
        database.close()
        release(output, [scratch.name])
    return learned


def _read(database: sqlite3.Connection, job: Job, log: Path, learned: Learned) -> None:
    paths = sorted(log.glob("*.jsonl")) if log.is_dir() else [log]
    if not paths:
        raise FileNotFoundError(f"{log} holds no event log (*.jsonl); the service writes to data/events")
    progress = tqdm(total=sum(path.stat().st_size for path in paths), desc="read events", unit="B", unit_scale=True)
    with progress:
        for path in paths:
            for _, line in lines(path):
                progress.update(len(line or b""))
                try:
                    _store(database, job, json.loads(line or b"null"), learned)
                except (ValueError, KeyError, TypeError, AttributeError):
                    learned.counts["broken lines"] += 1  # a kill may cut the last line of a segment off
    database.commit()


def _store(database: sqlite3.Connection, job: Job, record: Any, learned: Learned) -> None:
    if record["kind"] == "search":
        items = json.dumps([safe_id(item_id) for item_id in record["items"]])
        query, counted = _query(job, record)
        search = (record["search_id"], query, record["offset"], items, bool(record.get("complete")))
        database.execute("INSERT OR IGNORE INTO searches VALUES (?, ?, ?, ?, ?)", search)
        learned.counts[counted] += 1
    else:
        chosen = record["kind"] in CHOSEN
        told = (record["search_id"], safe_id(record["item_id"]), record["position"], chosen)
        database.execute("INSERT INTO told VALUES (?, ?, ?, ?)", told)
        learned.counts[f"{record['kind']} events"] += 1


def _query(job: Job, record: dict[str, Any]) -> tuple[str | None, str]:
    """What a search asked, in English, or None where nothing is learned from it; and what it is counted as."""
    if record.get("by", "words") != "words":  # a picture is no query, and what was typed beside it half of one
        return None, "searches without words, left out"
    cleaned = clean_text(job.english(record["query"].strip()))
    if cleaned.dropped == "foreign":
        return None, FOREIGN
    return cleaned.text, "searches" if cleaned.text else "searches without words, left out"


def _count(database: sqlite3.Connection, learned: Learned) -> None:
    """Every search → how often each item was shown and chosen at each place, and what was passed over."""
    learned.counts["events without their search"] = database.execute(
        "SELECT COUNT(*) FROM told WHERE search_id NOT IN (SELECT search_id FROM searches)"
    ).fetchone()[0]
    total = database.execute("SELECT COUNT(*) FROM searches").fetchone()[0]
    rows = database.execute("SELECT search_id, query, offset, items, complete FROM searches WHERE query IS NOT NULL")
    for search_id, query, offset, items, complete in tqdm(rows, desc="count", total=total, unit="search"):
        shown = {item_id: offset + n for n, item_id in enumerate(json.loads(items))}
        told = database.execute(
            "SELECT item_id, position, chosen FROM told WHERE search_id = ?", (search_id,)
        ).fetchall()
        known = [(item_id, chosen) for item_id, position, chosen in told if shown.get(item_id) == position]
        learned.counts["events on what was not shown there"] += len(told) - len(known)
        chosen_items = {item_id for item_id, chosen in known if chosen}
        if complete and not chosen_items:  # still being typed: hits that were left alone were not rejected
            learned.counts["searches while typing without a choice, left out"] += 1
            continue
        # Where a page tells what came into view, the rest was not shown; a choice was in view, told or not.
        if seen := {item_id for item_id, chosen in known if not chosen}:
            shown = {item_id: place for item_id, place in shown.items() if item_id in seen | chosen_items}
        normal = normalise(query)
        database.executemany(
            "INSERT INTO counts VALUES (?, ?, ?, 1, ?) ON CONFLICT DO UPDATE"
            " SET shown = shown + 1, clicks = clicks + excluded.clicks",
            [(normal, item_id, place, item_id in chosen_items) for item_id, place in shown.items()],
        )
        last = max((shown[item_id] for item_id in chosen_items), default=-1)
        passed_over = [item_id for item_id, place in shown.items() if place < last and item_id not in chosen_items]
        database.executemany(
            "INSERT INTO skipped VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1",
            [(normal, item_id) for item_id in passed_over],
        )
    database.commit()


def _weigh(database: sqlite3.Connection, job: Job, learned: Learned, corrected: bool) -> None:
    """Clicks → pairs, each click by the inverse of how likely its place was looked at."""
    sql = "SELECT query, item_id, position, shown, clicks FROM counts ORDER BY query, item_id"
    numbers: list[tuple[int, int, int, int]] = []
    names: list[tuple[str, str]] = []
    for query, item_id, *row in database.execute(sql):
        if not names or names[-1] != (query, item_id):
            names.append((query, item_id))
        numbers.append((len(names) - 1, *row))
    pair, position, shown, clicks = np.array(numbers, dtype=np.int64).reshape(-1, 4).T
    theta, attraction = estimate(pair, position, shown, clicks)
    learned.propensities = [round(float(one), 4) for one in theta[: int(position.max()) + 1 if len(position) else 0]]
    at = np.maximum(theta[np.minimum(position, len(theta) - 1)], LEAST_PROPENSITY) if corrected else np.ones(len(pair))
    weights = np.bincount(pair, clicks / at, len(names))
    best: dict[str, float] = {}
    for (query, _), attracts in zip(names, attraction.tolist(), strict=True):
        best[query] = max(best.get(query, 0.0), attracts)
    for (query, item_id), attracts, weight in zip(names, attraction.tolist(), weights.tolist(), strict=True):
        if weight <= 0:
            continue
        if job.one("SELECT 1 FROM clean_items WHERE item_id = ?", item_id) is None:
            learned.counts["chosen items that the catalogue no longer has"] += 1
        elif attracts < LEAST_SHARE * best[query]:
            learned.counts["pairs that were rarely chosen"] += 1
        else:
            row = (query, item_id, round(weight, 3))
            database.execute("INSERT INTO pairs VALUES (?, ?, ?, 'train')", row)
            learned.counts["pairs"] += 1
    database.commit()
    if not learned.counts["pairs"]:
        foreign = f" ({learned.counts[FOREIGN]:,} {FOREIGN})" if learned.counts[FOREIGN] else ""
        raise NothingLeft(f"no item of the catalogue was ever chosen in this log: there is nothing to learn{foreign}")


def _hold_out(database: sqlite3.Connection, share: float) -> None:
    for (query,) in database.execute("SELECT DISTINCT query FROM pairs").fetchall():
        if zlib.crc32(f"events {query}".encode()) % 1000 < 1000 * share:
            database.execute("UPDATE pairs SET side = 'valid' WHERE query = ?", (query,))
    database.commit()


def _write(database: sqlite3.Connection, job: Job, output: Path, learned: Learned) -> None:
    with whole(output / "train.json") as file:
        write_train(file, _train_rows(database, job))
    with whole(output / "negatives.jsonl") as file:
        for query, item_ids in _negatives(database):
            learned.counts["queries with negatives"] += 1
            file.write(json.dumps({"query_text": query, "image_ids": item_ids}, ensure_ascii=False) + "\n")
    _write_test(database, job, output, learned)
    put_pictures(job, output)
    found = {"counts": dict(learned.counts), "propensities": learned.propensities}
    (output / "events.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _write_test(database: sqlite3.Connection, job: Job, output: Path, learned: Learned) -> None:
    """The queries that are held out, and the whole catalogue to ask them over; neither file where there are none."""

    def text(item_id: str) -> str:
        return next(iter(_texts(job, item_id)), "")

    queries: list[str] = [row[0] for row in database.execute("SELECT DISTINCT query FROM pairs WHERE side = 'valid'")]
    learned.counts["queries held out"] = len(queries)
    if not queries:
        release(output, ("dev.valid.jsonl", "dev.gallery.jsonl"))
        return
    with whole(output / "dev.valid.jsonl") as file:
        for number, query in enumerate(queries):
            items = database.execute("SELECT item_id FROM pairs WHERE query = ?", (query,))
            texts = {item_id: text(item_id) for (item_id,) in items}
            row = {"query_id": number, "query_text": query, "item_ids": texts}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    with whole(output / "dev.gallery.jsonl") as file:
        for (item_id,) in job.pages("clean_items", "item_id"):
            file.write(json.dumps({"item_id": item_id, "text": text(item_id)}, ensure_ascii=False) + "\n")


def _train_rows(database: sqlite3.Connection, job: Job) -> Iterator[dict[str, Any]]:
    rows = database.execute("SELECT query, item_id, weight FROM pairs WHERE side = 'train' ORDER BY rowid")
    for number, (query, item_id, weight) in enumerate(rows, start=1):
        row = {"query_id": number, "query_text": query, "image_id": item_id, "text_input": _texts(job, item_id)}
        yield row | {"weight": weight}


def _texts(job: Job, item_id: str) -> list[str]:
    captions, texts = job.all("SELECT captions, texts FROM clean_items WHERE item_id = ?", item_id)[0]
    return json.loads(texts) + json.loads(captions)  # type: ignore[no-any-return]


def _negatives(database: sqlite3.Connection) -> Iterator[tuple[str, list[str]]]:
    """Of each training query, what was passed over and never chosen, the most often passed over first.

    Only items that some training pair has: `training.finetune` knows no others.
    """
    queries = database.execute("SELECT DISTINCT query FROM pairs WHERE side = 'train' ORDER BY query").fetchall()
    for (query,) in queries:
        rows = database.execute(
            "SELECT s.item_id FROM skipped s WHERE s.query = ?1"
            " AND s.item_id IN (SELECT item_id FROM pairs WHERE side = 'train')"
            " AND NOT EXISTS (SELECT 1 FROM counts c WHERE c.query = ?1 AND c.item_id = s.item_id AND c.clicks > 0)"
            " ORDER BY s.times DESC, s.item_id LIMIT ?2",
            (query, NEGATIVES),
        )
        if item_ids := [row[0] for row in rows]:
            yield query, item_ids

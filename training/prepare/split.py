"""Step 5: training here, validation there. They share no item, no near-identical picture and no query string.

A source's own split is kept. Where it has none, queries are taken for validation, in the order of a digest of their
words, until enough items are: a query brings all of its items and all that look like them, and if one of those answers
another query too, that pair goes. So a validation query keeps every item that answers it, and the question is fair.
"""

import numpy as np
from tqdm import tqdm

from training.prepare.job import Job
from training.prepare.near_duplicates import families

FEW = 10  # items that a validation query may bring along in any case


def split(job: Job, hold_out: float = 0.1) -> None:
    """Give every clean item and query its side, and drop what crosses.

    Args:
        hold_out: share of the items to take for validation, below 1, if the source does not say which.

    Raises:
        JobError: the job has not been cleaned.
    """
    job.begin("split")
    job.write("UPDATE clean_items SET side = 'train'")
    job.write("UPDATE clean_queries SET side = 'train'")
    _find_families(job)
    if job.one("SELECT 1 FROM clean_queries WHERE split IS NOT NULL"):
        _by_source(job)
    else:
        _by_digest(job, hold_out)
    _drop_crossing(job)
    job.done("split")


def _find_families(job: Job) -> None:
    """The family of each item: the number of its picture's, or its own id without one."""
    rows = job.all(
        "SELECT c.rowid, i.likeness FROM clean_items c JOIN items i USING (item_id) WHERE i.likeness IS NOT NULL"
    )
    job.write("UPDATE clean_items SET family = 'item ' || item_id")
    hashes = np.array([int(likeness, 16) for _, likeness in rows], dtype=np.uint64)
    for (row, _), family in zip(rows, families(hashes).tolist(), strict=True):
        job.write("UPDATE clean_items SET family = ? WHERE rowid = ?", f"picture {family}", row)
    job.write("CREATE INDEX IF NOT EXISTS clean_families ON clean_items (family)")


def _hold_out(job: Job, families_of: str, *values: object) -> int:
    sql = f"UPDATE clean_items SET side = 'valid' WHERE side = 'train' AND family IN ({families_of})"
    return job.write(sql, *values)


def _by_source(job: Job) -> None:
    job.write("UPDATE clean_queries SET side = 'valid' WHERE split = 'valid'")
    _hold_out(job, "SELECT family FROM clean_items WHERE split = 'valid'")
    _hold_out(
        job,
        "SELECT i.family FROM clean_items i JOIN clean_pairs p USING (item_id) JOIN clean_queries q ON q.id = p.id"
        " WHERE q.split = 'valid'",
    )


def _by_digest(job: Job, share: float) -> None:
    wanted = round(share * job.one("SELECT COUNT(*) FROM clean_items"))
    most = max(FEW, wanted // 20)
    queries = job.all(
        "SELECT q.id FROM clean_queries q JOIN clean_pairs p ON p.id = q.id GROUP BY q.id HAVING COUNT(*) <= ?"
        " ORDER BY crc32(q.normal), q.normal",
        most,
    )
    mine = "SELECT i.family FROM clean_items i JOIN clean_pairs p USING (item_id) WHERE p.id = ?"
    held = 0
    with tqdm(total=wanted, desc="split", unit="item") as progress:
        for (number,) in queries:
            if held >= wanted:
                break
            brings = job.one(f"SELECT COUNT(*) FROM clean_items WHERE side = 'train' AND family IN ({mine})", number)
            if brings <= most:
                held += _hold_out(job, mine, number)
                progress.update(brings)
    job.write(
        "UPDATE clean_queries SET side = 'valid' WHERE NOT EXISTS (SELECT 1 FROM clean_pairs p JOIN clean_items i"
        " USING (item_id) WHERE p.id = clean_queries.id AND i.side = 'train')"
    )


def _drop_crossing(job: Job) -> None:
    twice = "SELECT normal FROM clean_queries WHERE side = 'valid'"
    for number, text in job.all(f"SELECT id, text FROM clean_queries WHERE side = 'train' AND normal IN ({twice})"):
        job.drop("split", "query_in_validation", "query", text, "validation asks the same")
        job.write("UPDATE clean_queries SET side = NULL WHERE id = ?", number)
    crossing = (
        "SELECT p.rowid, q.text, i.item_id FROM clean_pairs p JOIN clean_queries q ON q.id = p.id"
        " JOIN clean_items i USING (item_id) WHERE q.side = 'train' AND i.side = 'valid'"
    )
    job.write("CREATE TEMP TABLE IF NOT EXISTS crossing (pair INTEGER PRIMARY KEY, text TEXT, item_id TEXT)")
    job.write("DELETE FROM crossing")
    job.write(f"INSERT INTO crossing {crossing}")
    for text, item_id in job.pages("crossing", "text, item_id"):
        job.drop(
            "split", "crosses_split", "pair", f"{text} → {item_id}", "the item, or one that looks like it, is held out"
        )

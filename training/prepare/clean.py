"""Step 4: apply the rules to every text, and drop what is empty, double or broken with all that speaks of it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from training import catalogue
from training.data import normalise
from training.prepare.job import Job
from training.prepare.rules import clean_text


def clean(job: Job) -> None:
    """Fill the job's clean items, queries and pairs.

    Raises:
        JobError: the job has not been read.
    """
    job.begin("clean")
    _items(job)
    _queries(job)
    _unasked(job)
    _untold(job)
    for number, text in job.all(
        "SELECT id, text FROM clean_queries q WHERE NOT EXISTS (SELECT 1 FROM clean_pairs p WHERE p.id = q.id)"
    ):
        job.drop("clean", "no_items", "query", text, "no item is left that answers it")
        job.write("DELETE FROM clean_queries WHERE id = ?", number)
    job.done("clean")


def _cleaned(job: Job, text: str, kind: str) -> str | None:
    cleaned = clean_text(text)
    for rule, before, after in cleaned.changes:
        job.change("clean", rule, before, after)
    if cleaned.dropped is not None:
        job.drop("clean", cleaned.dropped, kind, text)
    return cleaned.text


def _cleaned_all(job: Job, texts: Iterable[str], kind: str) -> list[str]:
    """What is left of several texts, each once."""
    kept: dict[str, str] = {}
    for text in texts:
        if (one := _cleaned(job, text, kind)) is not None:
            if one.lower() in kept:
                job.drop("clean", "duplicate_text", kind, text)
            kept.setdefault(one.lower(), one)
    return list(kept.values())


def _items(job: Job) -> None:
    captioned = job.is_done("caption")
    total = job.one("SELECT COUNT(*) FROM items")
    columns = "item_id, fields, split, picture"
    for item_id, fields, split, picture in tqdm(
        job.pages("items", columns), desc="clean items", total=total, unit="item"
    ):
        found = job.one("SELECT captions FROM captions WHERE item_id = ?", item_id)
        captions = _cleaned_all(job, json.loads(found) if found else [], "caption")
        texts = own_texts(_english_fields(job, json.loads(fields)))
        if captioned and picture and not captions:
            job.drop("clean", "no_caption", "item", item_id, "its picture has no usable caption")
        elif not picture and not texts and not captions:
            job.drop("clean", "no_content", "item", item_id, "it has neither a picture nor a text")
        else:
            row = (json.dumps(captions), json.dumps(texts), split)
            job.write("INSERT INTO clean_items VALUES (?, ?, ?, ?, NULL, NULL)", item_id, *row)


def own_texts(fields: dict[str, Any]) -> list[str]:
    """What a shop says about an item, as its title and the opening of its description."""
    openings = catalogue.opening_texts(fields["description"], fields["title"])
    texts = [" ".join([fields["title"], *openings[:1]]).strip(), fields["title"]]
    return [text for text in dict.fromkeys(texts) if text]


def _english_fields(job: Job, fields: dict[str, Any]) -> dict[str, Any]:
    """Title, description, category and attributes, translated and cleaned, without those that cleaning leaves empty."""

    def text(value: Any) -> str:
        return clean_text(job.english(str(value).strip()[:1000])).text or ""

    attributes = {
        text(name): text(value) for name, value in (fields.get("attributes") or {}).items() if isinstance(value, str)
    }
    return {
        "title": text(fields.get("title") or ""),
        "description": text(fields.get("description") or ""),
        "category": [step for step in map(text, fields.get("category") or ()) if step],
        "attributes": {name: value for name, value in attributes.items() if name and value},
    }


def _queries(job: Job) -> None:
    total = job.one("SELECT COUNT(*) FROM queries")
    rows = job.pages("queries", "id, query_id, text, split")
    for number, query_id, text, split in tqdm(rows, desc="clean queries", total=total, unit="query"):
        query = _cleaned(job, job.english(text.strip()), "query")
        if query is None:
            continue
        kept = _add_query(job, query_id, query, split)
        for item_id, texts in job.all("SELECT item_id, texts FROM pairs WHERE id = ? ORDER BY rowid", number):
            beside = _cleaned_all(job, [job.english(one.strip()) for one in json.loads(texts)], "text")
            _add_pair(job, kept, query, item_id, beside)


def _add_query(job: Job, query_id: str, query: str, split: str | None) -> int:
    """The number of a query; equal queries (but for case and punctuation) of one split are one."""
    known = job.one("SELECT id FROM clean_queries WHERE normal = ? AND split IS ?", normalise(query), split)
    if known is None:
        sql = "INSERT INTO clean_queries (query_id, text, normal, split) VALUES (?, ?, ?, ?)"
        job.write(sql, query_id, query, normalise(query), split)
        return int(job.one("SELECT last_insert_rowid()"))
    job.change("clean", "duplicate_query", query, "merged with the one that said the same")
    return int(known)


def _add_pair(job: Job, number: int, query: str, item_id: str, texts: Sequence[str]) -> None:
    if job.one("SELECT 1 FROM clean_items WHERE item_id = ?", item_id) is None:
        job.drop("clean", "missing_item", "pair", f"{query} → {item_id}", "the item was dropped, or never there")
        return
    if not job.write("INSERT OR IGNORE INTO clean_pairs VALUES (?, ?, ?)", number, item_id, json.dumps(texts)):
        job.drop("clean", "duplicate_pair", "pair", f"{query} → {item_id}")


def texts_beside(query: str, beside: str, captions: str, own: str) -> list[str]:
    """An item's captions and what may be said beside this query; else the shop's own texts. Never the query itself.

    Each but the query is a JSON list, as the job keeps it.
    """
    texts = dict.fromkeys([*json.loads(captions), *json.loads(beside)] or json.loads(own))
    return [text for text in texts if normalise(text) != normalise(query)]


def _untold(job: Job) -> None:
    """Pairs of items without a picture whose only text is the query: there is nothing that could be learned."""
    bare = "(SELECT picture FROM items i WHERE i.item_id = clean_pairs.item_id) IS NULL"
    for number, item_id, beside in tqdm(job.pages("clean_pairs", "id, item_id, texts", bare), desc="clean pairs"):
        query = job.one("SELECT text FROM clean_queries WHERE id = ?", number)
        captions, own = job.all("SELECT captions, texts FROM clean_items WHERE item_id = ?", item_id)[0]
        if not texts_beside(query, beside, captions, own):
            job.drop("clean", "no_text", "pair", f"{query} → {item_id}", "it has no picture, and no text but the query")
            job.write("DELETE FROM clean_pairs WHERE id = ? AND item_id = ?", number, item_id)


def _unasked(job: Job) -> None:
    """Queries for items that came without: what their own fields answer, or else one of their captions."""
    unasked = "NOT EXISTS (SELECT 1 FROM clean_pairs p WHERE p.item_id = clean_items.item_id)"
    # A source with queries of its own knows better than we do what is asked: nothing is added to it.
    if job.one("SELECT 1 FROM queries"):
        for (item_id,) in job.all(f"SELECT item_id FROM clean_items WHERE {unasked}"):
            job.drop("clean", "no_query", "item", item_id, "no query names it")
            job.write("DELETE FROM clean_items WHERE item_id = ?", item_id)
        return
    total = job.one("SELECT COUNT(*) FROM clean_items")
    for item_id, captions in tqdm(job.pages("clean_items", "item_id, captions"), desc="ask", total=total, unit="item"):
        fields = _english_fields(job, json.loads(job.one("SELECT fields FROM items WHERE item_id = ?", item_id)))
        captions = json.loads(captions)
        if fields["title"]:
            asked: Iterator[tuple[str, list[str]]] = catalogue.pairs(fields)
        elif captions:
            asked = iter([(captions[-1], captions[:-1])])
            job.write("UPDATE clean_items SET captions = ? WHERE item_id = ?", json.dumps(captions[:-1]), item_id)
        else:
            job.drop("clean", "no_query", "item", item_id, "it has neither a title nor a caption to ask for it with")
            job.write("DELETE FROM clean_items WHERE item_id = ?", item_id)
            continue
        written: dict[str, tuple[str, list[str]]] = {}
        for query, texts in asked:
            if normalise(query):
                written.setdefault(normalise(query), (query.strip().lower(), texts))
        for normal, (query, texts) in written.items():
            number = job.one("SELECT id FROM clean_queries WHERE normal = ?", normal)
            if number is None:
                job.write("INSERT INTO clean_queries (query_id, text, normal) VALUES (?, ?, ?)", normal, query, normal)
                number = job.one("SELECT last_insert_rowid()")
            job.write("INSERT OR IGNORE INTO clean_pairs VALUES (?, ?, ?)", number, item_id, json.dumps(texts))

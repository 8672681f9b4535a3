"""What every rule dropped and changed, with examples: `report.json` for programs, `report.md` for people."""

import json
from pathlib import Path
from typing import Any

from training.markdown import markdown_table
from training.prepare.job import STEPS, Job

EXAMPLES = 5
MEANING = {
    # read
    "broken_json": "is not JSON",
    "broken_row": "is not a row of its kind",
    "missing_field": "lacks a field, or has one of another kind",
    "overlong_row": "is longer than any record may be",
    "undecodable_picture": "the picture does not decode",
    "missing_picture": "the picture's file is not there",
    "remote_picture": "names its picture by an address, not by a file: its item was read without",
    "duplicate_item": "the id was there before",
    # translate, caption
    "not_translated": "the model refused to translate it, or gave nothing",
    "refused_picture": "the model refused to describe it",
    "empty_answer": "the model answered nothing, however often it was asked",
    "too_few_captions": "the model gave fewer captions than it was asked for",
    # clean
    "full_width": "full-width letters and punctuation became ASCII",
    "emoji": "emoji were removed",
    "accents": "accents were removed",
    "not_english": "Chinese and other characters that English does not use were removed",
    "leftovers": "spaces, brackets and commas around nothing were removed",
    "empty": "nothing is left of it",
    "foreign": "more letters had to go than could stay",
    "refusal": "holds a model's words for not answering",
    "duplicate_text": "says what another of the same item says",
    "duplicate_query": "was merged with a query that says the same",
    "duplicate_pair": "was there before",
    "no_caption": "no caption of its picture is usable",
    "no_content": "has neither a picture nor a text",
    "no_text": "its item has no picture, and no text but the query",
    "missing_item": "its item was dropped, or never there",
    "no_query": "no query names it",
    "no_items": "no item is left that answers it",
    # split
    "query_in_validation": "validation asks the same",
    "crosses_split": "its item, or one that looks like it, is held out",
}


def of_reading(job: Job) -> str:
    """One line on what a source gave, so that columns of other names are noticed before anything is paid for."""
    items, pictures = job.one("SELECT COUNT(*) FROM items"), job.one("SELECT COUNT(picture) FROM items")
    queries = job.one("SELECT COUNT(*) FROM queries")
    line = f"read: {items:,} items, {pictures:,} of them with a picture, and {queries:,} queries"
    left_out = job.all("SELECT kind, rule, COUNT(*) FROM dropped WHERE step = 'read' GROUP BY kind, rule")
    reasons = [f"{count:,} {kind}{'s' if count > 1 else ''} ({MEANING[rule]})" for kind, rule, count in left_out]
    return f"{line}; left out: {', '.join(reasons)}" if reasons else line


def gather(job: Job) -> dict[str, Any]:
    """Counts of what was read, and for each step and rule what it dropped and changed."""
    counts = {name: job.one(f"SELECT COUNT(*) FROM {name}") for name in ("items", "queries", "pairs")}
    rules: list[dict[str, Any]] = []
    for step, rule, kind, count in job.all(
        "SELECT step, rule, kind, COUNT(*) FROM dropped GROUP BY step, rule, kind ORDER BY COUNT(*) DESC"
    ):
        examples = job.all(
            "SELECT id, detail FROM dropped WHERE step = ? AND rule = ? AND kind = ? LIMIT ?",
            step,
            rule,
            kind,
            EXAMPLES,
        )
        rules.append(
            {
                "step": step,
                "rule": rule,
                "meaning": MEANING.get(rule, ""),
                "dropped": count,
                "kind": kind,
                "examples": [": ".join(part for part in row if part) for row in examples],
            }
        )
    for step, rule, count, examples in job.all("SELECT step, rule, count, examples FROM changed ORDER BY count DESC"):
        shown = [" ⟶ ".join(pair) for pair in json.loads(examples)]
        rules.append(
            {"step": step, "rule": rule, "meaning": MEANING.get(rule, ""), "changed": count, "examples": shown}
        )
    rules.sort(key=lambda one: STEPS.index(one["step"]))
    return {"read": counts, "rules": rules}


def write(job: Job, folder: Path, written: dict[str, int]) -> None:
    """Both files, and every single thing that was dropped in `dropped.jsonl`. Raises OSError."""
    found = gather(job) | {"written": written}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown(found), encoding="utf-8")
    with (folder / "dropped.jsonl").open("w", encoding="utf-8") as file:
        for step, rule, kind, name, detail in job.pages("dropped", "step, rule, kind, id, detail"):
            record = {"step": step, "rule": rule, "kind": kind, "id": name, "detail": detail}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def markdown(found: dict[str, Any]) -> str:
    """The report as a page."""
    read = ", ".join(f"{count:,} {name}" for name, count in found["read"].items())
    written = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in found["written"].items())
    lines = ["# What was prepared", "", f"Kept of the source: {read}. Written: {written}.", ""]
    for effect in ("dropped", "changed"):
        rows = [["step", "rule", "meaning", effect, "example"]]
        for one in (one for one in found["rules"] if effect in one):
            example = one["examples"][0] if one["examples"] else ""
            kind = f"{one['kind']}: " if "kind" in one else ""
            rows.append([one["step"], f"`{one['rule']}`", kind + one["meaning"], f"{one[effect]:,}", _cell(example)])
        lines += [f"## What was {effect}", "", markdown_table(rows), ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split())[:120].replace("|", "\\|")

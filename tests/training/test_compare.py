"""One evaluation against another that was saved before: only what was asked in both counts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from training import evaluate
from training.compare import compare


def run(folder: Path, model: Path, *more: str) -> dict[str, Any]:
    """The results of a set in a folder, by its texts alone."""
    command = ["--model", str(model), "--queries", str(folder / "toy.valid.jsonl"), "--json", str(folder / "out.json")]
    evaluate.main([*command, "--device", "cpu", *more])
    results: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return results


@pytest.fixture
def toys(toy_shop: Path, tmp_path: Path) -> Path:
    shutil.copy(toy_shop / "toy.valid.jsonl", tmp_path)
    return tmp_path


def test_a_query_that_asks_something_else_under_the_same_id_is_left_out(toys: Path, tiny_checkpoint: Path) -> None:
    """A set that is made again counts its queries from 0 again."""
    run(toys, tiny_checkpoint)
    before = (toys / "out.json").rename(toys / "before.json")
    valid = toys / "toy.valid.jsonl"
    queries = [json.loads(line) for line in valid.read_text().splitlines()]
    queries[0]["query_text"] = "cup"
    queries[1]["item_ids"] = {"mug-blue": "mug"}
    valid.write_text("".join(json.dumps(query) + "\n" for query in queries))
    comparison = run(toys, tiny_checkpoint, "--compare", str(before))["comparison"]
    assert comparison["queries"] == len(queries) - 2
    assert comparison["notes"][-1] == "2 queries of one id ask something else, or have other answers, there: left out."


def results(ranks: dict[str, int], **more: Any) -> dict[str, Any]:
    """What an evaluation of these queries says, as far as a comparison reads it."""
    said = {"model_id": "m", "queries": len(ranks), "asked": dict.fromkeys(ranks, "the same")}
    return {**said, "gallery": 50, "gallery_digest": "0", "per_query": {"fused": ranks}, **more}


def test_the_queries_that_changed_most_come_first() -> None:
    before, after = {"a": 5, "b": 9, "c": 1, "d": 2, "e": 3}, {"a": 4, "b": 1, "c": 2, "d": 7, "e": 3}
    mode = compare(results(after), results(before))["modes"]["fused"]
    assert mode["better"] == [{"query_id": "b", "before": 9, "after": 1}, {"query_id": "a", "before": 5, "after": 4}]
    assert mode["worse"] == [{"query_id": "c", "before": 1, "after": 2}, {"query_id": "d", "before": 2, "after": 7}]
    assert mode["same"] == 1


def test_another_gallery_or_other_queries_are_said() -> None:
    ours, theirs = results({"a": 1, "b": 2}), results({"a": 1}, gallery=40)
    assert compare(ours, ours)["notes"] == []
    assert compare(ours, theirs)["notes"] == [
        "The galleries differ (50 items here, 40 there).",
        "The queries differ (2 here, 1 there).",
    ]


def test_a_gallery_with_other_texts_is_said(toys: Path, tiny_checkpoint: Path) -> None:
    """The queries and their answers are the same."""
    run(toys, tiny_checkpoint)
    before = (toys / "out.json").rename(toys / "before.json")
    assert run(toys, tiny_checkpoint, "--compare", str(before))["comparison"]["notes"] == []
    valid = toys / "toy.valid.jsonl"
    queries = [json.loads(line) for line in valid.read_text().splitlines()]
    for query in queries:
        query["item_ids"] = {item_id: f"{text}, new" for item_id, text in query["item_ids"].items()}
    valid.write_text("".join(json.dumps(query) + "\n" for query in queries))
    (note,) = run(toys, tiny_checkpoint, "--compare", str(before))["comparison"]["notes"]
    assert note.startswith("The galleries differ: as many items")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "not what `training.evaluate --json` writes"),
        (None, "no such results"),
        ('{"model_id": "m", "per_query": {"fused": {"x": 1}}, "asked": {"x": "0"}}', "no query in common"),
        ('{"model_id": "m", "per_query": {"fused": {"0": 1}}, "asked": {"0": "0"}}', "no query in common"),
        ('{"model_id": "m", "per_query": {"fused": {"0": 1}}}', "an older version wrote this"),
    ],
)
def test_results_that_cannot_be_compared_are_refused_in_one_line(
    toys: Path, tiny_checkpoint: Path, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (toys / "before.json").write_text(text)
    with pytest.raises(SystemExit) as ended:
        run(toys, tiny_checkpoint, "--compare", str(toys / "before.json"))
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_results_without_a_mode_in_common_are_refused(
    toys: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(toys, tiny_checkpoint)
    (toys / "before.json").write_text(json.dumps(results | {"per_query": {"other": results["per_query"]["fused"]}}))
    with pytest.raises(SystemExit):
        run(toys, tiny_checkpoint, "--compare", str(toys / "before.json"))
    assert "no mode in common" in capsys.readouterr().err

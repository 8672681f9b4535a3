"""`python -m service.search_report`: what a log of searches and events says of each query."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service import search_report
from service.app import create_app
from service.settings import Settings
from tests.service.helpers import post_item

NOW = "2026-11-20T12:00:00.000+00:00"
_numbers = iter(range(10_000))


def search(query: str, items: list[str], *events: tuple[str, str], **more: Any) -> list[dict[str, Any]]:
    """A search's record, and those of what was done with its hits."""
    name = f"{next(_numbers):032x}"
    shown = {"time": NOW, "kind": "search", "by": "words", "search_id": name, "query": query, "offset": 0} | more
    told = [
        {"time": NOW, "search_id": name, "item_id": item, "position": shown["offset"] + items.index(item), "kind": kind}
        for item, kind in events
    ]
    return [{**shown, "items": items}, *told]


def log(folder: Path, *searches: list[dict[str, Any]], more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    lines = "".join(json.dumps(record) + "\n" for one in searches for record in one)
    (folder / "1.jsonl").write_text(lines + more)
    return folder


def test_queries_are_counted_with_what_became_of_them(tmp_path: Path) -> None:
    folder = log(
        tmp_path,
        search("Red  Mug", ["a", "b"], ("b", "impression"), ("b", "click"), ("b", "add_to_cart"), ("b", "purchase")),
        search("red mug", ["a", "b"], ("a", "click"), ("b", "click"), total=7),
        search("red mug", ["a"]),
        search("red mug", ["c"], ("c", "click"), offset=20),
        search("kettle", [], score=None),
        search("sofa", ["s"], score=0.9),
        search("sofa", ["s"], score=0.4),
        search("lamp", ["l"], ("l", "click"), score=0.6),
        search("a picture", ["s"], by="picture"),
        search("re", ["a"], complete=True),
        search("red", ["a"], ("a", "click"), complete=True),
    )
    report = search_report.read(folder)
    assert set(report.queries) == {"red mug", "kettle", "sofa", "lamp", "red"}
    mug = report.queries["red mug"]
    assert (mug.searches, mug.found_nothing, mug.hits, mug.chosen, mug.bought) == (3, 0, 1, 3, 1)
    assert mug.mean_place == pytest.approx((2 + 1 + 2 + 21) / 4), "each item once, from 1"
    assert [one.text for one in report.most_searched()][:2] == ["red mug", "sofa"]
    assert [one.text for one in report.without_hits()] == ["kettle"]
    assert [(one.text, one.score) for one in report.least_alike()] == [("sofa", 0.4), ("lamp", 0.6)]
    assert [one.text for one in report.without_choice()] == ["sofa"]
    assert report.queries["red"].searches == 1


def test_a_choice_counts_that_another_process_wrote_before_its_search(tmp_path: Path) -> None:
    shown, *chosen = search("mug", ["a", "b"], ("b", "click"), ("b", "purchase"))
    late = search("mug", ["a"], time="2026-11-20T11:00:00.000+00:00", total=7)[0]
    segments = [*chosen, {**chosen[0], "search_id": "ff" * 16}], [shown, {"kind": "click"}, late]
    for number, records in enumerate(segments):
        (tmp_path / f"{number}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    report = search_report.read(tmp_path)
    mug = report.queries["mug"]
    assert (mug.searches, mug.chosen, mug.bought, mug.mean_place) == (2, 1, 1, 2)
    assert mug.hits == 2, "of the search that was last, wherever it stands"
    assert report.broken == 1


@pytest.mark.parametrize("wrong", [{"query": None}, {"items": None}, {"total": None}, {"score": "x"}, {"offset": None}])
def test_a_record_that_is_none_is_left_out_whole(tmp_path: Path, wrong: dict[str, Any]) -> None:
    report = search_report.read(log(tmp_path, search("mug", ["a"]), [search("mug", ["a"])[0] | wrong], [wrong]))
    assert (report.queries["mug"].searches, report.broken) == (1, 2)
    search_report.as_text(report, 20)


@pytest.mark.parametrize("days", ["nan", "inf", "1e9", "some"])
def test_days_that_are_none_are_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str], days: str) -> None:
    with pytest.raises(SystemExit) as refused:
        search_report.main(["--log", str(tmp_path), "--days", days])
    assert refused.value.code == 2
    assert f"{days} is no number of days" in capsys.readouterr().err


def test_nobody_is_said_to_choose_nothing_where_no_choice_is_told(tmp_path: Path) -> None:
    assert search_report.read(log(tmp_path, search("sofa", ["s"]))).without_choice() == []


def test_the_command_prints_lists_and_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = log(
        tmp_path / "events",
        search("mug", ["a"], ("a", "click")),
        *(search(f"lamp {n}", []) for n in range(3)),
        search("=cmd()\x1b[2J", ["a"]),
        search("old", ["a"], time="2020-01-01T00:00:00.000+00:00"),
        more='{"kind": "sear',
    )
    table = tmp_path / "queries.csv"
    arguments = ["--log", str(folder), "--limit", "2", "--days", "2000", "--csv", str(table)]
    assert search_report.main(arguments) == 0
    printed = capsys.readouterr()
    assert "5 searches for 5 different queries" in printed.out
    assert "Found nothing (the first 2 of 3)" in printed.out
    assert "\x1b" not in printed.out
    assert "1 lines could not be read" in printed.err
    rows = list(csv.DictReader(table.open(newline="")))
    assert {row["query"] for row in rows} >= {"mug", "lamp 2", "'=cmd()\x1b[2j"}
    mug = next(row for row in rows if row["query"] == "mug")
    assert (mug["searches"], mug["share_chosen"], mug["mean_place"]) == ("1", "1.0", "1.0")


def test_what_the_service_keeps_is_read(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with TestClient(create_app(settings.model_copy(update={"events": True}))) as shop:
        post_item(shop, "mug", title="red mug")
        found = shop.post("/search", json={"query": "mug"}).json()
        shop.post("/search", json={"query": "mu", "complete": True})
        shop.post("/search", json={"query": 'mug "of iron"'})
        click = {"search_id": found["search_id"], "item_id": "mug", "position": 0, "kind": "click"}
        assert shop.post("/events", json={"events": [click]}).status_code == 200
    report = search_report.read(settings.data_dir / "events")
    assert {one.text: (one.searches, one.hits, one.found_nothing) for one in report.queries.values()} == {
        "mug": (1, 1, 0),
        'mug "of iron"': (1, 0, 1),
    }
    assert report.queries["mug"].share_chosen == 1


def test_a_folder_without_a_log_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search_report.main(["--log", str(tmp_path)]) == 2
    assert "SEARCH_EVENTS=true" in capsys.readouterr().err

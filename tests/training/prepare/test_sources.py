"""Rows of a source that are not what they should be."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.prepare.conftest import picture
from training.prepare.__main__ import main
from training.prepare.sources import Broken, Record, SourceError, SourceItem, SourceQuery, records


def of_rows(folder: Path, *rows: dict[str, Any]) -> list[Record]:
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return list(records(str(folder / "items.jsonl")))


@pytest.mark.parametrize("typed", [{"query": 501}, {"queries": {"red": "mug"}}, {"queries": ["mug", None]}])
def test_a_query_that_is_no_text_is_a_broken_row(typed: dict[str, Any], tmp_path: Path) -> None:
    broken, item, query = of_rows(tmp_path, {"id": "a"} | typed, {"id": "b", "query": "mug"})
    assert isinstance(broken, Broken)
    assert (broken.rule, broken.where) == ("missing_field", "items.jsonl, line 1")
    assert isinstance(item, SourceItem)
    assert item.item_id == "b"
    assert query == SourceQuery("1-0", "mug", ["b"])


def test_an_item_whose_picture_is_an_address_is_read_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "b.jpg").write_bytes(picture(1))
    address = "https://shop.example/a.jpg"
    rows = [{"id": "a", "image": address, "title": "mug"}, {"id": "b", "images": [address], "title": "cup"}]
    found = of_rows(tmp_path, *rows)
    assert [one.detail for one in found if isinstance(one, Broken)] == [address] * 2
    pictures = {one.item_id: one.picture for one in found if isinstance(one, SourceItem)}
    assert pictures == {"a": None, "b": tmp_path / "images" / "b.jpg"}, "or with the file of its own name"
    main(["read", "--job", str(tmp_path / "job"), "--source", str(tmp_path / "items.jsonl")])
    said = capsys.readouterr().out
    assert "2 items, 1 of them with a picture" in said
    assert "2 rows (names its picture by an address, not by a file" in said


def test_a_picture_of_coco_that_says_too_little_is_a_broken_row(tmp_path: Path) -> None:
    captions = [{"raw": "a red mug"}, {"raw": "a mug"}]
    images = [
        "mug.jpg",
        {"split": "train", "filename": 5, "sentences": captions},
        {"split": "train", "filename": "mug.jpg", "sentences": ["a red mug", "a mug"]},
        {"split": "train", "filename": f"{'m' * 201}.jpg", "sentences": captions},
        {"split": "val", "filename": "mug.jpg", "sentences": captions},
    ]
    (tmp_path / "coco.json").write_text(json.dumps({"images": images}))
    *broken, item, query = records(str(tmp_path / "coco.json"))
    assert [(one.rule, one.where) for one in broken if isinstance(one, Broken)] == [
        ("missing_field", f"coco.json, picture {number}") for number in (1, 2, 3, 4)
    ]
    assert item == SourceItem("mug", tmp_path / "mug.jpg", split="valid")
    assert query == SourceQuery("mug-0", "a red mug", ["mug"], "valid", ["a mug"])


def test_a_json_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.json").write_text('[{"query_id": 1, "query_text": "mug", "image_id": "a", "text_input": []}]')
    with pytest.raises(SourceError, match=r"pairs\.json lists no images"):
        list(records(str(tmp_path / "pairs.json")))


def test_a_picture_too_deep_in_its_folder_for_an_id_is_a_broken_row(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 150) / ("b" * 150)
    deep.mkdir(parents=True)
    for path in (deep / "mug.png", tmp_path / "mug.png"):
        path.write_bytes(picture(1))
    broken, item = records(str(tmp_path))
    assert isinstance(broken, Broken)
    assert broken.where == f"{'a' * 150}/{'b' * 150}/mug.png"
    assert item == SourceItem("mug", tmp_path / "mug.png")


@pytest.mark.parametrize(("flags", "setting"), [(["--hold-out", "15"], "8"), ([], "0")], ids=["share", "setting"])
def test_what_is_wrong_with_a_later_step_is_told_before_anything_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    setting: str,
) -> None:
    monkeypatch.setenv("PREPARE_CONCURRENCY", setting)
    (tmp_path / "shop.jsonl").write_text('{"id": "a", "title": "mug"}\n')
    paths = ["--source", tmp_path / "shop.jsonl", "--job", tmp_path / "job", "--output", tmp_path / "out"]
    with pytest.raises(SystemExit):
        main(["all", *map(str, paths), *flags])
    assert ("--hold-out is a share" if flags else "PREPARE_CONCURRENCY") in capsys.readouterr().err
    assert not (tmp_path / "job").exists()

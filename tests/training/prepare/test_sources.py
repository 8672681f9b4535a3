"""Rows of a source that are not what they should be."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.prepare.conftest import picture
from training.prepare.__main__ import main
from training.prepare.sources import Broken, Record, SourceItem, SourceQuery, records


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

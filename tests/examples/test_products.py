"""Lines of JSON as products: every form that the service takes, and what is told of a line that is none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from examples.feeds import UnreadableFeed
from examples.products import Product, Rejected, read_products


@pytest.fixture
def line(tmp_path: Path) -> Any:
    def read(row: Any) -> Product | Rejected:
        (tmp_path / "items.jsonl").write_bytes(row if isinstance(row, bytes) else json.dumps(row).encode())
        (product,) = read_products(tmp_path / "items.jsonl")
        return product

    return read


@pytest.mark.parametrize("category", ["A > B", "A>B", ["A > B"], ["A", "B"], [" A ", "B"], '["A", "B"]', '["A > B"]'])
def test_a_category_is_its_steps_however_it_is_written(line: Any, category: Any) -> None:
    assert line({"id": 1, "category": category}).fields == {"category": ["A", "B"]}


def test_attributes_may_be_json_and_those_of_null_are_left_out(line: Any) -> None:
    assert line({"id": "a", "attributes": '{"brand": "S"}'}).fields == {"attributes": {"brand": "S"}}
    assert line({"id": "a", "attributes": {"brand": "S", "colour": None}}).fields == {"attributes": {"brand": "S"}}
    assert line({"id": "a", "attributes": {"colour": None}}).fields == {}


def test_a_byte_order_mark_is_no_part_of_the_first_line(line: Any) -> None:
    assert line(b'\xef\xbb\xbf{"id": "a"}\r\n') == Product("a")


def test_what_is_for_training_is_left_to_training(line: Any) -> None:
    assert line({"id": "a", "title": "mug", "captions": ["a mug"], "queries": ["mug"]}).fields == {"title": "mug"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"id": "a", "images": ["a.png"]}, "'images' is not known here: pictures are given as 'image'"),
        ({"id": "a", "brand": "S"}, "'brand' is not known here: what is your own goes into 'attributes'"),
        ({"id": ".."}, "'..' cannot be an id"),
        ({"id": " "}, "'' cannot be an id"),
        ({"id": "x" * 201}, "'xxxxxxxxxxxxxxxxxxxx'… cannot be an id: the service takes 200 characters"),
        ({"id": {"a": 1}}, "must have an id"),
        ({"title": "a"}, "must have an id"),
        (["id"], "must be an object"),
        (b"not json", "Expecting value"),
        (b'{"id": "caf\xe9"}', "can't decode byte 0xe9"),
        (b"[" * 100_000, "nested too deep"),
        ({"id": "a", "attributes": "brand"}, "attributes is not JSON"),
        ({"id": "a", "attributes": ["brand"]}, "attributes must be an object"),
        ({"id": "a", "category": 5}, "category must be a string or a list of strings"),
        ({"id": "a", "price": "12,50 €"}, "price must be a number, and '12,50 €' is none"),
        ({"id": "a", "image": [1]}, "image must be a path"),
        ({"id": "a\ud83d"}, "'a\\ud83d' cannot be an id: it holds half of a character"),
        ({"id": "a", "title": "mug \ud83d"}, "title: it holds half of a character"),
        ({"id": "a", "attributes": {"\ud83d": "a"}}, "attributes: it holds half of a character"),
        ({"id": "a", "image": "\ud83d.png"}, "image: it holds half of a character"),
    ],
)
def test_a_line_that_is_no_product_is_rejected_with_a_reason(line: Any, row: Any, told: str) -> None:
    rejected = line(row)
    assert isinstance(rejected, Rejected)
    assert str(rejected).startswith("line 1: ")
    assert told in str(rejected)


@pytest.mark.parametrize("name", ["feed.XLSX", "feed"])
def test_a_file_of_another_kind_is_refused_as_a_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<rss>\n<channel>\n")
    with pytest.raises(UnreadableFeed, match="export it as one of them"):
        list(read_products(tmp_path / name))


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_file_may_be_one_array(tmp_path: Path, indent: int | None) -> None:
    source = tmp_path / "items.json"
    source.write_text("\ufeff\n" + json.dumps([{"id": "a"}, 5, {"id": "b"}], indent=indent), encoding="utf-8")
    first, rejected, last = read_products(source)
    assert (first, last) == (Product("a"), Product("b"))
    assert str(rejected) == "product 2: must be an object, as in {...}"
    source.write_text(json.dumps([], indent=indent))
    assert list(read_products(source)) == []


@pytest.mark.parametrize("content", [b'[{"id": "a"},\n', b'[{"id": "caf\xe9"}]', b"[" * 100_000])
def test_an_array_that_is_none_is_refused_as_a_whole(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "items.json").write_bytes(content)
    with pytest.raises(UnreadableFeed, match="begins as an array of JSON and is none"):
        list(read_products(tmp_path / "items.json"))


def test_a_json_file_may_be_lines(tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text('{"id": "a"}\n{"id": "b"}\n')
    assert list(read_products(tmp_path / "items.json")) == [Product("a"), Product("b")]


def test_of_a_line_that_is_no_product_the_id_is_known_where_it_can_be_read(line: Any) -> None:
    assert line({"id": " a ", "price": "much"}).item_id == "a"
    assert line({"id": "\ud83d", "price": "much"}).item_id is None
    assert line(b"not json").item_id is None


def test_a_picture_whose_name_is_no_text_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "mug.jpg").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).touch()
    rejected, mug = read_products(tmp_path)
    assert isinstance(rejected, Rejected)
    assert "cannot be an id" in str(rejected)
    assert mug == Product("mug", pictures=(tmp_path / "mug.jpg",))

"""The seed's file formats: what is read, and that a broken file is named by file and line."""

import json
from pathlib import Path

import pytest

from training import formats
from training.formats import GalleryItem, TrainRecord, ValidQuery
from training.json_records import FormatError

TRAIN = {"query_id": 1, "query_text": "Phone case clay", "image_id": 97905, "text_input": ["Blue case", "Clear case"]}
VALID = {"query_id": 7, "query_text": "red mug", "item_ids": {"10": "A red mug", "11": ""}}


def _lines(path: Path, *records: object) -> Path:
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_bytes(text.encode("utf-8", "backslashreplace"))  # half a character, as JSON escapes it
    return path


def test_train_records_are_read_with_ids_as_strings(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps([TRAIN, {**TRAIN, "query_id": "b", "query_text": "café [x], {y}"}], indent=2))
    assert list(formats.read_train(path)) == [
        TrainRecord("1", "Phone case clay", "97905", ("Blue case", "Clear case")),
        TrainRecord("b", "café [x], {y}", "97905", ("Blue case", "Clear case")),
    ]


def test_a_training_item_may_have_no_caption(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps([{**TRAIN, "text_input": []}]))
    assert next(formats.read_train(path)).captions == ()


def test_a_byte_order_mark_before_a_train_list_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps([TRAIN]), encoding="utf-8-sig")  # as some editors write it
    assert [record.query_id for record in formats.read_train(path)] == ["1"]


def test_a_train_list_is_not_read_ahead_of_its_use(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps([TRAIN] * 2000)[:-40])  # cut off: only who reads to the end finds out
    records = formats.read_train(path)
    assert next(records).query_id == "1"
    with pytest.raises(FormatError, match=r"train\.json, record 2000: not JSON .*premature EOF"):
        list(records)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"query_id": 1}', r"record 1: not JSON \(the training format is one list, which begins with '\['"),
        ('{"item": {"query_id": 1}}', "the training format is one list"),
        ("3", "the training format is one list"),
        ("", "record 1: not JSON .*premature EOF"),
        ("[]", "the list is empty"),
        (json.dumps([TRAIN])[:-1], "record 2: not JSON .*premature EOF"),
        (json.dumps([TRAIN]) + "x", "record 2: not JSON .*trailing garbage, near: .*x"),
        ("[\n" + json.dumps(TRAIN) + ",\n3]", "record 2: expected a JSON object, found a number"),
        ("[\n" + json.dumps(TRAIN) + ",\n\n" + json.dumps({**TRAIN, "query_text": 5}) + "]", "record 2: query_text mu"),
        ("[\n" + json.dumps(TRAIN) + ",\n{\n'bad'}]", "record 2: not JSON .*near: .*'bad'"),
        ("[" + json.dumps(TRAIN) + "," + "[" * 200_000, "record 2: not JSON .*nested more than 100 levels"),
        ('[{"query_id": 1' + "0" * 5000 + "}]", "record 1: not JSON .*integer overflow"),
        (json.dumps([{**TRAIN, "text_input": "a"}]), "text_input must be a list, not a string"),
        (json.dumps([{**TRAIN, "text_input": ["a", " "]}]), "none of them empty"),
        (json.dumps([{**TRAIN, "query_text": "  "}]), "record 1: query_text is empty"),
        (json.dumps([{**TRAIN, "image_id": True}]), "image_id must be a string, not a boolean"),
        (json.dumps([TRAIN, {**TRAIN, "image_id": "\udfff"}]), "record 2: a text holds half of a character"),
        (json.dumps([{"query_id": 1}]), r"text_input is missing \(found query_id\)"),
    ],
)
def test_a_broken_train_file_is_named_with_the_record(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "train.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as error:
        list(formats.read_train(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_train_list_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_bytes(json.dumps([TRAIN])[:-1].encode() + b', {"query_text": "\xff"}]')
    with pytest.raises(FormatError, match="lexical error: invalid bytes in UTF8"):
        list(formats.read_train(path))


def test_valid_queries_are_read_and_blank_lines_skipped(tmp_path: Path) -> None:
    path = _lines(tmp_path / "x.valid.jsonl", VALID)
    path.write_text("\ufeff" + path.read_text() + "\n\n", encoding="utf-8")  # some editors write a byte order mark
    assert list(formats.read_valid(path)) == [ValidQuery("7", "red mug", {"10": "A red mug", "11": ""})]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({**VALID, "query_id": 7}, "line 2: query_id 7 was on line 1 already"),
        ({**VALID, "query_id": 8, "item_ids": {}}, "line 2: item_ids is empty"),
        ({**VALID, "query_id": 8, "item_ids": ["10"]}, "line 2: item_ids must be an object, not a list"),
        (
            {**VALID, "query_id": 8, "item_ids": {"10": None}},
            "line 2: the caption of item 10 must be a string, not nul",
        ),
        ({**VALID, "query_id": 8, "query_text": "\ud800"}, "line 2: query_text holds '.ud800', half of a character"),
        ({**VALID, "query_id": 8, "item_ids": {"10": "a \ud83d mug"}}, "line 2: item_ids holds '.ud83d'"),
        ({**VALID, "query_id": 8, "item_ids": {"\ud83d": "a mug"}}, "line 2: item_ids holds '.ud83d'"),
        ([1], "line 2: expected a JSON object, found a list"),
        ("[" * 200_000, "line 2: not readable .*recursion"),
        ('{"query_id": 1' + "0" * 5000 + "}", "line 2: not readable .*digits"),
    ],
)
def test_a_broken_valid_file_is_named_with_the_line(tmp_path: Path, second: object, message: str) -> None:
    path = _lines(tmp_path / "x.valid.jsonl", VALID)
    path.write_text(path.read_text() + (second if isinstance(second, str) else json.dumps(second)))
    with pytest.raises(FormatError, match=message):
        list(formats.read_valid(path))


def test_lines_that_are_not_json_or_not_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.valid.jsonl"
    path.write_bytes(json.dumps(VALID).encode() + b'\n{"query_id": 8,\n')
    with pytest.raises(FormatError, match="line 2: not JSON"):
        list(formats.read_valid(path))
    path.write_bytes(json.dumps(VALID).encode() + b'\n{"query_text": "\xff"}\n')
    with pytest.raises(FormatError, match="line 2: not UTF-8"):
        list(formats.read_valid(path))
    path.write_bytes(b"\n")
    with pytest.raises(FormatError, match="the file is empty"):
        list(formats.read_valid(path))


def test_the_gallery_is_read_and_an_item_may_stand_in_it_once(tmp_path: Path) -> None:
    path = _lines(tmp_path / "x.gallery.jsonl", {"item_id": 3, "text": "Mug"}, {"item_id": "a", "text": ""})
    assert list(formats.read_gallery(path)) == [GalleryItem("3", "Mug"), GalleryItem("a", "")]
    _lines(path, {"item_id": 3, "text": "Mug"}, {"item_id": "3", "text": "Cup"})
    with pytest.raises(FormatError, match="line 2: item_id 3 was on line 1 already"):
        list(formats.read_gallery(path))


@pytest.mark.parametrize(("field", "value"), [("item_id", "\ud800"), ("text", "mug \ud800")])
def test_half_a_character_in_a_gallery_is_named(tmp_path: Path, field: str, value: str) -> None:
    path = tmp_path / "x.gallery.jsonl"
    path.write_text(json.dumps({"item_id": "a", "text": "\U0001f381"} | {field: value}))  # a whole one is escaped too
    with pytest.raises(FormatError, match=f"line 1: {field} holds '.ud800'"):
        list(formats.read_gallery(path))
    path.write_text(json.dumps({"item_id": "a", "text": "\U0001f381"}))
    assert list(formats.read_gallery(path)) == [GalleryItem("a", "\U0001f381")]


def test_without_a_gallery_the_items_of_all_queries_are_it_with_the_first_caption() -> None:
    queries = [ValidQuery("1", "a", {"x": "first", "y": "why"}), ValidQuery("2", "b", {"x": "second", "z": "zed"})]
    assert formats.gallery_of(queries) == [GalleryItem("x", "first"), GalleryItem("y", "why"), GalleryItem("z", "zed")]

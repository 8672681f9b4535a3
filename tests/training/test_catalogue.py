import json
from pathlib import Path
from typing import Any

import pytest

from training import catalogue
from training.catalogue import item_rows, pairs
from training.data import Source
from training.formats import read_gallery, read_train, read_valid

SHIRT = {
    "item_id": "s1",
    "title": "Nordwind Men Striped Blue Tshirts",
    "description": "Blue t-shirt made of cotton. Machine wash. Pair it with jeans.",
    "category": ["Apparel", "Tshirts"],
    "attributes": {"brand": "Nordwind", "gender": "Men", "colour": "Blue", "Pattern": "Striped", "year": "2011"},
}


def test_queries_name_what_shoppers_would_type() -> None:
    queries = {query for query, _ in pairs(SHIRT)}
    assert {
        "t-shirt",
        "blue t-shirt",
        "men's blue t-shirt",
        "men's striped t-shirt",
        "Nordwind t-shirt".lower(),
    } <= queries
    assert SHIRT["title"] in queries


def test_beside_a_query_for_a_colour_the_text_does_not_name_it() -> None:
    for query, texts in pairs(SHIRT):
        if "blue" in query and query != SHIRT["title"]:
            assert texts
            assert not any("blue" in text.lower() for text in texts)


def test_a_title_is_searched_for_among_texts_that_do_not_repeat_it() -> None:
    repeated = SHIRT | {"description": SHIRT["title"] + " is what you want. " + str(SHIRT["description"])}
    texts = dict(pairs(repeated))[str(SHIRT["title"])]
    assert not any(str(SHIRT["title"]) in text for text in texts)


def test_a_product_with_only_a_title_is_to_be_found_by_its_picture() -> None:
    assert dict(pairs({"item_id": "x", "title": "umbrella", "captions": ["parasol"]})) == {
        "umbrella": [],
        "parasol": [],
    }


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        ("Watches", "watch"),
        ("Dresses", "dress"),
        ("Casual Shoes", "casual shoes"),
        ("Ties", "tie"),
        ("soccer_balls", "soccer ball"),
    ],
)
def test_kinds_are_singular(category: str, kind: str) -> None:
    assert kind in {query for query, _ in pairs({"title": "Acme thing", "category": ["Shop", category]})}


@pytest.mark.parametrize(
    "category", ["Home > Kitchen > Mugs", "Home>Kitchen>Mugs", ["Home > Kitchen > Mugs"], ["Home", "Kitchen", "Mugs"]]
)
def test_a_category_is_a_path_however_it_is_written(category: str | list[str]) -> None:
    mug = {"title": "Kiln 17", "category": category, "attributes": {"colour": "Red"}}
    assert [query for query, _ in pairs(mug)][:3] == ["Kiln 17", "mug", "red mug"]


@pytest.mark.parametrize(
    "item",
    [
        {"title": "Mug", "category": "Mugs", "attributes": {"material": "Clay"}},
        SHIRT | {"attributes": {"colour": "Blue"}},
        SHIRT | {"attributes": {"gender": "Men", "pattern": "Striped"}},
    ],
)
def test_no_pair_is_written_twice(tmp_path: Path, item: dict[str, Any]) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps({"item_id": "1"} | item) + "\n")
    rows = [json.dumps([row["query_text"], row["text_input"]]) for row in item_rows(tmp_path / "items.jsonl", 0)]
    assert len(rows) == len(set(rows)) > 1


def test_held_out_titles_are_not_in_training(tmp_path: Path) -> None:
    source, output = tmp_path / "items.jsonl", tmp_path / "shop.json"
    items = [{"item_id": str(i), "title": f"thing {i // 2}", "description": "A useful thing."} for i in range(200)]
    source.write_text("".join(json.dumps(item) + "\n" for item in items))
    catalogue.main([str(source), "--output", str(output), "--hold-out", "0.3"])
    trained = {row["image_id"] for row in json.loads(output.read_text())}
    held = [json.loads(line) for line in (tmp_path / "shop.valid.jsonl").read_text().splitlines()]
    held_ids = {item_id for query in held for item_id in query["item_ids"]}
    assert trained | held_ids == {str(i) for i in range(200)}
    assert not trained & held_ids
    assert all(len(query["item_ids"]) == 2 for query in held)
    gallery = {json.loads(line)["item_id"] for line in (tmp_path / "shop.gallery.jsonl").read_text().splitlines()}
    assert gallery == held_ids


def test_held_out_products_are_asked_for_by_their_fields(tmp_path: Path) -> None:
    source, output = tmp_path / "items.jsonl", tmp_path / "shop.json"
    items = [SHIRT | {"item_id": str(i), "title": f"Nordwind Striped Blue Tshirts {i}"} for i in range(13)]
    items[0] = items[0] | {"attributes": SHIRT["attributes"] | {"gender": "Women"}}
    source.write_text("".join(json.dumps(item) + "\n" for item in items))
    catalogue.main([str(source), "--output", str(output), "--hold-out", "1"])
    assert json.loads(output.read_text()) == []
    queries = {query.query: query.items for query in read_valid(tmp_path / "shop.attributes.valid.jsonl")}
    assert set(queries["women's blue t-shirt"]) == {"0"}
    assert set(queries["men's blue t-shirt"]) == {str(i) for i in range(1, 13)}
    assert "blue t-shirt" not in queries, "all thirteen answer it"
    gallery = {item.item_id: item.text for item in read_gallery(tmp_path / "shop.attributes.gallery.jsonl")}
    assert gallery == {str(i): f"Nordwind Striped Tshirts {i}" for i in range(13)}


def test_a_blank_title_is_none(tmp_path: Path) -> None:
    """It is no query, and no text beside one."""
    source, output = tmp_path / "items.jsonl", tmp_path / "shop.json"
    blank = {"item_id": "blank", "title": "  ", "category": "Mugs", "attributes": {"colour": "Red"}}
    source.write_text(json.dumps(blank) + "\n" + json.dumps(SHIRT) + "\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "blank.png").touch()
    catalogue.main([str(source), "--output", str(output)])
    assert {record.query: record.captions for record in read_train(output)}["red mug"] == ()
    catalogue.main([str(source), "--output", str(output), "--hold-out", "1"])
    assert [query.query for query in read_valid(tmp_path / "shop.valid.jsonl")] == [str(SHIRT["title"]).lower()]


def test_products_without_fields_give_no_such_questions(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps({"item_id": "leek", "title": "Leek"}) + "\n")
    catalogue.main([str(tmp_path / "items.jsonl"), "--output", str(tmp_path / "shop.json"), "--hold-out", "1"])
    assert {path.name for path in tmp_path.glob("shop.*")} == {"shop.json", "shop.valid.jsonl", "shop.gallery.jsonl"}


def test_photographs_of_a_product_become_items(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps({"item_id": "leek", "title": "Leek"}) + "\n")
    (tmp_path / "images").mkdir()
    for name in ("leek.webp", "leek-01.webp"):
        (tmp_path / "images" / name).touch()
    (tmp_path / "photos.jsonl").write_text(json.dumps({"photo_of": "leek", "image": "images/leek-01.webp"}) + "\n")
    catalogue.main([str(tmp_path / "items.jsonl"), "--output", str(tmp_path / "pairs.json")])
    assert {row["image_id"] for row in json.loads((tmp_path / "pairs.json").read_text())} == {"leek", "leek-01"}


def test_a_pair_that_shows_nothing_is_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training would refuse the whole file for one product that has a title and nothing else."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "seen.png").touch()
    items = [{"item_id": "bare", "title": "Leeks"}, {"item_id": "seen", "title": "Leeks"}]
    told = {"item_id": "told", "title": "Leek", "description": "A green one, two feet long."}
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in [*items, told]))
    catalogue.main([str(tmp_path / "items.jsonl"), "--output", str(tmp_path / "pairs.json")])
    assert {row["image_id"] for row in json.loads((tmp_path / "pairs.json").read_text())} == {"seen", "told"}
    assert "2 pairs left out" in capsys.readouterr().out
    assert len(Source(tmp_path / "pairs.json", tmp_path / "images")) == 2


def test_queries_with_captions_become_pairs(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "seen.png").touch()
    query = {"query_id": 1, "query_text": "mug", "item_ids": {"told": "a cup", "seen": "", "bare": " "}}
    (tmp_path / "x.valid.jsonl").write_text(json.dumps(query) + "\n")
    catalogue.main([str(tmp_path / "x.valid.jsonl"), "--output", str(tmp_path / "pairs.json")])
    rows = {record.image_id: record.captions for record in read_train(tmp_path / "pairs.json")}
    assert rows == {"told": ("a cup",), "seen": ()}


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("x.valid.jsonl", '{"query_id": 1, "query_text": "mug"}', "line 1: item_ids is missing"),
        ("items.jsonl", '{"item_id": "a", "title": 7}', "line 1: title must be a string"),
        ("items.jsonl", '{"item_id": "a", "category": 7}', "line 1: category must be a string, or a list"),
        ("items.jsonl", "[]", "line 1: expected a JSON object"),
        ("items.jsonl", '{"item_id": 1, "title": "mug"}\n{"item_id": "1"}', "line 2: item_id 1 was on line 1 already"),
    ],
)
def test_a_field_of_another_kind_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, line: str, message: str
) -> None:
    (tmp_path / name).write_text(line + "\n")
    with pytest.raises(SystemExit):
        catalogue.main([str(tmp_path / name), "--output", str(tmp_path / "pairs.json")])
    assert message in capsys.readouterr().err


def test_blank_lines_and_a_byte_order_mark_are_read_over(tmp_path: Path) -> None:
    """As editors on Windows leave them."""
    for name, line in (("items", {"item_id": "leek"}), ("photos", {"photo_of": "leek", "image": "leek-01.webp"})):
        (tmp_path / f"{name}.jsonl").write_text(f"\ufeff{json.dumps(line)}\n\n \n", encoding="utf-8")
    assert [image_ids for _, image_ids in catalogue.items(tmp_path / "items.jsonl")] == [["leek", "leek-01"]]
    (tmp_path / "photos.jsonl").write_text("")
    assert [image_ids for _, image_ids in catalogue.items(tmp_path / "items.jsonl")] == [["leek"]]


@pytest.mark.parametrize("lines", ["", '{"item_id": "a", "title": " "}\n'], ids=["empty", "no query"])
@pytest.mark.parametrize("hold_out", ["0", "1"])
def test_a_catalogue_that_gives_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: str, hold_out: str
) -> None:
    (tmp_path / "items.jsonl").write_text(lines)
    with pytest.raises(SystemExit):
        catalogue.main([str(tmp_path / "items.jsonl"), "--output", str(tmp_path / "x.json"), "--hold-out", hold_out])
    assert f"{tmp_path / 'items.jsonl'}: " in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "x.json").exists()


def test_pairs_that_were_written_before_stay_where_a_later_line_is_broken(tmp_path: Path) -> None:
    source, output = tmp_path / "items.jsonl", tmp_path / "shop.json"
    source.write_text(json.dumps(SHIRT) + "\n")
    catalogue.main([str(source), "--output", str(output)])
    before = output.read_text()
    source.write_text(json.dumps(SHIRT) + "\n{")
    with pytest.raises(SystemExit):
        catalogue.main([str(source), "--output", str(output)])
    assert output.read_text() == before
    assert {path.name for path in tmp_path.iterdir()} == {"items.jsonl", "shop.json"}


@pytest.mark.parametrize(
    ("source", "more"), [("shop.json", []), ("shop.gallery.jsonl", ["--hold-out", "1"])], ids=["output", "held out"]
)
def test_the_source_is_not_written_over(
    source: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / source
    path.write_text(json.dumps({"id": "a", "title": "mug", "category": "Mugs"}))
    before = path.read_text()
    with pytest.raises(SystemExit):
        catalogue.main([str(path), "--output", str(tmp_path / "shop.json"), *more])
    assert "would replace" in capsys.readouterr().err
    assert path.read_text() == before


def test_nothing_is_held_out_of_a_file_of_queries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = tmp_path / "x.valid.jsonl", tmp_path / "pairs.json"
    path.write_text(json.dumps({"query_id": 1, "query_text": "mug", "item_ids": {"a": "a red mug"}}))
    with pytest.raises(SystemExit):
        catalogue.main([str(path), "--output", str(output), "--hold-out", "0.5"])
    assert "--hold-out needs a catalogue" in capsys.readouterr().err
    assert not output.exists()


def test_a_broken_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "listed.jsonl").write_text('{"item_id": "a", "title": "b", "attributes": ["red"]}\n')
    (tmp_path / "items.jsonl").write_text('{"item_id": "a"}\n{"title": "no id"}\n')
    for source, message in (("items.jsonl", "line 2"), ("listed.jsonl", "line 1"), ("nothing.jsonl", "nothing.jsonl")):
        with pytest.raises(SystemExit):
            catalogue.main([str(tmp_path / source), "--output", str(tmp_path / "pairs.json")])
        assert message in capsys.readouterr().err

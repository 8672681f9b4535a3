import json
import shutil
from pathlib import Path

import pytest

from training import composed

SHOP = [("red", "mug"), ("blue", "mug"), ("green", "mug"), ("red", "lamp"), ("blue", "lamp"), ("white", "clock")]


@pytest.fixture
def items(toy_shop: Path, tmp_path: Path) -> Path:
    lines = [
        {"item_id": f"{kind}-{colour}", "title": f"A {kind}", "category": [kind], "attributes": {"Colour": colour}}
        for colour, kind in SHOP
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "items.jsonl"


def test_another_value_is_asked_of_the_same_kind(items: Path, toy_shop: Path) -> None:
    shop = composed.products(items, toy_shop / "images")
    assert [one.item_id for one in shop] == [f"{kind}-{colour}" for colour, kind in SHOP[:5]]  # no picture of the clock
    drawn = composed.changes(shop, "colour")
    assert [change.product for change in drawn] == [0, 1, 2, 3, 4]
    for change in drawn:
        before = SHOP[change.product]
        (answer,) = [SHOP[one] for one in change.answers]
        assert change.words == f"in {answer[0]}"
        assert answer[1] == before[1]
        assert answer[0] != before[0]
    assert composed.changes(shop, "size") == []
    assert drawn == composed.changes(shop, "colour")


def test_only_a_change_of_gender_leaves_the_gender() -> None:
    def product(number: int, **values: str) -> composed.Product:
        return composed.Product(str(number), Path(f"{number}.png"), "", ("shirt",), values)

    shop = [
        product(0, gender="men", colour="red"),
        product(1, gender="women", colour="blue"),
        product(2, gender="men", colour="green"),
    ]
    assert [(one.words, set(one.answers)) for one in composed.changes(shop, "colour")] == [
        ("in green", {2}),
        ("in red", {0}),
    ]
    assert [(one.product, one.words, set(one.answers)) for one in composed.changes(shop, "gender")] == [
        (0, "for women", {1}),
        (1, "for men", {0, 2}),
        (2, "for women", {1}),
    ]


def test_a_table_of_picture_words_and_both(
    items: Path, toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.json"
    asked = ["--items", str(items), "--images", str(toy_shop / "images"), "--model", str(tiny_checkpoint)]
    composed.main([*asked, "--attributes", "colour", "size", "--json", str(output)])
    lines = capsys.readouterr().out.splitlines()
    assert [[cell.strip() for cell in line.split("|")[1:3]] for line in lines[2:]] == [
        ["colour (5)", name] for name in ("picture", "words", "both")
    ]
    found = json.loads(output.read_text())["colour"]
    # At most four others: every answer is among the first four, whatever a model with random weights says.
    assert all(found[name]["hit@5"] == [1.0] * 5 for name in found)
    assert all(0.25 <= value <= 1 for name in found for value in found[name]["mrr"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--attributes", "size"], "no two products of a category differ in size"),
        (["--words", "2"], "--words is a share, from 0 to 1, not 2.0"),
        (["--images", "nowhere"], "nowhere"),
        (["--json", "."], "--json . is a folder: name a file in it"),
        (["--json", f"{__file__}/out.json"], "test_composed.py"),
    ],
)
def test_what_cannot_be_measured_is_said(
    items: Path, toy_shop: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        composed.main(["--items", str(items), "--images", str(toy_shop / "images"), *more])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_picture_that_cannot_be_read_is_named(
    items: Path, toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(toy_shop / "images", tmp_path / "images")
    (tmp_path / "images" / "mug-blue.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit):
        composed.main(["--items", str(items), "--model", str(tiny_checkpoint)])
    assert "mug-blue.png" in capsys.readouterr().err

import json
from pathlib import Path

import pytest

from examples.demo_catalogue import products
from training import drawings
from training.drawings import KEPT_SIDE, draw, pairs
from training.drawings import drawings as all_drawings

ALL = list(all_drawings())


def test_the_demonstration_stays_unseen() -> None:
    drawn = {(drawing.kind, drawing.colour, drawing.pattern) for drawing in ALL}
    kinds = [kind.name for kind in drawings.KINDS]
    assert len(ALL) == len(drawn) > 1500
    assert not drawn & {(kinds.index(p.kind.name), p.colour, p.pattern) for p in products()}


def test_a_drawing_is_the_same_in_every_run() -> None:
    assert draw(ALL[5]).tobytes() == draw(ALL[5]).tobytes()
    assert draw(ALL[5]).size == (KEPT_SIDE, KEPT_SIDE)


def test_texts_do_not_say_what_the_picture_shows() -> None:
    for drawing in ALL[::37]:
        for query, texts in pairs(drawing):
            assert not any(drawing.colour in text or drawing.pattern in text for text in texts)
            assert drawings.KINDS[drawing.kind].name.lower() in query


def test_the_command_writes_the_training_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawings, "drawings", lambda: iter(ALL[:3]))
    drawings.main(["--output", str(tmp_path)])
    rows = json.loads((tmp_path / "pairs.json").read_text())
    assert {row["image_id"] for row in rows} == {drawing.id for drawing in ALL[:3]}
    assert {path.stem for path in (tmp_path / "images").iterdir()} == {drawing.id for drawing in ALL[:3]}

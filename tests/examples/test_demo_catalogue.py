import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from examples.demo_catalogue import COUNT, DemoProduct, products
from examples.demo_catalogue.__main__ import main
from examples.demo_catalogue.copywriting import KINDS
from examples.demo_catalogue.palette import COLOURS, PATTERNS
from training.formats import read_gallery, read_valid
from training.picture_folder import PictureFolder

ALL = list(products())


def test_there_are_a_few_hundred_and_every_one_differs() -> None:
    assert len(ALL) == COUNT >= 300
    assert len({product.id for product in ALL}) == COUNT
    assert len({product.title for product in ALL}) == COUNT
    assert len({(product.kind.name, product.colour, product.pattern) for product in ALL}) == COUNT


def test_two_runs_give_the_same_catalogue() -> None:
    assert list(products()) == ALL
    assert ImageChops.difference(ALL[7].picture(), ALL[7].picture()).getbbox() is None


def test_colour_and_pattern_are_in_no_text() -> None:
    words = {*COLOURS, "dot", "dotted", "stripe", "check", "flower", "flowery", *PATTERNS}
    leak = re.compile(rf"\b({'|'.join(words)})s?\b", re.IGNORECASE)
    for product in ALL:
        text = " ".join([product.title, product.description, *product.category, *product.attributes.values()])
        assert not leak.search(text), text


def test_every_colour_and_pattern_is_there() -> None:
    assert {product.colour for product in ALL} == set(COLOURS)
    patterns = Counter(product.pattern for product in ALL)
    assert set(patterns) == set(PATTERNS)
    assert patterns["plain"] >= COUNT / 2


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_plain_product_shows_its_colour(kind: object) -> None:
    """The named colour covers more of the picture than any other; clocks and watches have a large pale face."""
    product = next(p for p in ALL if p.kind is kind and p.pattern == "plain" and p.colour not in ("white", "grey"))
    assert _dominant(product) == product.colour


def _dominant(product: DemoProduct) -> str:
    picture = product.picture().resize((80, 80), Image.Resampling.BOX)
    counts: Counter[str] = Counter()
    for pixel in picture.get_flattened_data():
        near, distance = min(
            (sum((a - b) ** 2 for a, b in zip(pixel, rgb, strict=True)), name) for name, rgb in COLOURS.items()
        )
        if near < 1600 and distance not in ("white", "grey", "beige"):
            counts[distance] += 1
    if product.colour == "beige":
        return "beige"
    return counts.most_common(1)[0][0]


def test_a_picture_is_square_and_not_empty() -> None:
    for product in ALL[:: COUNT // 10]:
        picture = product.picture()
        assert picture.size == (640, 640)
        assert picture.mode == "RGB"
        assert len(picture.getcolors(1 << 20) or []) > 200  # type: ignore[arg-type]


def test_what_it_writes_can_be_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries for looks that no text tells, over a gallery with pictures, as training.evaluate reads them."""
    monkeypatch.setattr(DemoProduct, "picture", lambda self: Image.new("RGB", (8, 8)))
    main(["--output", str(tmp_path)])
    queries = list(read_valid(tmp_path / "colours.valid.jsonl"))
    gallery = {item.item_id: item.text for item in read_gallery(tmp_path / "gallery.jsonl")}
    pictures = PictureFolder(tmp_path / "images")
    assert gallery.keys() == {product.id for product in ALL}
    assert all(item_id in pictures for item_id in gallery)
    assert gallery[ALL[0].id].startswith(ALL[0].title)
    for query in queries:
        answers = {one.id for one in ALL if f"{one.colour} {one.kind.name.lower()}" == query.query}
        assert set(query.items) == answers, query.query
    assert sum(len(query.items) for query in queries) == COUNT

"""A toy shop, drawn in milliseconds: squares and bars in six colours, with pairs in the seed's training format."""

import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

COLOURS = ("red", "green", "blue", "yellow", "black", "white")
KINDS = ("mug", "lamp")


@pytest.fixture(scope="session")
def toy_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pairs.json`, `toy.valid.jsonl`, `toy.gallery.jsonl` and `images/`."""
    folder = tmp_path_factory.mktemp("toy-shop")
    (folder / "images").mkdir()
    pairs, queries, gallery = [], [], []
    for i, colour in enumerate(COLOURS):
        for j, kind in enumerate(KINDS):
            item_id = f"{kind}-{colour}"
            picture = Image.new("RGB", (48, 48), "grey")
            box = (8, 8, 40, 40) if kind == "mug" else (20, 4, 28, 44)
            ImageDraw.Draw(picture).rectangle(box, fill=colour)
            picture.save(folder / "images" / f"{item_id}.png")
            for query in (f"{colour} {kind}", kind):
                pairs.append({"query_id": len(pairs), "query_text": query, "image_id": item_id, "text_input": [kind]})
            queries.append({"query_id": 2 * i + j, "query_text": f"{colour} {kind}", "item_ids": {item_id: kind}})
            gallery.append({"item_id": item_id, "text": kind})
    (folder / "pairs.json").write_text(json.dumps(pairs))
    (folder / "toy.valid.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    (folder / "toy.gallery.jsonl").write_text("".join(json.dumps(item) + "\n" for item in gallery))
    return folder

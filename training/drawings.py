"""Drawn training pictures: `python -m training.drawings --output DIR` teaches what colours and patterns are called.

Shops name the colours of clothes and hardly ever those of mugs or sofas, so a model trained on shops alone takes a
black teapot for a teal one. The demonstration catalogue's drawings come in every kind, colour and pattern; here they
vary in shade, background, size and side. The combinations that the demonstration itself shows are left out, so that
the demonstration stays unseen.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps
from tqdm import tqdm

from examples.demo_catalogue import products
from examples.demo_catalogue.canvas import SIDE, Canvas
from examples.demo_catalogue.copywriting import BRANDS, CLOSINGS, KINDS, NAMES, Kind
from examples.demo_catalogue.palette import COLOURS, PATTERNS, RGB
from examples.demo_catalogue.patterns import paint
from retriever import item_text

KEPT_SIDE = 320  # pixels; the model looks at fewer


@dataclass(frozen=True)
class Drawing:
    """One combination, by its place in KINDS; everything else about the picture follows from its id."""

    kind: int
    colour: str
    pattern: str

    @property
    def id(self) -> str:
        return f"{KINDS[self.kind].prefix}-{self.colour}-{self.pattern}".lower().replace(" ", "-")


def drawings() -> Iterator[Drawing]:
    """Every combination of kind, colour and pattern that the demonstration catalogue does not show."""
    shown = {(product.kind.name, product.colour, product.pattern) for product in products()}
    for number, kind in enumerate(KINDS):
        for colour in COLOURS:
            for pattern in PATTERNS if kind.patterned else PATTERNS[:1]:
                if (kind.name, colour, pattern) not in shown:
                    yield Drawing(number, colour, pattern)


def draw(drawing: Drawing) -> Image.Image:
    """The picture, in a shade, on a background, and at a size of its own."""
    rng = random.Random(drawing.id)
    colour = _near(COLOURS[drawing.colour], 14, rng)
    light = drawing.colour in ("white", "beige", "yellow")
    grey = rng.randint(170, 215) if light else rng.choice([rng.randint(222, 255), 255])
    canvas = Canvas(_near((grey, grey, grey), 8, rng))
    KINDS[drawing.kind].draw(canvas, paint(colour, drawing.pattern, rng.randrange(1000), rng.uniform(0.7, 1.4)), colour)
    picture = canvas.finish()
    if rng.random() < 0.5:
        picture = ImageOps.mirror(picture)
    margin = rng.uniform(0, 0.06) * SIDE
    box = (margin * rng.random(), margin * rng.random(), SIDE - margin * rng.random(), SIDE - margin * rng.random())
    return picture.resize((KEPT_SIDE, KEPT_SIDE), Image.Resampling.LANCZOS, box=box)


def pairs(drawing: Drawing) -> Iterator[tuple[str, list[str]]]:
    """Queries that the drawing answers, with texts that do not say what the picture shows."""
    kind = KINDS[drawing.kind]
    name = kind.name.lower()
    rng = random.Random(f"{drawing.id}, texts")
    texts = [kind.name, _shop_text(kind, rng), _shop_text(kind, rng)]
    yield name, []
    yield f"{drawing.colour} {name}", texts
    if drawing.pattern != "plain":
        yield f"{drawing.pattern} {name}", texts
        yield f"{drawing.colour} {drawing.pattern} {name}", texts


def _shop_text(kind: Kind, rng: random.Random) -> str:
    """As a shop would have it, names and praise included: what the picture shows must be found beside all that."""
    brand, material = rng.choice(BRANDS), rng.choice(kind.materials)
    title = f"{brand} {rng.choice(NAMES)} {kind.name}"
    description = f"{kind.name} of {material} {rng.choice(kind.features)}. {rng.choice(CLOSINGS)}"
    return item_text(title, description, kind.category, {"brand": brand, "material": material})


def _near(colour: RGB, spread: int, rng: random.Random) -> RGB:
    brighter = rng.randint(-spread, spread)
    red, green, blue = (min(255, max(0, c + brighter + rng.randint(-spread // 2, spread // 2))) for c in colour)
    return red, green, blue


def _save(drawing: Drawing, folder: Path) -> None:
    draw(drawing).save(folder / f"{drawing.id}.webp", quality=88)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.drawings", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for pairs.json and images/")
    output: Path = parser.parse_args(arguments).output
    images = output / "images"
    images.mkdir(parents=True, exist_ok=True)
    made = list(drawings())
    with ProcessPoolExecutor() as pool:
        jobs = pool.map(_save, made, [images] * len(made), chunksize=16)
        for _ in tqdm(jobs, total=len(made), desc="drawings", unit="picture"):
            pass
    rows = [
        {"query_text": query, "image_id": drawing.id, "text_input": texts}
        for drawing in made
        for query, texts in pairs(drawing)
    ]
    numbered = [{"query_id": number} | row for number, row in enumerate(rows)]
    (output / "pairs.json").write_text(json.dumps(numbered, indent=0))
    print(f"{output}: {len(made):,} pictures, {len(rows):,} pairs")


if __name__ == "__main__":
    main()

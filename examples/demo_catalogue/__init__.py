"""The demonstration catalogue: three hundred products, drawn here, so that a new shop has something to search.

Colour and pattern are in the pictures only. No title, description, category or attribute names them, so "a red mug"
or "polka dot dress" can be answered by looking alone. Everything follows from the position in the catalogue: two runs
give the same products, pixel for pixel.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from examples.demo_catalogue.canvas import Canvas
from examples.demo_catalogue.copywriting import BRANDS, CLOSINGS, KINDS, NAMES, Kind
from examples.demo_catalogue.palette import BACKGROUNDS, COLOURS, DARK_BACKGROUND, PATTERNS
from examples.demo_catalogue.patterns import paint

VARIANTS = 10  # products of each kind
COUNT = VARIANTS * len(KINDS)


@dataclass(frozen=True)
class DemoProduct:
    """A product as a shop would upload it; `colour` and `pattern` are the truth about its picture, not to be sent."""

    id: str
    title: str
    description: str
    category: list[str]
    price: float
    attributes: dict[str, str]
    kind: Kind
    colour: str  # a key of palette.COLOURS
    pattern: str  # one of palette.PATTERNS
    seed: int

    def picture(self) -> Image.Image:
        """The drawing, 640 × 640, RGB."""
        background = DARK_BACKGROUND if self.colour == "white" else BACKGROUNDS[self.seed % len(BACKGROUNDS)]
        colour = COLOURS[self.colour]
        canvas = Canvas(background)
        self.kind.draw(canvas, paint(colour, self.pattern, self.seed), colour)
        return canvas.finish()


def products() -> Iterator[DemoProduct]:
    """All `COUNT` products, kinds interleaved so that the first page of a shop shows some of everything."""
    made = [list(_variants(kind, number)) for number, kind in enumerate(KINDS)]
    for variant in range(VARIANTS):
        for of_kind in made:
            yield of_kind[variant]


def _variants(kind: Kind, number: int) -> Iterator[DemoProduct]:
    rng = random.Random(f"demo catalogue, {kind.prefix}")
    rest = sorted(set(COLOURS) - set(_ALWAYS))
    colours = rng.sample([*_ALWAYS, *rng.sample(rest, VARIANTS - len(_ALWAYS))], VARIANTS)
    names = rng.sample(NAMES, VARIANTS)
    for variant, (colour, name) in enumerate(zip(colours, names, strict=True)):
        # Half of what can carry a pattern does.
        pattern = rng.choice(PATTERNS[1:]) if kind.patterned and variant % 2 else "plain"
        brand, material, feature = rng.choice(BRANDS), rng.choice(kind.materials), rng.choice(kind.features)
        price = round(rng.uniform(*kind.price)) - 0.05
        verb = "These" if kind.name in _PLURAL else "This"
        yield DemoProduct(
            id=f"{kind.prefix.lower()}-{variant + 1:03d}",
            title=f"{brand} {name} {kind.name}",
            description=f"{verb} {kind.name} of {material} {feature}. {rng.choice(CLOSINGS)}",
            category=list(kind.category),
            price=price,
            attributes={"brand": brand, "material": material, "article": f"{kind.prefix}-{rng.randrange(1000, 9999)}"},
            kind=kind,
            colour=colour,
            pattern=pattern,
            seed=100 * number + variant,
        )


_ALWAYS = ("red", "blue", "black")  # what people try first is there, whatever the kind
_PLURAL = ("trousers", "trainers", "ankle boots", "bath towels")

"""Paint: a whole canvas of one colour with a pattern on it, for `Canvas.fill` to cut shapes from."""

import math
import random

from PIL import Image, ImageDraw

from examples.demo_catalogue.canvas import FULL
from examples.demo_catalogue.palette import RGB, contrast, shade


def paint(colour: RGB, pattern: str, seed: int = 0, scale: float = 1.0) -> Image.Image:
    """A painted canvas. `scale` enlarges the pattern.

    Raises:
        KeyError: there is no such pattern.
    """
    image = Image.new("RGB", (FULL, FULL), colour)
    _DRAW[pattern](ImageDraw.Draw(image), contrast(colour), colour, random.Random(seed), FULL * scale / 100)
    return image


def _plain(draw: ImageDraw.ImageDraw, ink: RGB, colour: RGB, rng: random.Random, unit: float) -> None:
    pass


def _striped(draw: ImageDraw.ImageDraw, ink: RGB, colour: RGB, rng: random.Random, unit: float) -> None:
    y = 0.0
    while y < FULL:
        draw.rectangle((0, y, FULL, y + 2.2 * unit), fill=ink)
        y += 6 * unit


def _polka_dot(draw: ImageDraw.ImageDraw, ink: RGB, colour: RGB, rng: random.Random, unit: float) -> None:
    step, radius = 7 * unit, 1.6 * unit
    for row in range(math.ceil(FULL / step) + 1):
        for column in range(math.ceil(FULL / step) + 1):
            x, y = (column + row % 2 / 2) * step, row * step
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)


def _checked(draw: ImageDraw.ImageDraw, ink: RGB, colour: RGB, rng: random.Random, unit: float) -> None:
    """Gingham: the crossing of two bands is the ink, a band alone half of it."""
    step = 7 * unit
    half: RGB = tuple((a + b) // 2 for a, b in zip(ink, colour, strict=True))  # type: ignore[assignment]
    count = math.ceil(FULL / step) + 1
    for i in range(0, count, 2):
        draw.rectangle((i * step, 0, (i + 1) * step, FULL), fill=half)
        draw.rectangle((0, i * step, FULL, (i + 1) * step), fill=half)
    for i in range(0, count, 2):
        for j in range(0, count, 2):
            draw.rectangle((i * step, j * step, (i + 1) * step, (j + 1) * step), fill=ink)


def _floral(draw: ImageDraw.ImageDraw, ink: RGB, colour: RGB, rng: random.Random, unit: float) -> None:
    step, petal = 11 * unit, 1.7 * unit
    heart, leaf = shade((240, 190, 60), 0.1), shade((80, 140, 90), 0.15)
    for row in range(math.ceil(FULL / step) + 1):
        for column in range(math.ceil(FULL / step) + 1):
            x = (column + row % 2 / 2) * step + rng.uniform(-1, 1) * unit
            y = row * step + rng.uniform(-1, 1) * unit
            turn = rng.uniform(0, math.tau)
            tip = (x + 4.4 * unit * math.cos(turn + 0.5), y + 4.4 * unit * math.sin(turn + 0.5))
            draw.line((x, y, *tip), fill=leaf, width=max(1, round(0.9 * unit)))
            for k in range(5):
                cx, cy = (
                    x + 2 * unit * math.cos(turn + k * math.tau / 5),
                    y + 2 * unit * math.sin(turn + k * math.tau / 5),
                )
                draw.ellipse((cx - petal, cy - petal, cx + petal, cy + petal), fill=ink)
            draw.ellipse((x - petal * 0.7, y - petal * 0.7, x + petal * 0.7, y + petal * 0.7), fill=heart)


def _zigzag(draw: ImageDraw.ImageDraw, ink: RGB, colour: RGB, rng: random.Random, unit: float) -> None:
    step = 4 * unit
    for row in range(math.ceil(FULL / (8 * unit)) + 1):
        points = [
            (column * step, row * 8 * unit + (2 * unit if column % 2 else -2 * unit))
            for column in range(math.ceil(FULL / step) + 2)
        ]
        draw.line(points, fill=ink, width=round(2 * unit), joint="curve")


_DRAW = {
    "plain": _plain,
    "striped": _striped,
    "polka dot": _polka_dot,
    "checked": _checked,
    "floral": _floral,
    "zigzag": _zigzag,
}

"""A small vector canvas on Pillow: paths in a space of 100 × 100, filled with paint, shaded, then smoothed."""

import math
from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from examples.demo_catalogue.palette import RGB, shade

SIDE = 640  # pixels of the finished picture
_SCALE = 2  # drawn larger and reduced, which smooths the edges
FULL = SIDE * _SCALE

Point = tuple[float, float]
Path = list[Point]


def smooth(points: Sequence[Point], closed: bool = True, steps: int = 12) -> Path:
    """A Catmull–Rom curve through the points."""
    count = len(points)
    path: Path = []
    for i in range(count if closed else count - 1):
        if closed:
            p0, p1, p2, p3 = (points[(i + k - 1) % count] for k in range(4))
        else:
            p0, p1, p2, p3 = points[max(i - 1, 0)], points[i], points[i + 1], points[min(i + 2, count - 1)]
        for step in range(steps):
            t = step / steps
            x, y = (
                0.5
                * (
                    2 * p1[axis]
                    + (p2[axis] - p0[axis]) * t
                    + (2 * p0[axis] - 5 * p1[axis] + 4 * p2[axis] - p3[axis]) * t**2
                    + (3 * p1[axis] - p0[axis] - 3 * p2[axis] + p3[axis]) * t**3
                )
                for axis in (0, 1)
            )
            path.append((x, y))
    if not closed:
        path.append(points[-1])
    return path


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> Path:
    """An ellipse or an arc of one; degrees, clockwise from the right."""
    count = max(8, round(abs(end - start) / 4))
    angles = [math.radians(start + (end - start) * i / count) for i in range(count + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def box(left: float, top: float, right: float, bottom: float, radius: float = 0) -> Path:
    """A rectangle, with rounded corners if a radius is given."""
    if not radius:
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    corners = ((right - radius, top + radius, 270), (right - radius, bottom - radius, 0))
    corners += ((left + radius, bottom - radius, 90), (left + radius, top + radius, 180))  # type: ignore[assignment]
    return [point for x, y, start in corners for point in ellipse(x, y, radius, radius, start, start + 90)]


def mirrored(half: Sequence[Point]) -> Path:
    """A path from its left half, top to bottom, reflected at x = 50."""
    return [*half, *((100 - x, y) for x, y in reversed(half))]


class Canvas:
    """Draws one product over a soft backdrop."""

    def __init__(self, background: RGB) -> None:
        self._image = _backdrop(background).copy()

    def shadow(self, x: float, y: float, rx: float, ry: float = 2.4) -> None:
        """A soft shadow on the ground, centred at a point."""
        small = Image.new("L", (160, 160), 0)
        ImageDraw.Draw(small).ellipse([1.6 * v for v in (x - rx, y - ry, x + rx, y + ry)], fill=105)
        mask = small.filter(ImageFilter.GaussianBlur(2.6)).resize((FULL, FULL), Image.Resampling.BILINEAR)
        self._image.paste((70, 66, 62), (0, 0), mask)

    def fill(self, path: Sequence[Point], paint: "Image.Image | RGB", volume: float = 0.2) -> None:
        """Fill a path; `volume` is how strongly light from the upper left rounds it off."""
        mask = Image.new("L", (FULL, FULL), 0)
        ImageDraw.Draw(mask).polygon(_pixels(path), fill=255)
        left, top, right, bottom = mask.getbbox() or (0, 0, 1, 1)
        area = (left, top, right, bottom)
        cut = mask.crop(area)
        surface = paint.crop(area) if isinstance(paint, Image.Image) else Image.new("RGB", cut.size, paint)
        if volume:
            light = _light().resize(cut.size, Image.Resampling.BILINEAR)
            dark = ImageChops.multiply(surface, Image.new("RGB", cut.size, (72, 70, 84)))
            surface = Image.composite(dark, surface, light.point(lambda v: int(max(0, v - 128) * 2 * volume * 2)))
            white = Image.new("RGB", cut.size, (255, 255, 255))
            surface = Image.composite(white, surface, light.point(lambda v: int(max(0, 128 - v) * 2 * volume)))
        self._image.paste(surface, (left, top), cut)

    def line(self, points: Sequence[Point], colour: RGB, width: float = 0.5) -> None:
        """A line with round joints and ends; width in the same units as the points."""
        draw = ImageDraw.Draw(self._image)
        thickness = max(1, round(width * FULL / 100))
        pixels = _pixels(points)
        draw.line(pixels, fill=colour, width=thickness, joint="curve")
        radius = thickness / 2
        for x, y in (pixels[0], pixels[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def dot(self, x: float, y: float, radius: float, colour: RGB) -> None:
        centre, size = (x * FULL / 100, y * FULL / 100), radius * FULL / 100
        box_ = (centre[0] - size, centre[1] - size, centre[0] + size, centre[1] + size)
        ImageDraw.Draw(self._image).ellipse(box_, fill=colour)

    def shine(self, path: Path, strength: float = 0.35) -> None:
        """A soft reflection, as on glaze or glass."""
        mask = Image.new("L", (FULL // 4, FULL // 4), 0)
        ImageDraw.Draw(mask).polygon([(x / 4, y / 4) for x, y in _pixels(path)], fill=round(255 * strength))
        mask = mask.filter(ImageFilter.GaussianBlur(1.5)).resize((FULL, FULL), Image.Resampling.BILINEAR)
        self._image.paste((255, 255, 255), (0, 0), mask)

    def finish(self) -> Image.Image:
        """The picture, `SIDE` pixels square, RGB."""
        return self._image.reduce(_SCALE)


def _pixels(points: Sequence[Point]) -> list[Point]:
    return [(x * FULL / 100, y * FULL / 100) for x, y in points]


@cache
def _backdrop(colour: RGB) -> Image.Image:
    """A wall and a floor that meet softly."""
    column = Image.new("RGB", (1, 100))
    for y in range(100):
        column.putpixel((0, y), shade(colour, 0.35 - 0.35 * y / 80) if y < 80 else shade(colour, -0.002 * (y - 80)))
    return column.resize((FULL, FULL), Image.Resampling.BICUBIC)


@cache
def _light() -> Image.Image:
    """From 0 (lit, upper left) to 255 (in shade, lower right); 128 is the colour itself."""
    side = 32
    light = Image.new("L", (side, side))
    for x in range(side):
        for y in range(side):
            light.putpixel((x, y), round(255 * min(1, max(0, 0.18 + 0.62 * x / side + 0.3 * (y / side) ** 2))))
    return light

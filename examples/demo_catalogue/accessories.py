"""Drawings of what one carries."""

import math

from PIL import Image

from examples.demo_catalogue.canvas import Canvas, Path, box, ellipse, mirrored, smooth
from examples.demo_catalogue.palette import LEATHER, METAL, RGB, shade


def handbag(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.3)
    canvas.shadow(50, 86, 38)
    for width, tone in ((2.6, shade(LEATHER, -0.25)), (1.4, LEATHER)):
        canvas.line(smooth([(32, 46), (35, 18), (50, 11), (65, 18), (68, 46)], False), tone, width)
    canvas.fill(smooth(mirrored([(24, 41), (17, 60), (14, 80), (22, 86), (40, 87)]), steps=6), cloth, 0.24)
    canvas.fill(smooth(mirrored([(23, 40), (25, 54), (38, 61), (46, 62)]), steps=6), shade(colour, -0.16), 0.2)
    canvas.line(smooth([(23.5, 42), (25, 54), (38, 61), (50, 62), (62, 61), (75, 54), (76.5, 42)], False), seam, 0.5)
    canvas.fill(box(46, 57, 54, 66, 1.4), METAL, 0.35)
    canvas.dot(50, 61.5, 1.1, shade(METAL, -0.45))
    canvas.line([(17, 80), (83, 80)], seam, 0.4)
    for x in (32, 68):
        canvas.dot(x, 46, 1.7, METAL)


def backpack(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.34)
    canvas.shadow(50, 90, 32)
    canvas.line(smooth([(42, 15), (44, 7), (56, 7), (58, 15)], False), seam, 2.2)
    for side in (1, -1):
        pocket = smooth([(50 - side * 26, 56), (50 - side * 33, 62), (50 - side * 32, 82), (50 - side * 25, 84)])
        canvas.fill(pocket, shade(colour, -0.2), 0.25)
    canvas.fill(smooth(mirrored([(41, 13), (27, 24), (23, 50), (24, 84), (36, 89.5)]), steps=8), cloth, 0.24)
    canvas.line(smooth([(26, 42), (34, 26), (50, 22), (66, 26), (74, 42)], False), seam, 0.9)
    canvas.fill(box(31, 53, 69, 82, 4), shade(colour, -0.1), 0.22)
    canvas.line([(31.5, 60), (68.5, 60)], seam, 1.0)
    canvas.fill(box(64, 59, 66, 66, 0.8), METAL, 0.2)
    canvas.fill(box(45, 34, 55, 40, 1), LEATHER, 0.2)


def umbrella(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    rib = shade(colour, -0.3)
    canvas.line([(50, 16), (50, 82)], shade(METAL, -0.25), 1.3)
    canvas.line(smooth([(50, 80), (50, 88), (55, 92), (60, 88), (60, 84)], False), shade(LEATHER, -0.1), 2.6)
    dome: Path = ellipse(50, 52, 42, 36, 180, 360)
    hem: Path = []
    for right, left in ((92, 71), (71, 50), (50, 29), (29, 8)):
        middle = (left + right) / 2
        hem += smooth([(right, 52), (middle, 47.5), (left, 52)], False)
    canvas.fill([*dome, *hem], cloth, 0.3)
    for x in (29, 50, 71):
        canvas.line(smooth([(50, 16), ((50 + 2 * x) / 3 + (x - 50) * 0.25, 32), (x, 52)], False), rib, 0.4)
    canvas.line([(50, 17), (50, 11)], shade(METAL, -0.3), 1.2)


def watch(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    """The colour is the strap's."""
    edge = shade(colour, -0.3)
    for top, bottom in ((6, 36), (64, 94)):
        wide, narrow = (36, 39) if top > 50 else (39, 36)
        strap = [(wide, top), (100 - wide, top), (100 - narrow, bottom), (narrow, bottom)]
        canvas.fill(strap, cloth, 0.26)
        for x in (wide + 2, 98 - wide):
            canvas.line([(x, top + 2), (x + (narrow - wide) * (1 if x < 50 else -1), bottom)], edge, 0.3)
    for y in (78, 83, 88):
        canvas.dot(50, y, 1.1, edge)
    canvas.fill(box(75, 47.5, 80, 52.5, 1), METAL, 0.3)
    canvas.fill(ellipse(50, 50, 27, 27), METAL, 0.4)
    canvas.fill(ellipse(50, 50, 23.5, 23.5), (250, 249, 245), 0.06)
    for hour in range(12):
        angle = math.tau * hour / 12
        inner = 18 if hour % 3 else 16
        start = (50 + inner * math.sin(angle), 50 - inner * math.cos(angle))
        canvas.line(
            [start, (50 + 21 * math.sin(angle), 50 - 21 * math.cos(angle))], (60, 60, 66), 0.7 if hour % 3 else 1.2
        )
    canvas.line([(50, 50), (42, 41)], (50, 50, 56), 1.6)
    canvas.line([(50, 50), (62, 36)], (50, 50, 56), 1.0)
    canvas.line([(50, 54), (50, 33)], (200, 60, 50), 0.4)
    canvas.dot(50, 50, 1.5, (50, 50, 56))


def scarf(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.3)
    for left in (30, 54):
        shift = 3 if left > 50 else -3
        tail = smooth([(left, 32), (left + 16, 32), (left + 16 + shift, 84), (left + shift, 84)], steps=4)
        canvas.fill(tail, cloth, 0.26)
        for k in range(8):
            x = left + shift + 0.6 + 2.1 * k
            canvas.line([(x, 83), (x + 0.4, 91)], shade(colour, -0.12), 0.8)
    canvas.fill(smooth([(25, 26), (32, 14), (50, 10), (68, 14), (75, 26), (68, 38), (50, 43), (32, 38)]), cloth, 0.28)
    canvas.fill(smooth([(36, 22), (50, 17), (64, 22), (60, 27), (50, 29), (40, 27)]), shade(colour, -0.45), 0)
    canvas.line(smooth([(28, 30), (42, 37), (60, 36)], False), seam, 0.45)
    canvas.line(smooth([(36, 35), (52, 40), (70, 31)], False), seam, 0.45)


def suitcase(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.3)
    canvas.shadow(50, 92, 28)
    for x in (42.0, 58.0):
        canvas.line([(x, 26), (x, 8)], METAL, 1.3)
    canvas.line([(41, 8), (59, 8)], (70, 72, 78), 2.8)
    for x in (33.0, 67.0):
        canvas.dot(x, 90, 3.0, (52, 52, 56))
    canvas.fill(box(26, 24, 74, 89, 6), cloth, 0.26)
    for x in (33.0, 41.5, 50.0, 58.5, 67.0):
        canvas.line([(x, 30), (x, 84)], seam, 0.55)
        canvas.line([(x + 0.7, 30), (x + 0.7, 84)], shade(colour, 0.2), 0.3)
    for corner in ((28, 27), (72, 27), (28, 86), (72, 86)):
        canvas.dot(*corner, 2.2, shade(colour, -0.25))
    canvas.fill(box(45, 21.5, 55, 25, 1.2), (70, 72, 78), 0.2)


def wallet(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.28)
    canvas.shadow(50, 76, 40)
    canvas.fill(box(13, 29, 87, 74, 5), shade(colour, -0.28), 0.2)
    canvas.fill(box(13, 27, 87, 72, 5), cloth, 0.22)
    inner = box(16, 30, 84, 69, 3.4)
    for start in range(0, len(inner) - 2, 2):
        canvas.line(inner[start : start + 2], shade(colour, 0.35), 0.35)
    for y in (30, 69):
        for x in range(20, 80, 4):
            canvas.line([(x, y), (x + 2.2, y)], shade(colour, 0.35), 0.4)
    canvas.fill(box(67, 42, 90, 57, 4), shade(colour, -0.14), 0.2)
    canvas.line([*box(67, 42, 90, 57, 4), (90, 44)], seam, 0.4)
    canvas.dot(73, 49.5, 2.1, METAL)

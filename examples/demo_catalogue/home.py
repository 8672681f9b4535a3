"""Drawings of things for the kitchen and the rooms."""

import math

from PIL import Image

from examples.demo_catalogue.canvas import Canvas, box, ellipse, mirrored, smooth
from examples.demo_catalogue.palette import METAL, RGB, WOOD, shade


def mug(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    canvas.shadow(46, 83, 32)
    handle = smooth([(68, 38), (84, 38), (89, 52), (82, 66), (67, 68)], False)
    canvas.line(handle, shade(colour, -0.3), 6.4)
    canvas.line([(x - 0.5, y - 0.5) for x, y in handle], shade(colour, -0.08), 4.6)
    body = [(18, 27), *smooth([(19, 62), (22, 78), (30, 83)], False), *smooth([(62, 83), (70, 78), (73, 62)], False)]
    canvas.fill([*body, (74, 27)], cloth, 0.3)
    canvas.fill(ellipse(46, 27, 28, 6.4), shade(colour, 0.22), 0.1)
    canvas.fill(ellipse(46, 27.6, 25.4, 5.0), (74, 48, 34), 0.25)
    canvas.shine(smooth([(23, 36), (27, 36), (28, 72), (25, 72)]), 0.5)


def teapot(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    canvas.shadow(50, 84, 32)
    handle = smooth([(70, 42), (87, 36), (92, 52), (84, 66), (70, 70)], False)
    canvas.line(handle, shade(colour, -0.3), 5.2)
    canvas.line(handle, shade(colour, -0.1), 3.8)
    canvas.fill(smooth([(30, 50), (16, 40), (8, 32), (5, 35), (12, 52), (28, 70)], steps=8), shade(colour, -0.08), 0.25)
    canvas.fill(ellipse(50, 58, 28, 25.5), cloth, 0.32)
    canvas.fill(ellipse(50, 37.5, 16.5, 5.5), shade(colour, -0.22), 0.2)
    canvas.fill([*ellipse(50, 37, 15.5, 10, 180, 360), *ellipse(50, 37, 15.5, 4, 0, 180)], cloth, 0.28)
    canvas.dot(50, 24.5, 3.6, shade(colour, -0.15))
    canvas.fill(box(38, 81, 62, 85, 1.5), shade(colour, -0.25), 0.2)
    canvas.shine(smooth([(30, 48), (36, 42), (36, 62), (31, 66)]), 0.45)


def vase(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    canvas.shadow(50, 90, 22)
    for x, y, bend in ((38, 10, -6), (50, 5, 0), (63, 11, 7)):
        canvas.line(smooth([(50, 34), (50 + bend * 0.5, 24), (x, y)], False), (104, 140, 96), 0.8)
        for k in range(4):
            t = 0.35 + 0.18 * k
            cx, cy = 50 + (x - 50) * t, 34 + (y - 34) * t
            for side in (-1, 1):
                leaf = smooth([(cx, cy), (cx + side * 3.4, cy - 3.6), (cx + side * 5.4, cy - 2.4), (cx + side * 3, cy)])
                canvas.fill(leaf, (124, 158, 112), 0.2)
    canvas.fill(smooth(mirrored([(44, 32), (43, 42), (31, 54), (28, 68), (34, 84), (42, 90)]), steps=8), cloth, 0.32)
    canvas.fill(ellipse(50, 32.5, 7.6, 2.2), shade(colour, -0.42), 0)
    canvas.shine(smooth([(33, 60), (37, 54), (37, 76), (34, 76)]), 0.5)


def bottle(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    canvas.shadow(50, 93, 18)
    canvas.fill(box(43, 6, 57, 20, 2.2), (64, 66, 70), 0.3)
    canvas.fill(mirrored([(43.5, 19), (43.5, 23), (37, 31), (35, 38), (35, 89), (38, 93), (45, 93.5)]), cloth, 0.34)
    canvas.fill(box(43, 18.5, 57, 22, 0.6), METAL, 0.4)
    canvas.line([(35, 86), (65, 86)], shade(colour, -0.3), 0.5)
    canvas.shine(box(39, 38, 42, 84, 1.4), 0.5)


def bowl(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    canvas.shadow(50, 80, 30)
    canvas.fill(box(38, 74, 62, 80, 2), shade(colour, -0.3), 0.2)
    canvas.fill([*ellipse(50, 40, 40, 38, 0, 180)], cloth, 0.32)
    canvas.fill(ellipse(50, 40, 40, 10), shade(colour, 0.2), 0.12)
    canvas.fill(ellipse(50, 41, 37, 8.4), shade(colour, -0.22), 0.25)
    canvas.shine(smooth([(20, 52), (24, 50), (32, 66), (29, 68)]), 0.45)


def plate(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    canvas.fill(ellipse(51, 52, 41, 41), shade((214, 212, 208), -0.08), 0.1)
    canvas.fill(ellipse(50, 50, 41, 41), cloth, 0.16)
    canvas.fill(ellipse(50, 50, 26, 26), shade(colour, -0.16), 0.1)
    canvas.fill(ellipse(50, 50.5, 25, 25), shade(colour, 0.1), 0.2)
    canvas.shine(smooth([(17, 40), (26, 22), (40, 13), (30, 24), (22, 36)]), 0.4)


def lamp(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    """The colour is the shade's."""
    canvas.shadow(50, 91, 22)
    canvas.line([(50, 50), (50, 88)], shade(WOOD, -0.1), 3.2)
    canvas.fill(smooth([(50, 58), (58, 68), (57, 80), (50, 86), (43, 80), (42, 68)]), WOOD, 0.3)
    canvas.fill(ellipse(50, 88, 17, 4), shade(WOOD, -0.15), 0.25)
    canvas.fill([(36, 14), (64, 14), (78, 52), *ellipse(50, 52, 28, 4.5, 0, 180)], cloth, 0.26)
    canvas.fill(ellipse(50, 14, 14, 2.6), shade(colour, 0.35), 0)
    canvas.shine(smooth([(36, 22), (50, 20), (56, 48), (34, 49)]), 0.28)


def chair(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    leg = shade(WOOD, -0.2)
    canvas.shadow(50, 92, 30)
    for x, top, end in ((37, 60, 33), (63, 60, 67)):
        canvas.line([(x, top), (end, 84)], shade(leg, -0.2), 2.2)
    canvas.fill(smooth(mirrored([(36, 9), (29, 16), (30, 44), (34, 56), (44, 58)]), steps=8), cloth, 0.26)
    canvas.fill(smooth([(24, 58), (30, 52), (70, 52), (76, 58), (74, 65), (26, 65)], steps=8), cloth, 0.26)
    canvas.fill(smooth([(24.5, 62), (75.5, 62), (74, 67), (26, 67)], steps=4), shade(colour, -0.25), 0.15)
    for x, end in ((29, 24), (71, 76)):
        canvas.line([(x, 66), (end, 91)], leg, 2.6)
    for x in (40, 50, 60):
        canvas.dot(x, 30, 0.9, shade(colour, -0.3))


def sofa(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.28)
    canvas.shadow(50, 80, 46)
    for x in (16, 84):
        canvas.fill([(x - 2, 74), (x + 2, 74), (x + 1.2, 81), (x - 1.2, 81)], WOOD, 0.2)
    canvas.fill(box(12, 28, 88, 66, 6), cloth, 0.2)
    canvas.line([(50, 30), (50, 54)], seam, 0.6)
    canvas.fill(box(16, 52, 50, 67, 3), cloth, 0.24)
    canvas.fill(box(50, 52, 84, 67, 3), cloth, 0.24)
    canvas.line([(18, 66.6), (82, 66.6)], seam, 0.7)
    canvas.line([(50, 54), (50, 66)], seam, 0.7)
    canvas.fill(box(13, 65, 87, 75, 2), shade(colour, -0.14), 0.2)
    canvas.fill(box(5, 42, 18, 75.5, 5.5), cloth, 0.26)
    canvas.fill(box(82, 42, 95, 75.5, 5.5), cloth, 0.3)


def cushion(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    canvas.shadow(50, 85, 36)
    outline = smooth(
        [(14, 16), (32, 20), (50, 21), (68, 20), (86, 16), (81, 50), (86, 84), (50, 80), (14, 84), (19, 50)]
    )
    canvas.fill(outline, cloth, 0.3)
    canvas.line([*outline, outline[0]], shade(colour, -0.3), 0.8)
    for x, y, dx, dy in ((18, 20, 9, 8), (82, 20, -9, 8), (18, 80, 9, -8), (82, 80, -9, -8)):
        canvas.line([(x, y), (x + dx, y + dy)], shade(colour, -0.25), 0.35)


def rug(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    border = shade(colour, -0.3)
    canvas.fill([(21, 27), (81, 27), (97, 78), (5, 78)], (204, 202, 198), 0)
    canvas.fill([(20, 25), (80, 25), (96, 76), (4, 76)], cloth, 0.14)
    canvas.line([(22.4, 28), (77.6, 28), (91.6, 73), (8.4, 73), (22.4, 28)], border, 1.3)
    for k in range(24):
        x = 21 + 58 * k / 23
        canvas.line([(x, 25), (x + 0.4 * (x - 50) / 30, 22)], (232, 226, 212), 0.6)
        x = 5.5 + 89 * k / 23
        canvas.line([(x, 76), (x + (x - 50) / 40, 80.5)], (232, 226, 212), 0.9)


def clock(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    """The colour is the frame's."""
    canvas.fill(ellipse(51.5, 52.5, 41, 41), (206, 204, 200), 0)
    canvas.fill(ellipse(50, 50, 41, 41), cloth, 0.3)
    canvas.fill(ellipse(50, 50, 32.5, 32.5), shade(colour, -0.35), 0)
    canvas.fill(ellipse(50, 50.4, 32, 32), (251, 250, 247), 0.06)
    for hour in range(12):
        angle = math.tau * hour / 12
        inner = 27.5 if hour % 3 else 24.5
        start = (50 + inner * math.sin(angle), 50 - inner * math.cos(angle))
        end = (50 + 29.5 * math.sin(angle), 50 - 29.5 * math.cos(angle))
        canvas.line([start, end], (52, 52, 58), 0.8 if hour % 3 else 1.5)
    canvas.line([(50, 50), (38, 41)], (44, 44, 50), 2.0)
    canvas.line([(50, 50), (63, 32)], (44, 44, 50), 1.3)
    canvas.dot(50, 50, 2, (44, 44, 50))


def towel(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    canvas.shadow(50, 80, 40)
    for level, tone in enumerate((-0.12, -0.04)):
        top = 60 - level * 16
        canvas.fill(box(12, top, 88, top + 19, 8), cloth, 0.24)
        canvas.line(
            smooth([(18, top + 18.5), (50, top + 18.9), (84, top + 18.5)], False), shade(colour, -0.35 + tone), 0.6
        )
    canvas.fill(box(12, 28, 88, 47, 8), cloth, 0.22)
    canvas.line([(80, 37.5), (60, 37.5), (30, 37.9), (17, 37.5)], shade(colour, -0.25), 0.5)
    canvas.fill(box(62, 28.4, 69, 78.5), shade(colour, 0.3), 0.2)

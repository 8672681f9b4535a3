"""Drawings of things to wear. Each takes a canvas, the paint of its cloth and the plain colour for seams."""

from PIL import Image

from examples.demo_catalogue.canvas import Canvas, box, ellipse, mirrored, smooth
from examples.demo_catalogue.palette import COLOURS, LEATHER, METAL, RGB, shade


def t_shirt(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.28)
    left = [(40, 17), (29, 20), (13, 37), (23, 48), (30, 42), (29, 85), (40, 86.5)]
    canvas.fill(mirrored(left), cloth)
    canvas.fill(ellipse(50, 17, 10.5, 6.5, 0, 180), shade(colour, -0.35), 0)
    canvas.line(ellipse(50, 17, 10.5, 6.5, 0, 180), seam, 0.9)
    canvas.line(ellipse(50, 17, 12.2, 8.4, 0, 180), seam, 0.35)
    for side in (1, -1):
        canvas.line([(50 - side * 20, 42), (50 - side * 20.3, 30)], seam, 0.4)
        canvas.line([(50 - side * 35.5, 39.5), (50 - side * 27, 46.6)], seam, 0.35)
        canvas.line(smooth([(50 - side * 14, 60), (50 - side * 16, 68), (50 - side * 15, 78)], False), seam, 0.25)
    canvas.line([(29.2, 83), (70.8, 83)], seam, 0.3)


def shirt(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.28)
    for side in (1, -1):
        sleeve = [(50 - side * 22, 22), (50 - side * 33, 44), (50 - side * 37, 72), (50 - side * 29, 74)]
        canvas.fill([*sleeve, (50 - side * 19, 40)], cloth, 0.26)
        canvas.fill(
            [(50 - side * 37.4, 70), (50 - side * 28.6, 72), (50 - side * 28.4, 77), (50 - side * 37.6, 75)], cloth, 0.3
        )
    canvas.fill(mirrored([(42, 17), (29, 20.5), (30, 50), (28, 84), (37, 88), (45, 86.5)]), cloth)
    canvas.fill([(41, 17), (50, 30), (59, 17), (50, 14.5)], shade(colour, -0.38), 0)
    for side in (1, -1):
        canvas.fill(
            [(50, 30), (50 - side * 9.5, 15), (50 - side * 12.5, 20), (50 - side * 7.5, 31)], shade(colour, 0.06), 0.1
        )
        canvas.line([(50, 30), (50 - side * 7.5, 31), (50 - side * 12.5, 20)], seam, 0.4)
        canvas.line([(50 - side * 20.5, 40), (50 - side * 21, 24)], seam, 0.35)
    canvas.line([(48, 30), (48, 86.5)], seam, 0.3)
    canvas.line([(52, 30), (52, 86.5)], seam, 0.3)
    for y in range(36, 86, 9):
        canvas.dot(50, y, 0.8, shade(colour, 0.55) if sum(colour) < 500 else shade(colour, -0.4))
    canvas.fill(box(56, 42, 65, 53, 1), cloth, 0.1)
    canvas.line([*box(56, 42, 65, 53, 1), (65, 43)], seam, 0.35)


def dress(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.3)
    canvas.fill(
        mirrored([(42, 10), (37.5, 11), (37, 24), (38.5, 33), (39, 42), (33, 62), (24, 86), (36, 90), (45, 90.5)]),
        cloth,
    )
    canvas.fill(ellipse(50, 10, 9, 11, 0, 180), shade(colour, -0.4), 0)
    canvas.line(ellipse(50, 10, 9, 11, 0, 180), seam, 0.7)
    canvas.fill(mirrored([(38.8, 40), (39, 44.5)]), shade(colour, -0.3), 0.15)
    for x, end in ((41, 32), (46, 43), (54, 57), (59, 68)):
        canvas.line(smooth([(x, 46), ((x + end) / 2, 64), (end, 88)], False), seam, 0.3)


def trousers(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.3)
    for side in (1, -1):
        leg = [(50, 10), (50 - side * 15, 10), (50 - side * 19, 34), (50 - side * 18, 91), (50 - side * 4, 91)]
        canvas.fill([*leg, (50 - side * 0.5, 40)], cloth, 0.24)
        canvas.line([(50 - side * 11, 20), (50 - side * 11, 88)], seam, 0.25)
        canvas.line(smooth([(50 - side * 9, 15), (50 - side * 12, 22), (50 - side * 17, 24)], False), seam, 0.45)
        canvas.line([(50 - side * 4, 88), (50 - side * 18, 88)], seam, 0.3)
    canvas.fill(box(35, 9, 65, 14.5, 1), shade(colour, -0.12), 0.15)
    for x in (38, 44, 56, 62):
        canvas.fill(box(x - 0.8, 8.6, x + 0.8, 15.4), shade(colour, -0.25), 0)
    canvas.line(smooth([(50, 14.5), (50.3, 30), (50, 40)], False), seam, 0.45)
    canvas.line(smooth([(54, 15), (54, 26), (50.5, 33)], False), seam, 0.3)
    canvas.dot(50, 11.8, 1.0, METAL)


def jacket(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam, zip_ = shade(colour, -0.32), METAL
    for side in (1, -1):
        canvas.fill(
            smooth(
                [
                    (50 - side * 20, 21),
                    (50 - side * 31, 34),
                    (50 - side * 38, 72),
                    (50 - side * 29, 76),
                    (50 - side * 18, 46),
                ],
                steps=6,
            ),
            cloth,
            0.28,
        )
        canvas.fill(
            [(50 - side * 38.5, 71), (50 - side * 28, 74), (50 - side * 28.5, 80), (50 - side * 38, 77)], seam, 0.2
        )
    canvas.fill(mirrored([(42, 15), (29, 20), (28, 50), (29, 80), (40, 82)]), cloth)
    canvas.fill(box(28.5, 79, 71.5, 87, 2), seam, 0.2)
    canvas.fill(mirrored([(41, 12), (38, 20), (43, 24)]), shade(colour, -0.15), 0.2)
    canvas.fill([(43, 13), (57, 13), (50, 26)], shade(colour, -0.5), 0)
    canvas.line([(50, 22), (50, 86)], shade(colour, -0.45), 1.6)
    canvas.line([(50, 22), (50, 86)], zip_, 0.7)
    for side in (1, -1):
        canvas.line([(50 - side * 8, 66), (50 - side * 17, 56)], seam, 1.0)
        canvas.line([(50 - side * 20, 44), (50 - side * 20, 24)], seam, 0.4)
    canvas.fill(box(49, 26, 51, 31, 0.8), zip_, 0.2)


def skirt(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.3)
    canvas.fill(mirrored([(36, 20), (31, 45), (20, 80), (34, 84.5), (45, 85.5)]), cloth)
    canvas.fill(box(35.4, 16, 64.6, 22.5, 1.2), shade(colour, -0.15), 0.15)
    for top, bottom in ((40, 29), (45, 40), (50, 50), (55, 60), (60, 71)):
        canvas.line(smooth([(top, 24), ((top + bottom) / 2, 50), (bottom, 83)], False), seam, 0.35)
    canvas.dot(62, 19.2, 1, METAL)


def cap(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.3)
    canvas.shadow(50, 76, 36)
    canvas.fill(smooth([(64, 62), (80, 63), (93, 69), (92, 73.5), (78, 72), (58, 72)]), shade(colour, -0.22), 0.25)
    crown = smooth([(15, 70), (15, 52), (24, 34), (42, 25), (58, 29), (69, 43), (73, 62)], False)
    canvas.fill([*crown, (60, 70), (40, 73)], cloth, 0.26)
    canvas.line(smooth([(43, 26), (34, 44), (33, 72)], False), seam, 0.4)
    canvas.line(smooth([(43, 26), (56, 42), (58, 70)], False), seam, 0.4)
    canvas.line(smooth([(15, 66), (34, 69), (58, 66), (73, 60)], False), seam, 0.45)
    canvas.dot(43, 25.4, 2, shade(colour, -0.15))
    for x, y in ((25, 44), (49, 42)):
        canvas.dot(x, y, 0.9, seam)


def sun_hat(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    canvas.shadow(50, 74, 44)
    canvas.fill(ellipse(50, 65, 44, 11), shade(colour, -0.12), 0.22)
    canvas.fill(ellipse(50, 63.5, 43, 9.6), cloth, 0.18)
    crown = smooth([(26, 62), (29, 42), (38, 30), (50, 27), (62, 30), (71, 42), (74, 62)], False)
    canvas.fill([*crown, *ellipse(50, 62, 24, 6, 0, 180)], cloth, 0.26)
    band = [*ellipse(50, 57, 24, 6, 180, 0)[::1], *ellipse(50, 63, 24.4, 6, 0, 180)]
    canvas.fill(band, LEATHER if sum(colour) > 330 else COLOURS["beige"], 0.2)


def sneaker(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam, sole = shade(colour, -0.32), (244, 243, 240)
    canvas.shadow(50, 75, 42)
    upper = smooth([(13, 66), (12, 50), (15, 37), (24, 35), (30, 43), (44, 40), (57, 48), (76, 55), (89, 61), (91, 68)])
    canvas.fill(upper, cloth, 0.24)
    canvas.fill(smooth([(70, 66), (76, 56), (88, 61), (91, 67), (80, 69)]), shade(colour, 0.14), 0.2)
    canvas.fill(smooth([(12.5, 64), (12, 50), (17, 48), (24, 56), (24, 66)]), shade(colour, -0.18), 0.2)
    canvas.fill(smooth([(15, 38), (23, 35), (30, 43), (24, 46), (17, 43)]), shade(colour, -0.5), 0)
    canvas.fill(box(10, 66, 93, 74.5, 3.6), sole, 0.14)
    canvas.line([(12, 70), (91, 70)], shade(sole, -0.2), 0.4)
    for i in range(5):
        x, y = 37 + 6.2 * i, 41.5 + 2.6 * i
        canvas.line([(x, y), (x - 3.2, y + 6.6)], sole, 1.1)
    canvas.line(smooth([(30, 44), (33, 56), (46, 64)], False), seam, 0.45)
    canvas.line(smooth([(46, 64), (60, 62), (70, 65)], False), seam, 0.45)


def boot(canvas: Canvas, cloth: Image.Image, colour: RGB) -> None:
    seam = shade(colour, -0.3)
    canvas.shadow(52, 87, 36)
    canvas.fill(
        smooth([(27, 14), (57, 14), (56, 40), (58, 54), (76, 62), (88, 71), (87, 81), (26, 81), (25, 60), (29, 38)]),
        cloth,
        0.28,
    )
    canvas.fill(box(26, 11, 58, 17.5, 1.6), shade(colour, -0.2), 0.2)
    canvas.fill([(24, 79), (88, 79), (89, 86), (46, 86), (45, 83), (40, 87), (24, 87)], shade(LEATHER, -0.55), 0.1)
    canvas.line(smooth([(58, 55), (50, 62), (44, 78)], False), seam, 0.45)
    for i in range(5):
        y = 24 + 7 * i
        canvas.line([(47, y), (57, y + 1.5)], shade(colour, -0.5), 0.9)
        canvas.dot(47, y, 0.9, METAL)
    canvas.line(smooth([(27, 18), (24, 14), (28, 8), (32, 12), (30, 18)], False), seam, 1.2)

"""Named colours, each far enough from the others that a shopper would not mistake it."""

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (201, 42, 48),
    "orange": (233, 122, 38),
    "yellow": (244, 200, 52),
    "green": (58, 145, 82),
    "teal": (26, 138, 140),
    "blue": (46, 100, 200),
    "navy": (30, 42, 92),
    "purple": (118, 70, 162),
    "pink": (240, 138, 172),
    "brown": (122, 78, 48),
    "beige": (222, 202, 168),
    "grey": (140, 146, 152),
    "black": (40, 40, 44),
    "white": (247, 247, 245),
}
PATTERNS = ("plain", "striped", "polka dot", "checked", "floral", "zigzag")

# Backgrounds are neutral: a picture's colour is to be the product's.
BACKGROUNDS: tuple[RGB, ...] = ((240, 238, 234), (234, 236, 238), (238, 234, 230), (236, 238, 234))
DARK_BACKGROUND: RGB = (208, 210, 212)  # behind white products

WOOD: RGB = (176, 128, 84)
METAL: RGB = (176, 180, 186)
LEATHER: RGB = (112, 76, 50)


def shade(colour: RGB, amount: float) -> RGB:
    """Towards black for a negative amount, towards white for a positive one; -1 to 1."""
    target = 255 if amount > 0 else 0
    red, green, blue = (round(channel + (target - channel) * abs(amount)) for channel in colour)
    return red, green, blue


def contrast(colour: RGB) -> RGB:
    """What a pattern is drawn in: off-white on most colours, navy on the light ones."""
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return COLOURS["navy"] if luminance > 190 else COLOURS["white"]

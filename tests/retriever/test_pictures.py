"""Pictures are shown upright, in RGB, whatever their files say."""

import io
import struct

import numpy as np
import pytest
from PIL import ExifTags, Image

from retriever.pictures import upright_rgb

SIX = (0x112, 3, 1, struct.pack("<H", 6))  # orientation: turn by 90 degrees to view


def exif(*fields: tuple[int, int, int, bytes]) -> bytes:
    """Of tags, types, counts and values that Pillow would not write so."""
    body = b"".join(struct.pack("<HHI", *field[:3]) + field[3].ljust(4, b"\0") for field in fields)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(fields)) + body + bytes(4)


def photograph(data: bytes) -> Image.Image:
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "JPEG", exif=data)
    return Image.open(file)


@pytest.mark.parametrize(
    "data",
    [
        b"Exif\0\0no TIFF at all",
        b"Exif\0\0II\x2b\0\x08\0\0\0",
        exif((0x112, 2, 2, b"6\0")),
        exif((0x112, 5, 1, b"\0")),
    ],
    ids=["no TIFF", "BigTIFF", "orientation as text", "orientation out of the file"],
)
def test_a_picture_whose_exif_cannot_be_read_is_upright(data: bytes) -> None:
    assert upright_rgb(photograph(data)).size == (8, 6)


@pytest.mark.parametrize("odd", [(0x11A, 2, 3, b"72\0"), (0x100, 2, 2, b"8\0")], ids=["XResolution", "ImageWidth"])
def test_of_exif_the_orientation_alone_counts(odd: tuple[int, int, int, bytes]) -> None:
    assert upright_rgb(photograph(exif(*sorted([odd, SIX])))).size == (6, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_once(orientation: int) -> None:
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
    image = Image.fromarray(pixels)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    file = io.BytesIO()
    image.save(file, "PNG", exif=image.getexif())
    turned = [pixels, pixels[:, ::-1], pixels[::-1, ::-1], pixels[::-1]]
    turned += [side.transpose(1, 0, 2) for side in (pixels, pixels[::-1], pixels[::-1, ::-1], pixels[:, ::-1])]
    shown = upright_rgb(Image.open(file))
    assert np.array_equal(np.asarray(shown), turned[orientation - 1])
    assert np.array_equal(np.asarray(upright_rgb(shown)), turned[orientation - 1])


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("I;16", [0, 0xFF, 0x100, 0x8000, 0xFFFF], [0, 0, 1, 128, 255]),
        ("I", [-300, 0xFF, 0x100, 0x8000, 0x10000], [0, 0, 1, 128, 255]),
    ],
)
def test_sixteen_bits_of_grey_become_eight(mode: str, values: list[int], expected: list[int]) -> None:
    image = Image.new(mode, (len(values), 1))
    image.putdata(values)
    assert np.asarray(upright_rgb(image))[0, :, 0].tolist() == expected


def test_what_is_rgb_already_is_not_copied() -> None:
    """A copy of forty million pixels takes 160 MB."""
    image = Image.new("RGB", (8, 6))
    assert upright_rgb(image) is image

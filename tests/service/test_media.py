"""Strangers' pictures: what is refused, and that every kind that is taken ends as the same upright RGB."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.media import MediaStore, Picture, PictureLimits, decode
from service.problems import Problem
from tests.service.helpers import picture_file


def read(data: bytes, max_pixels: int = 40_000_000, max_side: int = 1024) -> Picture:
    return decode(io.BytesIO(data), PictureLimits(max_pixels, max_side, file_bytes=10**8))


def pixel(picture: Picture, at: tuple[int, int] = (5, 5)) -> tuple[int, ...]:
    value = picture.image.getpixel(at)
    assert isinstance(value, tuple)
    return value


def near(colour: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= 6 for a, b in zip(colour, expected, strict=True))


RED = (255, 0, 0)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (picture_file("red", file_format="PNG"), RED),
        (picture_file("red", file_format="JPEG"), (254, 0, 0)),
        (picture_file("red", file_format="WEBP", lossless=True), RED),
        (picture_file((0, 255, 255, 0), mode="CMYK", file_format="JPEG"), (254, 0, 0)),
        (picture_file(128, mode="L", file_format="JPEG"), (128, 128, 128)),
        (picture_file(1, mode="1"), (255, 255, 255)),
        (picture_file((255, 0, 0, 0), mode="RGBA"), (255, 255, 255)),
        (picture_file((255, 0, 0, 128), mode="RGBA"), (255, 127, 127)),
        (picture_file((100, 0), mode="LA"), (255, 255, 255)),
        (picture_file((255, 0, 0, 0), mode="RGBA", file_format="WEBP", lossless=True), (255, 255, 255)),
        (picture_file("red", transparency=(255, 0, 0)), (255, 255, 255)),
        (picture_file(0x8000, mode="I;16"), (128, 128, 128)),
        (picture_file(0xFFFF, mode="I;16"), (255, 255, 255)),
    ],
    ids=[
        "png",
        "jpeg",
        "webp",
        "cmyk",
        "grey",
        "bilevel",
        "clear",
        "half-clear",
        "grey-alpha",
        "clear-webp",
        "colour-key",
        "16-bit",
        "16-bit-white",
    ],
)
def test_every_colour_mode_becomes_rgb_on_white(data: bytes, expected: tuple[int, ...]) -> None:
    picture = read(data)
    assert picture.image.mode == "RGB"
    assert near(pixel(picture), expected)


def test_palette_with_transparency() -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 255, 0, 0] + [0] * 762)
    image.paste(0, (0, 0, 10, 20))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=0)
    picture = read(buffer.getvalue())
    assert near(pixel(picture, (2, 10)), (255, 255, 255))
    assert near(pixel(picture, (17, 10)), RED)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_counts(file_format: str) -> None:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    frames[0].save(buffer, file_format, save_all=True, append_images=frames[1:], duration=50, lossless=True)
    assert near(pixel(read(buffer.getvalue())), RED)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_turned_upright(file_format: str) -> None:
    image = Image.new("RGB", (80, 40), "red")
    image.paste("blue", (40, 0, 80, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    buffer = io.BytesIO()
    image.save(buffer, file_format, exif=exif)
    picture = read(buffer.getvalue())
    assert picture.image.size == (40, 80)
    top, bottom = pixel(picture, (20, 10)), pixel(picture, (20, 70))
    assert top[0] > 200 > top[2]
    assert bottom[2] > 200 > bottom[0]
    assert not Image.open(io.BytesIO(picture.jpeg)).getexif(), "positions and cameras are nobody's business"


def test_no_comment_is_kept() -> None:
    assert b"at home" not in read(picture_file(file_format="JPEG", comment=b"at home")).jpeg


@pytest.mark.parametrize(("size", "kept"), [((3000, 1500), (1024, 512)), ((100, 50), (100, 50)), ((1, 1), (1, 1))])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_size_is_bounded_and_never_grows(size: tuple[int, int], kept: tuple[int, int], file_format: str) -> None:
    assert read(picture_file(size=size, file_format=file_format)).image.size == kept


def test_the_model_sees_exactly_what_is_kept() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    picture = read(buffer.getvalue())
    assert np.array_equal(np.asarray(picture.image), np.asarray(Image.open(io.BytesIO(picture.jpeg))))


def tiff() -> bytes:
    return picture_file(file_format="TIFF")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 100,
        b"GIF89a" + b"\x00" * 50,
        picture_file(file_format="GIF"),
        picture_file(file_format="BMP"),
        tiff(),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        picture_file(size=(200, 200), file_format="JPEG")[:-400],
        picture_file(size=(200, 200))[:-40],
        picture_file(size=(200, 200), file_format="WEBP")[:-20],
        picture_file()[:30],
        picture_file().replace(b"IDAT", b"IDxT"),
    ],
    ids=[
        "empty",
        "zeros",
        "fake",
        "gif",
        "bmp",
        "tiff",
        "eps",
        "svg",
        "cut-jpeg",
        "cut-png",
        "cut-webp",
        "header-only",
        "broken-png",
    ],
)
def test_what_is_no_whole_picture_is_refused(data: bytes) -> None:
    with pytest.raises(Problem) as caught:
        read(data)
    assert (caught.value.status, caught.value.code) == (422, "invalid_image")


def bomb(side: int) -> bytes:
    """A valid 1-bit PNG of `side`² black pixels in some kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((side + 7) // 8 + 1) * side, 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [7_000, 13_000, 20_000])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    data = bomb(side)
    assert len(data) < 60_000
    tracemalloc.start()
    with pytest.raises(Problem) as caught:
        read(data)
    assert caught.value.code == "image_too_large"
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def webp_bomb(side: int) -> bytes:
    """An animation of two tiny frames whose header says that it is `side`² pixels large."""
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    data = bytearray(buffer.getvalue())
    assert data[12:16] == b"VP8X"
    data[24:30] = (side - 1).to_bytes(3, "little") * 2
    return bytes(data)


MEASURE = """
import io, pathlib, resource, sys
from time import process_time
from service.media import PictureLimits, decode
from service.problems import Problem

for path in sys.argv[1:]:
    data = pathlib.Path(path).read_bytes()
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, process_time()
    try:
        decode(io.BytesIO(data), PictureLimits(40_000_000, 1024, 10**8))
    except Problem as problem:
        spent = process_time() - began
        print(problem.code, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, spent * 1000)
"""


def test_a_bomb_takes_no_memory_of_the_process_either(tmp_path: Path) -> None:
    """Pillow's own memory is not Python's: the process is asked. `pytest -s` shows the milliseconds, too."""
    bombs = {"png": bomb(13_000), "webp": webp_bomb(13_000)}
    for kind, data in bombs.items():
        assert len(data) < 25_000
        (tmp_path / kind).write_bytes(data)
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, *(str(tmp_path / kind) for kind in bombs)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert [code for code, _, _ in lines] == ["image_too_large", "image_too_large"]
    for (kind, data), (_, mebibytes, milliseconds) in zip(bombs.items(), lines, strict=True):
        print(f"{kind}, {len(data)} bytes: refused with {float(mebibytes):.1f} MiB in {float(milliseconds):.1f} ms")
        assert float(mebibytes) < 50


def test_a_file_of_too_many_bytes_is_not_read_to_its_end() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            assert 0 <= size <= 1001
            self.given += size
            return b"x" * size

    file = Endless()
    with pytest.raises(Problem) as caught:
        decode(file, PictureLimits(pixels=100, side=10, file_bytes=1000))  # type: ignore[arg-type]
    assert (caught.value.status, caught.value.code) == (413, "file_too_large")
    assert file.given == 1001


def test_a_photograph_with_a_second_picture_behind_it() -> None:
    """MPO, as telephones write it: a JPEG file with another one appended."""
    buffer = io.BytesIO()
    first, second = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    assert near(pixel(read(buffer.getvalue())), (254, 0, 0))


def test_sixteen_bits_a_channel() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\x00" + struct.pack(">HHH", 0xFFFF, 0x8000, 0) * 10
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(row * 10)) + chunk(b"IEND", b"")
    assert near(pixel(read(data)), (255, 128, 0))


def test_just_as_many_pixels_as_are_allowed() -> None:
    assert read(picture_file(size=(20, 20)), max_pixels=400).image.size == (20, 20)
    with pytest.raises(Problem):
        read(picture_file(size=(20, 20)), max_pixels=399)


class TestMediaStore:
    def test_files_are_whole_and_found_by_name(self, tmp_path: Path) -> None:
        store = MediaStore(tmp_path / "media")
        pictures = [read(picture_file("red")), read(picture_file("blue"))]
        names = store.save("../../etc/passwd", pictures)
        assert [store.path(name).read_bytes() for name in names] == [picture.jpeg for picture in pictures]
        assert all(store.path(name).resolve().is_relative_to(tmp_path / "media") for name in names)

    def test_old_versions_and_leftovers_go(self, tmp_path: Path) -> None:
        store = MediaStore(tmp_path / "media")
        old = store.save("a", [read(picture_file("red"))])
        other = store.save("b", [read(picture_file("red"))])
        store.path(old[0]).with_suffix(".tmp").write_bytes(b"half a pict")
        new = store.save("a", [read(picture_file("blue"))])
        store.keep_only("a", new)
        assert sorted(tmp_path.rglob("*.*")) == sorted(store.path(name) for name in new + other)

    def test_a_failed_write_leaves_nothing_that_looks_whole(self, tmp_path: Path, monkeypatch: Any) -> None:
        store = MediaStore(tmp_path / "media")

        def no_space(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("service.media.os.fsync", no_space)
        with pytest.raises(OSError, match="No space"):
            store.save("a", [read(picture_file())])
        assert not list(tmp_path.rglob("*.jpg"))

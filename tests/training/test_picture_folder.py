import struct
from pathlib import Path

import pytest
from PIL import Image

from training import picture_folder
from training.json_records import FormatError
from training.picture_folder import PictureFolder


def test_pictures_are_found_by_id_whatever_their_suffix(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.PNG", "sku.3.webp"):
        Image.new("RGB", (8, 6), "red").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    pictures = PictureFolder(tmp_path)
    assert len(pictures) == 3
    assert "2" in pictures
    assert "notes" not in pictures
    picture = pictures.load("sku.3")
    assert (picture.mode, picture.size) == ("RGB", (8, 6))


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees to view
    Image.new("RGB", (8, 6)).save(tmp_path / "1.jpg", exif=exif)
    assert PictureFolder(tmp_path).load("1").size == (6, 8)


def test_a_transparent_picture_stands_on_white(tmp_path: Path) -> None:
    """As in the service; without its alpha, what is transparent is black in most files."""
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "mug.png")
    assert PictureFolder(tmp_path).load("mug").getpixel((1, 1)) == (255, 255, 255)


def test_a_picture_is_named_whatever_its_parser_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(image: Image.Image) -> Image.Image:
        raise struct.error("unpack requires a buffer of 8 bytes")

    Image.new("RGB", (1, 1)).save(tmp_path / "1.png")
    monkeypatch.setattr(picture_folder, "upright_rgb", stumble)
    with pytest.raises(FormatError, match=r"1\.png: this picture cannot be decoded \(unpack requires"):
        PictureFolder(tmp_path).load("1")


def test_missing_broken_and_ambiguous_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"\xff\xd8 not a jpeg")
    pictures = PictureFolder(tmp_path)
    with pytest.raises(FormatError, match=r"1\.jpg: this picture cannot be decoded"):
        pictures.load("1")
    with pytest.raises(FormatError, match=r"no picture of 9 \(looked for 9\.jpg, 9\.jpeg, 9\.png, 9\.webp\)"):
        pictures.load("9")
    Image.new("RGB", (1, 1)).save(tmp_path / "1.png")
    with pytest.raises(FormatError, match=r"both 1\.jpg and 1\.png"):
        PictureFolder(tmp_path)
    with pytest.raises(FormatError, match="no such folder"):
        PictureFolder(tmp_path / "none")

"""Pictures of a source: checked, measured, compared by looks, and made ready for a model."""

import base64
import io
from dataclasses import dataclass

import imagehash
from PIL import Image

from retriever.pictures import upright_rgb

KEPT = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}  # what training.picture_folder.PictureFolder reads
MAX_PIXELS = 100_000_000
SENT_SIDE = 512  # longer side of what a model is shown, in pixels: enough for a caption, a tenth of the price


class BrokenPicture(ValueError):
    """The bytes are no picture that can be decoded."""


@dataclass(frozen=True)
class Checked:
    """A picture that was decoded once, to its last pixel."""

    content: bytes  # the file to keep
    suffix: str
    width: int  # pixels
    height: int
    likeness: str  # 64-bit perceptual hash, 16 hexadecimal digits


def check(content: bytes) -> Checked:
    """Decode a picture; formats that training does not read become JPEG.

    The likeness is pHash: the signs of the lowest frequencies of the grey picture, which scaling, recompression and a
    change of brightness leave as they are.

    Raises:
        BrokenPicture: it is none, is cut off, or has more than `MAX_PIXELS` pixels.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BrokenPicture(f"{image.width} × {image.height} pixels are more than {MAX_PIXELS / 1e6:g} million")
            picture = upright_rgb(image)
            suffix = KEPT.get(image.format or "")
    except BrokenPicture:
        raise
    except Exception as error:  # parsers of broken files raise whatever they stumble over
        raise BrokenPicture(str(error) or type(error).__name__) from error
    if suffix is None:
        content, suffix = jpeg(picture), ".jpg"
    return Checked(content, suffix, picture.width, picture.height, str(imagehash.phash(picture)))


def jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def data_url(content: bytes) -> str:
    """The picture as models take it, at most `SENT_SIDE` pixels a side."""
    with Image.open(io.BytesIO(content)) as image:
        picture = upright_rgb(image)
    picture.thumbnail((SENT_SIDE, SENT_SIDE), Image.Resampling.LANCZOS)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture)).decode()

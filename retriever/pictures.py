"""Pictures as the model sees them, whatever file they come from: the same in training, evaluation and the service."""

import numpy as np
from PIL import ExifTags, Image

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright_rgb(image: Image.Image, max_side: int | None = None) -> Image.Image:
    """Any mode → RGB, turned as the camera was held, on white where it is transparent.

    What is so already is given back as it is, and not turned again.

    Args:
        max_side: larger pictures are made smaller, to so many pixels on the longer side; `image` itself may be, since
            a copy of a large one takes more memory than all else.
    """
    image.load()
    turn = _TURNS.get(_orientation(image))
    if image.mode.startswith("I"):  # 16-bit grey, which `convert` would clip to white
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    if max_side is not None:
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    if turn is not None:
        image = image.transpose(turn)
        image.info = {}  # without the orientation that it had
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image


def _orientation(image: Image.Image) -> int:
    """How the camera was held, as EXIF counts it: 1 is upright, and so is a picture whose EXIF cannot be read.

    `ImageOps.exif_transpose` reads and writes all of it, and fails at any odd field of a picture that is whole.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow's parser raises whatever it stumbles over
        return 1
    return orientation if isinstance(orientation, int) else 1

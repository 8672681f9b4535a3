"""Pictures as the model sees them, whatever file they come from: the same in training, evaluation and the service."""

import numpy as np
from PIL import Image, ImageOps


def upright_rgb(image: Image.Image, max_side: int | None = None) -> Image.Image:
    """Any mode → RGB, turned as the camera was held, on white where it is transparent.

    Args:
        max_side: larger pictures are made smaller, to so many pixels on the longer side.
    """
    if image.mode.startswith("I"):  # 16-bit grey, which `convert` would clip to white
        image.load()
        grey = np.clip(np.asarray(image, dtype=np.int64) >> 8, 0, 255).astype(np.uint8)
        info, image = image.info, Image.fromarray(grey)
        image.info.update({key: value for key, value in info.items() if key == "exif"})
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if max_side is not None:
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image

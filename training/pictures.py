"""Pictures as pixels, read anew at each step: what a tower needs that is trained itself."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from retriever import Processor
from training.picture_folder import open_picture

AREA = (0.5, 1.0)  # share of a picture that a training crop shows, as BLIP-2 has it
STRETCH = (3 / 4, 4 / 3)  # of a crop's sides against each other


class PictureReader:
    """The counterpart of `FeatureCache` for a tower that changes as it is trained.

    Raises:
        FormatError: a picture cannot be decoded; the message names it.
    """

    def __init__(self, processor: Processor) -> None:
        self.processor = processor
        self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))

    def add(self, paths: Sequence[Path], whole: bool = False) -> None:
        """There is nothing to compute ahead."""

    def read(self, paths: Sequence[Path], rng: np.random.Generator | None = None, share: float = 1.0) -> Tensor:
        """`(B, 3, S, S)`; with a generator, of a random part of each picture, half of them mirrored.

        `share` has no meaning here: the tower needs every pixel.
        """
        seeds = [None] * len(paths) if rng is None else rng.integers(1 << 31, size=len(paths)).tolist()
        return torch.stack(list(self._pool.map(self._load, paths, seeds)))

    def _load(self, path: Path, seed: int | None) -> Tensor:
        picture = open_picture(path)
        shown = picture if seed is None else crop(picture, np.random.default_rng(seed))
        return torch.from_numpy(self.processor.image(shown))


def crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A random part of a picture, mirrored or not (Szegedy et al., arXiv 1409.4842, with BLIP-2's bounds)."""
    area = rng.uniform(*AREA) * picture.width * picture.height
    stretch = np.exp(rng.uniform(*np.log(STRETCH)))
    width = min(picture.width, max(1, round(np.sqrt(area * stretch))))
    height = min(picture.height, max(1, round(np.sqrt(area / stretch))))
    left, top = rng.integers(picture.width - width + 1), rng.integers(picture.height - height + 1)
    part = picture.crop((left, top, left + width, top + height))
    return ImageOps.mirror(part) if rng.random() < 0.5 else part

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from retriever import Retriever
from training.json_records import FormatError
from training.pictures import PictureReader, crop


def test_pictures_are_read_whole_in_evaluation(tiny_retriever: Retriever, toy_shop: Path) -> None:
    paths = sorted((toy_shop / "images").iterdir())[:3]
    pixels = PictureReader(tiny_retriever.processor).read(paths)
    assert np.array_equal(pixels, np.stack([tiny_retriever.processor.image(Image.open(path)) for path in paths]))


def test_a_training_step_can_be_read_again(tiny_retriever: Retriever, toy_shop: Path) -> None:
    paths = sorted((toy_shop / "images").iterdir())[:3]
    reader = PictureReader(tiny_retriever.processor)
    first, again, other = (reader.read(paths, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_crop_shows_at_least_half() -> None:
    rng = np.random.default_rng(0)
    for size in ((100, 100), (300, 60), (1, 1)):
        for _ in range(50):
            part = crop(Image.new("RGB", size), rng)
            assert 1 <= part.width <= size[0]
            assert 1 <= part.height <= size[1]
            if size == (100, 100):
                assert part.width * part.height >= 0.45 * 100 * 100


def test_an_unreadable_picture_is_named(tiny_retriever: Retriever, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(FormatError, match=r"broken\.png: this picture cannot be decoded"):
        PictureReader(tiny_retriever.processor).read([broken])

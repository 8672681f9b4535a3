import json

import numpy as np
import pytest
from PIL import ExifTags, Image

from retriever import Retriever, RetrieverConfig, item_text
from tests.conftest import TINY


def test_pictures_become_normalised_squares(tiny_retriever: Retriever) -> None:
    image = tiny_retriever.processor.image(Image.new("RGB", (30, 90), (255, 0, 0)))
    assert image.shape == (3, 64, 64)
    mean, std = TINY.image_mean, TINY.image_std
    expected = [(1 - mean[0]) / std[0], -mean[1] / std[1], -mean[2] / std[2]]
    np.testing.assert_allclose(image.mean(axis=(1, 2)), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16", "1"])
def test_every_mode_of_picture_is_taken(tiny_retriever: Retriever, mode: str) -> None:
    assert tiny_retriever.processor.image(Image.new(mode, (20, 20))).shape == (3, 64, 64)


def test_a_picture_is_seen_as_it_is_shown(tiny_retriever: Retriever) -> None:
    """The service turns pictures upright and puts them on white before they get here; so do the library's users."""
    held = Image.new("RGB", (40, 20), "red")
    held.paste("blue", (20, 0, 40, 20))
    held.getexif()[ExifTags.Base.Orientation] = 6
    see = tiny_retriever.processor.image
    assert np.array_equal(see(held), see(held.transpose(Image.Transpose.ROTATE_270)))
    white = see(Image.new("RGB", (20, 20), "white"))
    for picture in (Image.new("RGBA", (20, 20), (0, 0, 0, 0)), Image.new("I;16", (20, 20), 0xFFFF)):
        assert np.array_equal(see(picture), white)
    assert not np.array_equal(see(Image.new("I;16", (20, 20), 0x8000)), white)


def test_texts_are_padded_to_the_longest_and_cut_before_the_last_piece(tiny_retriever: Retriever) -> None:
    ids, mask = tiny_retriever.processor.queries(["red mug", "red " * 100])
    assert ids.shape == mask.shape == (2, TINY.max_query_length)
    assert mask.sum(axis=1).tolist() == [4, TINY.max_query_length]
    separator = tiny_retriever.processor.tokenizer.token_to_id("[SEP]")
    assert ids[0, 3] == ids[1, -1] == separator


def test_a_pair_is_the_query_then_the_text(tiny_retriever: Retriever) -> None:
    processor = tiny_retriever.processor
    ids, mask = processor.pairs(["red mug", "blue"], ["the mug", " "])
    word = processor.tokenizer.id_to_token
    words = [[word(piece) for piece in row[own == 1]] for row, own in zip(ids, mask, strict=True)]
    assert words == [["[CLS]", "red", "mug", "[SEP]", "the", "mug", "[SEP]"], ["[CLS]", "blue", "[SEP]"]]
    assert np.array_equal(ids[1:, :3], processor.queries(["blue"])[0])  # as BLIP-2 reads a text beside a picture


def test_a_long_pair_is_cut_to_what_the_model_reads(tiny_retriever: Retriever) -> None:
    ids, mask = tiny_retriever.processor.pairs(["red " * 100, "red"], ["mug " * 100, "mug " * 100])
    assert mask.sum(axis=1).tolist() == [TINY.max_positions, 3 + TINY.max_positions - 3]
    separator = tiny_retriever.processor.tokenizer.token_to_id("[SEP]")
    assert np.flatnonzero(ids[0] == separator).tolist() == [TINY.max_query_length - 1, TINY.max_positions - 1]


def test_an_items_text_has_the_telling_parts_first() -> None:
    text = item_text(
        "Oslo chair",
        "A chair for long evenings.",
        ["Home", "Chairs"],
        {"material": "oak", "article": "CH-1234", "legs": 4},
    )
    assert text == "Oslo chair. Chairs. material oak. A chair for long evenings"


def test_an_item_without_text_has_an_empty_one() -> None:
    assert item_text() == item_text("", "  ", [], {}) == ""


def test_the_category_is_not_repeated() -> None:
    assert item_text("Red T-shirts", None, ["Clothing", "T-shirts"]) == "Red T-shirts"


@pytest.mark.parametrize(
    ("field", "value"),
    [("embed_dim", 0), ("hidden_size", 30), ("query_pooling", "max"), ("max_text_length", 1000), ("image_size", 0)],
)
def test_a_configuration_that_cannot_be_built_names_the_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        RetrieverConfig.from_dict(TINY.to_dict() | {field: value})


def test_a_configuration_survives_json() -> None:

    assert RetrieverConfig.from_dict(json.loads(json.dumps(TINY.to_dict()))) == TINY

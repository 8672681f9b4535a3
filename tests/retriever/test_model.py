from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from retriever import ItemInput, Retriever
from retriever.model import FusedRetriever
from tests.conftest import TINY

RED, BLUE = Image.new("RGB", (40, 60), (200, 30, 30)), Image.new("RGB", (60, 40), (30, 30, 200))


def test_queries_and_item_tokens_have_unit_length(tiny_retriever: Retriever) -> None:
    queries = tiny_retriever.encode_queries(["red mug", "a very long query " * 20, ""])
    items = tiny_retriever.encode_items([ItemInput(RED, "mug"), ItemInput(BLUE), ItemInput(text="lamp")])
    assert queries.shape == (3, 16)
    assert items.shape == (3, 4, 16)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=-1), 1, atol=1e-6, rtol=0)
    np.testing.assert_allclose(np.linalg.norm(items, axis=-1), 1, atol=1e-6, rtol=0)


def test_an_item_is_the_same_alone_and_in_a_mixed_batch(tiny_retriever: Retriever) -> None:
    items = [
        ItemInput(RED, "a red mug"),
        ItemInput(BLUE),
        ItemInput(text="lamp"),
        ItemInput(BLUE, "shirt " * 30),
        ItemInput(text="x"),
    ]
    together = tiny_retriever.encode_items(items)
    alone = np.concatenate([tiny_retriever.encode_items([item]) for item in items])
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)


def test_padding_changes_nothing(tiny_retriever: Retriever) -> None:
    short, long = "red mug", "the red shirt and the blue lamp and the shoe"
    together = tiny_retriever.encode_queries([short, long])
    np.testing.assert_allclose(together[:1], tiny_retriever.encode_queries([short]), atol=1e-6, rtol=0)


def test_picture_and_text_both_count(tiny_retriever: Retriever) -> None:
    both = tiny_retriever.encode_items([ItemInput(RED, "mug"), ItemInput(BLUE, "mug"), ItemInput(RED, "lamp")])
    assert np.abs(both[0] - both[1]).max() > 1e-4
    assert np.abs(both[0] - both[2]).max() > 1e-4


def test_query_tokens_differ_from_each_other(tiny_retriever: Retriever) -> None:
    tokens = tiny_retriever.encode_items([ItemInput(RED)])[0]  # (Q, D)
    assert torch.pdist(torch.from_numpy(tokens)).min() > 1e-4


def test_a_row_marked_as_without_picture_ignores_it(tiny_retriever: Retriever) -> None:
    model, processor = tiny_retriever.model, tiny_retriever.processor
    ids, mask = map(torch.from_numpy, processor.texts(["mug", "mug"]))
    with torch.inference_mode():
        pictures = model.encode_pictures(torch.from_numpy(np.stack([processor.image(RED), processor.image(BLUE)])))
        marked = model.encode_item(pictures, ids, mask, has_picture=torch.tensor([False, False]))
        without = model.encode_item(None, ids, mask)
    torch.testing.assert_close(marked, without, atol=1e-5, rtol=0)


def test_a_row_whose_mask_is_empty_has_no_text(tiny_retriever: Retriever) -> None:
    model, processor = tiny_retriever.model, tiny_retriever.processor
    ids, mask = map(torch.from_numpy, processor.texts(["mug", "lamp"]))
    with torch.inference_mode():
        pictures = model.encode_pictures(torch.from_numpy(np.stack([processor.image(RED), processor.image(RED)])))
        masked = model.encode_item(pictures, ids, torch.zeros_like(mask))
        without = model.encode_item(pictures, None, None)
    torch.testing.assert_close(masked, without, atol=1e-5, rtol=0)


def test_an_item_without_anything_is_refused(tiny_retriever: Retriever) -> None:
    with pytest.raises(ValueError, match="a picture or some text"):
        ItemInput(None, "  ")
    with pytest.raises(ValueError, match="a picture or some text"):
        tiny_retriever.model.encode_item(None, None, None)


def test_a_model_without_null_picture_wants_pictures(tiny_retriever: Retriever) -> None:
    model = FusedRetriever(replace(TINY, null_picture=False)).eval()
    ids, mask = map(torch.from_numpy, tiny_retriever.processor.texts(["mug"]))
    with pytest.raises(ValueError, match="null_picture"):
        model.encode_item(None, ids, mask)


def test_a_wrong_width_says_what_to_set() -> None:
    model = FusedRetriever(replace(TINY, vision_width=100))
    with pytest.raises(ValueError, match="set vision_width"):
        model.encode_pictures(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(("backbone", "size"), [("test_vit", 160), ("test_resnet", 64), ("test_convnext", 64)])
def test_any_timm_backbone_serves(backbone: str, size: int) -> None:

    width = timm.create_model(backbone).num_features
    config = replace(
        TINY, vision_backbone=backbone, vision_width=width, image_size=size, vision_pyramid=False, num_concepts=0
    )
    model = FusedRetriever(config).eval()
    with torch.inference_mode():
        tokens = model.encode_item(model.encode_pictures(torch.randn(2, 3, size, size)), None, None)
    assert tokens.shape == (2, 4, 16)


def test_the_matching_head_reads_query_and_picture(tiny_retriever: Retriever) -> None:
    model, processor = tiny_retriever.model, tiny_retriever.processor
    ids, mask = map(torch.from_numpy, processor.texts(["red mug", "red mug"]))
    with torch.inference_mode():
        logits = model.match(
            model.encode_pictures(torch.from_numpy(np.stack([processor.image(RED), processor.image(BLUE)]))), ids, mask
        )
    assert logits.shape == (2, 2)
    assert (logits[0, 1] - logits[1, 1]).abs() > 1e-6


def test_a_match_is_the_same_alone_and_in_a_mixed_batch(tiny_retriever: Retriever) -> None:
    items = [ItemInput(RED, "a mug"), ItemInput(text="lamp"), ItemInput(BLUE), ItemInput(BLUE, "a mug")]
    queries = ["red mug", "lamp", "blue shirt", "red mug"]
    together = tiny_retriever.match(queries, items)
    alone = [tiny_retriever.match([query], [item]) for query, item in zip(queries, items, strict=True)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5, rtol=0)
    assert abs(together[0] - together[3]) > 1e-6  # the picture counts
    assert abs(together[0] - tiny_retriever.match(["lamp"], items[:1])[0]) > 1e-6  # and the query


def test_a_match_needs_a_query_for_each_item(tiny_retriever: Retriever) -> None:
    with pytest.raises(ValueError, match="2 queries for 1 items"):
        tiny_retriever.match(["red", "mug"], [ItemInput(RED)])

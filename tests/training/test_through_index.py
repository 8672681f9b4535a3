"""The index is asked as the service asks it."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from training.formats import GalleryItem, ValidQuery
from training.through_index import rank_through_index


def test_an_article_number_that_no_item_has_does_not_decide() -> None:
    """As for the service: "mug" alone is worth less than what the picture shows, beside a known number it is not."""
    items = [GalleryItem("near", "blue lamp KC-17204"), GalleryItem("far", "red mug KC-17205")]
    tokens = np.array([[[0.9, 0.1**0.5]], [[0.1, 0.9**0.5]]], dtype=np.float32)  # (items, Q, D)
    retriever = SimpleNamespace(
        config=SimpleNamespace(embed_dim=2), model_id="none", encode_queries=lambda texts: np.eye(2, dtype=np.float32)
    )
    gallery: Any = SimpleNamespace(
        retriever=retriever, items=items, findable=np.array([True, True]), tokens=lambda column: tokens[column]
    )
    asked = ["mug KC-99999", "mug KC-17205"]
    ranks = rank_through_index(gallery, [ValidQuery(text, text, {"far": ""}) for text in asked])
    assert [own.tolist() for own in ranks["index hybrid"]] == [[2], [1]]
    assert [own.tolist() for own in ranks["index"]] == [[2], [2]]

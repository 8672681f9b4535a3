"""Batches of strings and picture paths → the tensors that the model takes, with features read from the cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from retriever import Processor
from retriever.vision import PictureFeatures
from training.features import FeatureCache


class ItemTensors(TypedDict):
    """Keyword arguments of `FusedRetriever.encode_item`."""

    pictures: PictureFeatures | None
    input_ids: Tensor | None
    attention_mask: Tensor | None
    has_picture: Tensor | None


class Collator:
    """Reads features and tokenises, in whatever thread it is called."""

    def __init__(self, processor: Processor, cache: FeatureCache) -> None:
        self.processor = processor
        self.cache = cache

    def items(
        self,
        texts: Sequence[str],
        pictures: Sequence[Path | None],
        rng: np.random.Generator | None = None,
        share: float = 1.0,
    ) -> ItemTensors:
        """B items, some without a text (an empty string) and some without a picture (None).

        With a generator, only that share of the patches is read (see `FeatureCache.read`).
        """
        present = [picture for picture in pictures if picture is not None]
        features = has_picture = input_ids = attention_mask = None
        if present:
            features = self.cache.read(present, rng, share)
            if len(present) < len(pictures):
                has_picture = torch.tensor([picture is not None for picture in pictures])
                features = PictureFeatures(*(_spread(part, has_picture) for part in features))
        if any(texts):
            input_ids, attention_mask = self.processor.texts(texts)
            # A row without text must not be read as the tokens that frame an empty one.
            attention_mask = attention_mask * torch.tensor([bool(text) for text in texts]).unsqueeze(1)
        return ItemTensors(
            pictures=features, input_ids=input_ids, attention_mask=attention_mask, has_picture=has_picture
        )


def rows_of(items: ItemTensors, part: slice | Tensor) -> ItemTensors:
    """Some of the items, by a slice or by `(b,)` row numbers, in the same form."""
    pictures, ids, mask, has_picture = (items[name] for name in ItemTensors.__annotations__)  # type: ignore[literal-required]
    return ItemTensors(
        pictures=None if pictures is None else PictureFeatures(*(rows[part] for rows in pictures)),
        input_ids=None if ids is None else ids[part],
        attention_mask=None if mask is None else mask[part],
        has_picture=None if has_picture is None else has_picture[part],
    )


def to_device(item: ItemTensors, device: torch.device) -> ItemTensors:
    pictures = item["pictures"]
    return ItemTensors(
        pictures=None if pictures is None else PictureFeatures(*(part.to(device) for part in pictures)),
        input_ids=_move(item["input_ids"], device),
        attention_mask=_move(item["attention_mask"], device),
        has_picture=_move(item["has_picture"], device),
    )


def _move(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device)


def _spread(rows: Tensor, present: Tensor) -> Tensor:
    """Rows of the items that have a picture, in the places of those items; the others are zero and ignored."""
    spread = rows.new_zeros(len(present), *rows.shape[1:])
    spread[present] = rows
    return spread

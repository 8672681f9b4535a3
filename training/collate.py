"""Batches of strings and picture paths → the tensors that the model takes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor

from retriever import Processor
from retriever.model import FusedRetriever
from retriever.vision import PictureFeatures

Pictures = PictureFeatures | Tensor  # features that were computed before, or pixels `(B, 3, S, S)`


class PictureSource(Protocol):
    """Where pictures come from: `FeatureCache` for a frozen tower, `PictureReader` for one that is trained."""

    def add(self, paths: Sequence[Path], whole: bool = False) -> None: ...

    def read(self, paths: Sequence[Path], rng: np.random.Generator | None = None, share: float = 1.0) -> Pictures: ...


class ItemTensors(TypedDict):
    """Keyword arguments of `FusedRetriever.encode_item`; pictures may still be pixels (see `with_features`)."""

    pictures: Pictures | None
    input_ids: Tensor | None
    attention_mask: Tensor | None
    has_picture: Tensor | None


class Collator:
    """Reads pictures and tokenises, in whatever thread it is called."""

    def __init__(self, processor: Processor, pictures: PictureSource) -> None:
        self.processor = processor
        self.pictures = pictures

    def items(
        self,
        texts: Sequence[str],
        pictures: Sequence[Path | None],
        rng: np.random.Generator | None = None,
        share: float = 1.0,
    ) -> ItemTensors:
        """B items, some without a text (nothing but spaces) and some without a picture (None).

        With a generator, only that share of the patches is read (see `FeatureCache.read`).
        """
        present = [picture for picture in pictures if picture is not None]
        features = has_picture = input_ids = attention_mask = None
        if present:
            features = self.pictures.read(present, rng, share)
            if len(present) < len(pictures):
                rows = torch.tensor([picture is not None for picture in pictures])
                features, has_picture = _each(features, lambda part: _spread(part, rows)), rows
        has_text = [bool(text.strip()) for text in texts]
        if any(has_text):
            input_ids, attention_mask = map(torch.from_numpy, self.processor.texts(texts))
            # A row without text must not be read as the tokens that frame an empty one.
            attention_mask = attention_mask * torch.tensor(has_text).unsqueeze(1)
        return ItemTensors(
            pictures=features, input_ids=input_ids, attention_mask=attention_mask, has_picture=has_picture
        )


def rows_of(items: ItemTensors, part: slice | Tensor) -> ItemTensors:
    """Some of the items, by a slice or by `(b,)` row numbers, in the same form."""
    pictures, ids, mask, has_picture = (items[name] for name in ItemTensors.__annotations__)  # type: ignore[literal-required]
    return ItemTensors(
        pictures=None if pictures is None else _each(pictures, lambda rows: rows[part]),
        input_ids=None if ids is None else ids[part],
        attention_mask=None if mask is None else mask[part],
        has_picture=None if has_picture is None else has_picture[part],
    )


def to_device(item: ItemTensors, device: torch.device, precision: torch.dtype = torch.float32) -> ItemTensors:
    """Pictures in the precision of the weights that will read them, as well."""
    pictures = item["pictures"]
    return ItemTensors(
        pictures=None if pictures is None else _each(pictures, lambda part: part.to(device, precision)),
        input_ids=_move(item["input_ids"], device),
        attention_mask=_move(item["attention_mask"], device),
        has_picture=_move(item["has_picture"], device),
    )


def with_features(model: FusedRetriever, items: ItemTensors) -> ItemTensors:
    """The same items as arguments of `encode_item`: pixels go through the tower."""
    pictures = items["pictures"]
    return {**items, "pictures": model.encode_pictures(pictures)} if isinstance(pictures, Tensor) else items


def _each(pictures: Pictures, change: Callable[[Tensor], Tensor]) -> Pictures:
    return change(pictures) if isinstance(pictures, Tensor) else PictureFeatures(*map(change, pictures))


def _move(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device)


def _spread(rows: Tensor, present: Tensor) -> Tensor:
    """Rows of the items that have a picture, in the places of those items; the others are zero and ignored."""
    spread = rows.new_zeros(len(present), *rows.shape[1:])
    spread[present] = rows
    return spread

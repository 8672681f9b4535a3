"""Chunked gradients against those of the whole batch at once: the same, or it is another loss."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retriever import Retriever, checkpoint
from training.arguments import TrainArgs
from training.collate import Collator
from training.data import Augmentation, BatchSampler, Source
from training.features import FeatureCache
from training.gradcache import Contrasted, contrast, slices
from training.loader import PairTensors, batches
from training.losses import itc
from training.pairs import Pairs

TOLERANCE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture
def batch(tiny_retriever: Retriever, toy_shop: Path, tmp_path: Path) -> PairTensors:
    """Ten pairs, some without a picture and some without a text."""
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    cache = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor)
    cache.add([picture for picture in source.pictures if picture])
    sampler = BatchSampler([source], 10, 3, Augmentation(drop_picture=0.3, drop_text=0.3))
    args = TrainArgs(train=("pairs.json",), steps=1)
    return next(batches(sampler, Collator(tiny_retriever.processor, cache), args, 0))


def pairs_of(folder: Path, dropout: float) -> Pairs:
    pairs = Pairs(checkpoint.load_folder(folder)[0]).train()
    for module in pairs.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
        if hasattr(module, "attention_dropout"):  # a plain number in transformers' attention
            module.attention_dropout = dropout
    return pairs


def gradients(pairs: Pairs, batch: PairTensors, chunk: int) -> tuple[Contrasted, dict[str, Tensor]]:
    def encode(part: slice) -> tuple[Tensor, Tensor]:
        return pairs(*batch.rows(part, torch.device("cpu")))  # type: ignore[no-any-return]

    def loss(queries: Tensor, items: Tensor) -> Tensor:
        return itc(queries, items, batch.positives, pairs.temperature())

    pairs.zero_grad()
    left = contrast(encode, loss, len(batch), chunk)
    return left, {name: weight.grad for name, weight in pairs.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("chunk", [1, 4, 5, 64])
def test_chunks_give_the_gradients_of_the_whole_batch(batch: PairTensors, tiny_checkpoint: Path, chunk: int) -> None:
    pairs = pairs_of(tiny_checkpoint, dropout=0)
    whole, expected = gradients(pairs, batch, 0)
    chunked, own = gradients(pairs, batch, chunk)
    assert max(gradient.abs().max() for gradient in expected.values()) > 1e-2  # the comparison means something
    torch.testing.assert_close(own, expected, **TOLERANCE)
    torch.testing.assert_close(tuple(chunked), tuple(whole), **TOLERANCE)
    assert not any(left.requires_grad for left in (*whole, *chunked)), "a graph is kept in memory"


def test_the_second_forward_drops_what_the_first_did(batch: PairTensors, tiny_checkpoint: Path) -> None:
    """With dropout, chunks with a graph kept throughout give the same as chunks embedded twice."""
    pairs = pairs_of(tiny_checkpoint, dropout=0.2)
    torch.manual_seed(0)
    _, own = gradients(pairs, batch, 4)
    drawn_next = torch.rand(3)

    pairs.zero_grad()
    torch.manual_seed(0)
    parts = [pairs(*batch.rows(part, torch.device("cpu"))) for part in slices(len(batch), 4)]
    queries, items = (torch.cat(side) for side in zip(*parts, strict=True))
    itc(queries, items, batch.positives, pairs.temperature()).backward()  # type: ignore[no-untyped-call]
    expected = {name: weight.grad for name, weight in pairs.named_parameters() if weight.grad is not None}
    torch.testing.assert_close(own, expected, **TOLERANCE)
    torch.testing.assert_close(drawn_next, torch.rand(3))  # nor is any number drawn twice afterwards


def test_every_row_is_in_one_chunk() -> None:
    rows = np.arange(10)
    for size in (0, 1, 3, 10, 99):
        assert np.concatenate([rows[part] for part in slices(10, size)]).tolist() == rows.tolist()

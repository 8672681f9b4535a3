"""Batches as tensors: of each step in turn, the same again after a restart, and in equal shares for processes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from retriever import Retriever
from training.arguments import TrainArgs
from training.collate import Collator
from training.data import Augmentation, BatchSampler, Source
from training.loader import PairTensors, batches

MISSPELT = Augmentation(drop_picture=0, drop_text=0, drop_word=0, typo=1)


class Drawn:
    """In place of each picture, a number drawn for it and the share of its patches that was asked for."""

    def add(self, paths: Sequence[Path]) -> None:
        pass

    def read(self, paths: Sequence[Path], rng: np.random.Generator | None = None, share: float = 1.0) -> Tensor:
        assert rng is not None
        return torch.tensor([[rng.random(), share] for _ in paths])


class Asked:
    """A teacher that keeps what it is asked about."""

    def __init__(self) -> None:
        self.queries: list[list[str]] = []

    def encode(self, queries: Sequence[str], texts: Sequence[str]) -> None:
        pass

    def similar(self, queries: Sequence[str], texts: Sequence[str]) -> Tensor:
        self.queries.append(list(queries))
        return torch.zeros(len(queries), len(texts))


@pytest.fixture
def sampler(toy_shop: Path) -> BatchSampler:
    """Of five pairs a step."""
    return BatchSampler([Source(toy_shop / "pairs.json", toy_shop / "images")], 5, 0, MISSPELT)


def prepared(
    sampler: BatchSampler, retriever: Retriever, first: int = 0, more: tuple[Any, ...] = (), **args: Any
) -> list[PairTensors]:
    told = TrainArgs(train=("pairs.json",), **{"steps": 6, **args})
    return list(batches(sampler, Collator(retriever.processor, Drawn()), told, first, *more))


def test_each_step_has_its_own_batch_in_turn(
    sampler: BatchSampler, tiny_retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.loader.AHEAD", 3)
    found = prepared(sampler, tiny_retriever, 2)
    assert [tensors.queries for tensors in found] == [sampler.batch(step).queries for step in range(2, 6)]


def test_a_picture_is_seen_in_the_same_way_after_a_restart_and_in_others_at_other_steps(
    sampler: BatchSampler, tiny_retriever: Retriever
) -> None:
    def drawn(first: int, **args: Any) -> list[list[float]]:
        found = prepared(sampler, tiny_retriever, first, patches=0.25, **args)
        pictures: list[Any] = [tensors.items["pictures"] for tensors in found]
        assert all((own[:, 1] == 0.25).all() for own in pictures)
        return [own[:, 0].tolist() for own in pictures]

    whole = drawn(0)
    assert drawn(4) == whole[4:]
    assert len({number for own in whole for number in own}) == 6 * 5
    assert drawn(4, seed=1) != whole[4:]


def test_processes_take_equal_shares_of_one_batch(sampler: BatchSampler, tiny_retriever: Retriever) -> None:
    first, second = (prepared(sampler, tiny_retriever, 5, (process, 2))[0] for process in range(2))
    batch = sampler.batch(5)
    assert first.queries + second.queries == batch.queries[:4], "the fifth is nobody's"
    assert (len(first), first.own, second.own) == (2, slice(0, 2), slice(2, 4))
    for tensors in (first, second):
        assert tensors.positives.tolist() == batch.positives[:4, :4].tolist()


def test_teachers_are_asked_about_texts_as_they_were_typed(
    sampler: BatchSampler, toy_shop: Path, tiny_retriever: Retriever
) -> None:
    """And about the whole batch in every process; of pictures they know nothing."""
    teacher = Asked()
    (pictured,) = prepared(sampler, tiny_retriever, 5, (0, 1, [teacher]))
    assert (pictured.taught, teacher.queries) == (None, [])
    texts = BatchSampler([Source(toy_shop / "pairs.json")], 5, 0, MISSPELT)
    (taught,) = prepared(texts, tiny_retriever, 5, (1, 2, [teacher]))
    assert teacher.queries == [texts.batch(5).clean_queries[:4]]
    assert taught.queries != texts.batch(5).clean_queries[2:4]
    assert taught.taught is not None
    assert taught.taught[0].shape == (4, 4)

"""Training batches as tensors, prepared one step ahead of their use."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.arguments import TrainArgs
from training.collate import Collator, ItemTensors, rows_of, to_device
from training.data import BatchSampler


@dataclass(frozen=True)
class PairTensors:
    """B pairs, on the CPU: only the rows that a forward needs are moved to where the model is."""

    input_ids: Tensor  # (B, T)
    attention_mask: Tensor  # (B, T)
    items: ItemTensors
    positives: Tensor  # (B, B) bool

    def __len__(self) -> int:
        return len(self.input_ids)

    def rows(self, part: slice, device: torch.device) -> tuple[Tensor, Tensor, ItemTensors]:
        """Arguments of `Pairs.forward` for some of the pairs."""
        items = to_device(rows_of(self.items, part), device)
        return self.input_ids[part].to(device), self.attention_mask[part].to(device), items


def batches(sampler: BatchSampler, collator: Collator, args: TrainArgs, first: int) -> Iterator[PairTensors]:
    """The batch of each step from `first` on."""

    def prepare(step: int) -> PairTensors:
        batch = sampler.batch(step)
        rng = np.random.default_rng([args.seed, step, 1])
        input_ids, attention_mask = collator.processor.queries(batch.queries)
        items = collator.items(batch.texts, batch.pictures, rng, args.patches)
        return PairTensors(input_ids, attention_mask, items, torch.from_numpy(batch.positives))

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(prepare, first)
        for step in range(first, args.steps):
            tensors = ahead.result()
            if step + 1 < args.steps:
                ahead = pool.submit(prepare, step + 1)
            yield tensors

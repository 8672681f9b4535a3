"""Training batches as tensors, prepared some steps ahead of their use."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from training.arguments import TrainArgs
from training.collate import Collator, ItemTensors, rows_of, to_device
from training.data import BatchSampler
from training.losses import Likelihoods

if TYPE_CHECKING:
    from training.teacher import Teacher  # its library takes seconds to import, and few runs have one

# Steps prepared at once, each by a thread: a GPU waits for its batches otherwise, and a CPU has none to spare.
AHEAD = max(1, min(4, (os.cpu_count() or 1) // 4))


@dataclass(frozen=True)
class PairTensors:
    """A process's b of B pairs, on the CPU: only the rows that a forward needs are moved to where the model is."""

    input_ids: Tensor  # (b, T)
    attention_mask: Tensor  # (b, T)
    items: ItemTensors  # of b items
    queries: list[str]  # b
    texts: list[str]  # b
    positives: Tensor  # (B, B) bool, of all processes
    own: slice  # which of the B these are
    taught: Likelihoods | None = None  # of all B, by teachers, if the source has no pictures

    def __len__(self) -> int:
        return len(self.input_ids)

    def rows(self, part: slice, device: torch.device) -> tuple[Tensor, Tensor, ItemTensors]:
        """Arguments of `Pairs.forward` for some of the pairs."""
        items = to_device(rows_of(self.items, part), device)
        return self.input_ids[part].to(device), self.attention_mask[part].to(device), items


def batches(
    sampler: BatchSampler,
    collator: Collator,
    args: TrainArgs,
    first: int,
    process: int = 0,
    processes: int = 1,
    teachers: "Sequence[Teacher]" = (),
) -> Iterator[PairTensors]:
    """This process's rows of the batch of each step from `first` on; all processes draw the same batch."""

    def prepare(step: int) -> PairTensors:
        batch = sampler.batch(step)
        rng = np.random.default_rng([args.seed, step, 1])
        # Equal shares: of a source smaller than a batch, a few pairs may be left over.
        share = len(batch.queries) // processes
        own, whole = slice(process * share, (process + 1) * share), slice(share * processes)
        input_ids, attention_mask = map(torch.from_numpy, collator.processor.queries(batch.queries[own]))
        items = collator.items(batch.texts[own], batch.pictures[own], rng, args.patches)
        positives = torch.from_numpy(batch.positives[whole, whole])
        taught = None
        if teachers and not batch.pictured:
            from training.teacher import likelihoods

            taught = likelihoods(teachers, batch.clean_queries[whole], batch.texts[whole])
        return PairTensors(
            input_ids, attention_mask, items, batch.queries[own], batch.texts[own], positives, own, taught
        )

    with ThreadPoolExecutor(AHEAD) as pool:
        steps = iter(range(first, args.steps))
        ahead = deque(pool.submit(prepare, step) for step in islice(steps, AHEAD))
        while ahead:
            tensors = ahead.popleft().result()
            ahead.extend(pool.submit(prepare, step) for step in islice(steps, 1))
            yield tensors

"""One batch over many processes: each embeds its own rows, and all of them contrast the whole batch.

Every process computes the loss of the whole batch, so the gradient of an embedding comes back once from each of them;
the mean over the processes of the weights' gradients is then the gradient of the whole batch in one process.
Without processes (one CPU, one GPU) nothing here does anything.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes, in their order: `(b, …)` of each → `(B, …)`. Gradients flow back to each."""
    if not _many():
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def average_gradients(weights: Iterable[nn.Parameter]) -> None:
    """The mean of every weight's gradient over all processes, in place.

    By hand, since a chunked step runs the model many times and modality dropout leaves weights without a gradient in
    some processes: neither agrees with the hooks of DistributedDataParallel.
    """
    if not _many():
        return
    trained = [weight for weight in weights if weight.requires_grad]
    used = torch.tensor([weight.grad is not None for weight in trained], dtype=torch.int32, device=trained[0].device)
    distributed.all_reduce(used, distributed.ReduceOp.MAX)
    for weight, anywhere in zip(trained, used.tolist(), strict=True):
        if anywhere:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            distributed.all_reduce(weight.grad)
            weight.grad /= distributed.get_world_size()


class _Gather(torch.autograd.Function):
    """torch's own all_gather has no gradient: it is the sum of what all processes ask of these rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        distributed.all_reduce(summed)
        return summed.chunk(distributed.get_world_size())[distributed.get_rank()]


def _many() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1

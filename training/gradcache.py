"""GradCache: the gradient of a contrast over any number of pairs, in the memory of one chunk of them.

A contrastive loss joins all pairs of a batch, but only through their embeddings. So every chunk is embedded without a
graph; the loss gives the gradient of each embedding; and every chunk is embedded again, with a graph, through which
the gradients of its embeddings go on to the weights. The price is one more forward.

Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Encode = Callable[[slice], tuple[Tensor, Tensor]]  # rows → queries (b, D), item tokens (b, Q, D)
Loss = Callable[[Tensor, Tensor], Tensor]  # queries (B, D), item tokens (B, Q, D) → ()


class Contrasted(NamedTuple):
    """What a step leaves beside its gradients, without a graph."""

    loss: Tensor  # ()
    queries: Tensor  # (B, D)
    items: Tensor  # (B, Q, D)


def contrast(encode: Encode, loss: Loss, count: int, chunk: int = 0) -> Contrasted:
    """Add the gradients of `loss(*encode(all rows))` to the weights, `chunk` rows at a time (0: all at once)."""
    rows = slices(count, chunk)
    if len(rows) == 1:
        queries, items = encode(rows[0])
        value = loss(queries, items)
        value.backward()  # type: ignore[no-untyped-call]
        return Contrasted(value.detach(), queries.detach(), items.detach())

    states, embedded = [], []
    with torch.no_grad():
        for part in rows:
            states.append(_random_state())
            embedded.append(encode(part))
    queries = torch.cat([own for own, _ in embedded]).requires_grad_()  # (B, D)
    items = torch.cat([own for _, own in embedded]).requires_grad_()  # (B, Q, D)
    value = loss(queries, items)
    value.backward()  # type: ignore[no-untyped-call]
    assert queries.grad is not None
    assert items.grad is not None
    for part, state in zip(rows, states, strict=True):
        _restore(state)  # dropout drops what it dropped before
        torch.autograd.backward(encode(part), (queries.grad[part], items.grad[part]))
    return Contrasted(value.detach(), queries.detach(), items.detach())


def slices(count: int, size: int) -> list[slice]:
    """`count` rows in parts of `size`; 0 is all in one."""
    size = size or count
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _random_state() -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _restore(state: tuple[Tensor, Tensor | None]) -> None:
    processor, accelerator = state
    torch.set_rng_state(processor)
    if accelerator is not None:
        torch.cuda.set_rng_state(accelerator)

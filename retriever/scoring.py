"""Query × item scores in plain torch: the definition that every index must agree with."""

import torch
from torch import Tensor


def maxsim(queries: Tensor, items: Tensor) -> Tensor:
    """`max_k ⟨q, t_k⟩` for queries `(B, D)` and item tokens `(N, Q, D)` → `(B, N)`.

    MaxSim of one vector against a multivector, as in BLIP-2's ITC and in ColBERT (Khattab & Zaharia,
    arXiv 2004.12832).
    """
    return torch.einsum("bd,nqd->bnq", queries, items).amax(dim=-1)


def queries_at_once(items: Tensor) -> int:
    """How many queries `maxsim` is to be given for item tokens `(N, Q, D)`, so that it holds about 128 MB."""
    return max(1, (1 << 25) // max(1, items[..., 0].numel()))

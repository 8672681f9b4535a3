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


def maxsim_sum(queries: Tensor, items: Tensor) -> Tensor:
    """`Σ_m max_k ⟨q_m, t_k⟩` for one query of several rows `(M, D)` and item tokens `(N, Q, D)` → `(N,)`.

    ColBERT's late interaction. A row's length is its weight, so a picture, words and what is not wanted (a negative
    weight) combine into one query. Engines score it in one pass: this is for tests, and says what they must find.
    """
    return maxsim(queries, items).sum(dim=0)

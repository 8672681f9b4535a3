"""Query × item scores in plain torch: the definition that every index must agree with."""

import torch
from torch import Tensor
from torch.nn import functional as F


def maxsim(queries: Tensor, items: Tensor) -> Tensor:
    """`max_k ⟨q, t_k⟩` for queries `(B, D)` and item tokens `(N, Q, D)` → `(B, N)`.

    MaxSim of one vector against a multivector, as in BLIP-2's ITC and in ColBERT (Khattab & Zaharia,
    arXiv 2004.12832).
    """
    return torch.einsum("bd,nqd->bnq", queries, items).amax(dim=-1)


def dense_vector(tokens: Tensor) -> Tensor:
    """The one vector that finds an item's candidates before MaxSim ranks them: `(…, T, D)` → `(…, D)`, unit length."""
    return F.normalize(tokens.mean(dim=-2), dim=-1)

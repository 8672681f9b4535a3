"""The contrastive and matching losses, each a few lines."""

import torch
from torch import Tensor
from torch.nn import functional as F

from retriever.scoring import maxsim


def itc(queries: Tensor, items: Tensor, positives: Tensor, temperature: Tensor | float) -> Tensor:
    """Multi-positive image–text contrast between queries `(B, D)` and item tokens `(N, Q, D)`.

    Cross-entropy in both directions against a target that is spread evenly over the positives, as in BLIP-2's ITC
    with `image_id` (LAVIS, `blip2_qformer.py`), but without its smoothing.

    Args:
        positives: `(B, N)` bool, True where the item answers the query. Every row and column needs one at least.
    """
    logits = maxsim(queries, items) / temperature  # (B, N)
    targets = positives.to(logits.dtype)
    to_items = F.cross_entropy(logits, targets / targets.sum(dim=1, keepdim=True))
    to_queries = F.cross_entropy(logits.T, (targets / targets.sum(dim=0, keepdim=True)).T)
    return (to_items + to_queries) / 2


def itm(positive_logits: Tensor, negative_logits: Tensor) -> Tensor:
    """Two-way matching loss over the ITM head's `(B, 2)` logits of true pairs and of `(M, 2)` hard negatives."""
    logits = torch.cat([positive_logits, negative_logits])
    labels = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    labels[: len(positive_logits)] = 1
    return F.cross_entropy(logits, labels)

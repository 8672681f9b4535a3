"""The contrastive loss."""

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

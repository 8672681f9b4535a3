"""The losses, each with its source."""

import torch
from torch import Tensor
from torch.nn import functional as F

from retriever.scoring import maxsim

# Teacher probabilities: query→item (M, N) and item→query (N, M); each row sums to 1.
Likelihoods = tuple[Tensor, Tensor]


def itc(queries: Tensor, items: Tensor, positives: Tensor, temperature: Tensor | float) -> Tensor:
    """Multi-positive image–text contrast between queries `(B, D)` and item tokens `(N, Q, D)`.

    Cross-entropy in both directions against a target that is spread evenly over the positives, as in BLIP-2's ITC
    with `image_id` (LAVIS, `blip2_qformer.py`), but without its smoothing.

    Args:
        positives: `(B, N)` bool, True where the item answers the query. Every row and column needs one at least.
    """
    logits = maxsim(queries, items) / temperature  # (B, N)
    return symmetric(logits, logits.T, positives)


def symmetric(by_query: Tensor, by_item: Tensor, positives: Tensor) -> Tensor:
    """The loss of `itc` from the logits of each direction, `(B, N)` and `(N, B)`."""
    targets = positives.to(by_query.dtype)
    known = targets / targets.sum(dim=1, keepdim=True), (targets / targets.sum(dim=0, keepdim=True)).T
    return _both_ways(by_query, by_item, known)


def distillation(queries: Tensor, items: Tensor, likelihoods: Likelihoods, temperature: Tensor | float) -> Tensor:
    """Contrast as in `itc`, against what a teacher thinks likely in the place of what is known to be right.

    Source: Hinton et al., arXiv 1503.02531.
    """
    logits = maxsim(queries, items) / temperature  # (M, N)
    return _both_ways(logits, logits.T, likelihoods)


def _both_ways(by_query: Tensor, by_item: Tensor, likelihoods: Likelihoods) -> Tensor:
    to_items, to_queries = likelihoods
    return (F.cross_entropy(by_query, to_items) + F.cross_entropy(by_item, to_queries)) / 2


def itm(logits: Tensor, matches: Tensor) -> Tensor:
    """Image–text matching: cross-entropy of "no match" and "match", `(N, 2)`, against `(N,)` bool.

    As in BLIP-2 (LAVIS, `blip2_qformer.py`); the logits are the mean over the query tokens.
    """
    return F.cross_entropy(logits, matches.long())


def hard_negatives(logits: Tensor, positives: Tensor) -> Tensor:
    """For each row of `(B, N)` a column drawn in proportion to `exp(logit)`, never a positive: `(B,)`.

    -1 where every column is a positive. Source: BLIP, Li et al., arXiv 2201.12086, after ALBEF, arXiv 2107.07651.
    """
    chances = logits.masked_fill(positives, -torch.inf).softmax(dim=1)
    none = positives.all(dim=1)
    drawn = torch.multinomial(chances.masked_fill(none.unsqueeze(1), 1.0), 1).squeeze(1)  # (B,)
    return drawn.masked_fill(none, -1)

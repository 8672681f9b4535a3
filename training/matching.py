"""Which queries and items are held against each other in matching: each pair, and what is hard to tell from it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from retriever import Processor
from retriever.scoring import maxsim
from training.collate import ItemTensors, rows_of, to_device
from training.gradcache import Contrasted
from training.loader import PairTensors
from training.losses import hard_negatives


@dataclass(frozen=True)
class ItmPairs:
    """N ≤ 3b couples of a query and an item of one batch: b that match, and for each of them two that do not, the
    query with another item and the item with another query.
    """

    queries: Tensor  # (N,), row numbers
    items: Tensor  # (N,)
    matches: Tensor  # (N,) bool

    def __len__(self) -> int:
        return len(self.matches)

    def rows(
        self, part: slice, batch: PairTensors, processor: Processor, device: torch.device
    ) -> tuple[Tensor, Tensor, ItemTensors]:
        """Arguments of `Pairs.match` for some of the couples."""
        queries, items = self.queries[part].cpu(), self.items[part].cpu()
        texts = [batch.texts[i] for i in items.tolist()]
        asked = [batch.queries[i] for i in queries.tolist()]
        input_ids, attention_mask = map(torch.from_numpy, processor.pairs(asked, texts))
        return input_ids.to(device), attention_mask.to(device), to_device(rows_of(batch.items, items), device)


@torch.no_grad()
def draw_itm_pairs(contrasted: Contrasted, positives: Tensor, temperature: Tensor) -> ItmPairs:
    """Couples of a batch whose contrast is known; negatives come from this process's own rows.

    Args:
        positives: `(b, b)` bool, True where the item answers the query. No couple of these counts as a negative.
    """
    logits = maxsim(contrasted.queries, contrasted.items) / temperature  # (b, b)
    positives = positives.to(logits.device)
    every = torch.arange(len(logits), device=logits.device)
    queries = torch.cat([every, every, hard_negatives(logits.T, positives.T)])  # (3b,)
    items = torch.cat([every, hard_negatives(logits, positives), every])
    found = (queries >= 0) & (items >= 0)
    matches = torch.arange(len(queries), device=logits.device) < len(logits)
    return ItmPairs(queries[found], items[found], matches[found])

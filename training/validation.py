"""Recall on a held-out set while training goes on, from cached features: seconds, not minutes."""

from pathlib import Path

import torch

from retriever import FusedRetriever
from retriever.scoring import maxsim
from training.collate import Collator, to_device
from training.formats import PictureFolder, gallery_of, read_gallery, read_valid
from training.metrics import positive_ranks, query_metrics

SHOWN = ("hit@1", "hit@5", "hit@10", "mean")


class Validation:
    """Fused recall on a set in the seed's `valid` format.

    A gallery beside the queries is found by name: `X.valid.jsonl` goes with `X.gallery.jsonl`.

    Raises:
        FormatError: one of the files is not in its format, or a picture is missing.
    """

    def __init__(self, collator: Collator, queries: Path, images: Path | None = None) -> None:
        stem = queries.name.removesuffix(".jsonl").removesuffix(".valid")
        self.name = stem
        self.collator = collator
        self.queries = list(read_valid(queries))
        gallery = queries.with_name(f"{stem}.gallery.jsonl")
        self.items = list(read_gallery(gallery)) if gallery.exists() else gallery_of(self.queries)
        folder = PictureFolder(images) if images else None
        self.pictures = [folder.path(item.item_id) if folder else None for item in self.items]
        collator.cache.add([picture for picture in self.pictures if picture])
        column = {item.item_id: i for i, item in enumerate(self.items)}
        self.positives = [[column[item_id] for item_id in query.items] for query in self.queries]

    @torch.inference_mode()
    def measure(self, model: FusedRetriever) -> dict[str, float]:
        """hit@1, hit@5, hit@10 and their mean, in per cent."""
        device, was_training = model.query_tokens.device, model.training
        model.eval()
        queries, items = [], []
        for start in range(0, len(self.queries), 128):
            ids, mask = self.collator.processor.queries([query.query for query in self.queries[start : start + 128]])
            queries.append(model.encode_query(ids.to(device), mask.to(device)).float())
        for start in range(0, len(self.items), 64):
            part = slice(start, start + 64)
            tensors = self.collator.items([item.text for item in self.items[part]], self.pictures[part])
            items.append(model.encode_item(**to_device(tensors, device)).float())
        model.train(was_training)
        scores = maxsim(torch.cat(queries), torch.cat(items)).cpu().numpy()
        values = query_metrics(positive_ranks(scores, self.positives))
        return {name: 100 * float(values[name].mean()) for name in SHOWN}

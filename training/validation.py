"""Recall on a held-out set while training goes on, from cached features: seconds, not minutes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from retriever.model import FusedRetriever
from retriever.scoring import maxsim, queries_at_once
from training.collate import Collator
from training.encode import encode_items, encode_queries
from training.formats import check_answers, gallery_of, in_digest_order, read_gallery, read_valid
from training.json_records import FormatError
from training.metrics import SHOWN, Floats, positive_ranks, query_metrics
from training.picture_folder import pictures_of, without_picture


class Validation:
    """Fused recall on a set in the seed's `valid` format.

    A gallery beside the queries is found by name: `X.valid.jsonl` goes with `X.gallery.jsonl`. Pictures are in
    `images`, or else in `images/` beside the queries.

    Raises:
        FormatError: one of the files is not in its format, the gallery lacks an answer, or no item has a picture in
            `images`, or a picture or a text at all.
    """

    def __init__(self, collator: Collator, queries: Path, images: Path | None = None) -> None:
        stem = queries.name.removesuffix(".jsonl").removesuffix(".valid")
        self.name = stem
        self.collator = collator
        self.queries = list(read_valid(queries))
        gallery = queries.with_name(f"{stem}.gallery.jsonl")
        self.items = in_digest_order(read_gallery(gallery) if gallery.exists() else gallery_of(self.queries))
        check_answers(self.queries, self.items, queries)
        folder = pictures_of(self.items, queries, images)
        self.pictures = [folder.find(item.item_id) if folder is not None else None for item in self.items]
        both = zip(self.items, self.pictures, strict=True)
        self.findable = [n for n, (item, picture) in enumerate(both) if picture or item.text.strip()]
        if not self.findable:
            raise FormatError(f"{queries}: none of its {len(self.items)} items has a picture or a text")
        bare = f"{queries}: no pictures beside it, so it is measured by text alone"
        self.notes = without_picture(queries, self.pictures) if folder else [bare]
        collator.pictures.add([picture for picture in self.pictures if picture], whole=True)
        column = {item.item_id: i for i, item in enumerate(self.items)}
        self.positives = [[column[item_id] for item_id in query.items] for query in self.queries]

    def measure(self, model: FusedRetriever) -> dict[str, float]:
        """hit@1, hit@5, hit@10 and their mean, in per cent."""
        values = self.by_query(model)
        return {name: 100 * float(values[name].mean()) for name in SHOWN}

    @torch.inference_mode()
    def by_query(self, model: FusedRetriever) -> dict[str, Floats]:
        """Every metric of `query_metrics`, `(queries,)` each, in [0, 1]."""
        was_training = model.training
        model.eval()
        queries = encode_queries(model, self.collator, [query.query for query in self.queries])  # (M, D)
        texts, pictures = [self.items[n].text for n in self.findable], [self.pictures[n] for n in self.findable]
        items = encode_items(model, self.collator, texts, pictures)  # (N, Q, D), of those that can be found
        model.train(was_training)
        scores = np.full((len(self.queries), len(self.items)), -np.inf, dtype=np.float32)
        size = queries_at_once(items)
        for first in range(0, len(queries), size):
            part = slice(first, first + size)
            scores[part, self.findable] = maxsim(queries[part], items).cpu().numpy()
        return query_metrics(positive_ranks(scores, self.positives))


def open_validations(collator: Collator, sets: Sequence[Sequence[Path]]) -> dict[str, Validation]:
    """Validations of (queries, pictures) by name; sets of one name are told apart by their folders.

    Raises:
        FormatError: as `Validation`; a set is named twice.
    """
    opened: dict[str, Validation] = {}
    for paths in sets:
        one = Validation(collator, *paths)
        name = one.name if one.name not in opened else f"{paths[0].resolve().parent.name}/{one.name}"
        if name in opened:
            raise FormatError(f"{paths[0]}: there is a set of this name already; rename one")
        opened[name] = one
    return opened

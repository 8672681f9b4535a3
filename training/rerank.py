"""A second look at the first items found: their order by `match`, which reads query and item together."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from training.collate import Collator, to_device
from training.features import FeatureCache
from training.formats import ValidQuery
from training.gallery import EncodedGallery
from training.metrics import Ranks, positive_ranks

_BATCH = 64


def rank_reranked(gallery: EncodedGallery, queries: Sequence[ValidQuery], depth: int) -> Ranks:
    """Ranks of every query's positives under one more mode, "reranked".

    The first `depth` items of the fused mode are put into the order of their matching logits; the others stay where
    they were. Of these items each picture is read once more, and its features kept in a temporary folder meanwhile.
    """
    ranks = []
    with tempfile.TemporaryDirectory() as folder, tqdm(total=len(queries), desc="matching", unit="query") as bar:
        matcher = _Matcher(gallery, Path(folder))
        for part in gallery.chunks(len(queries)):
            chunk = queries[part]
            scores = gallery.scores([query.query for query in chunk])["fused"]  # (B, N)
            firsts = [_first(row, depth) for row in scores]
            matcher.read_pictures(np.unique(np.concatenate(firsts)))
            for query, row, first in zip(chunk, scores, firsts, strict=True):
                logits = matcher.logits(query.query, first)
                row[first] = row.max() + 1 + logits - logits.min()
                bar.update()
            ranks += positive_ranks(scores, [[gallery.columns[item_id] for item_id in query.items] for query in chunk])
    return {"reranked": ranks}


def _first(row: npt.NDArray[np.float32], depth: int) -> npt.NDArray[np.int64]:
    """The columns of a query's first items, best first, without those that have nothing to be matched by."""
    first = np.argsort(-row, kind="stable")[:depth]
    return first[np.isfinite(row[first])]


class _Matcher:
    """Matching logits of a query and items of a gallery, whose pictures were read before."""

    def __init__(self, gallery: EncodedGallery, folder: Path) -> None:
        processor, self.model = gallery.retriever.processor, gallery.retriever.model
        self.precision = self.model.query_tokens.dtype
        self.texts = [item.text for item in gallery.items]
        ids = [item.item_id for item in gallery.items]
        pictures = gallery.pictures
        self.pictures = [pictures.find(one) if pictures is not None else None for one in ids]
        self.cache = FeatureCache(folder, self.model.vision, processor)
        self.collator = Collator(processor, self.cache)

    def read_pictures(self, columns: npt.NDArray[np.int64]) -> None:
        self.cache.add([path for n in columns if (path := self.pictures[n]) is not None])

    @torch.inference_mode()
    def logits(self, query: str, columns: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        parts = []
        for start in range(0, len(columns), _BATCH):
            part = columns[start : start + _BATCH].tolist()
            texts = [self.texts[n] for n in part]
            items = self.collator.items(texts, [self.pictures[n] for n in part])
            asked = map(torch.from_numpy, self.collator.processor.pairs([query] * len(part), texts))
            items["input_ids"], items["attention_mask"] = asked
            matched = self.model.match(**to_device(items, self.model.device, self.precision))  # type: ignore[arg-type]
            parts.append(matched[:, 1].float().cpu().numpy())
        logits: npt.NDArray[np.float32] = np.concatenate(parts)
        return logits

"""Many queries and items → embeddings."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from retriever.model import FusedRetriever
from training.collate import Collator, to_device, with_features


@torch.inference_mode()
def encode_queries(model: FusedRetriever, collator: Collator, queries: Sequence[str]) -> Tensor:
    """→ unit vectors `(M, D)`, float32, where the model is."""
    device, vectors = model.query_tokens.device, []
    for start in range(0, len(queries), 128):
        ids, mask = map(torch.from_numpy, collator.processor.queries(queries[start : start + 128]))
        vectors.append(model.encode_query(ids.to(device), mask.to(device)).float())
    return torch.cat(vectors)


@torch.inference_mode()
def encode_items(
    model: FusedRetriever,
    collator: Collator,
    texts: Sequence[str],
    pictures: Sequence[Path | None],
    progress: bool = False,
) -> Tensor:
    """→ item tokens `(N, Q, D)`, float32, where the model is."""
    tokens = []
    for start in tqdm(range(0, len(texts), 64), desc="items", unit="batch", disable=not progress):
        part = slice(start, start + 64)
        items = to_device(collator.items(texts[part], pictures[part]), model.query_tokens.device)
        tokens.append(model.encode_item(**with_features(model, items)).float())  # type: ignore[arg-type]
    return torch.cat(tokens)

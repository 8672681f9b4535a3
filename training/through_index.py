"""The same queries through the index: how much recall the engine loses against exact scores."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from retriever.index import IndexedItem, ItemIndex, open_index
from training.formats import ValidQuery
from training.gallery import EncodedGallery

DEPTH = 100  # hits read for each query: enough for every metric but a deep MRR
_BATCH = 256

Ranks = dict[str, list[npt.NDArray[np.int64]]]


def rank_through_index(
    gallery: EncodedGallery, queries: Sequence[ValidQuery], url: str | None = None, api_key: str | None = None
) -> Ranks:
    """Ranks of every query's positives as the service would find them, under two more modes.

    "index" is the fused mode by meaning alone and "index hybrid" with BM25 as the service has it, to be held against
    "fused" and "hybrid". An item that is not among the first `DEPTH` hits counts as the last of the gallery.

    Args:
        url: a Qdrant server to use; without one the embedded engine, in a folder that is removed afterwards.

    Raises:
        IndexUnavailable, ModelMismatch: the server does not answer, or serves another model.
    """
    return asyncio.run(_rank(gallery, queries, url, api_key))


async def _rank(gallery: EncodedGallery, queries: Sequence[ValidQuery], url: str | None, api_key: str | None) -> Ranks:
    retriever = gallery.retriever
    with tempfile.TemporaryDirectory() as folder:
        index = await open_index(
            data_dir=Path(folder), dim=retriever.config.embed_dim, model_id=retriever.model_id, url=url, api_key=api_key
        )
        try:
            if url and await index.count():
                raise ValueError(f"{url} holds items of this model: an evaluation would mix with them")
            await _fill(index, gallery)
            return await _search(index, gallery, queries)
        finally:
            if url:
                await index.delete([item.item_id for item in gallery.items])
            await index.close()


async def _fill(index: ItemIndex, gallery: EncodedGallery) -> None:
    with tqdm(total=len(gallery.items), desc="indexing", unit="item") as bar:
        for start in range(0, len(gallery.items), _BATCH):
            columns = range(start, min(start + _BATCH, len(gallery.items)))
            await index.upsert(
                [
                    IndexedItem(item.item_id, gallery.tokens(column), item.text, {})
                    for column, item in ((column, gallery.items[column]) for column in columns)
                ]
            )
            bar.update(len(columns))


async def _search(index: ItemIndex, gallery: EncodedGallery, queries: Sequence[ValidQuery]) -> Ranks:
    ranks: Ranks = {"index": [], "index hybrid": []}
    last = len(gallery.items)
    for query in tqdm(queries, desc="queries through the index", unit="query"):
        vector = gallery.retriever.encode_queries([query.query])[0]  # (D,)
        for mode, weight in (("index", 0.0), ("index hybrid", None)):
            found = await index.search(vector, query.query, limit=DEPTH, lexical_weight=weight)
            place = {hit.id: rank for rank, hit in enumerate(found.hits, start=1)}
            ranks[mode].append(np.sort([place.get(item_id, last) for item_id in query.items]))
    return ranks

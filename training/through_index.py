"""The same queries through the index: how much recall the engine loses against exact scores."""

import asyncio
import contextlib
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from retriever.index import IndexedItem, ItemIndex, open_index
from training.formats import ValidQuery
from training.gallery import EncodedGallery
from training.metrics import NOT_FOUND, Ranks

DEPTH = 100  # hits read for each query: enough for every metric but a deep MRR
_BATCH = 256


def rank_through_index(
    gallery: EncodedGallery, queries: Sequence[ValidQuery], url: str | None = None, api_key: str | None = None
) -> Ranks:
    """Ranks of every query's positives as the service would find them, under two more modes.

    "index" is the fused mode by meaning alone and "index hybrid" with BM25 as the service has it, to be held against
    "fused" and "hybrid". An item that is not among the first `DEPTH` hits counts as not found; so does one that has
    neither a text nor a picture, which is not put into the index.

    Args:
        url: a Qdrant server to use; without one the embedded engine. What is written is removed afterwards.

    Raises:
        IndexUnavailable: the server does not answer.
    """
    return asyncio.run(_rank(gallery, queries, url, api_key))


async def _rank(gallery: EncodedGallery, queries: Sequence[ValidQuery], url: str | None, api_key: str | None) -> Ranks:
    opened = _on_server(gallery, url, api_key) if url else _embedded(gallery)
    async with opened as index:
        await _fill(index, gallery)
        return await _search(index, gallery, queries)


@contextlib.asynccontextmanager
async def _embedded(gallery: EncodedGallery) -> AsyncIterator[ItemIndex]:
    retriever = gallery.retriever
    with tempfile.TemporaryDirectory() as folder:
        index = await open_index(data_dir=Path(folder), dim=retriever.config.embed_dim, model_id=retriever.model_id)
        try:
            yield index
        finally:
            await index.close()


@contextlib.asynccontextmanager
async def _on_server(gallery: EncodedGallery, url: str, api_key: str | None) -> AsyncIterator[ItemIndex]:
    """In a collection of its own: the server may be the one that serves a shop."""
    from retriever.index import server  # the client takes a second to import

    retriever, alias = gallery.retriever, f"evaluation-{uuid.uuid4().hex}"
    dim, model_id = retriever.config.embed_dim, retriever.model_id
    client = server.connect(url, api_key)
    try:
        index = await server.ServerIndex.open(client, dim, model_id, alias, beside=True)
        try:
            yield index
        finally:
            with server.server_errors():
                await client.delete_collection(f"{alias}-{model_id}")
    finally:
        await client.close()


async def _fill(index: ItemIndex, gallery: EncodedGallery) -> None:
    findable = np.flatnonzero(gallery.findable).tolist()
    with tqdm(total=len(findable), desc="indexing", unit="item") as bar:
        for start in range(0, len(findable), _BATCH):
            columns = findable[start : start + _BATCH]
            await index.upsert(
                [
                    IndexedItem(item.item_id, gallery.tokens(column), item.text, {})
                    for column, item in ((column, gallery.items[column]) for column in columns)
                ]
            )
            bar.update(len(columns))


async def _search(index: ItemIndex, gallery: EncodedGallery, queries: Sequence[ValidQuery]) -> Ranks:
    ranks: Ranks = {"index": [], "index hybrid": []}
    for query in tqdm(queries, desc="queries through the index", unit="query"):
        vector = gallery.retriever.encode_queries([query.query])[0]  # (D,)
        words, named = await index.resolve_article_numbers(query.query)
        for mode, weight in (("index", 0.0), ("index hybrid", None)):
            found = await index.search(vector, words, limit=DEPTH, lexical_weight=weight, named=named)
            place = {hit.id: rank for rank, hit in enumerate(found.hits, start=1)}
            ranks[mode].append(np.sort([place.get(item_id, NOT_FOUND) for item_id in query.items]))
    return ranks

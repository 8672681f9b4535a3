"""Where item vectors live: Qdrant, embedded in a folder or on a server, behind one interface."""

from pathlib import Path

from retriever.index.base import ItemIndex
from retriever.index.cluster import Cluster
from retriever.index.edge import EdgeIndex
from retriever.index.filters import FilterError
from retriever.index.points import IndexedItem, Payload
from retriever.index.query import Boost
from retriever.index.results import Facet, Hit, IndexInUse, IndexUnavailable, ModelMismatch, SearchResult
from retriever.index.selection import Sort

__all__ = [
    "Boost",
    "Cluster",
    "Facet",
    "FilterError",
    "Hit",
    "IndexInUse",
    "IndexUnavailable",
    "IndexedItem",
    "ItemIndex",
    "ModelMismatch",
    "Payload",
    "SearchResult",
    "Sort",
    "open_index",
]


async def open_index(*, data_dir: Path, dim: int, model_id: str) -> ItemIndex:
    """One model's embedded index where a service has its own, without those beside it (`retriever.index.generations`).

    Args:
        data_dir: The service's; the index lies in `data_dir/index`.
        dim: D, the width of the model's embeddings.

    Raises:
        IndexUnavailable: another process has the folder open; its files cannot be read.
        ModelMismatch: the index there was written by another model.
    """
    return await EdgeIndex.open(data_dir / "index", dim, model_id)

"""Where item vectors live: Qdrant, embedded in a folder or on a server, behind one interface."""

from pathlib import Path

from retriever.index.base import ItemIndex
from retriever.index.cluster import Cluster
from retriever.index.edge import EdgeIndex
from retriever.index.filters import FilterError
from retriever.index.points import IndexedItem, Payload
from retriever.index.question import Boost
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


async def open_index(
    *,
    data_dir: Path,
    dim: int,
    model_id: str,
    url: str | None = None,
    api_key: str | None = None,
    cluster: Cluster | None = None,
) -> ItemIndex:
    """The index of one model: on the Qdrant server at `url`, or embedded in `data_dir/index` without one.

    Args:
        dim: D, the width of the model's embeddings.
        cluster: How a collection is made that the server does not have yet.

    Raises:
        IndexUnavailable: the server does not answer; another process has the folder open; its files cannot be read.
        ModelMismatch: the index there was written by another model.
    """
    if not url:
        return await EdgeIndex.open(data_dir / "index", dim, model_id)
    from retriever.index.server import ServerIndex, connect  # its client takes a second to import

    client = connect(url, api_key)
    try:
        return await ServerIndex.open(client, dim, model_id, cluster=cluster)
    except BaseException:
        await client.close()
        raise

"""Indexes of several models side by side on a Qdrant server; see `retriever.index.generations`."""

from collections.abc import Callable
from dataclasses import asdict

from qdrant_client import AsyncQdrantClient, models

from retriever.index.base import ItemIndex
from retriever.index.cluster import Cluster
from retriever.index.generations import Generation, Generations, generation_of
from retriever.index.server import ALIAS, ServerIndex, server_errors


class ServerGenerations(Generations):
    """Collections `<alias>-<model_id>` that keep their generation in their metadata.

    Args:
        cluster: How a collection is made that the server does not have yet.
    """

    def __init__(
        self, connect: Callable[[], AsyncQdrantClient], cluster: Cluster | None = None, alias: str = ALIAS
    ) -> None:
        self._connect, self._cluster, self._alias = connect, cluster, alias
        self._client = connect()

    async def current(self) -> Generation | None:
        with server_errors():
            aliases = (await self._client.get_aliases()).aliases
            target = next((one.collection_name for one in aliases if one.alias_name == self._alias), None)
            if target is None:
                return None
            metadata = (await self._client.get_collection(target)).config.metadata or {}
        known = {name: value for name, value in metadata.items() if value}
        return generation_of({"model": "", "dim": 0, **known, "model_id": target.removeprefix(f"{self._alias}-")})

    async def open(self, model_id: str, dim: int, *, beside: bool = True) -> ItemIndex:
        client = self._connect()
        try:
            return await ServerIndex.open(client, dim, model_id, self._alias, self._cluster, beside=beside)
        except BaseException:
            await client.close()
            raise

    async def describe(self, generation: Generation) -> None:
        # Empty strings, since metadata is merged into what is there, and a null would leave the old value.
        metadata = {name: value or "" for name, value in asdict(generation).items()}
        with server_errors():
            await self._client.update_collection(f"{self._alias}-{generation.model_id}", metadata=metadata)

    async def promote(self, generation: Generation) -> None:
        await self.describe(generation)
        collection = f"{self._alias}-{generation.model_id}"
        remove = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self._alias))
        point = models.CreateAlias(collection_name=collection, alias_name=self._alias)
        create = models.CreateAliasOperation(create_alias=point)
        with server_errors():
            aliases = {one.alias_name for one in (await self._client.get_aliases()).aliases}
            await self._client.update_collection_aliases([*([remove] if self._alias in aliases else []), create])

    async def close(self) -> None:
        await self._client.close()

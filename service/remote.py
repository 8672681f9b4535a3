"""A running service, asked for its catalogue by a command that works beside it."""

import argparse
from collections.abc import AsyncGenerator, AsyncIterator

import httpx

from retriever.index import Payload
from service.export import Exported, Origin, OtherFolder, from_lines
from service.settings import Settings, comma_separated

KEYS = "SEARCH_INGEST_KEYS"


class ServiceUnavailable(Exception):
    """The service does not answer, or refuses; the message says what to do."""


def add_service_arguments(parser: argparse.ArgumentParser, settings: Settings) -> None:
    """`--url` and `--key` of the service, by default what its own settings say."""
    host = settings.host if settings.host not in ("0.0.0.0", "::") else "localhost"
    host = f"[{host}]" if ":" in host else host
    parser.add_argument(
        "--url", default=f"http://{host}:{settings.port}", help="the service, if it runs (default: %(default)s)"
    )
    keys = comma_separated(settings.ingest_keys)
    parser.add_argument("--key", default=keys[0] if keys else None, help=f"its ingest key (default: ${KEYS})")


class RemoteCatalogue:
    """The catalogue of a service that holds the embedded index open."""

    def __init__(self, url: str, key: str | None, origin: Origin) -> None:
        self._url, self._origin = url, origin
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def count(self) -> int:
        """How many items there are. Raises ServiceUnavailable."""
        async with self._client() as client:
            try:
                answer = await client.get("/items", params={"limit": 1})
            except httpx.TransportError as error:
                raise self._away(error) from error
            self._check(answer)
            return int(answer.json()["total"])

    async def payloads(self) -> AsyncIterator[Payload]:
        """What is said about each item. Raises as `items`."""
        async for item in self.items(whole=False):
            yield item.payload

    async def items(self, *, whole: bool) -> AsyncGenerator[Exported]:
        """Every item, to the last.

        Raises:
            ServiceUnavailable: it does not answer, refuses, breaks off, has another model by now, or is another shop's.
        """
        async with self._client() as client:
            try:
                async with client.stream("GET", "/export", params={"whole": whole}) as answer:
                    if answer.status_code != 200:
                        await answer.aread()
                    self._check(answer)
                    async for item in from_lines(self._origin, answer.aiter_bytes()):
                        yield item
            except httpx.TransportError as error:
                raise self._away(error) from error
            except OtherFolder as error:
                raise ServiceUnavailable(
                    f"{self._url} is another shop's service: {error}. Give the address of the one that works on "
                    "SEARCH_DATA_DIR with --url, or set SEARCH_DATA_DIR to that shop's folder."
                ) from error
            except ValueError as error:
                raise ServiceUnavailable(f"{self._url}: {error}. Run the same command again.") from error

    def _client(self) -> httpx.AsyncClient:
        try:
            return httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=60)
        except httpx.InvalidURL as error:
            raise ServiceUnavailable(f"{self._url} is no address of a service: {error}") from error

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code == 200:
            return
        try:
            detail = answer.json()["detail"]
        except (ValueError, KeyError):
            detail = answer.text[:200]
        hint = f" Give --key, or set {KEYS}." if answer.status_code in (401, 403) else ""
        raise ServiceUnavailable(f"{self._url} answers {answer.status_code}: {detail}{hint}")

    def _away(self, error: httpx.TransportError) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"another process has the index open, but no service answers at {self._url} ({error}). Give its address "
            "with --url, or stop that process."
        )

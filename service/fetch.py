"""Pictures by URL: the service asks other machines for what a client names, and must not be made to ask its own.

The rule: `http` and `https` at their usual ports, and addresses that the whole internet can reach. However a host is
written (a name, `0x7f.1`, `2130706433`, `[::ffff:7f00:1]`), it is resolved once, what it resolves to is judged, and
that very address is connected to: a name that resolves otherwise a moment later is not asked again. A redirect is a
new URL and goes the same way. No proxy, cookie or credential is used, and what comes is a stranger's upload to
`media.decode` like any other.
"""

import asyncio
import hashlib
import io
import ipaddress
import logging
import string
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, TypeAlias
from urllib.parse import quote, urljoin, urlsplit

import httpcore
import idna
from fastapi import Depends, Request

from service.problems import Problem
from service.resolver import Resolver, Unanswered
from service.tasks import gather_or_cancel

log = logging.getLogger(__name__)

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port → addresses, or OSError, or Unanswered."""

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = 3
_AT_ONCE = 16
_HEADERS = [
    (b"User-Agent", b"fused-product-search"),
    (b"Accept", b"image/webp, image/png, image/jpeg"),
    (b"Accept-Encoding", b"identity"),
]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# What `ipaddress` calls global, in some of Python's releases or in all.
_SPECIAL = [
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # a cloud's machines ask it for their secrets
        "192.0.0.0/24",  # protocol assignments; another cloud's metadata
        "192.88.99.0/24",  # relays from IPv4 to IPv6
        "64:ff9b:1::/48",  # NAT64 of one network
        "2001::/23",  # protocol assignments; Teredo
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
    )
]


@dataclass
class _Allowance:
    """What the pictures of one item may still weigh together, in bytes."""

    left: int


class Fetched(io.BytesIO):
    """What came from a URL, with that URL as it is told, and its hash: the whole one may hold a secret."""

    def __init__(self, content: bytes, url: str) -> None:
        super().__init__(content)
        self.url, self.url_sha256 = _short(url), hashlib.sha256(url.encode()).hexdigest()


class Refused(Exception):
    """This URL is not asked for; the message says why without saying what it leads to."""


def is_public(address: IPAddress) -> bool:
    """Whether the whole internet can reach an address, or the IPv4 address that it stands for."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    if address.is_multicast or address.is_reserved or any(address in network for network in _SPECIAL):
        return False
    return address.is_global


class PictureFetcher:
    """Gets pictures from the internet, and from nowhere else."""

    def __init__(
        self,
        *,
        enabled: bool,
        max_pictures: int,
        max_bytes: int,
        max_item_bytes: int,
        seconds: float,
        resolve: Resolve | None = None,
        permitted: Callable[[IPAddress], bool] = is_public,
        ports: Iterable[int] = _PORTS.values(),
    ) -> None:
        self._enabled, self._max_pictures = enabled, max_pictures
        self._max_bytes, self._max_item_bytes, self._seconds = max_bytes, max_item_bytes, seconds
        self._resolve = resolve or Resolver(_AT_ONCE, seconds / 2).addresses
        self._permitted, self._ports = permitted, frozenset(ports)
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def collect(self, files: Sequence[BinaryIO], urls: Sequence[str]) -> list[BinaryIO]:
        """The pictures of one item: those that were sent, then those that are to be fetched.

        Raises:
            Problem: 422 `too_many_pictures`, and as `fetch_all`.
        """
        if len(files) + len(urls) > self._max_pictures:
            detail = f"An item has at most {self._max_pictures} pictures; SEARCH_MAX_PICTURES sets the limit."
            raise Problem(422, "too_many_pictures", detail)
        return [*files, *(await self.fetch_all(urls) if urls else ())]

    async def fetch_all(self, urls: Sequence[str]) -> list["Fetched"]:
        """The contents of all, in their order.

        Raises:
            Problem: 422 `image_urls_off`, `url_refused`, `url_failed`; 413 `file_too_large`, `body_too_large`.
        """
        if not self._enabled:
            detail = "This service takes no pictures by URL; SEARCH_IMAGE_URLS=true lets it fetch public ones."
            raise Problem(422, "image_urls_off", detail)
        allowance = _Allowance(self._max_item_bytes)
        return await gather_or_cancel(self._answered(url, allowance) for url in urls)

    async def _answered(self, url: str, allowance: _Allowance) -> "Fetched":
        try:
            async with self._slots, asyncio.timeout(self._seconds):
                return Fetched(await self._fetch(url, allowance), url)
        except Refused as error:
            raise Problem(422, "url_refused", f"{_short(url)} is not fetched: {error}.") from None
        except Unanswered:
            detail = f"{_short(url)} could not be fetched: no name server answers for its host."
            raise Problem(422, "url_failed", detail) from None
        except TimeoutError:
            raise Problem(422, "url_failed", f"{_short(url)} took more than {self._seconds:g} s.") from None
        except (
            OSError,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
        ) as error:
            log.info("fetching a picture failed: %r", error)
            raise Problem(422, "url_failed", f"{_short(url)} could not be fetched.") from None

    async def _fetch(self, url: str, allowance: _Allowance) -> bytes:
        asked = url
        for _ in range(_REDIRECTS + 1):
            scheme, host, port, target = self._parse(url)
            backend = _PinnedBackend(await self._addresses(host, port))
            async with httpcore.AsyncConnectionPool(network_backend=backend, retries=0) as pool:
                written = f"[{host}]" if ":" in host else host
                if port != _PORTS[scheme]:
                    written += f":{port}"
                address = httpcore.URL(scheme=scheme.encode(), host=host.encode(), port=port, target=target.encode())
                headers = [(b"Host", written.encode()), *_HEADERS]
                async with pool.stream("GET", address, headers=headers) as response:
                    if response.status in (301, 302, 303, 307, 308):
                        location = {name.lower(): value for name, value in response.headers}.get(b"location")
                        if not location:
                            detail = f"{_short(asked)} answered {response.status} without saying where to."
                            raise Problem(422, "url_failed", detail)
                        try:
                            url = urljoin(url, location.decode())
                        except ValueError:
                            raise Refused("it leads on to what is not a URL") from None
                        continue
                    return await self._read(response, asked, allowance)
        raise Refused(f"it leads on more than {_REDIRECTS} times")

    async def _read(self, response: httpcore.Response, url: str, allowance: _Allowance) -> bytes:
        if response.status != 200:
            raise Problem(422, "url_failed", f"{_short(url)} answered {response.status}.")
        content = bytearray()
        async for part in response.aiter_stream():
            content += part
            allowance.left -= len(part)
            if allowance.left < 0:
                detail = (
                    f"The pictures have more than {self._max_item_bytes} bytes; SEARCH_MAX_BODY_BYTES sets the limit."
                )
                raise Problem(413, "body_too_large", detail)
            if len(content) > self._max_bytes:
                detail = f"{_short(url)} has more than {self._max_bytes} bytes; SEARCH_MAX_FILE_BYTES sets the limit."
                raise Problem(413, "file_too_large", detail)
        return bytes(content)

    def _parse(self, url: str) -> tuple[str, str, int, str]:
        """Scheme, host, port and target. Raises Refused."""
        if not url.isprintable() or "\\" in url:
            raise Refused("it holds characters that a URL cannot")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Refused("it is not a URL") from None
        if parts.scheme not in _PORTS:
            raise Refused("its scheme is not http or https")
        if " " in parts.netloc:
            raise Refused("it holds characters that a URL cannot")
        if "@" in parts.netloc:
            raise Refused("it names a user")
        if not parts.hostname:
            raise Refused("it names no host")
        port = _PORTS[parts.scheme] if port is None else port
        if port not in self._ports:
            raise Refused("its port is not the usual one of http or https")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        target = quote(target, safe=string.punctuation)  # letters and spaces as browsers send them; % stays
        return parts.scheme, _ascii_host(parts.hostname), port, target

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Where to connect.

        Raises:
            Refused: not every address of the host is permitted, or it has none.
            Unanswered: nobody says what addresses it has.
        """
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError):  # no such name, or a part of it that is empty or too long
            raise Refused("its host has no address") from None
        if not found or not all(self._permitted(ipaddress.ip_address(one)) for one in found):
            raise Refused("its host is not on the public internet")
        return list(found)


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that were judged, whatever the name would resolve to now; TLS still checks the name."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        for address in self._addresses[:-1]:
            try:
                return await self._backend.connect_tcp(address, port, *args, **kwargs)
            except httpcore.ConnectError:
                continue
        return await self._backend.connect_tcp(self._addresses[-1], port, *args, **kwargs)


def fetcher(request: Request) -> PictureFetcher:
    """The dependency that gives a route the application's `PictureFetcher`."""
    opened: PictureFetcher = request.app.state.fetcher
    return opened


FetcherDep = Annotated[PictureFetcher, Depends(fetcher)]


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        raise Refused("its host is not a name") from None


def _short(url: str) -> str:
    return repr(url if len(url) <= 200 else f"{url[:200]}…")

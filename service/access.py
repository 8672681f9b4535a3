"""Who may come in, and for what: API keys of two scopes, and limits for each.

A request is judged by its head alone. FastAPI reads a body before it runs a route's dependencies, so a stranger's
upload would be on the disk before a dependency could refuse it; `GuardedRoute` asks first.

Keys are kept and compared as SHA-256 digests, each with every known one, so the time of an answer says neither how
much of a guess was right nor which key it was.
"""

import contextlib
import hashlib
import hmac
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastapi import Depends, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope, Send

from service import logs
from service.limits import Limiter, Permit
from service.metrics import Metrics
from service.problems import Problem
from service.settings import Settings, comma_separated


class KeyScope(StrEnum):
    """What a key is for. Neither includes the other: a shop's front end must not write, nor its import job search."""

    SEARCH = "search"
    INGEST = "ingest"


READ = frozenset(KeyScope)
"""Reading the catalogue is part of both: search results show it, and who writes it compares."""


@dataclass(frozen=True)
class Caller:
    """Who asks: a key by its place in the settings (`search-1`), or without keys an address."""

    name: str
    scopes: frozenset[KeyScope]


class Gate:
    """Lets requests in, by the settings."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._origins = set(comma_separated(settings.cors_origins))
        places: dict[str, dict[KeyScope, str]] = {}
        for scope, keys in ((KeyScope.SEARCH, settings.search_keys), (KeyScope.INGEST, settings.ingest_keys)):
            for number, key in enumerate(comma_separated(keys), start=1):
                places.setdefault(key, {}).setdefault(scope, f"{scope}-{number}")
        self._known = [
            (hashlib.sha256(key.encode()).digest(), Caller("+".join(names.values()), frozenset(names)))
            for key, names in places.items()
        ]
        self._limiters = {
            KeyScope.SEARCH: Limiter("searches", rate=settings.search_rate, at_once=settings.search_at_once),
            KeyScope.INGEST: Limiter("writes", rate=settings.ingest_rate, at_once=settings.ingest_at_once),
        }

    def __str__(self) -> str:
        if not self._known:
            return "no keys: whoever reaches the service may search and write"
        counts = (f"{sum(scope in one.scopes for _, one in self._known)} for {scope}" for scope in KeyScope)
        return f"API keys: {', '.join(counts)}"

    def caller(self, scope: Scope) -> Caller:
        """Who sends a request.

        Raises:
            Problem: 401 with `WWW-Authenticate` (`key_required`, `key_unknown`); 403 (`other_site`).
        """
        headers = Headers(scope=scope)
        if not self._known:
            self._refuse_other_sites(scope["method"], headers)
            return Caller(_address(scope), READ)
        sent = _key_of(headers)
        if sent is None:
            self._metrics.refused.labels("key_required").inc()
            detail = "Send an API key: Authorization: Bearer <key>, or X-API-Key: <key>."
            raise _unauthorised("key_required", detail, "")
        digest = hashlib.sha256(sent.encode("latin-1")).digest()
        found = None
        for known, caller in self._known:  # all of them, whichever it is
            if hmac.compare_digest(digest, known):
                found = caller
        if found is None:
            self._metrics.refused.labels("key_unknown").inc()
            raise _unauthorised("key_unknown", "This API key is not, or no longer, known.", ', error="invalid_token"')
        return found

    def _refuse_other_sites(self, method: str, headers: Headers) -> None:
        """Without keys, any site could have its visitors' browsers post a form to a service on their own machine."""
        allowed = {"*", headers.get("origin")} & self._origins
        if method not in ("GET", "HEAD") and headers.get("sec-fetch-site") == "cross-site" and not allowed:
            self._metrics.refused.labels("other_site").inc()
            detail = "A page of another site asks for this; SEARCH_CORS_ORIGINS names the sites that may."
            raise Problem(403, "other_site", detail)

    @contextlib.contextmanager
    def admit(self, scope: Scope, needed: frozenset[KeyScope]) -> Iterator[Permit]:
        """Lets a request in whose key has any of the scopes, and counts it among its caller's while it runs.

        Raises:
            Problem: as `caller`; 403 (`wrong_scope`); 429 (`rate_limited`, `too_many_at_once`).
        """
        caller = self.caller(scope)
        logs.request_fields.get()["caller"] = caller.name
        shared = caller.scopes & needed
        if not shared:
            self._metrics.refused.labels("wrong_scope").inc()
            wanted = " or ".join(sorted(needed))
            detail = f"This API key is not for this: it takes one for {wanted}."
            challenge = f'Bearer realm="{_REALM}", error="insufficient_scope", scope="{" ".join(sorted(needed))}"'
            raise Problem(403, "wrong_scope", detail, headers={"WWW-Authenticate": challenge})
        counted = KeyScope.SEARCH if KeyScope.SEARCH in shared else KeyScope.INGEST
        with contextlib.ExitStack() as stack:
            try:
                permit = stack.enter_context(self._limiters[counted].admit(caller.name))
            except Problem as problem:
                self._metrics.refused.labels(problem.code).inc()
                raise
            yield permit


class _Needs(HTTPBearer):
    """Names the scopes of a route: for `GuardedRoute`, and as the bearer scheme of the OpenAPI document."""

    def __init__(self, scopes: frozenset[KeyScope], **described: Any) -> None:
        super().__init__(auto_error=False, **described)
        self.scopes = scopes


def needs(*scopes: KeyScope) -> list[Any]:
    """The dependencies of a route that takes a key with any of these scopes."""
    wanted = " or ".join(scopes)
    name, description = "".join(scope.capitalize() for scope in scopes), f"An API key for {wanted}."
    return [
        Depends(_Needs(frozenset(scopes), scheme_name=f"{name}Bearer", description=description)),
        Depends(APIKeyHeader(name="X-API-Key", scheme_name=f"{name}Key", description=description, auto_error=False)),
    ]


SEARCH_KEY, INGEST_KEY, ANY_KEY = needs(KeyScope.SEARCH), needs(KeyScope.INGEST), needs(*KeyScope)


class GuardedRoute(APIRoute):
    """A route that a request enters only with a key of the scopes that its `needs` names, and in its own words.

    A parameter that it does not know is a mistake that would do harm: `?Action=update` in place of `?action=update`
    replaces whole items by their new prices.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        asked = [one.dependency for one in self.dependencies]
        self.needed = next((one.scopes for one in asked if isinstance(one, _Needs)), None)
        fields = get_flat_params(self.dependant)
        self.parameters = sorted(field.alias for field in fields if isinstance(field.field_info, params.Query))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.needed is None:
            self._refuse_unknown(scope)
            _refuse_encoded(scope)
            await super().handle(scope, receive, send)
            return
        gate: Gate = scope["app"].state.gate
        with gate.admit(scope, self.needed) as permit:
            scope.setdefault("state", {})["permit"] = permit
            self._refuse_unknown(scope)
            _refuse_encoded(scope)
            await super().handle(scope, receive, send)

    def _refuse_unknown(self, scope: Scope) -> None:
        unknown = [name for name in QueryParams(scope["query_string"]) if name not in self.parameters]
        if unknown and scope["method"] in (self.methods or ()):  # another is refused for that
            known = f"it takes {', '.join(self.parameters)}" if self.parameters else "it takes none"
            errors = [{"field": f"query.{name}", "message": "is not known"} for name in unknown[:100]]
            detail = f"This address has no parameter {unknown[0]!r}; {known}."
            raise Problem(422, "unknown_parameter", detail, errors=errors)


def _refuse_encoded(scope: Scope) -> None:
    """Before the body is parsed, which would say that it is no JSON."""
    encoding = Headers(scope=scope).get("content-encoding", "").lower()
    if encoding not in ("", "identity") and scope["method"] in ("POST", "PUT", "PATCH"):
        detail = f"The body must not be compressed or otherwise encoded, and its Content-Encoding is {encoding}."
        raise Problem(415, "unsupported_media_type", detail, headers={"Accept-Encoding": "identity"})


_REALM = "product-search"


def _unauthorised(code: str, detail: str, error: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": f'Bearer realm="{_REALM}"{error}'})


def _key_of(headers: Headers) -> str | None:
    """`X-API-Key` first: a proxy in front may use `Authorization` for itself."""
    if key := headers.get("x-api-key"):
        return key.strip()
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def _address(scope: Scope) -> str:
    """The client's address; of IPv6 the network, since one client has a whole one."""
    host = scope["client"][0] if scope.get("client") else "unknown"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)

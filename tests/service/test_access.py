"""Keys: who comes in, for what, and that nobody else learns anything."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic import ValidationError

from service import logs
from service.__main__ import main
from service.access import ANY_KEY, INGEST_KEY, SEARCH_KEY, Gate, GuardedRoute
from service.app import create_app
from service.metrics import Metrics
from service.problems import Problem
from service.routes import bulk, events, export, health, items, json_items, rules, search
from service.settings import Settings
from tests.service.helpers import picture_file, post_item
from tests.service.test_problems import check

SEARCH, NEXT_SEARCH, INGEST, BOTH = "search-key-0123456789", "next-search-key-012345", "ingest-key-0123456789", "b" * 16
KEYS = {"search": SEARCH, "next": NEXT_SEARCH, "ingest": INGEST, "both": BOTH}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[TestClient]:
    """A service with keys, and an item that has a picture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("QDRANT_URL", raising=False)
        settings = Settings.model_validate(
            {
                "data_dir": tmp_path_factory.mktemp("keyed") / "data",
                "model": str(tiny_checkpoint),
                "device": "cpu",
                "search_keys": f"{SEARCH}, {NEXT_SEARCH},{BOTH}",
                "ingest_keys": f"{INGEST},{BOTH}",
            }
        )
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            client.headers["X-API-Key"] = INGEST
            assert post_item(client, "mug", picture_file(), title="mug").status_code == 201
            del client.headers["X-API-Key"]
            yield client


EVENT = {"search_id": "0" * 32, "item_id": "mug", "position": 0, "kind": "click"}
CALLS: list[tuple[str, str, dict[str, Any], set[str]]] = [
    ("POST", "/search", {"json": {"query": "mug"}}, {"search"}),
    ("POST", "/search/batch", {"json": {"searches": [{"query": "mug"}]}}, {"search"}),
    ("POST", "/search/image", {"files": {"image": ("a.png", picture_file())}}, {"search"}),
    ("GET", "/suggest?q=m", {}, {"search"}),
    ("POST", "/events", {"json": {"events": [EVENT]}}, {"search"}),
    ("GET", "/items/mug/similar", {}, {"search"}),
    ("POST", "/recommend", {"json": {"items": ["mug"]}}, {"search"}),
    ("GET", "/items", {}, {"search", "ingest"}),
    ("GET", "/items/mug", {}, {"search", "ingest"}),
    ("GET", "/items/mug/image", {}, {"search", "ingest"}),
    ("GET", "/fields", {}, {"search", "ingest"}),
    ("GET", "/metrics", {}, {"search", "ingest"}),
    ("GET", "/rules", {}, {"search", "ingest"}),
    ("PUT", "/rules", {"json": {}}, {"ingest"}),
    ("GET", "/export", {}, {"ingest"}),
    ("POST", "/items", {"files": {"id": (None, "a"), "title": (None, "a")}}, {"ingest"}),
    ("PUT", "/items/a", {"files": {"title": (None, "a")}}, {"ingest"}),
    ("POST", "/items", {"json": {"id": "a", "title": "a"}}, {"ingest"}),
    ("PUT", "/items/a", {"json": {"title": "a"}}, {"ingest"}),
    ("PATCH", "/items/mug", {"json": {"price": 1}}, {"ingest"}),
    ("DELETE", "/items/nobody", {}, {"ingest"}),
    ("DELETE", '/items?filter={"id": "nobody"}', {}, {"ingest"}),
    ("POST", "/items/bulk", {"content": b"{}", "headers": {"Content-Type": "application/x-ndjson"}}, {"ingest"}),
]


@pytest.mark.parametrize(("method", "path", "body", "scopes"), CALLS, ids=[f"{call[0]} {call[1]}" for call in CALLS])
def test_every_call_takes_keys_of_its_scopes_alone(
    keyed: TestClient, method: str, path: str, body: dict[str, Any], scopes: set[str]
) -> None:
    def ask(**headers: str) -> Any:
        return keyed.request(method, path, **{**body, "headers": {**body.get("headers", {}), **headers}})

    missing = ask()
    check(missing, 401, "key_required")
    assert missing.headers["www-authenticate"] == 'Bearer realm="product-search"'
    wrong = ask(**{"X-API-Key": "no-such-key-0123456789"})
    check(wrong, 401, "key_unknown")
    assert 'error="invalid_token"' in wrong.headers["www-authenticate"]
    for name, key in KEYS.items():
        scope = "search" if name == "next" else name
        answer = ask(Authorization=f"Bearer {key}")
        assert answer.status_code == ask(**{"X-API-Key": key}).status_code or method == "POST", "either header does"
        if scope == "both" or scope in scopes:
            assert answer.status_code in (200, 201, 204, 404), answer.text
        else:
            check(answer, 403, "wrong_scope")
            assert f'scope="{" ".join(sorted(scopes))}"' in answer.headers["www-authenticate"]


def test_no_route_is_forgotten(keyed: TestClient) -> None:
    routes = [
        route for module in (items, search, events, health, bulk, export, rules) for route in module.router.routes
    ]
    routes += search.image_router.routes
    assert all(isinstance(route, GuardedRoute) for route in routes)
    assert all(isinstance(route, GuardedRoute) and route.needed for route in json_items.router.routes)
    unguarded = {route.path for route in routes if isinstance(route, GuardedRoute) and route.needed is None}
    assert unguarded == {"/health/live", "/health/ready", "/items/{item_id}/image"}, "the picture's route asks itself"
    known = {route.path for route in routes if isinstance(route, APIRoute)}
    assert set(keyed.get("/openapi.json").json()["paths"]) == known
    called = {(method, path.partition("?")[0].replace("mug", "a")) for method, path, _, _ in CALLS}
    assert len(called) == sum(len(route.methods) for route in routes if isinstance(route, APIRoute)) - 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": SEARCH},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {SEARCH}"},
        {"X-API-Key": ""},
        {"X-API-Key": SEARCH[:-1]},
        {"X-API-Key": SEARCH.upper()},
        {"X-API-Key": f"{SEARCH},{NEXT_SEARCH}"},
        {"Authorization": "Bearer caf\u00e9"},
    ],
)
def test_almost_a_key_is_none(keyed: TestClient, headers: dict[str, str]) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert keyed.get("/items", headers=encoded).status_code == 401  # type: ignore[arg-type]


def test_the_scheme_is_written_in_any_case_and_a_proxy_may_use_its_header(keyed: TestClient) -> None:
    assert keyed.get("/items", headers={"Authorization": f"bearer {SEARCH}"}).status_code == 200
    both = {"Authorization": "Basic cHJveHk6cHJveHk=", "X-API-Key": SEARCH}
    assert keyed.get("/items", headers=both).status_code == 200


def test_every_known_key_is_compared_whichever_matches(keyed: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from service import access

    compared: list[bytes] = []
    compare = access.hmac.compare_digest

    def counted(a: bytes, b: bytes) -> bool:
        compared.append(b)
        assert len(a) == len(b) == 32, "digests: the length of a key does not show either"
        return compare(a, b)

    monkeypatch.setattr(access.hmac, "compare_digest", counted)
    for key in (SEARCH, BOTH, "no-such-key-0123456789"):
        compared.clear()
        keyed.get("/items", headers={"X-API-Key": key})
        assert len(compared) == len(set(compared)) == 4


def test_a_stranger_is_refused_before_the_body_is_read(keyed: TestClient) -> None:
    answers: list[Any] = []
    asked: list[bool] = []

    async def receive() -> Any:
        asked.append(True)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/items",
        "raw_path": b"/items",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=b"), (b"x-api-key", b"a-key-that-nobody-has")],
    }
    asyncio.run(keyed.app(scope, receive, send))  # type: ignore[arg-type]
    assert (answers[0]["status"], asked) == (401, [])
    scope["headers"] = [(b"content-type", b"multipart/form-data; boundary=b"), (b"x-api-key", INGEST.encode())]
    asyncio.run(keyed.app(scope, receive, send))  # type: ignore[arg-type]
    assert asked, "of a known key it is"


def test_a_picture_is_seen_by_whoever_was_shown_its_item(keyed: TestClient) -> None:
    url = keyed.get("/items/mug", headers={"X-API-Key": SEARCH}).json()["images"][0]["url"]
    assert keyed.get(url).headers["content-type"] == "image/jpeg"
    check(keyed.get(url[:-1]), 401, "key_required")
    check(keyed.get(url.replace("v=", "v=%C3%A9")), 401, "key_required")
    check(keyed.get("/items/mug/image"), 401, "key_required")
    check(keyed.get("/items/nobody/image"), 401, "key_required")
    check(keyed.get("/items/nobody/image", headers={"X-API-Key": SEARCH}), 404, "item_not_found")


def test_the_page_and_the_description_need_no_key(keyed: TestClient) -> None:
    for path in ("/", "/web/app.js", "/docs", "/docs/assets/swagger-ui.css", "/openapi.json", "/health/live"):
        assert keyed.get(path).status_code == 200, path
    assert keyed.get("/health/ready").status_code == 200


def test_the_description_names_the_schemes(keyed: TestClient) -> None:
    document = keyed.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["SearchBearer"]["scheme"] == "bearer"
    assert (schemes["IngestKey"]["in"], schemes["IngestKey"]["name"]) == ("header", "X-API-Key")
    assert document["paths"]["/search"]["post"]["security"] == [{"SearchBearer": []}, {"SearchKey": []}]
    assert document["paths"]["/items"]["post"]["security"] == [{"IngestBearer": []}, {"IngestKey": []}]
    assert {"401", "403", "429"} <= document["paths"]["/items/bulk"]["post"]["responses"].keys()
    assert len(SEARCH_KEY) == len(INGEST_KEY) == len(ANY_KEY) == 2


def test_the_log_names_the_key_and_never_shows_it(keyed: TestClient) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        for key in (*KEYS.values(), "no-such-key-0123456789"):
            keyed.post("/search", json={"query": "mug"}, headers={"X-API-Key": key})
            keyed.post("/search", json={"query": "mug"}, headers={"Authorization": f"Bearer {key}"})
            keyed.post("/search", content=b"{", headers={"Authorization": f"Bearer {key}"})
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    callers = {line.get("caller") for line in lines if line["logger"] == "service.request"}
    assert callers == {"search-1", "search-2", "ingest-1", "search-3+ingest-2", None}
    for key in (*KEYS.values(), "no-such-key-0123456789"):
        assert key not in stream.getvalue()
    assert repr(keyed.app.state.gate).find(SEARCH) < 0  # type: ignore[attr-defined]


def request(method: str = "GET", host: str = "192.0.2.1", **headers: str) -> dict[str, Any]:
    """As a gate sees it."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "client": (host, 1), "headers": named}


def test_without_keys_a_caller_is_an_address_and_of_ipv6_a_network() -> None:
    def name(host: str) -> str:
        return Gate(Settings(), Metrics()).caller(request(host=host)).name

    assert name("192.0.2.1") == name("::ffff:192.0.2.1") == "192.0.2.1"
    assert name("::ffff:192.0.2.2") == "192.0.2.2"
    assert name("2001:db8:1:2::5") == name("2001:db8:1:2:ffff::1")
    assert name("2001:db8:1:2::5") != name("2001:db8:1:3::5")
    assert name("testclient") == "testclient"
    behind_a_socket = {**request(), "client": None}
    assert Gate(Settings(), Metrics()).caller(behind_a_socket).name == "unknown"


@pytest.mark.parametrize(
    ("allowed", "let_in"),
    [("", False), ("https://other.example", False), ("https://shop.example", True), ("*", True)],
)
def test_a_page_of_another_site_writes_where_it_is_named(allowed: str, let_in: bool) -> None:
    metrics = Metrics()
    gate = Gate(Settings(cors_origins=allowed), metrics)
    page = {"origin": "https://shop.example", "sec_fetch_site": "cross-site"}
    assert gate.caller(request("GET", **page)).name == "192.0.2.1"
    for site in ("same-origin", "same-site", "none"):
        assert gate.caller(request("POST", sec_fetch_site=site)).name == "192.0.2.1"
    for refused, method in enumerate(("POST", "PUT", "DELETE"), start=1):
        if let_in:
            assert gate.caller(request(method, **page)).name == "192.0.2.1"
        else:
            with pytest.raises(Problem, match="SEARCH_CORS_ORIGINS"):
                gate.caller(request(method, **page))
            counted = metrics.registry.get_sample_value("search_http_refused_total", {"code": "other_site"})
            assert counted == refused


@pytest.mark.parametrize(("key", "code"), [("", "key_required"), ("x" * 16, "key_unknown"), (SEARCH, "wrong_scope")])
def test_who_is_refused_is_counted(keyed: TestClient, key: str, code: str) -> None:
    def counted() -> float:
        lines = keyed.get("/metrics", headers={"X-API-Key": SEARCH}).text.splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith(f'search_http_refused_total{{code="{code}"')
        )

    before = counted()
    check(keyed.get("/export", headers={"X-API-Key": key}), 403 if code == "wrong_scope" else 401, code)
    assert counted() == before + 1


def test_beyond_loopback_only_with_keys_or_on_purpose() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "shop.example"):
        with pytest.raises(ValidationError, match="SEARCH_ALLOW_NO_KEYS=true"):
            Settings(host=host)
        with pytest.raises(ValidationError, match="SEARCH_ALLOW_NO_KEYS=true"):
            Settings.model_validate({"host": host, "search_keys": " , "})
        assert Settings(host=host, allow_no_keys=True).host == host
        assert Settings.model_validate({"host": host, "ingest_keys": INGEST}).host == host
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert Settings(host=host).host == host


@pytest.mark.parametrize(
    "keys", ["short", f"{SEARCH},short", "with space inside it", "caf\u00e9-0123456789abc", "x" * 201]
)
def test_keys_that_can_be_guessed_or_not_be_sent_are_refused_and_not_repeated(keys: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"search_keys": keys})
    (error,) = caught.value.errors()
    assert "16 to 200" in error["msg"]
    assert keys not in error["msg"]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("SEARCH_HOST", "0.0.0.0", "SEARCH_ALLOW_NO_KEYS=true"), ("SEARCH_SEARCH_KEYS", "too-short", "16 to 200")],
)
def test_a_start_that_would_let_strangers_in_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    assert said in told
    assert "too-short" not in told

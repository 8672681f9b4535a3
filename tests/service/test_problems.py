"""Every error, whoever raises it, has one shape: RFC 9457 with a stable code, and nothing of the service's insides."""

import ast
import asyncio
import base64
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse

from retriever.index.results import IndexUnavailable
from service.app import create_app
from service.problems import _CODES, MEDIA_TYPE, ProblemMiddleware
from service.settings import Settings
from tests.service.helpers import picture_file, post_item


def check(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.headers["x-request-id"]
    problem: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "code"} <= problem.keys()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:product-search:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    return problem


JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", "/nothing", None, {}, 404, "not_found"),
        ("GET", "/items/a/b", None, {}, 404, "not_found"),
        ("GET", "/items/", None, {}, 404, "not_found"),
        ("GET", "/web/no-such-file.js", None, {}, 404, "not_found"),
        ("GET", "/web/../settings.py", None, {}, 404, "not_found"),
        ("GET", "/items/%FF", None, {}, 422, "validation_failed"),
        ("GET", "/items/a%00b", None, {}, 422, "validation_failed"),
        ("PUT", "/items", None, {}, 405, "method_not_allowed"),
        ("GET", "/search", None, {}, 405, "method_not_allowed"),
        ("PUT", "/items?cursor=a", None, {}, 405, "method_not_allowed"),
        ("POST", "/", None, {}, 405, "method_not_allowed"),
        ("POST", "/items", b"id=a", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ("POST", "/items", b"{}", JSON, 422, "validation_failed"),
        ("POST", "/items", b"[" * 100_000, JSON, 400, "malformed_body"),
        ("PUT", "/items/a", b"{", JSON, 400, "malformed_body"),
        ("POST", "/items", b"", {}, 415, "unsupported_media_type"),
        (
            "POST",
            "/items",
            b"id=a",
            {"Content-Type": "application/x-www-form-urlencoded"},
            415,
            "unsupported_media_type",
        ),
        ("POST", "/items", b"nonsense", FORM, 400, "malformed_body"),
        ("POST", "/items", b"x", {"Content-Type": "multipart/form-data"}, 400, "malformed_body"),
        ("POST", "/items", b"--b\r\n\r\nx\r\n--b--", FORM, 400, "malformed_body"),
        ("POST", "/search", b"{", JSON, 400, "malformed_body"),
        ("POST", "/search", b'{"query": "\xe9"}', JSON, 400, "malformed_body"),
        ("POST", "/search", b"[" * 60_000, JSON, 400, "malformed_body"),
        ("POST", "/search", b'{"query": "a"}', {}, 415, "unsupported_media_type"),
    ],
)
def test_errors_that_the_framework_raises(
    client: TestClient, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, code: str
) -> None:
    check(client.request(method, path, content=body, headers=headers), status, code)


def test_405_says_what_is_allowed(client: TestClient) -> None:
    assert client.get("/search").headers["allow"] == "POST"
    assert client.put("/items").headers["allow"] == "DELETE, GET, HEAD, POST"
    assert client.post("/items/a%2Fb").headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"
    assert client.post("/").headers["allow"] == "GET"
    assert client.put("/items/a/image").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/items/bulk?Action=update", "Action"),
        ("GET", "/items?offset=40", "offset"),
        ("DELETE", "/items?all=true&dry_run=true", "dry_run"),
        ("GET", "/items/a?fields=title", "fields"),
        ("GET", "/items/a/image?n=0&w=200", "w"),
    ],
)
def test_a_parameter_that_is_not_known_is_refused(client: TestClient, method: str, path: str, name: str) -> None:
    """Or a mistyped one would do something else than was meant."""
    assert post_item(client, "a", title="mug", price=3).status_code == 201
    body = b'{"id": "a", "price": 4}' if method == "POST" else None
    problem = check(client.request(method, path, content=body), 422, "unknown_parameter")
    assert repr(name) in problem["detail"]
    assert problem["errors"] == [{"field": f"query.{name}", "message": "is not known"}]
    assert client.get("/items/a").json()["title"] == "mug"


def test_head_is_get_without_the_body(client: TestClient) -> None:
    post_item(client, "a", picture_file(), title="mug")
    for path in (
        "/",
        "/health/live",
        "/health/ready",
        "/items",
        "/items/a",
        client.get("/items/a").json()["images"][0]["url"],
    ):
        whole, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-length"] == whole.headers["content-length"], path
        assert head.headers["content-type"] == whole.headers["content-type"], path
    assert client.head("/items/nope").status_code == 404
    check(client.get("/search"), 405, "method_not_allowed")
    assert client.head("/export").status_code == 405, "it would be made for nothing"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_url": "https://shop.example/a.png"}, "body.image_url: is no field that this takes"),
        ({"images": ["https://shop.example/a.png"]}, "addresses go to image_urls"),
        ({"description": "x" * 70_000}, "body.description: has more than 65536 characters"),
        ({"category": ["x"] * 21}, "at most 20 items"),
        ({"price": False}, "body.price: must be a number, not true or false"),
        ({"stock": True}, "body.stock: must be a number, not true or false"),
    ],
)
def test_what_is_refused_says_what_to_send(client: TestClient, fields: dict[str, Any], message: str) -> None:
    post_item(client, "a", title="mug")
    problem = check(client.patch("/items/a", json=fields), 422, "validation_failed")
    assert message in problem["detail"]
    line = json.dumps({"id": "a", "title": "mug", **fields})
    assert message.removeprefix("body.") in client.post("/items/bulk", content=line, headers=NDJSON).json()["detail"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"sort": "price:asc"}, 'body.sort: must be a list, as in [{"field": "price", "order": "asc"}]'),
        ({"sort": ["price:asc"]}, 'body.sort.0: must be a JSON object, as in {"field": "price", "order": "asc"}'),
        ({"filter": "price<500"}, 'body.filter: must be a JSON object, as in {"price": {"lt": 500}}'),
        ({"boost": [{"filter": "new", "weight": 1}]}, 'body.boost.0.filter: must be a JSON object, as in {"price"'),
        ({"facets": "brand"}, 'body.facets: must be a list, as in ["brand"]'),
        ("red mug", "body: must be a JSON object"),
    ],
)
def test_what_has_another_shape_is_answered_with_an_example(client: TestClient, body: Any, message: str) -> None:
    assert message in check(client.post("/search", json=body), 422, "validation_failed")["detail"]


def test_many_refused_fields_are_listed_and_the_first_of_them_told(client: TestClient) -> None:
    post_item(client, "a", title="mug")
    names = [f"field {n}" for n in range(5)]
    problem = check(client.patch("/items/a", json=dict.fromkeys(names, 1)), 422, "validation_failed")
    assert [error["field"] for error in problem["errors"]] == [f"body.{name}" for name in names]
    assert problem["detail"] == "; ".join(f"body.{name}: is no field that this takes" for name in names[:3])


def test_plain_text_of_the_framework_is_replaced_whole() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(ProblemMiddleware(PlainTextResponse("Gone", 410))(scope, receive, send))
    start, body = sent
    assert (start["status"], dict(start["headers"])[b"content-type"]) == (410, MEDIA_TYPE.encode())
    problem = json.loads(body["body"])
    assert (problem["status"], problem["code"], problem["title"]) == (410, "http_410", "Gone")


def test_bounds_in_quotes_say_that_quotes_are_wrong(client: TestClient) -> None:
    post_item(client, "a", title="mug", price=3)
    answer = client.post("/search", json={"query": "mug", "filter": {"price": {"lte": "50"}}})
    assert "without quotes" in check(answer, 422, "wrong_type")["detail"]
    latin = client.post("/search", content='{"query": "é"}'.encode("latin-1"), headers=JSON)
    assert "UTF-8" in check(latin, 400, "malformed_body")["detail"]
    deep = client.post("/search", content=b"[" * 60_000, headers=JSON)
    assert check(deep, 400, "malformed_body")["detail"] == "The body could not be read: it is nested too deep."


@pytest.mark.parametrize("path", ["/items", "/search"])
@pytest.mark.parametrize("chunked", [False, True], ids=["by header", "while reading"])
def test_a_body_that_is_too_large(settings: Settings, path: str, chunked: bool) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        for _ in range(40 if path == "/items" else 1100):
            yield b"x" * 1000

    small = settings.model_copy(update={"max_body_bytes": 20_000, "max_field_bytes": 20_000})
    with TestClient(create_app(small), raise_server_exceptions=False) as client:
        headers = FORM if path == "/items" else JSON
        content = chunks() if chunked else b"".join(chunks())
        check(client.post(path, content=content, headers=headers), 413, "body_too_large")
        assert post_item(client, "a", picture_file()).status_code == 201


def test_a_picture_of_too_many_bytes_is_refused_however_it_is_sent(settings: Settings) -> None:
    picture = picture_file()
    small = settings.model_copy(update={"max_file_bytes": len(picture) - 1})
    with TestClient(create_app(small), raise_server_exceptions=False) as client:
        encoded = base64.b64encode(picture).decode()
        line = client.post("/items/bulk", content=json.dumps({"id": "a", "images": [encoded]}), headers=NDJSON)
        assert (line.json()["status"], line.json()["code"]) == (413, "file_too_large")
        check(post_item(client, "a", picture), 413, "file_too_large")
        check(client.post("/search/image", files={"image": ("a.png", picture)}), 413, "file_too_large")


def test_of_very_many_refused_fields_a_hundred_are_named(client: TestClient) -> None:
    searches = [{"query": 1, "limit": "many", "offset": "far"}] * 50
    problem = check(client.post("/search/batch", json={"searches": searches}), 422, "validation_failed")
    assert len(problem["errors"]) == 100


def test_an_error_in_our_own_code_shows_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: Any, **kwargs: Any) -> None:
        raise KeyError("the secret of service/app.py")

    monkeypatch.setattr(client.app.state.services.index, "search", fail)  # type: ignore[attr-defined]
    problem = check(client.post("/search", json={"query": "a"}), 500, "internal_error")
    assert "secret" not in problem["detail"]


def test_an_index_that_is_away(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: Any, **kwargs: Any) -> None:
        raise IndexUnavailable("no connection")

    index = client.app.state.services.index  # type: ignore[attr-defined]
    for name in ("search", "upsert", "ready"):
        monkeypatch.setattr(index, name, fail)
    for answer in (
        client.post("/search", json={"query": "a"}),
        post_item(client, "a", title="mug"),
        client.get("/health/ready"),
    ):
        check(answer, 503, "index_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert client.get("/health/live").status_code == 200
    assert client.get("/metrics").status_code == 200


def test_a_full_disk(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.media.os.fsync", no_space)
    problem = check(post_item(client, "a", picture_file()), 507, "storage_failed")
    assert "No space left" in problem["detail"]
    assert client.get("/items/a").status_code == 404


def test_a_full_queue_names_a_time(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"max_queue": 2}))) as client:
        answer = post_item(client, "a", *[picture_file()] * 3)
        check(answer, 429, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        assert post_item(client, "a", *[picture_file()] * 2).status_code == 201


def test_the_openapi_document_promises_this_shape(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["schemas"]["ProblemDetails"]["required"] == [
        "type",
        "title",
        "status",
        "detail",
        "code",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == [MEDIA_TYPE], (method, path, status)


def test_a_compressed_bulk_is_refused_as_such(client: TestClient) -> None:
    answer = client.post("/items/bulk", content=gzip.compress(b"{}"), headers={**NDJSON, "Content-Encoding": "gzip"})
    assert "Content-Encoding is gzip" in check(answer, 415, "unsupported_media_type")["detail"]
    assert answer.headers["Accept-Encoding"] == "identity"
    plain = client.post("/items/bulk", content=b'{"id": "a", "title": "a"}', headers={**NDJSON, "Content-Encoding": ""})
    assert plain.json()["status"] == 201


@pytest.mark.parametrize("call", ["POST /items", "PUT /items/a", "PATCH /items/a", "POST /search", "PUT /rules"])
def test_a_compressed_body_of_json_is_refused_as_such(client: TestClient, call: str) -> None:
    method, _, path = call.partition(" ")
    answer = client.request(method, path, content=gzip.compress(b"{}"), headers={**JSON, "Content-Encoding": "gzip"})
    assert "Content-Encoding is gzip" in check(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("body", [b"", b"\n\n", b"--b--\r\n"], ids=["nothing", "blank lines", "a form"])
def test_a_bulk_without_items_looks_like_no_success(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"} if body.startswith(b"--") else NDJSON
    answer = client.post("/items/bulk", content=iter([body]), headers=headers)
    assert "one line of JSON" in check(answer, 400, "no_items")["detail"]


def test_lines_in_utf_16_are_named_once(client: TestClient) -> None:
    lines = '{"id": "a", "title": "a"}\n{"id": "b", "title": "b"}\n'.encode("utf-16")
    (told,) = client.post("/items/bulk", content=lines, headers=NDJSON).text.splitlines()
    assert "UTF-16: save it as UTF-8" in told


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_in_place_of_lines_is_named_once(client: TestClient, indent: int | None) -> None:
    array = json.dumps([{"id": "a", "title": "a"}, {"id": "b", "title": "b"}], indent=indent).encode()
    (told,) = client.post("/items/bulk", content=array, headers=NDJSON).text.splitlines()
    assert (json.loads(told)["code"], "jq -c '.[]'" in told) == ("malformed_body", True)


def test_the_advice_for_a_bulk_without_its_media_type_names_it(client: TestClient) -> None:
    refused = check(client.post("/items/bulk", content=b"{}"), 415, "unsupported_media_type")
    assert "curl -H 'Content-Type: application/x-ndjson'" in refused["detail"]


def raised_codes() -> Iterator[tuple[str, int]]:
    """Codes with their statuses, as far as the source names them."""
    yield from ((code, status) for status, code in _CODES.items())
    root = Path(__file__).parents[2]
    for path in (*root.glob("service/**/*.py"), *root.glob("retriever/index/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            match ast.unparse(node.func), node.args, node.keywords:
                case "Problem", [ast.Constant(int(status)), ast.Constant(str(code)), *_], _:
                    yield code, status
                case "FilterError", [ast.Constant(str(code)), *_], _:
                    yield code, 422
                case "refused_field", [_, _, ast.Constant(str(code)), *_], _:
                    yield code, 422
                case "_unauthorised", [ast.Constant(str(code)), *_], _:
                    yield code, 401
                case "BulkResult", _, keywords:
                    named = {one.arg: one.value for one in keywords}
                    match named.get("status"), named.get("code"):
                        case ast.Constant(int(status)), ast.Constant(str(code)):
                            yield code, status


def test_every_code_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([\d, ]+) \| \S", text, re.MULTILINE)
    assert [code for code, _ in rows] == sorted({code for code, _ in rows})
    documented = {(code, int(status)) for code, statuses in rows for status in statuses.split(", ")}
    in_health = {("storage_failed", 503), ("storage_full", 503)}
    assert documented == {*raised_codes()} | in_health

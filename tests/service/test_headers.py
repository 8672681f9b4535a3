"""What browsers are told: policies on every answer, and no other site may call unless it is named."""

from typing import Any

from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.helpers import picture_file, post_item


def test_every_answer_has_a_policy(client: TestClient) -> None:
    post_item(client, "a", picture_file())
    paths = "/ /web/app.js /docs /items /items/a/image /items/nobody /nothing /metrics"
    for path in paths.split():
        headers = client.get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'", path
        assert policy["frame-ancestors"] == "'none'", path
        assert policy["base-uri"] == "'none'", path
        assert "unsafe" not in headers["content-security-policy"], path
        assert "http" not in headers["content-security-policy"], "nothing from other hosts"
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "no-referrer", path
        assert "geolocation=()" in headers["permissions-policy"], path
        assert ("script-src" in policy) == (path in ("/", "/web/app.js", "/docs")), path
    assert client.get("/items").headers["cache-control"] == "no-store"
    assert client.get("/items/a/image").headers["cache-control"] == "no-cache"
    address = client.get("/items/a").json()["images"][0]["url"]
    assert "immutable" in client.get(address).headers["cache-control"], "another picture has another address"


def test_the_page_has_nothing_that_its_policy_forbids(client: TestClient) -> None:
    page = client.get("/").text
    assert " style=" not in page
    assert "<style" not in page
    assert "javascript:" not in page
    assert page.count("<script") == page.count('<script type="module" src="/web/')


def preflight(client: TestClient, origin: str, method: str = "POST") -> Any:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "X-API-Key, Content-Type",
    }
    return client.options("/search", headers=headers)


def test_no_other_site_may_call_by_default(client: TestClient) -> None:
    answer = client.get("/items", headers={"Origin": "https://shop.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    answer = preflight(client, "https://shop.example")
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_named_sites_may(settings: Settings) -> None:
    named = settings.model_copy(update={"cors_origins": "https://shop.example, https://www.shop.example"})
    with TestClient(create_app(named)) as client:
        allowed = preflight(client, "https://www.shop.example", "PATCH")
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://www.shop.example"
        assert "PATCH" in allowed.headers["access-control-allow-methods"]
        assert "access-control-allow-credentials" not in allowed.headers
        assert "access-control-allow-origin" not in preflight(client, "https://evil.example").headers
        answer = client.get("/items", headers={"Origin": "https://shop.example"})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert "ETag" in answer.headers["access-control-expose-headers"]
        answer = client.get("/items/nobody", headers={"Origin": "https://shop.example"})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example", "errors can be read too"
        head = {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}
        assert client.post("/search", json={"query": "mug"}, headers=head).status_code == 200
        evil = client.get("/items", headers={"Origin": "https://shop.example.evil"})
        assert "access-control-allow-origin" not in evil.headers


def test_another_sites_form_cannot_write_where_no_key_is_needed(client: TestClient) -> None:
    def post(site: str) -> Any:
        files = {"id": (None, "a"), "title": (None, "mug")}
        return client.post("/items", files=files, headers={"Sec-Fetch-Site": site, "Origin": "https://evil.example"})  # type: ignore[arg-type]

    answer = post("cross-site")
    assert (answer.status_code, answer.json()["code"]) == (403, "other_site")
    assert client.get("/items/a", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 404, "nothing was stored"
    assert post("same-origin").status_code == 201

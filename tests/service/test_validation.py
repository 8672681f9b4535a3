"""Wrong input: each kind is refused by name, and nothing of it is stored."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.helpers import picture_file, post_item


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"price": "NaN"}, "price"),
        ({"price": "inf"}, "price"),
        ({"price": "1e999"}, "price"),
        ({"price": "-1"}, "price"),
        ({"price": "cheap"}, "price"),
        ({"title": "a\x00b"}, "title"),
        ({"title": "x" * 1001}, "title"),
        ({"titel": "a"}, "titel"),
        ({"attributes": "brand: Kiln"}, "attributes"),
        ({"attributes": "[1]"}, "attributes"),
        ({"attributes": '{"a": {"b": 1}}'}, "attributes"),
        ({"attributes": '{"a": [null]}'}, "attributes"),
        ({"attributes": '{"a": [1e999]}'}, "attributes"),
        ({"attributes": '{"a": [true]}'}, "attributes"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"created_at": "0001-01-01T00:00:00+05:00"}, "created_at"),
        ({"attributes": '{"a": NaN}'}, "attributes"),
        ({"attributes": '{"a": 1e999}'}, "attributes"),
        ({"attributes": '{"a": 12345678901234567890}'}, "attributes"),
        ({"attributes": '{"a": ' + "9" * 5000 + "}"}, "attributes"),
        ({"attributes": '{"a": "\\u0000"}'}, "attributes"),
        ({"attributes": '{"a": "\\ud800"}'}, "attributes"),
        ({"attributes": '{"": "b"}'}, "attributes"),
        ({"attributes": '{"a": ' + "[" * 30_000 + "]" * 30_000 + "}"}, "attributes"),
        ({"category": "[1, 2]"}, "category"),
        ({"category": '["a"'}, "category"),
        ({"category": ["x"] * 21}, "category"),
        ({"category": ["Home > Kitchen > Mugs", "Gifts > For her"]}, "category"),
        ({"category": '["Home>Kitchen", "Mugs"]'}, "category"),
        ({"attributes": json.dumps({"a": ["x"] * 201})}, "attributes"),
        ({"image": "not a file"}, "image"),
        ({"image_url": ""}, "image_url"),
        ({"image_url": "http://shop.example/" + "x" * 2000}, "image_url"),
    ],
)
def test_a_refused_field_is_named(client: TestClient, fields: dict[str, Any], named: str) -> None:
    answer = post_item(client, "a", **({"title": "mug"} | fields))
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["code"] == "validation_failed"
    assert problem["errors"][0]["field"].startswith(f"body.{named}")
    assert client.get("/items/a").status_code == 404


@pytest.mark.parametrize("item_id", ["", "  ", ".", "..", "x" * 201, "a\x00b"])
def test_a_refused_id(client: TestClient, item_id: str) -> None:
    answer = post_item(client, item_id, title="mug")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body.id"


def test_an_item_of_nothing(client: TestClient) -> None:
    answer = post_item(client, "a", title="  ", price="3")
    assert (answer.status_code, answer.json()["code"]) == (422, "empty_item")


def test_an_empty_file_field_is_no_picture(client: TestClient) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\na\r\n'
        b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\nmug\r\n'
        b'--b\r\nContent-Disposition: form-data; name="image"; filename=""\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\r\n--b--\r\n"
    )
    answer = client.post("/items", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert (answer.status_code, answer.json().get("images")) == (201, [])


def test_lines_of_a_form_end_as_they_were_typed(client: TestClient) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    content = body % (b"id", b"a") + body % (b"description", b"Holds 350 ml.\r\nDishwasher-safe.") + b"--b--\r\n"
    answer = client.post("/items", content=content, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.json()["description"] == "Holds 350 ml.\nDishwasher-safe."


def test_a_bad_picture_among_good_ones(client: TestClient) -> None:
    answer = post_item(client, "a", picture_file(), b"no picture", title="mug")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_image")
    assert "image 2" in answer.json()["detail"]
    assert client.get("/items/a").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"query": 7},
        {"query": "x" * 1001},
        {"query": "a", "exclude": ["x" * 201]},
        {"query": "a\x00b"},
        {"query": "\ud800"},
        {"query": "a", "limit": -1},
        {"query": "a", "limit": 101},
        {"query": "a", "limit": 10**30},
        {"query": "a", "limit": "20"},
        {"query": "a", "limit": 1.5},
        {"query": "a", "limit": float("nan")},
        {"query": "a", "limit": float("inf")},
        {"query": "a", "limit": True},
        {"query": "a", "offset": -1},
        {"query": "a", "offset": 10_001},
        {"query": "a", "limitt": 3},
        {"query": "a", "\ud800": 3},
        [],
        "a",
    ],
    ids=lambda body: ascii(body)[:40],
)
def test_a_refused_search(client: TestClient, body: Any) -> None:
    answer = client.post("/search", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "validation_failed"


@pytest.mark.parametrize("join", ["and", "or"])
def test_a_filter_of_many_empty_ones_is_not_read(client: TestClient, join: str) -> None:
    assert client.post("/search", json={"query": "a", "filter": {join: [{}] * 256}}).status_code == 200
    answer = client.post("/search", json={"query": "a", "filter": {join: [{}] * 257}})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_filter")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", f"cursor={'x' * 501}"])
def test_a_refused_list(client: TestClient, query: str) -> None:
    assert client.get(f"/items?{query}").status_code == 422


def test_limits_are_settings(settings: Settings) -> None:
    tight = settings.model_copy(update={"max_pictures": 2, "max_field_bytes": 2000, "max_pixels": 100})
    with TestClient(create_app(tight)) as client:
        assert post_item(client, "a", picture_file(size=(10, 10)), title="x" * 900).status_code == 201
        assert "Too many files" in post_item(client, "a", *[picture_file()] * 3).json()["detail"]
        assert "SEARCH_MAX_FIELD_BYTES" in post_item(client, "a", description="x" * 2001).json()["detail"]
        assert post_item(client, "a", picture_file(size=(11, 10))).json()["code"] == "image_too_large"


def test_texts_without_a_forms_limit_have_the_same(client: TestClient) -> None:
    post_item(client, "a", title="mug")
    long = "x" * 65_537
    changed = client.patch("/items/a", json={"description": long})
    assert (changed.status_code, changed.json()["errors"][0]["field"]) == (422, "body.description")
    line = json.dumps({"id": "b", "title": "mug", "description": long}).encode()
    answer = client.post("/items/bulk", content=line, headers={"Content-Type": "application/x-ndjson"})
    assert (answer.json()["status"], answer.json()["code"]) == (422, "validation_failed")
    assert client.patch("/items/a", json={"description": long[:-1]}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        ({f"field {n}": 0 for n in range(1000)}, "", "has more than 50 fields"),
        ({"attributes": {f"name {n}": [n] for n in range(1000)}}, "attributes", "has more than 200 attributes"),
    ],
    ids=["fields", "attributes"],
)
def test_too_many_at_once_are_one_error(client: TestClient, fields: dict[str, Any], where: str, said: str) -> None:
    """Each of them would be an error, and a small request would keep the service busy with its answer."""
    post_item(client, "a", title="mug")
    changed = client.patch("/items/a", json=fields).json()
    assert changed["errors"] == [{"field": f"body.{where}".rstrip("."), "message": said}]
    for action in ("replace", "update"):
        line = json.dumps({"id": "b"} | fields).encode()
        answer = client.post(
            f"/items/bulk?action={action}", content=line, headers={"Content-Type": "application/x-ndjson"}
        )
        assert answer.json()["detail"] == f"{where or 'line'}: {said}"
    if where:
        form = post_item(client, "b", attributes=json.dumps(fields["attributes"])).json()
        assert form["errors"] == [{"field": "body.attributes", "message": said}]


def test_a_search_of_too_many_fields_is_one_error(client: TestClient) -> None:
    many = {f"field {n}": 0 for n in range(1000)}
    for body in (many, {"query": "a", "sort": [{"field": "price"} | many]}):
        errors = client.post("/search", json=body).json()["errors"]
        assert [error["message"] for error in errors] == ["has more than 50 fields"]


def test_an_answer_names_a_hundred_errors_at_most(client: TestClient) -> None:
    wrong = {"query": "mug"} | {f"field {n}": 0 for n in range(40)}
    answer = client.post("/search/batch", json={"searches": [wrong] * 5})
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 100)

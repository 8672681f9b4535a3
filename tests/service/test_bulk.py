"""Many items in one request: lines and forms, streamed both ways, each with a result of its own."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.helpers import picture_file, post_item

NDJSON = {"Content-Type": "application/x-ndjson"}


def bulk(client: TestClient, lines: Any, **query: str) -> list[dict[str, Any]]:
    answer = client.post("/items/bulk", params=query, content=lines, headers=NDJSON)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_prices_of_a_whole_catalogue_cost_no_run_of_the_model(client: TestClient, encoded: list[int]) -> None:
    for n in range(3):
        post_item(
            client,
            str(n),
            picture_file(),
            title="mug",
            price=10,
            attributes='{"brand": "Kiln", "shelf": 3, "code": "K17"}',
        )
    made = [client.get(f"/items/{n}").json()["version"] for n in range(3)]
    encoded.clear()
    lines = [
        {"id": "0", "price": 1},
        {"id": "1", "stock": 0, "attributes": {"code": None, "shelf": 7}},
        {"id": "nobody", "price": 3},
        {"id": "2", "price": -1},
        {"id": "2", "colour": "red"},
        {"id": "0", "price": 2},
    ]
    results = bulk(client, "\n".join(map(json.dumps, lines)), action="update")
    assert [one["status"] for one in results] == [200, 200, 404, 422, 422, 200]
    items = [client.get(f"/items/{n}").json() for n in range(3)]
    assert [(one["price"], one["stock"]) for one in items] == [(2, None), (10, 0), (10, None)]
    assert [one["version"] - version for one, version in zip(items, made, strict=True)] == [2, 1, 0]
    assert items[1]["attributes"] == {"brand": "Kiln", "shelf": 7}
    assert all(len(one["images"]) == 1 for one in items)
    assert encoded == []
    red = base64.b64encode(picture_file("red")).decode()
    (result,) = bulk(client, json.dumps({"id": "2", "title": "cup", "images": [red, red]}), action="update")
    assert (result["status"], len(client.get("/items/2").json()["images"])) == (200, 2)
    assert client.post("/items/bulk?action=upsert", content="", headers=NDJSON).status_code == 422


@pytest.mark.parametrize("header", [{"If-None-Match": "*"}, {"If-Match": '"77"'}])
def test_what_must_hold_for_one_item_is_refused_for_many(client: TestClient, header: dict[str, str]) -> None:
    post_item(client, "mug", title="mug", price=1)
    line = json.dumps({"id": "mug", "title": "overwritten"})
    refused = client.post("/items/bulk", content=line, headers=NDJSON | header)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_precondition")
    assert client.delete("/items?all=true", headers=header).status_code == 422
    assert client.get("/items/mug").json()["title"] == "mug"


def test_of_an_items_lines_the_last_one_stays(client: TestClient) -> None:
    """Though the first takes longer: it has pictures to decode and to encode."""
    pictures = [base64.b64encode(picture_file((n, 0, 0), size=(900, 900))).decode() for n in range(4)]
    lines = [{"id": "mug", "title": "first", "images": pictures}, {"id": "mug", "title": "second", "price": 2}]
    results = bulk(client, "\n".join(map(json.dumps, lines)))
    assert [one["status"] for one in results] == [201, 200]
    item = client.get("/items/mug").json()
    assert (item["title"], item["price"]) == ("second", 2)


def test_a_patch_replaces_an_attribute_however_its_name_is_written(client: TestClient) -> None:
    post_item(client, "mug", title="mug", attributes='{"Brand": "Old", "colour": "red"}')
    changed = client.patch("/items/mug", json={"attributes": {"brand": "New"}}).json()
    assert changed["attributes"] == {"colour": "red", "brand": "New"}
    assert client.patch("/items/mug", json={"attributes": {"COLOUR": None}}).json()["attributes"] == {"brand": "New"}


def test_one_bad_line_fails_alone(client: TestClient) -> None:
    post_item(client, "old", title="mug")
    red = base64.b64encode(picture_file("red")).decode()
    lines = [
        json.dumps({"id": "new", "title": "mug", "images": [red], "price": 3, "attributes": {"brand": "Kiln"}}),
        json.dumps({"id": "old", "title": "cup"}),
        "",
        "{not json",
        json.dumps({"id": "bare"}),
        json.dumps({"id": "broken", "images": ["aGVsbG8="]}),
        json.dumps({"title": "no id"}),
        json.dumps({"id": "cheap", "price": -1}),
        json.dumps({"id": "last", "title": "lamp"}),
    ]
    results = bulk(client, "\n".join(lines))
    assert [(one["line"], one["status"], one.get("code")) for one in results] == [
        (1, 201, None),
        (2, 200, None),
        (4, 422, "validation_failed"),
        (5, 422, "empty_item"),
        (6, 422, "invalid_image"),
        (7, 422, "validation_failed"),
        (8, 422, "validation_failed"),
        (9, 201, None),
    ]
    assert [one.get("id") for one in results] == ["new", "old", None, "bare", "broken", None, "cheap", "last"]
    assert client.get("/items/new").json()["attributes"] == {"brand": "Kiln"}
    assert client.get("/items/old").json()["title"] == "cup"
    assert client.get("/items").json()["total"] == 3


@pytest.mark.parametrize("parts", [[b"\xef\xbb", b"\xbf"], [b"\xef\xbb\xbf"]])
def test_a_byte_order_mark_is_no_part_of_the_first_line(client: TestClient, parts: list[bytes]) -> None:
    lines = [*parts, b'{"id": "a", "title": "mug"}', b'\n\xef\xbb\xbf{"id": "b", "title": "mug"}\n']
    assert [one["status"] for one in bulk(client, iter(lines))] == [201, 422], "it has no place but the beginning"
    assert [one["status"] for one in bulk(client, iter([*parts, b'{"id": "a", "title": "mug"}']))] == [200]


def test_a_line_without_end_is_refused_and_the_next_one_stored(client: TestClient, settings: Any) -> None:
    def lines() -> Iterator[bytes]:
        yield b'{"id": "long", "title": "'
        for _ in range(settings.max_body_bytes // 2**20 + 1):
            yield b"x" * 2**20
        yield b'"}\n{"id": "next", "title": "mug"}\n'

    assert [(one["status"], one.get("code")) for one in bulk(client, lines())] == [(413, "line_too_large"), (201, None)]


def test_a_form_of_items_each_with_its_pictures(client: TestClient) -> None:
    parts: list[Any] = [
        ("item", (None, json.dumps({"id": "two", "title": "mug", "price": 3}))),
        ("image", ("a.png", picture_file("red"))),
        ("image", ("b.png", picture_file("blue"))),
        ("item", (None, json.dumps({"id": "none", "title": "cup"}))),
        ("item", (None, "{not json")),
        ("item", (None, json.dumps({"id": "broken"}))),
        ("image", ("c.png", b"no picture")),
        ("item", (None, json.dumps({"id": "last"}))),
        ("image", ("d.png", picture_file("green"))),
    ]
    answer = client.post("/items/bulk", files=parts)
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert [(one["line"], one.get("id"), one["status"]) for one in results] == [
        *((1, "two", 201), (2, "none", 201), (3, None, 422), (4, "broken", 422), (5, "last", 201)),
    ]
    assert [len(client.get(f"/items/{one}").json()["images"]) for one in ("two", "none", "last")] == [2, 0, 1]


PART = 'Content-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (
            "--b\r\n".join(["", *(PART.format("item", f'{{"id": "{one}", "title": "mug"}}') for one in "abc")]),
            [201, 400],
        ),
        ("--b\r\n" + PART.format("image", "x") + "--b--\r\n", [400]),
        ("--b\r\n" + PART.format("titel", "x") + "--b--\r\n", [400]),
        ("no boundary", [400]),
        ("", [400]),
    ],
)
def test_a_broken_form_keeps_what_came_before(client: TestClient, body: str, statuses: list[int]) -> None:
    answer = client.post("/items/bulk", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["status"] for one in results] == statuses
    assert results[-1]["code"] == "malformed_body"


def test_a_form_without_a_boundary(client: TestClient) -> None:
    answer = client.post("/items/bulk", content="x", headers={"Content-Type": "multipart/form-data"})
    assert json.loads(answer.text)["code"] == "malformed_body"


def test_an_item_of_a_form_that_is_too_long_fails_alone(client: TestClient, settings: Any) -> None:
    half = b"x" * (settings.max_body_bytes // 2)
    parts: list[Any] = [
        ("item", (None, '{"id": "long"}')),
        *[("image", ("a.png", half)) for _ in range(3)],
        ("item", (None, '{"id": "next", "title": "mug"}')),
    ]
    results = [json.loads(line) for line in client.post("/items/bulk", files=parts).text.splitlines()]
    assert [(one["status"], one.get("code")) for one in results] == [(413, "line_too_large"), (201, None)]


def test_bulk_takes_lines_and_forms_alone(client: TestClient) -> None:
    assert client.post("/items/bulk", json={"id": "a"}).status_code == 415

"""PATCH, PUT, conditional writes, lists and deletion by filter: what a catalogue team does all day."""

import base64
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.helpers import picture_file, post_item


def scores(client: TestClient, query: str) -> dict[str, float]:
    hits = client.post("/search", json={"query": query, "mode": "semantic"}).json()["hits"]
    return {hit["id"]: hit["score"] for hit in hits}


def test_price_and_stock_change_without_the_model(client: TestClient, encoded: list[int]) -> None:
    before = post_item(client, "mug", picture_file("red"), title="mug", price=12).json()
    ranking = scores(client, "red mug")
    encoded.clear()
    answer = client.patch("/items/mug", json={"price": 9.5, "stock": 3})
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert (changed["price"], changed["stock"]) == (9.5, 3)
    assert (changed["title"], changed["images"], changed["created_at"]) == (
        "mug",
        before["images"],
        before["created_at"],
    )
    assert changed["version"] == before["version"] + 1
    assert encoded == []
    assert scores(client, "red mug") == ranking
    found = client.post("/search", json={"query": "mug", "filter": {"stock": 3, "price": {"lt": 10}}})
    assert [hit["id"] for hit in found.json()["hits"]] == ["mug"]
    assert client.get(before["images"][0]["url"]).status_code == 200


def test_what_a_client_has_is_not_sent_again(client: TestClient) -> None:
    post_item(client, "mug", title="mug")
    for path in ("/items/mug", "/rules"):
        tag = client.get(path).headers["ETag"]
        for asked in (tag, f'"x", W/{tag}', "*"):
            again = client.get(path, headers={"If-None-Match": asked})
            assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert client.get(path, headers={"If-None-Match": '"x"'}).json()
    client.patch("/items/mug", json={"price": 3})
    client.put("/rules", json={"synonyms": [{"words": ["tv"], "means": "television"}]})
    for path in ("/items/mug", "/rules"):
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_null_takes_away(client: TestClient) -> None:
    post_item(client, "mug", title="mug", price=12, category="Home", attributes='{"a": 1, "b": 2}')
    changed = client.patch("/items/mug", json={"price": None, "category": None, "attributes": {"a": None}}).json()
    assert (changed["price"], changed["category"], changed["attributes"]) == (None, [], {"b": 2})


def test_a_new_text_is_encoded_with_the_kept_picture(client: TestClient, encoded: list[int]) -> None:
    post_item(client, "mug", picture_file("red"), title="mug")
    client.patch("/items/mug", json={"title": "blue shirt"})
    assert encoded == [1, 1]
    post_item(client, "whole", picture_file("red"), title="blue shirt")
    ranking = scores(client, "a shirt")
    assert ranking["mug"] == pytest.approx(ranking["whole"], abs=1e-3)


def test_new_pictures_replace_the_old(client: TestClient) -> None:
    old = post_item(client, "mug", picture_file("red"), title="mug").json()["images"]
    blue = base64.b64encode(picture_file("blue")).decode()
    images = client.patch("/items/mug", json={"images": [blue, f"data:image/png;base64,{blue}"]}).json()["images"]
    assert len(images) == 2
    assert images[0]["sha256"] == images[1]["sha256"] != old[0]["sha256"]
    assert client.patch("/items/mug", json={"images": []}).json()["images"] == []
    assert client.get("/items/mug/image").status_code == 404


@pytest.mark.parametrize(
    ("item_id", "body", "status", "code"),
    [
        ("nobody", {"price": 1}, 404, "item_not_found"),
        ("mug", {"title": "", "attributes": {"brand": None}}, 422, "empty_item"),
        ("mug", {"price": -1}, 422, "validation_failed"),
        ("mug", {"colour": "red"}, 422, "validation_failed"),
        ("mug", {"images": ["%%"]}, 422, "validation_failed"),
        ("mug", {"images": ["aGVsbG8="]}, 422, "invalid_image"),
        ("mug", {"attributes": {str(n): n for n in range(200)}}, 422, "validation_failed"),
    ],
)
def test_a_refused_change_changes_nothing(client: TestClient, item_id: str, body: Any, status: int, code: str) -> None:
    before = post_item(client, "mug", title="mug", attributes='{"brand": "Kiln"}').json()
    answer = client.patch(f"/items/{item_id}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert client.get("/items/mug").json() == before
    assert all(error["field"].startswith("body.") for error in answer.json().get("errors", ()))


def test_put_stores_under_its_address(client: TestClient) -> None:
    answer = client.put("/items/a%2Fb", files={"title": (None, "mug")})
    assert (answer.status_code, answer.json()["id"]) == (201, "a/b")
    answer = client.put("/items/a%2Fb", files={"title": (None, "cup"), "image": ("x.png", picture_file())})
    assert (answer.status_code, answer.json()["title"], len(answer.json()["images"])) == (200, "cup", 1)
    assert client.put("/items/c", files={"id": (None, "d"), "title": (None, "x")}).status_code == 422


def test_conditional_writes(client: TestClient) -> None:
    def write(title: str, **headers: str) -> Any:
        return client.put("/items/mug", files={"title": (None, title)}, headers=headers)

    assert write("new", **{"If-Match": "*"}).json()["code"] == "version_mismatch"
    created = write("new", **{"If-None-Match": "*"})
    version = created.json()["version"]
    old, new = f'"{version}"', f'"{version + 1}"'
    assert (created.status_code, created.headers["ETag"]) == (201, old)
    assert write("again", **{"If-None-Match": "*"}).json()["code"] == "already_exists"
    assert write("second", **{"If-Match": old}).headers["ETag"] == new
    stale = write("third", **{"If-Match": old})
    assert (stale.status_code, stale.json()["code"]) == (412, "version_mismatch")
    assert client.patch("/items/mug", json={"price": 1}, headers={"If-Match": old}).status_code == 412
    assert client.delete("/items/mug", headers={"If-Match": old}).status_code == 412
    assert client.get("/items/mug").headers["ETag"] == new
    assert client.delete("/items/mug", headers={"If-Match": f"{old}, {new}"}).status_code == 204
    assert write("x", **{"If-Match": "abc"}).json()["code"] == "invalid_precondition"


def test_an_item_made_anew_is_not_taken_for_the_one_before(client: TestClient) -> None:
    before = {"If-Match": post_item(client, "aba", title="mug").headers["ETag"]}
    client.delete("/items/aba")
    post_item(client, "aba", title="lamp")
    assert client.patch("/items/aba", json={"title": "blue mug"}, headers=before).status_code == 412
    assert client.delete("/items/aba", headers=before).status_code == 412
    assert client.get("/items/aba").json()["title"] == "lamp"


def test_list_and_delete_by_filter(client: TestClient) -> None:
    for n in range(5):
        post_item(client, str(n), picture_file(), title="mug", price=n)
    cheap = json.dumps({"price": {"lt": 3}})
    listed = client.get("/items", params={"filter": cheap, "limit": 2}).json()
    assert (listed["total"], len(listed["items"]), bool(listed["next_cursor"])) == (3, 2, True)
    counted = client.get("/items", params={"filter": cheap, "facets": ["price", "id"]}).json()["facets"]
    assert (counted["price"]["min"], counted["price"]["max"], len(counted["id"]["values"])) == (0, 2, 3)
    assert client.get("/items?facets=nope").json()["code"] == "unknown_field"
    assert {"name": "price", "kinds": ["number"]} in client.get("/fields").json()["fields"]
    assert client.get("/items", params={"filter": '{"nope": 1}'}).json()["code"] == "unknown_field"
    assert client.get("/items", params={"filter": "{"}).json()["code"] == "invalid_filter"
    assert client.delete("/items", params={"filter": cheap}).json() == {"deleted": 3}
    assert client.get("/items").json()["total"] == 2
    assert client.get("/items/0/image").status_code == 404


def test_several_items_by_their_ids(client: TestClient) -> None:
    for item_id in ("mug-1", "mug-2", "Mug-1"):
        post_item(client, item_id, title=item_id)
    listed = client.get("/items", params={"filter": '{"id": ["mug-1", "Mug-1", "none"]}'}).json()
    assert sorted(item["id"] for item in listed["items"]) == ["Mug-1", "mug-1"]


def test_nobody_empties_the_shop_by_mistake(client: TestClient) -> None:
    for n in range(2):
        post_item(client, str(n), title="mug")
    refused = [client.delete("/items", params=asked) for asked in ({}, {"filter": "{}"}, {"filter": '{"or": [{}]}'})]
    assert [(one.status_code, one.json()["code"]) for one in refused] == [(422, "empty_filter")] * 3
    assert "all=true" in refused[1].json()["detail"], "JSON.stringify({brand: undefined}) is {}"
    assert client.delete("/items", params={"filter": ""}).json()["code"] == "invalid_filter", "nor by an unset variable"
    assert client.delete("/items", params={"all": "false"}).status_code == 422
    assert client.delete("/items", params={"filter": '{"id": "0"}', "all": True}).json()["code"] == "filter_or_all"
    assert client.get("/items").json()["total"] == 2
    assert client.delete("/items", params={"all": True}).json() == {"deleted": 2}


def test_an_attribute_is_not_taken_for_an_items_own_field(client: TestClient) -> None:
    """Names are the same whatever their letter case, and `DELETE` with a filter must not remove another item."""
    post_item(client, "17", title="lamp", price="5")
    post_item(client, "mug", title="mug", price="7", attributes=json.dumps({"ID": "17", "Price": 900, "Stock": "many"}))

    def found(filter: dict[str, Any]) -> list[str]:
        page = client.post("/search", json={"query": "mug lamp", "filter": filter, "mode": "semantic"}).json()
        return sorted(hit["id"] for hit in page["hits"])

    assert found({"id": "17"}) == ["17"]
    post_item(client, "MUG", title="mug")
    assert found({"id": "mug"}) == ["mug"], "ids are not words: their letter case counts"
    assert [hit["id"] for hit in client.get("/items/mug/similar").json()["hits"]] == ["MUG", "17"]
    facet = client.get("/items", params={"facets": "id"}).json()["facets"]["id"]["values"]
    assert {one["value"] for one in facet} == {"17", "mug", "MUG"}
    groups = client.post("/search", json={"query": "mug", "group_by": "id"}).json()["hits"]
    assert {hit["id"] for hit in groups} == {"17", "mug", "MUG"}
    assert client.delete("/items", params={"filter": '{"id": "MUG"}'}).json() == {"deleted": 1}
    assert found({"price": {"gt": 6}}) == ["mug"]
    assert found({"price": {"gt": 100}}) == []
    post_item(client, "free", title="mug", attributes='{"Price": "0"}')
    assert found({"price": {"lt": 1}}) == [], "nor where the item has no price"
    assert {"name": "price", "kinds": ["number"]} in client.get("/fields").json()["fields"]
    client.delete("/items/free")


def test_who_would_remove_many_is_told_how(client: TestClient) -> None:
    lines = {"content": b'{"id": "a"}', "headers": {"Content-Type": "application/x-ndjson"}}
    refused = client.post("/items/bulk?action=delete", **lines)  # type: ignore[arg-type]
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "query.action")
    assert "DELETE /items?filter=" in refused.json()["detail"]


def test_an_order_that_the_list_does_not_have_is_told_those_that_it_has(client: TestClient) -> None:
    post_item(client, "a", title="mug", price=3)
    problem = client.get("/items", params={"sort": "price:up"}).json()
    assert (problem["code"], problem["errors"][0]["field"]) == ("invalid_sort", "query.sort")
    assert ":asc or :desc" in problem["detail"]


def test_the_list_sorts_by_a_field(client: TestClient) -> None:
    for item_id, fields in {
        "b": {"price": 9},
        "a": {"price": 9},
        "dear": {"price": 20.5},
        "free": {},
        "cheap": {"price": 2, "attributes": '{"a:desc": 1}'},
    }.items():
        post_item(client, item_id, title="mug", **fields)

    def ids(sort: str, limit: int = 2) -> list[str]:
        found: list[str] = []
        page: dict[str, Any] = {"next_cursor": None}
        while not found or page["next_cursor"]:
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
            page = client.get("/items", params={"sort": sort, "limit": limit, **cursor}).json()
            found += [item["id"] for item in page["items"]]
            assert page["total"] == 5
        return found

    for sort in ("price", "price:asc"):
        assert ids(sort)[0] == "cheap"
        assert ids(sort)[3:] == ["dear", "free"]
    assert ids("price:desc") == ["dear", *ids("price")[1:3], "cheap", "free"]
    assert ids("created_at:desc") == ["cheap", "free", "dear", "a", "b"]
    assert ids("a:desc:asc")[0] == "cheap", "a field's own name may hold a colon"

    cursor = client.get("/items", params={"sort": "price", "limit": 1}).json()["next_cursor"]
    for query, code in (
        ({"sort": "price:desc", "cursor": cursor}, "invalid_cursor"),
        ({"cursor": cursor}, "invalid_cursor"),
        ({"sort": "colour"}, "unknown_field"),
        ({"sort": "id"}, "wrong_type"),
    ):
        problem = client.get("/items", params=query).json()
        assert problem["code"] == code, problem

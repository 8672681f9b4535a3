"""Items like one, or like several: `GET /items/{id}/similar` and `POST /recommend`."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.helpers import picture_file, post_item
from tests.service.test_search_options import ids


def test_similar_items_of_other_styles(client: TestClient) -> None:
    for n in range(6):
        post_item(client, f"mug-{n}", title="mug", attributes=json.dumps({"Style": f"S{n // 2}"}))
    post_item(client, "plain", title="mug")
    answer = client.get("/items/mug-0/similar?group_by=style").json()
    assert sorted(hit["group"]["value"] for hit in answer["hits"] if hit["group"]) == ["S1", "S2"]
    assert len(answer["hits"]) == 3
    assert len(client.get("/items/plain/similar?group_by=style").json()["hits"]) == 3
    client.patch("/items/plain", json={"category": "Kitchen > Mugs"})
    client.patch("/items/mug-4", json={"category": "Kitchen > Cups"})
    others = client.get("/items/plain/similar?group_by=category").json()["hits"]
    assert {hit["id"] for hit in others} == {f"mug-{n}" for n in range(6) if n != 4}, "its own group is the shop's top"
    refused = client.get("/items/mug-0/similar?group_by=nope").json()
    assert (refused["code"], refused["errors"][0]["field"]) == ("unknown_field", "query.group_by")


def test_similar_items(mugs: TestClient) -> None:
    post_item(mugs, "twin", picture_file((0, 0, 0)), title="Stoneware mug", category="Home > Kitchen", price=12)
    answer = mugs.get("/items/mug-1/similar?limit=3").json()
    assert len(answer["hits"]) == 3
    assert "mug-1" not in ids(answer)
    assert answer["total"] == 4
    cheap = mugs.get("/items/mug-1/similar", params={"filter": '{"price": {"lt": 15}}'}).json()
    assert sorted(ids(cheap)) == ["mug-2", "twin"]
    assert mugs.get("/items/mug-1/similar", params={"filter": '{"nope": 1}'}).json()["code"] == "unknown_field"
    assert mugs.get("/items/nobody/similar").json()["code"] == "item_not_found"


def test_recommendations_are_like_all_that_was_looked_at(client: TestClient) -> None:
    """Two red and two blue ones: who saw a red and a blue one gets the other two before what is like neither."""
    for colour in ("red", "blue", "white"):
        for n in range(2):
            post_item(client, f"{colour}-{n}", picture_file(colour), attributes=f'{{"style": "{colour}"}}')

    def recommended(*items: str, **more: Any) -> list[str]:
        answer = client.post("/recommend", json={"items": items, **more})
        assert answer.status_code == 200, answer.text
        return ids(answer.json())

    assert set(recommended("red-0", "blue-0")[:2]) == {"red-1", "blue-1"}
    assert recommended("red-0")[0] == recommended("red-0", "red-0", "gone")[0] == "red-1"
    assert recommended("red-0") == ids(client.get("/items/red-0/similar").json())
    assert set(recommended("red-0", "blue-0", filter={"style": "white"})) == {"white-0", "white-1"}
    assert [one[:-2] for one in recommended("red-0", "blue-0", group_by="style")] == ["white"]
    whole, page = recommended("red-0", "blue-0"), {"items": ["red-0", "blue-0"], "limit": 3}
    first = client.post("/recommend", json=page).json()
    second = client.post("/recommend", json=page | {"cursor": first["next_cursor"]}).json()
    assert (ids(first) + ids(second), second["next_cursor"]) == (whole, None)
    other = client.post("/recommend", json=page | {"items": ["red-0"], "cursor": first["next_cursor"]})
    assert other.json()["code"] == "invalid_cursor"


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"items": ["gone", "nobody"]}, 404, "item_not_found"),
        ({"items": []}, 422, "validation_failed"),
        ({"items": ["mug-1"] * 21}, 422, "validation_failed"),
        ({"items": ["mug-1"], "query": "red"}, 422, "validation_failed"),
        ({"items": ["mug-1"], "limit": "8"}, 422, "validation_failed"),
        ({"items": ["mug-1"], "group_by": "nope"}, 422, "unknown_field"),
    ],
)
def test_recommendations_that_cannot_be(mugs: TestClient, asked: dict[str, Any], status: int, code: str) -> None:
    answer = mugs.post("/recommend", json=asked)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if code == "unknown_field":
        assert answer.json()["errors"][0]["field"] == "body.group_by"


def test_similar_items_page_by_page(mugs: TestClient) -> None:
    everything, found, cursor = ids(mugs.get("/items/mug-1/similar").json()), [], None
    while not found or cursor:
        answer = mugs.get("/items/mug-1/similar", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found, cursor = found + ids(answer), answer["next_cursor"]
        for path, more in (("mug-2", {}), ("mug-1", {"filter": '{"price": 8}'})):
            other = mugs.get(f"/items/{path}/similar", params={"cursor": cursor, **more}) if cursor else None
            assert other is None or other.json()["code"] == "invalid_cursor"
    assert found == everything
    both = mugs.get("/items/mug-1/similar?cursor=a&offset=2")
    assert (both.status_code, both.json()["errors"][0]) == (
        422,
        {"field": "query", "message": "send cursor or offset, not both"},
    )

"""`group_by` over the real index: which hits are one, and what their group is called."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.helpers import post_item


def grouped(client: TestClient, field: str, query: str = "shirt") -> list[tuple[str, int] | None]:
    answer = client.post("/search", json={"query": query, "group_by": field})
    assert answer.status_code == 200, answer.text
    groups = [hit["group"] for hit in answer.json()["hits"]]
    return [group and (group["value"], group["count"]) for group in groups]


def found(client: TestClient, filter: dict[str, Any]) -> list[str]:
    answer = client.post("/search", json={"query": "shirt", "filter": filter})
    assert answer.status_code == 200, answer.text
    return sorted(hit["id"] for hit in answer.json()["hits"])


@pytest.mark.parametrize("query", ["shirt", ""])
def test_one_style_number_that_is_text_leaves_the_others_grouped(client: TestClient, query: str) -> None:
    for n in range(4):
        post_item(client, str(n), title="shirt", attributes='{"parent_no": 77}')
    post_item(client, "text", title="shirt", attributes='{"parent_no": "77"}')
    assert grouped(client, "parent_no", query) == [("77", 5)]
    for asked in ("77", 77):
        assert len(found(client, {"parent_no": asked})) == 5
    client.delete("/items/text")
    assert grouped(client, "parent_no", query) == [("77", 4)]


@pytest.mark.parametrize("field", ["grade", "created_at", "price"])
def test_a_groups_value_is_a_filter(client: TestClient, field: str) -> None:
    for n, grade in enumerate([1.5, 2]):
        post_item(client, str(n), title="shirt", price=10.5 + n, attributes=json.dumps({"grade": grade}))
    answer = client.post("/search", json={"query": "shirt", "group_by": field}).json()
    groups = {hit["id"]: hit["group"]["value"] for hit in answer["hits"]}
    assert len(groups) == 2
    for item_id, value in groups.items():
        assert found(client, {field: value}) == [item_id]


def test_a_group_of_a_date_is_called_as_in_facets(client: TestClient) -> None:
    post_item(client, "a", title="shirt", created_at="2026-01-31")
    answer = client.post("/search", json={"query": "shirt", "group_by": "created_at", "facets": ["created_at"]}).json()
    (hit,) = answer["hits"]
    assert hit["group"]["value"] == answer["facets"]["created_at"]["max"] == "2026-01-31T00:00:00+00:00"
    assert found(client, {"created_at": "2026-01-31"}) == ["a"]

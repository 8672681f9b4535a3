"""POST /feedback: clicks reach the log and the metrics."""

import logging
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.helpers import post_item


def test_a_click_is_logged_beside_its_search(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    post_item(client, "mug", title="mug")
    search_id = client.post("/search", json={"query": "mug"}).json()["search_id"]
    event = {"search_id": search_id, "item_id": "mug", "action": "click", "position": 0}
    with caplog.at_level(logging.INFO, "service.routes.feedback"):
        assert client.post("/feedback", json=event).status_code == 204
    (record,) = [one for one in caplog.records if one.message == "feedback"]
    assert record.fields == event  # type: ignore[attr-defined]
    assert 'search_feedback_total{action="click"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    "wrong", [{"action": "look"}, {"item_id": ""}, {"position": -1}, {"more": 1}, {"search_id": None}]
)
def test_what_cannot_be_is_refused(client: TestClient, wrong: dict[str, Any]) -> None:
    event = {"search_id": "9d1c", "item_id": "mug", "action": "click", **wrong}
    answer = client.post("/feedback", json=event)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")

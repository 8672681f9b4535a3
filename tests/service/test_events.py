"""`POST /events`: what is acknowledged is on the disk, and the log stays within its bound."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.end_to_end.lives import Life
from tests.service.helpers import picture_file, post_item

SEARCH_ID = "0123456789abcdef" * 2


def event(**changed: Any) -> dict[str, Any]:
    return {"search_id": SEARCH_ID, "item_id": "mug", "position": 0, "kind": "click"} | changed


def kept(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "events").glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


@pytest.fixture
def shop(settings: Settings) -> Iterator[TestClient]:
    switched_on = settings.model_copy(update={"events": True})
    with TestClient(create_app(switched_on), raise_server_exceptions=False) as client:
        yield client


def test_events_are_kept_with_the_search_that_they_name(shop: TestClient, settings: Settings) -> None:
    for n in range(3):
        post_item(shop, f"mug-{n}", title="red mug")
    found = shop.post("/search", json={"query": "red mug", "limit": 2}).json()
    more = shop.post("/search", json={"query": "red mug", "limit": 2, "cursor": found["next_cursor"]}).json()
    shown = [hit["id"] for hit in found["hits"]]
    events = [
        {"search_id": found["search_id"], "item_id": shown[0], "position": 0, "kind": "impression"},
        {"search_id": found["search_id"], "item_id": shown[1], "position": 1, "kind": "click"},
        {"search_id": found["search_id"], "item_id": shown[1], "position": 1, "kind": "add_to_cart"},
        {"search_id": found["search_id"], "item_id": shown[1], "position": 1, "kind": "purchase"},
    ]
    answer = shop.post("/events", json={"events": events})
    assert (answer.status_code, answer.json()) == (200, {"accepted": 4})
    first, second, *rest = kept(settings.data_dir)
    assert (first["kind"], first["query"], first["search_id"]) == ("search", "red mug", found["search_id"])
    assert first["by"] == "words"
    assert (first["items"], first["offset"], first["model_id"]) == (shown, 0, found["model_id"])
    assert (second["search_id"], second["offset"]) == (more["search_id"], 2)
    assert [{name: one[name] for name in events[0]} for one in rest] == events
    assert all(one["time"] for one in rest)
    assert 'search_events_total{kind="click"} 1.0' in shop.get("/metrics").text


def test_searches_of_a_batch_are_kept(shop: TestClient, settings: Settings) -> None:
    post_item(shop, "mug", title="red stoneware mug")
    shop.post("/search/batch", json={"searches": [{"query": "red"}, {"query": "stonware"}, {"limit": 0}]})
    shop.post("/events", json={"events": [event()]})
    assert [one.get("query") for one in kept(settings.data_dir)] == ["red", "stoneware", None], "as it was looked for"


def test_searches_by_a_picture_and_for_similar_items_are_kept(shop: TestClient, settings: Settings) -> None:
    for name in ("red", "blue"):
        post_item(shop, name, picture_file(name), title="mug")
    parts = {"image": ("x.png", picture_file("red")), "query": (None, "in blue")}
    by_picture = shop.post("/search/image", files=parts).json()
    by_item = shop.get("/items/red/similar").json()
    shop.post("/events", json={"events": [event(search_id=by_picture["search_id"], item_id="blue")]})
    first, second, click = kept(settings.data_dir)
    assert (first["by"], first["query"], first["search_id"]) == ("picture", "in blue", by_picture["search_id"])
    assert first["items"] == [hit["id"] for hit in by_picture["hits"]]
    assert (second["by"], second["query"], second["search_id"]) == ("item", "red", by_item["search_id"])
    assert second["items"] == ["blue"]
    assert click["search_id"] == first["search_id"]


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        (event(kind="look"), "kind"),
        (event(position=-1), "position"),
        (event(position="1"), "position"),
        (event(position=1.5), "position"),
        (event(search_id="mine"), "search_id"),
        (event(item_id=""), "item_id"),
        (event(shopper="Jane"), "shopper"),
        ({"search_id": SEARCH_ID}, "item_id"),
    ],
)
def test_a_bad_event_refuses_its_batch(shop: TestClient, settings: Settings, bad: dict[str, Any], where: str) -> None:
    answer = shop.post("/events", json={"events": [event(), bad]})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert any(one["field"] == f"body.events.1.{where}" for one in answer.json()["errors"])
    assert kept(settings.data_dir) == []


@pytest.mark.parametrize("events", [[{f"field {n}": 0 for n in range(1000)}], [{}] * 1000], ids=["fields", "events"])
def test_a_batch_of_nonsense_is_not_answered_word_for_word(shop: TestClient, events: list[dict[str, Any]]) -> None:
    errors = shop.post("/events", json={"events": events}).json()["errors"]
    assert {one["field"].rpartition("events.")[2].partition(".")[0] for one in errors} == {"0"}
    assert len(errors) <= len(event())


def test_a_batch_is_a_megabyte_at_most(shop: TestClient) -> None:
    longest = event(item_id="語" * 200, position=100_000, kind="add_to_cart")
    whole = json.dumps({"events": [longest] * 1000}, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json"}
    assert shop.post("/events", content=iter([whole]), headers=headers).status_code == 200
    assert shop.post("/events", content=whole + b" " * 2**20, headers=headers).json()["code"] == "body_too_large"


@pytest.mark.parametrize("body", [{"events": []}, {"events": [event()] * 1001}, {}, []])
def test_a_batch_has_events_but_not_too_many(shop: TestClient, body: Any) -> None:
    assert shop.post("/events", json=body).status_code == 422


def test_switched_off_nothing_is_kept(client: TestClient, settings: Settings) -> None:
    post_item(client, "mug", title="red mug")
    client.post("/search", json={"query": "mug"})
    answer = client.post("/events", json={"events": [event()]})
    assert (answer.status_code, answer.json()["code"]) == (404, "events_off")
    assert "SEARCH_EVENTS" in answer.json()["detail"]
    assert client.post("/events", json={"events": "nonsense"}).json()["code"] == "events_off", "it is not looked at"
    assert not (settings.data_dir / "events").exists()


def test_an_acknowledged_event_survives_kill_9(tiny_checkpoint: Path, tmp_path: Path) -> None:
    for n in range(2):
        life = Life(tmp_path / "data", tiny_checkpoint, events=True)
        answer = httpx.post(f"{life.url}/events", json={"events": [event(position=n)]}, timeout=60)
        assert answer.status_code == 200
        life.kill()
    assert [one["position"] for one in kept(tmp_path / "data")] == [0, 1]


def test_a_later_page_says_at_which_place_its_hits_begin(shop: TestClient, settings: Settings) -> None:
    for n in range(3):
        post_item(shop, f"mug-{n}", title="red mug")
    shop.post("/search", json={"query": "red mug", "offset": 2})
    shop.post("/events", json={"events": [event()]})
    assert kept(settings.data_dir)[0]["offset"] == 2


def test_events_stop_before_the_disk_is_full(
    shop: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.events._PAUSE", 0)
    post_item(shop, "mug", title="red mug")
    with monkeypatch.context() as changed:
        changed.setattr(shop.app.state.services.events._disk, "_reserve", 2**60)  # type: ignore[attr-defined]
        assert shop.post("/search", json={"query": "mug"}).json()["hits"]
        answer = shop.post("/events", json={"events": [event()]})
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
        assert "SEARCH_MIN_FREE_BYTES" in answer.json()["detail"]
        assert kept(settings.data_dir) == []
    assert shop.post("/events", json={"events": [event()]}).status_code == 200
    assert len(kept(settings.data_dir)) == 1

"""The life of an item: put in, read, listed, replaced, removed."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from retriever.index import IndexedItem, IndexUnavailable
from service.app import create_app
from service.schemas import ItemPatch
from service.settings import Settings
from tests.service.helpers import picture_file, post_item


def test_a_new_item_is_answered_as_it_is_stored(client: TestClient) -> None:
    answer = post_item(
        client,
        "mug-1",
        picture_file("red"),
        picture_file("blue", size=(30, 90)),
        title=" A red mug ",
        description="Holds tea.",
        category="Home > Kitchen > Mugs",
        price="12.50",
        attributes='{"brand": "Kiln", "dishwasher": true, "ml": 350, "colours": ["red", "blue"]}',
    )
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "/items/mug-1"
    item = answer.json()
    assert item["title"] == "A red mug"
    assert item["category"] == ["Home", "Kitchen", "Mugs"]
    assert item["price"] == 12.5
    assert item["attributes"] == {"brand": "Kiln", "dishwasher": True, "ml": 350, "colours": ["red", "blue"]}
    assert [(image["url"].partition("&v=")[0], image["width"], image["height"]) for image in item["images"]] == [
        ("/items/mug-1/image?n=0", 60, 40),
        ("/items/mug-1/image?n=1", 30, 90),
    ]
    assert client.get("/items/mug-1").json() == item


def test_attributes_are_taken_as_shops_export_them(client: TestClient) -> None:
    """Null where there is none, and sizes as numbers."""
    sent = {"brand": None, "sizes": [38, 38.5, "M"], "season": 2026}
    kept = {"sizes": ["38", "38.5", "M"], "season": 2026}
    assert post_item(client, "form", title="shoe", attributes=json.dumps(sent)).json()["attributes"] == kept
    assert client.put("/items/json", json={"title": "shoe", "attributes": sent}).json()["attributes"] == kept
    found = client.get("/items", params={"filter": '{"sizes": 38.5}'}).json()
    assert sorted(item["id"] for item in found["items"]) == ["form", "json"]


def test_a_shop_says_since_when_it_has_an_item(client: TestClient) -> None:
    """Whichever way it comes, and until it says otherwise."""
    post_item(client, "now", title="mug")
    assert post_item(client, "new", title="mug", created_at="2026-01-31").json()["created_at"] == (
        "2026-01-31T00:00:00.000+00:00"
    )
    old = json.dumps({"id": "old", "title": "mug", "created_at": "2025-01-31T01:00:00+01:00"})
    lines = {"content": old, "headers": {"Content-Type": "application/x-ndjson"}}
    assert client.post("/items/bulk", **lines).json()["status"] == 201
    since = "2025-01-31T00:00:00.000+00:00"
    assert client.put("/items/old", json={"title": "cup"}).json()["created_at"] == since
    assert client.patch("/items/old", json={"price": 3, "created_at": None}).json()["created_at"] == since
    listed = client.post("/search", json={}).json()["hits"]
    assert [hit["id"] for hit in listed] == ["now", "new", "old"]
    assert client.patch("/items/old", json={"created_at": "2026-02-01"}).json()["created_at"] > "2026-02"
    assert [hit["id"] for hit in client.post("/search", json={}).json()["hits"]] == ["now", "old", "new"]


def test_an_item_as_json_is_the_same_as_one_of_a_form(client: TestClient) -> None:
    red = base64.b64encode(picture_file("red")).decode()
    said = {"title": "mug", "category": "Home>Mugs", "price": 12.5, "stock": 3, "attributes": {"ml": 3, "line": "A"}}
    stored = client.post("/items", json={"id": "a/b", **said, "images": [red]})
    assert (stored.status_code, stored.headers["location"]) == (201, "/items/a%2Fb")
    form = {**said, "attributes": '{"ml": 3, "line": "A"}'}
    assert post_item(client, "form", picture_file("red"), **form).status_code == 201
    own = {"id", "images", "version", "created_at", "updated_at"}

    def told(item_id: str) -> Any:
        item = client.get(f"/items/{item_id}").json()
        return {name: value for name, value in item.items() if name not in own}, item["images"][0]["sha256"]

    assert told("a%2Fb") == told("form")
    assert client.post("/search", json={"query": "mug"}).json()["total"] == 2
    put = client.put("/items/a%2Fb", json={"title": "cup"}, headers={"If-Match": stored.headers["ETag"]})
    assert (put.status_code, put.json()["title"], put.json()["images"]) == (200, "cup", [])
    refused = client.put("/items/a%2Fb", json={"title": "cup"}, headers={"If-None-Match": "*"})
    assert refused.json()["code"] == "already_exists"


def test_json_is_json_whatever_else_its_header_says_and_other_methods_do_not_mind(client: TestClient) -> None:
    red, blue = (base64.b64encode(picture_file(colour)).decode() for colour in ("red", "blue"))
    utf8 = {"Content-Type": "application/json; charset=utf-8"}
    body = json.dumps({"id": "a", "title": "tasse à thé", "images": [red, blue]}, ensure_ascii=False).encode()
    stored = client.post("/items", content=body, headers=utf8).json()
    assert (stored["title"], len(stored["images"])) == ("tasse à thé", 2)
    assert client.put("/items/a", content=b'{"title": "mug"}', headers=utf8).status_code == 200
    assert client.get("/items", headers=utf8).json()["total"] == 1
    assert client.get("/items/a", headers=utf8).json()["title"] == "mug"
    assert client.delete("/items/a", headers=utf8).status_code == 204


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"id": "a", "title": "mug", "price": -1}, "validation_failed", "body.price"),
        ({"id": "a", "title": "mug", "images": ["?"]}, "validation_failed", "body.images.0"),
        ({"id": "a", "title": "mug", "image": "x"}, "validation_failed", "body.image"),
        ({"title": "mug"}, "validation_failed", "body.id"),
        ({"id": "a", "images": [base64.b64encode(b"no picture").decode()]}, "invalid_image", None),
        ({"id": "a", "image_urls": ["https://shop.example/a.jpg"]}, "image_urls_off", None),
        ({"id": "a", "title": "mug", "images": ["aaaa"] * 12}, "too_many_pictures", None),
        ({"id": "a"}, "empty_item", None),
    ],
)
def test_an_item_as_json_that_cannot_be(client: TestClient, body: Any, code: str, field: str | None) -> None:
    answer = client.post("/items", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    if field:
        assert answer.json()["errors"][0]["field"] == field
    assert client.get("/items/a").status_code == 404


def test_an_item_as_json_is_bounded_as_a_form_is(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"max_body_bytes": 5000}))) as client:
        for method, path in (("POST", "/items"), ("PUT", "/items/a")):
            answer = client.request(method, path, json={"title": "x" * 6000})
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "category",
    [["Home", "Kitchen"], ['["Home", "Kitchen"]'], ["Home > Kitchen"], ["Home>Kitchen"]],
    ids=["repeated", "json", "path", "narrow"],
)
def test_category_may_be_written_three_ways(client: TestClient, category: list[str]) -> None:
    assert post_item(client, "a", title="mug", category=category).json()["category"] == ["Home", "Kitchen"]


def test_a_category_is_read_once(client: TestClient) -> None:
    """What looks like JSON, or like a path, after it was read stays as it is when the item is changed."""
    steps = ["[Sale] Shoes"]
    assert post_item(client, "a", title="shoe", category=json.dumps(steps)).json()["category"] == steps
    form = {"title": (None, "shoe"), "category": (None, json.dumps(steps))}
    assert client.put("/items/a", files=form).json()["category"] == steps
    assert client.patch("/items/a", json={"price": 3}).json()["category"] == steps
    line = json.dumps({"id": "b", "title": "shoe", "category": steps})
    assert "201" in client.post("/items/bulk", content=line, headers={"Content-Type": "application/x-ndjson"}).text
    assert client.get("/items/b").json()["category"] == steps


def test_an_item_of_an_earlier_version_may_change_though_a_step_holds_what_joins_them(client: TestClient) -> None:
    post_item(client, "a", title="mug")
    index, call = client.app.state.services.index, client.portal.call  # type: ignore[attr-defined,union-attr]
    payload = {**call(index.get, ["a"])["a"], "category": ["Home", "Mugs>Cups"]}
    call(index.upsert, [IndexedItem("a", call(index.tokens, ["a"])["a"], "mug", payload)])
    changed = client.patch("/items/a", json={"price": 3})
    assert (changed.status_code, changed.json()["category"]) == (200, ["Home", "Mugs", "Cups"])


def test_the_same_id_replaces(client: TestClient, settings: Settings) -> None:
    first = post_item(client, "a", picture_file("red"), title="mug").json()
    answer = post_item(client, "a", picture_file("blue"), title="lamp")
    assert answer.status_code == 200
    assert answer.json()["version"] == first["version"] + 1
    assert client.get("/items").json()["total"] == 1
    kept = Image.open(io.BytesIO(client.get("/items/a/image").content)).getpixel((5, 5))
    assert isinstance(kept, tuple)
    assert kept[2] > 200 > kept[0]
    assert len(list(Path(settings.data_dir).rglob("*.jpg"))) == 1, "the old picture is removed"


def test_replacing_a_picture_by_text_leaves_no_picture(client: TestClient, settings: Settings) -> None:
    post_item(client, "a", picture_file())
    assert post_item(client, "a", title="mug").json()["images"] == []
    assert not list(Path(settings.data_dir).rglob("*.jpg"))
    assert client.get("/items/a/image").status_code == 404


def test_delete(client: TestClient, settings: Settings) -> None:
    post_item(client, "a", picture_file(), title="red mug")
    assert client.delete("/items/a").status_code == 204
    for answer in (client.get("/items/a"), client.delete("/items/a"), client.get("/items/a/image")):
        assert answer.status_code == 404
        assert answer.json()["code"] == "item_not_found"
    assert client.post("/search", json={"query": "red mug"}).json()["hits"] == []
    assert not list(Path(settings.data_dir).rglob("*.jpg"))
    assert post_item(client, "a", title="again").status_code == 201


def test_what_a_filter_lets_through_no_longer_is_not_deleted(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.catalogue._DELETED_AT_ONCE", 3)
    for n in range(7):
        post_item(client, str(n), title="mug", stock=0)
    catalogue = client.app.state.services.catalogue  # type: ignore[attr-defined]
    scroll, seen = catalogue._index.scroll, set[str]()

    async def somebody_writes_meanwhile(cursor: Any, limit: int, condition: Any) -> Any:
        found, following = await scroll(cursor, limit, condition)
        for item_id, item in found if limit == 3 else ():
            seen.add(item_id)
            restocked = {"stock": 5} if item_id in "25" else {"price": item["version"]}
            await catalogue.change(item_id, ItemPatch.model_validate(restocked))
        return found, following

    monkeypatch.setattr(catalogue._index, "scroll", somebody_writes_meanwhile)
    assert client.delete("/items", params={"filter": '{"stock": 0}'}).json() == {"deleted": 5}
    monkeypatch.undo()
    assert len(seen) == 7
    assert {item["id"]: item["stock"] for item in client.get("/items").json()["items"]} == {"2": 5, "5": 5}


def test_a_picture_alone_is_an_item(client: TestClient) -> None:
    assert post_item(client, "a", picture_file()).status_code == 201
    assert [hit["id"] for hit in client.post("/search", json={"query": "mug"}).json()["hits"]] == ["a"]


@pytest.mark.parametrize(
    "item_id", ["a/b", "a/image", "/", "a b", "蓝色/杯子", "50%", "a%2Fb", "x?y#z", "é+ü&=", "...", "image", "a\nb"]
)
def test_any_id_can_be_addressed(client: TestClient, item_id: str) -> None:
    post_item(client, "a", picture_file("blue"))
    stored = post_item(client, item_id, picture_file("red"), title="mug").json()
    assert stored["id"] == item_id
    address = f"/items/{quote(item_id, safe='')}"
    assert client.get(address).json() == stored
    image = client.get(stored["images"][0]["url"])
    assert image.headers["content-type"] == "image/jpeg"
    pixel = Image.open(io.BytesIO(image.content)).getpixel((1, 1))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200 > pixel[2]
    assert client.delete(address).status_code == 204
    assert client.get("/items/a").status_code == 200


def test_a_client_that_has_the_picture_gets_304_until_it_changes(client: TestClient) -> None:
    post_item(client, "a", picture_file("red"))
    first = client.get("/items/a/image")
    seen = {"If-None-Match": first.headers["etag"]}
    assert client.get("/items/a/image", headers=seen).status_code == 304
    post_item(client, "a", picture_file("blue"))
    assert client.get("/items/a/image", headers=seen).status_code == 200


def test_a_picture_that_an_item_does_not_have(client: TestClient) -> None:
    post_item(client, "a", picture_file())
    answer = client.get("/items/a/image?n=1")
    assert (answer.status_code, answer.json()["code"]) == (404, "image_not_found")


def test_the_list_pages_through_every_item_once(client: TestClient) -> None:
    for n in range(7):
        post_item(client, f"item-{n}", title="mug")
    seen, cursor = [], None
    for _ in range(4):
        page = client.get("/items", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        assert page["total"] == 7
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == [f"item-{n}" for n in range(7)]


def test_a_made_up_cursor_is_refused(client: TestClient) -> None:
    answer = client.get("/items?cursor=nonsense")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


def test_what_was_stored_is_there_after_a_restart(settings: Settings) -> None:
    from service.app import create_app

    with TestClient(create_app(settings)) as client:
        stored = post_item(client, "a", picture_file(), title="red mug").json()
    with TestClient(create_app(settings)) as client:
        assert client.get("/items/a").json() == stored
        assert client.get("/items/a/image").status_code == 200
        assert client.post("/search", json={"query": "red mug"}).json()["hits"][0]["id"] == "a"


def test_a_write_is_in_an_order_that_a_crash_cannot_spoil(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New pictures are on disk before the point names them; the old ones go only after it does."""
    post_item(client, "a", picture_file("red"))
    index = client.app.state.services.index  # type: ignore[attr-defined]
    media, upsert, seen = settings.data_dir / "media", index.upsert, []

    async def watch(items: list[IndexedItem]) -> None:
        old = (await index.get(["a"]))["a"]["images"][0]["file"]
        new = items[0].payload["images"][0]["file"]
        seen.append([(media / old).exists(), (media / new).read_bytes()[:2] == b"\xff\xd8", old != new])
        await upsert(items)

    monkeypatch.setattr(index, "upsert", watch)
    post_item(client, "a", picture_file("blue"))
    assert seen == [[True, True, True]]


def test_a_write_that_the_index_refuses_leaves_the_old_item_whole(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = post_item(client, "a", picture_file("red"), title="mug").json()
    image = client.get("/items/a/image").content

    async def fail(items: list[IndexedItem]) -> None:
        raise IndexUnavailable("no connection")

    monkeypatch.setattr(client.app.state.services.index, "upsert", fail)  # type: ignore[attr-defined]
    assert post_item(client, "a", picture_file("blue"), title="lamp").status_code == 503
    monkeypatch.undo()
    assert client.get("/items/a").json() == before
    assert client.get("/items/a/image").content == image


def test_a_picture_that_is_replaced_while_it_is_asked_for_is_no_fault_of_the_service(client: TestClient) -> None:
    post_item(client, "a", picture_file("red"))
    stored = []

    def ask(number: int) -> int:
        while not stored:
            answer = client.get("/items/a/image")
            if answer.status_code != 200:
                return answer.status_code
        return 200

    with ThreadPoolExecutor(3) as clients:
        asked = clients.map(ask, range(3))
        for _ in range(20):
            post_item(client, "a", picture_file("blue"))
        stored.append(True)
        # 404: it was gone between the look at the item and the look at its file.
        assert set(asked) <= {200, 404}

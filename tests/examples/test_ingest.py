"""`examples/ingest.py` without a service: what it sends of a source."""

import functools
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples import ingest


def service(monkeypatch: pytest.MonkeyPatch, answer: Callable[[httpx.Request], httpx.Response]) -> None:
    client = functools.partial(httpx.Client, transport=httpx.MockTransport(answer))
    monkeypatch.setattr(httpx, "Client", client)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles that reach the service."""
    titles: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            titles.extend(re.findall(r'name="title"\r\n\r\n(.*?)\r\n', request.content.decode()))
            return httpx.Response(201)
        return listed()

    service(monkeypatch, answer)
    return titles


def listed(*items: dict[str, Any]) -> httpx.Response:
    """A page of the service's list, and the last."""
    return httpx.Response(200, json={"items": items, "next_cursor": None})


def write(folder: Path, *rows: tuple[str, str]) -> Path:
    source = folder / "items.jsonl"
    source.write_text("".join(json.dumps({"id": item_id, "title": title}) + "\n" for item_id, title in rows))
    return source


def test_of_several_products_of_one_id_the_last_is_sent_and_the_id_named(
    sent: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path, ("a", "one"), ("b", "other"), ("a", "two"), ("a", "three"))
    assert ingest.main([str(source), "--quiet"]) == 0
    assert sorted(sent) == ["other", "three"]
    told = capsys.readouterr()
    assert told.out.startswith("2 new, 0 replaced, 0 unchanged, 0 failed")
    assert "2 products left out, whose ids come again later: a" in told.err


def test_the_first_so_many_are_sent_alone(sent: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path, ("a", "one"), ("b", "other"), ("a", "two"))
    assert ingest.main([str(source), "--quiet", "--limit", "2"]) == 0
    assert sorted(sent) == ["one", "other"]
    assert "left out" not in capsys.readouterr().err


def test_what_is_overloaded_or_out_for_a_moment_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [429, 503]
    stored: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and refusals:
            return httpx.Response(refusals.pop(), headers={"Retry-After": "0"})
        if request.method == "POST":
            stored.append(request.url.path)
            return httpx.Response(201)
        return listed()

    service(monkeypatch, answer)
    assert ingest.main([str(write(tmp_path, ("a", "one"))), "--quiet"]) == 0
    assert (refusals, stored) == ([], ["/items"])


@pytest.mark.parametrize("asking_first", [True, False])
@pytest.mark.parametrize("status", [401, 507, None])
def test_a_service_that_takes_nothing_ends_the_import_and_nothing_is_removed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int | None,
    asking_first: bool,
) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and (asking_first or "filter" not in request.url.params):
            return listed({"id": "gone"}, STORED | {"id": "1", "attributes": {}})
        asked.append(request)
        if status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, json={"code": "storage_full", "detail": "No room."})

    service(monkeypatch, answer)
    source = write(tmp_path, *((str(n) if n % 3 else "", "one") for n in range(1000)))
    arguments = ["--quiet", "--prune", "--workers", "2", *(["--retries", "0"] if status is None else [])]
    assert ingest.main([str(source), *arguments]) == 1
    assert len(asked) < 20, "each of a thousand would be tried for minutes"
    assert {request.method for request in asked} == {"POST" if asking_first else "GET"}
    assert "Stopped, for the service takes nothing. The last it said:" in capsys.readouterr().err


def test_a_product_over_which_the_service_stumbles_does_not_end_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            stored.append(request)
            return httpx.Response(500 if len(stored) % 4 else 201)
        return listed()

    service(monkeypatch, answer)
    source = write(tmp_path, *((str(n), "one") for n in range(40)))
    assert ingest.main([str(source), "--quiet", "--retries", "0", "--workers", "1"]) == 1
    assert len(stored) == 40


@pytest.fixture
def deleted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids that are removed of a shop that has a, b, c and d, and takes no product that is called "bad"."""
    ids: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        path, params = request.url.path, request.url.params
        if path == "/items" and request.method == "GET":
            if "filter" in params:
                return listed()
            page, following = (["c", "d"], None) if params.get("cursor") else (["a", "b"], "more")
            return httpx.Response(200, json={"items": [{"id": one} for one in page], "next_cursor": following})
        if request.method == "DELETE":
            ids.append(path.removeprefix("/items/"))
            return httpx.Response(204 if len(ids) == 1 else 404)  # somebody else was quicker
        if request.method == "POST":
            return httpx.Response(422 if b"\r\n\r\nbad\r\n" in request.content else 200)
        return httpx.Response(200)

    service(monkeypatch, answer)
    return ids


def test_at_most_half_of_a_shop_is_removed(tmp_path: Path, deleted: list[str]) -> None:
    assert ingest.main([str(write(tmp_path, ("a", "one"), ("b", "two"))), "--quiet", "--prune"]) == 0
    assert sorted(deleted) == ["c", "d"]
    deleted.clear()
    assert ingest.main([str(write(tmp_path, ("b", "two"))), "--quiet", "--prune"]) == 2, "three of four are too many"
    assert deleted == []


def test_what_is_gone_is_removed_though_another_product_fails_but_not_what_failed(
    tmp_path: Path, deleted: list[str]
) -> None:
    source = write(tmp_path, ("a", "bad"), ("b", "two"))
    with source.open("a") as file:
        file.write('{"id": "c", "price": "on request"}\n')
    assert ingest.main([str(source), "--quiet", "--prune"]) == 1
    assert deleted == ["d"]


def test_nothing_is_removed_where_a_line_may_be_any_items(
    tmp_path: Path, deleted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path, ("a", "one"), ("b", "two"), ("", "three"))
    assert ingest.main([str(source), "--quiet", "--prune"]) == 1
    assert deleted == []
    assert ": 2. They stay, for 1 of its lines have no id that can be read" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kept", "outcome"),
    [("https://shop/1.jpg?v=2", "1 unchanged"), ("https://shop/1.jpg?v=1", "1 replaced"), (None, "1 unchanged")],
)
def test_a_picture_is_fetched_again_where_its_address_is_another(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kept: str | None,
    outcome: str,
) -> None:
    image = {"sha256": "of the file", "source_sha256": kept and hashlib.sha256(kept.encode()).hexdigest()}

    def answer(request: httpx.Request) -> httpx.Response:
        return listed(STORED | {"attributes": {}, "images": [image]})

    service(monkeypatch, answer)
    source = tmp_path / "items.jsonl"
    source.write_text(
        json.dumps({"id": "a", "title": "Mug", "price": 9, "stock": 3, "image": "https://shop/1.jpg?v=2"})
    )
    assert ingest.main([str(source), "--quiet"]) == 0
    assert outcome in capsys.readouterr().out


STORED = {"id": "a", "title": "Mug", "description": "", "category": [], "price": 9.0, "stock": 3, "images": [{}]}


@pytest.mark.parametrize("image", ["https://shop/none.jpg", "none.jpg"])
def test_a_picture_that_fails_does_not_hold_back_what_else_changed_of_an_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], image: str
) -> None:
    there = {"a": STORED | {"attributes": {"brand": "Kiln", "colour": "red"}}}
    changes = []

    def answer(request: httpx.Request) -> httpx.Response:
        item_id = request.url.path.removeprefix("/items/")
        if request.method == "POST":
            return httpx.Response(422, json={"code": "url_failed", "detail": "https://shop/none.jpg answered 404."})
        if request.method == "PATCH":
            changes.append((item_id, json.loads(request.content)))
            there["a"] |= {"price": 8.0, "stock": None, "attributes": {"brand": "Pikku"}}
            return httpx.Response(200)
        if request.url.path in ("/health/live", "/items"):
            return listed(*there.values())
        return httpx.Response(200, json=there[item_id]) if item_id in there else httpx.Response(404)

    service(monkeypatch, answer)
    rows = [
        {"id": item_id, "title": "Mug", "price": 8.0, "attributes": {"brand": "Pikku"}, "image": [image, image]}
        for item_id in ("a", "new")
    ]
    source = tmp_path / "items.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert ingest.main([str(source), "--quiet"]) == 1
    told = capsys.readouterr()
    assert " 2 failed" in told.out
    assert "none.jpg" in told.err
    assert told.err.count(" The item keeps its pictures; all else of it is up to date.") == 2, "as it comes and at last"
    kept = {"title": "Mug", "description": "", "category": None, "price": 8.0, "stock": None}
    assert changes == [("a", kept | {"attributes": {"brand": "Pikku", "colour": None}})]

    assert ingest.main([str(source), "--quiet"]) == 1
    assert len(changes) == 1, "what is up to date is not sent again"


def test_what_is_there_is_asked_for_as_many_at_once_as_an_address_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(201)
        if request.url.path == "/items":
            assert len(str(request.url)) < 8192, "as proxies take it"
            asked.append(json.loads(request.url.params["filter"])["id"])
            # All but the first of them are there.
            return listed(*(STORED | {"id": one, "attributes": {}, "images": []} for one in asked[-1][1:]))
        return httpx.Response(200)

    service(monkeypatch, answer)
    ids = [*map(str, range(150)), *("Tasse „groß“ " * 14 + str(n) for n in range(20))]
    source = tmp_path / "items.jsonl"
    source.write_text("".join(json.dumps({"id": one, "title": "Mug", "price": 9, "stock": 3}) + "\n" for one in ids))
    assert ingest.main([str(source), "--quiet"]) == 0
    assert [one for some in asked for one in some] == ids
    assert len(asked[0]) == 100
    assert len(asked) < 8
    assert f"{len(asked)} new, 0 replaced, {len(ids) - len(asked)} unchanged" in capsys.readouterr().out
    asked.clear()
    assert ingest.main([str(source), "--quiet", "--force"]) == 0
    assert not asked

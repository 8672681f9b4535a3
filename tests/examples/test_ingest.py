"""`examples/ingest.py` without a service: what it sends of a source."""

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path

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
        return httpx.Response(200 if request.url.path == "/health/live" else 404)

    service(monkeypatch, answer)
    return titles


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
        return httpx.Response(200 if request.url.path == "/health/live" else 404)

    service(monkeypatch, answer)
    assert ingest.main([str(write(tmp_path, ("a", "one"))), "--quiet"]) == 0
    assert (refusals, stored) == ([], ["/items"])


@pytest.mark.parametrize(
    ("refused", "removed", "status"), [((), ["c", "d"], 0), (("a",), [], 1)], ids=["all arrived", "one did not"]
)
def test_at_most_half_of_a_shop_is_removed_once_all_else_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: tuple[str, ...], removed: list[str], status: int
) -> None:
    deleted: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        path, params = request.url.path, request.url.params
        if path == "/items" and request.method == "GET":
            page, following = (["c", "d"], None) if params.get("cursor") else (["a", "b"], "more")
            return httpx.Response(200, json={"items": [{"id": one} for one in page], "next_cursor": following})
        if request.method == "DELETE":
            deleted.append(path.removeprefix("/items/"))
            return httpx.Response(204 if len(deleted) == 1 else 404)  # somebody else was quicker
        if request.method == "POST":
            return httpx.Response(
                422 if any(f"\r\n\r\n{one}\r\n" in request.content.decode() for one in refused) else 200
            )
        return httpx.Response(200 if path == "/health/live" else 404)

    service(monkeypatch, answer)
    source = write(tmp_path, ("a", "one"), ("b", "two"))
    assert ingest.main([str(source), "--quiet", "--prune"]) == status
    assert sorted(deleted) == removed
    deleted.clear()
    assert ingest.main([str(write(tmp_path, ("b", "two"))), "--quiet", "--prune"]) == 2, "three of four are too many"
    assert deleted == []

"""The service as its users run it: a process, HTTP, and no warning before it dies."""

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.serving import Running, Server, free_port
from tests.service.helpers import picture_file

pytestmark = pytest.mark.slow


def post(client: httpx.Client, item_id: str, colour: Any, title: str) -> httpx.Response:
    return client.post(
        "/items", data={"id": item_id, "title": title}, files={"image": ("a.png", picture_file(colour), "image/png")}
    )


def test_what_was_acknowledged_is_found_after_kill_9(tmp_path: Path, running_tiny: Running) -> None:
    data_dir = tmp_path / "data"
    with running_tiny(data_dir) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        for n in range(5):
            assert post(client, f"mug-{n}", (50 * n, 0, 0), f"mug number{n}").status_code == 201
            found = client.post("/search", json={"query": f"number{n}"}).json()["hits"]
            assert found[0]["id"] == f"mug-{n}", "found at once"
        replaced = post(client, "mug-0", "blue", "mug replaced")
        assert replaced.status_code == 200
        server.kill()

    with running_tiny(data_dir) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        assert client.get("/items").json()["total"] == 5
        for word, item_id in {"replaced": "mug-0", "number3": "mug-3", "mug-4": "mug-4"}.items():
            hit = client.post("/search", json={"query": word}).json()["hits"][0]
            assert hit["id"] == item_id
            assert client.get(hit["item"]["images"][0]["url"]).status_code == 200
        assert client.get("/items/mug-0").json() == replaced.json()


def test_killed_in_the_middle_of_writing_nothing_is_half_there(tmp_path: Path, running_tiny: Running) -> None:
    data_dir = tmp_path / "data"
    acknowledged: dict[str, int] = {}
    with running_tiny(data_dir) as server:

        def write(writer: int) -> None:
            with httpx.Client(base_url=server.url, timeout=60) as client:
                try:
                    for n in range(10_000):
                        item_id = f"{writer}/{n % 40}"
                        answer = post(client, item_id, (n % 256, writer, 0), f"mug {n}")
                        acknowledged[item_id] = answer.json()["version"]
                except httpx.TransportError:
                    return  # killed

        writers = [threading.Thread(target=write, args=[writer]) for writer in range(3)]
        for thread in writers:
            thread.start()
        while len(acknowledged) < 60:
            assert server.process.poll() is None
            threading.Event().wait(0.01)
        server.kill()
        for thread in writers:
            thread.join()

    with running_tiny(data_dir) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        stored: dict[str, Any] = {}
        cursor = None
        while True:
            page = client.get("/items", params={"limit": 100} | ({"cursor": cursor} if cursor else {})).json()
            stored |= {item["id"]: item for item in page["items"]}
            if (cursor := page["next_cursor"]) is None:
                break
        assert acknowledged.keys() <= stored.keys()
        for item_id, item in stored.items():
            # A write that was under way may have been finished, or not begun; never undone.
            last = acknowledged.get(item_id, item["version"])
            assert item["version"] in (last, last + 1)
            assert client.get(item["images"][0]["url"]).status_code == 200


def test_sigterm_ends_it_in_order_and_the_log_says_what_ran(
    tmp_path: Path, tiny_checkpoint: Path, running_tiny: Running
) -> None:
    with running_tiny(tmp_path / "data") as server:
        post(httpx.Client(base_url=server.url, timeout=60), "a", "red", "mug")
        server.stop()
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    messages = " | ".join(line["message"] for line in lines)
    assert str(tiny_checkpoint) in messages, "which model"
    assert "0 items" in messages
    assert server.url.replace("127.0.0.1", "localhost") in messages
    assert messages.endswith("closed") or "closed" in messages
    assert not [line for line in lines if line["level"] in ("ERROR", "CRITICAL")]
    requests = [line for line in lines if line["message"] == "request"]
    assert requests[0]["request_id"]
    assert requests[0]["status"] == 201


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"SEARCH_MODEL": "no-such-model"}, "no-such-model"),
        ({"SEARCH_PORT": "many"}, "PORT"),
        ({"SEARCH_MAX_QUEUE": "4"}, "MAX_QUEUE (4)"),
        ({"SEARCH_DATA_DIR": "/dev/null/data"}, "/dev/null"),
    ],
)
def test_what_cannot_start_says_why_in_a_line(
    tmp_path: Path, tiny_checkpoint: Path, settings: dict[str, str], said: str
) -> None:
    server = Server(tmp_path / "data", tiny_checkpoint, free_port(), **settings)
    assert server.process.wait(120) != 0
    log = server.log.read_text()
    assert said.lower() in log.lower()
    assert "Traceback" not in log


def test_an_upload_beyond_the_limit_is_told_so_and_not_cut_off(tmp_path: Path, running_tiny: Running) -> None:
    with running_tiny(tmp_path / "data", SEARCH_MAX_BODY_BYTES="100000") as server:
        answer = httpx.post(f"{server.url}/items", files={"image": ("a.png", b"x" * 3_000_000)}, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")

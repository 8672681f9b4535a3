"""What an operator sees: health, metrics, log lines, settings, and what happens when a client leaves."""

import asyncio
import io
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from retriever.index import IndexUnavailable
from service import logs
from service.app import create_app
from service.settings import Settings
from tests.service.helpers import picture_file, post_item


def samples(client: TestClient) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_ready_asks_model_and_index(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Any] = []
    encoder = client.app.state.services.encoder  # type: ignore[attr-defined]
    encode = encoder.retriever.encode_queries
    monkeypatch.setattr(encoder.retriever, "encode_queries", lambda texts: runs.append(texts) or encode(texts))
    encoder._checked_at = time.perf_counter() + 60
    assert client.get("/health/ready").status_code == 200
    assert not runs, "probes do not keep the model from its work"
    monkeypatch.undo()
    post_item(client, "a", title="mug")
    assert client.get("/health/live").json() == {"status": "ok"}
    ready = client.get("/health/ready").json()
    assert (ready["status"], ready["items"]) == ("ok", 1)
    encoder._checked_at = -100.0

    def fail(texts: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(client.app.state.services.encoder.retriever, "encode_queries", fail)  # type: ignore[attr-defined]
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
    monkeypatch.undo()
    encoder._checked_at = -100.0
    assert client.get("/health/ready").status_code == 200, "the encoder outlives a failure of the model"


def test_metrics_count_what_happened(client: TestClient) -> None:
    before = samples(client)
    post_item(client, "a/b", picture_file(), title="mug")
    for _ in range(3):
        client.post("/search", json={"query": "mug"})
    client.get("/items/a%2Fb")
    client.get("/no/such/address")
    client.request("BREW", "/items")
    lines = b'{"id": "b", "title": "lamp"}\nno JSON\n'
    client.post("/items/bulk", content=lines, headers={"content-type": "application/x-ndjson"})
    after = samples(client)

    def grown(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    assert grown('search_http_requests_total{method="POST",route="/items",status="201"}') == 1
    assert grown('search_http_requests_total{method="POST",route="/search",status="200"}') == 3
    assert grown('search_http_requests_total{method="GET",route="/items/{item_id}",status="200"}') == 1
    assert grown('search_http_requests_total{method="GET",route="unmatched",status="404"}') == 1
    assert not [name for name in after if "BREW" in name], "a client must not be able to make new series"
    assert grown('search_query_cache_total{result="miss"}') == 1
    assert grown('search_query_cache_total{result="hit"}') == 2
    for stage in ("decode", "queue", "encode", "retrieve", "store"):
        assert grown(f'search_stage_seconds_count{{stage="{stage}"}}') >= 1
    assert grown('search_encoder_batch_size_count{kind="item"}') == 2
    assert grown('search_answers_total{result="found"}') == 3
    assert grown('search_bulk_lines_total{status="201"}') == grown('search_bulk_lines_total{status="422"}') == 1
    assert (after["search_index_up"], after["search_index_items"]) == (1, 2)
    assert after["search_encoder_queue_limit"] == client.app.state.services.settings.max_queue  # type: ignore[attr-defined]
    assert 0 < after["search_disk_free_bytes"] <= after["search_disk_size_bytes"]
    assert after["search_encoder_queue_depth"] == 0
    assert [name for name in after if name.startswith("search_model_info{")]
    assert all(after[name] >= value for name, value in before.items() if name.endswith(("_total", "_count")))


def test_metrics_say_that_the_index_is_away_and_the_rest_all_the_same(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> int:
        raise IndexUnavailable("no connection")

    monkeypatch.setattr(client.app.state.services.index, "count", fail)  # type: ignore[attr-defined]
    assert samples(client)["search_index_up"] == 0
    assert samples(client)["process_open_fds"] > 0


@pytest.mark.parametrize("hangs", ["engine", "count"])
def test_an_index_that_hangs_is_down_and_holds_nobody_up(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    async def never(*_: Any) -> int:
        await asyncio.Event().wait()
        raise AssertionError

    index = client.app.state.services.index  # type: ignore[attr-defined]
    with monkeypatch.context() as changed:
        changed.setattr("service.routes.health.READY_TIMEOUT", 1)  # in which the disk, which is asked first, answers
        if hangs == "engine":
            os.kill(index.engine_pid, signal.SIGSTOP)
        else:
            changed.setattr(index, "count", never)
        assert samples(client)["search_index_up"] == 0
        answer = client.get("/health/ready")
        assert (answer.status_code, answer.json()["code"]) == (503, "index_unavailable")
        if hangs == "engine":
            os.kill(index.engine_pid, signal.SIGCONT)
    assert samples(client)["search_index_up"] == 1
    assert client.get("/health/ready").status_code == 200


def test_the_request_id_is_the_clients_own_if_it_is_a_plain_one(client: TestClient) -> None:
    assert client.get("/health/live", headers={"X-Request-ID": "order-17"}).headers["x-request-id"] == "order-17"
    for strange in ("x" * 65, 'a"b', "a b", ""):
        given = client.get("/health/live", headers={"X-Request-ID": strange}).headers["x-request-id"]
        assert given != strange
        assert len(given) == 32


def test_a_request_is_one_line_of_json(client: TestClient) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    logger = logging.getLogger("service.request")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        client.get("/items/a%0Ab?secret=1", headers={"X-Request-ID": "abc"})
    finally:
        logger.removeHandler(handler)
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert fields["request_id"] == "abc"
    assert (fields["method"], fields["path"], fields["status"]) == ("GET", "/items/a%0Ab", 422)
    assert fields["duration_ms"] >= 0
    assert "secret" not in line


def test_an_exception_and_a_strange_character_are_still_one_line() -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError as error:
        record = logging.LogRecord(
            "a", logging.ERROR, "", 1, "bad \ud800", (), (ValueError, error, error.__traceback__)
        )
    line = logs.JsonFormatter().format(record)
    assert "\n" not in line
    assert "broken" in json.loads(line)["exception"]


def test_every_setting_is_described_and_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
    monkeypatch.setenv("SEARCH_PORT", "9000")
    monkeypatch.setenv("SEARCH_DEMO_CATALOGUE", "1")
    monkeypatch.setenv("QDRANT_URL", "http://qdrant:6333")
    monkeypatch.setenv("QDRANT_API_KEY", "hush")
    settings = Settings()
    assert (settings.port, settings.demo_catalogue, settings.qdrant_url) == (9000, True, "http://qdrant:6333")
    assert "hush" not in repr(settings)


def test_the_docs_have_examples(client: TestClient) -> None:
    assert client.get("/docs").status_code == 200
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["SearchRequest"]["examples"]
    assert schemas["ItemForm"]["properties"]["category"]["examples"]


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[Any, int]]:
    """The application on a real socket: what a client that hangs up needs."""
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield app, server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def test_a_query_whose_client_hangs_up_never_reaches_the_model(served: tuple[Any, int]) -> None:
    app, port = served
    encoder = app.state.services.encoder
    gate, encoded = threading.Event(), []
    encode = encoder.retriever.encode_queries

    def gated(texts: list[str]) -> Any:
        encoded.extend(texts)
        assert gate.wait(20)
        return encode(texts)

    encoder.retriever.encode_queries = gated
    try:

        def ask(query: str) -> socket.socket:
            body = json.dumps({"query": query}).encode()
            connection = socket.create_connection(("127.0.0.1", port))
            head = f"POST /search HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            connection.sendall(head.encode() + b"\r\n\r\n" + body)
            return connection

        def until(condition: Any) -> None:
            deadline = time.monotonic() + 20
            while not condition():
                assert time.monotonic() < deadline
                time.sleep(0.01)

        first = ask("first")
        until(lambda: encoded == ["first"])
        leaving, staying = ask("leaving"), ask("staying")
        until(lambda: len(encoder._waiting["query"]) == 2)
        leaving.close()
        until(lambda: sum(entry.done.cancelled() for entry in encoder._waiting["query"]) == 1)
        gate.set()
        for connection in (first, staying):
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            connection.close()
        assert encoded == ["first", "staying"]
    finally:
        gate.set()
        encoder.retriever.encode_queries = encode


def test_two_writers_of_one_id_leave_one_winner(client: TestClient, settings: Settings) -> None:
    colours = ["red", "green", "blue", "white", "black", "yellow"]
    barrier = threading.Barrier(len(colours))
    answers: list[Any] = []

    def write(colour: str) -> None:
        barrier.wait()
        answers.append(post_item(client, "a", picture_file(colour), title=colour))

    threads = [threading.Thread(target=write, args=[colour]) for colour in colours]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    versions = sorted(answer.json()["version"] for answer in answers)
    assert [version - versions[0] for version in versions] == [0, 1, 2, 3, 4, 5]
    last = max((answer.json() for answer in answers), key=lambda item: item["version"])
    assert client.get("/items/a").json() == last
    assert len(list(settings.data_dir.rglob("*.jpg"))) == 1
    assert client.get("/items/a/image").status_code == 200
    assert client.get("/items").json()["total"] == 1


def test_every_line_of_a_search_carries_its_ids(client: TestClient) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    logger = logging.getLogger("service")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        post_item(client, "a", title="mug")
        stream.truncate(0)
        one = client.post("/search", json={"query": "mug"}, headers={"X-Request-ID": "one"}).json()
        searches = {"searches": [{"query": "mug"}, {"query": "cup"}]}
        many = client.post("/search/batch", json=searches, headers={"X-Request-ID": "many"}).json()
        client.get("/items/a", headers={"X-Request-ID": "none"})
    finally:
        logger.removeHandler(handler)
    lines = [json.loads(line) for line in stream.getvalue().strip("\x00").splitlines()]
    ids = [(line["message"], line["request_id"], line.get("search_id")) for line in lines]
    first, second = (result["search_id"] for result in many["results"])
    assert ids[:2] == [("search", "one", one["search_id"]), ("request", "one", one["search_id"])]
    assert sorted(ids[2:4]) == sorted([("search", "many", first), ("search", "many", second)])
    assert ids[4] == ("request", "many", f"{first},{second}")
    assert ids[5] == ("request", "none", None)


def test_text_lines_cannot_be_forged() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 1, "path /\n2026 ERROR a: \x1b[31mfire \ud800", (), None)
    line = logs.TextFormatter().format(record)
    assert line.endswith(r"INFO a: path /\n2026 ERROR a: \x1b[31mfire \ud800")

"""Clients that dawdle, stop or vanish: each is let go, and nothing of theirs is left."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.exceptions import HTTPException
from uvicorn.server import ServerState

from service.server import Server
from service.settings import Settings
from service.slow_clients import BodyTimeoutMiddleware, Connection

PATIENCE = 0.5  # seconds


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("QDRANT_URL", raising=False)
        data_dir = tmp_path_factory.mktemp("slow") / "data"
        settings = Settings(
            data_dir=data_dir, model=str(tiny_checkpoint), device="cpu", port=0, client_seconds=PATIENCE
        )
    server = Server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield server
    server.should_exit = True
    thread.join()


def connect(server: Server, *, small: bool = False) -> socket.socket:
    connection = socket.socket()
    if small:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(server.servers[0].sockets[0].getsockname())
    connection.settimeout(60)
    return connection


def everything(connection: socket.socket) -> bytes:
    """What is sent until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def nothing_is_left(server: Server) -> bool:
    limiters = server.config.app.state.gate._limiters.values()  # type: ignore[union-attr]
    running = sum(permit.running for limiter in limiters for permit in limiter._permits.values())
    return not (server.server_state.tasks or server.server_state.connections or running)


def request(method: str, path: str, length: int, media_type: str = "application/json") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
    return head.encode()


def test_slow_clients_are_let_go(server: Server) -> None:
    with connect(server) as silent, connect(server) as half_head, connect(server) as half_body:
        half_head.sendall(b"GET / HTTP/1.1\r\nHost:")
        half_body.sendall(request("POST", "/search", 100) + b'{"query":')
        assert everything(silent) == b""
        assert everything(half_head) == b""
        answer = everything(half_body)
        assert answer.startswith(b"HTTP/1.1 408")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "body_timeout"
    until(lambda: nothing_is_left(server))


def test_a_head_without_end(server: Server) -> None:
    with connect(server) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 400_000)
        answer = everything(connection)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    with connect(server) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nConnection: close\r\nX: " + b"x" * 8000 + b"\r\n\r\n")
        assert everything(connection).startswith(b"HTTP/1.1 200")
    until(lambda: nothing_is_left(server))


def test_an_answer_that_nobody_reads(server: Server) -> None:
    with connect(server, small=True) as connection:
        connection.sendall(b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n" * 8)
        until(lambda: bool(server.server_state.tasks))
        until(lambda: nothing_is_left(server))


def test_who_vanishes_in_the_middle_of_an_upload(server: Server) -> None:
    kind = "multipart/form-data; boundary=b"
    with connect(server) as connection:
        part = b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\ngone\r\n'
        connection.sendall(request("POST", "/items", 5_000_000, kind) + part)
        until(lambda: bool(server.server_state.tasks))
    until(lambda: nothing_is_left(server))
    with connect(server) as connection:
        connection.sendall(b"GET /items/gone HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert everything(connection).startswith(b"HTTP/1.1 404")


def test_bulk_whose_lines_stop_coming_says_which_it_has(server: Server) -> None:
    with connect(server) as connection:
        lines = b'{"id": "a", "title": "mug"}\n{"id": "b", "title'
        connection.sendall(request("POST", "/items/bulk", 1000, "application/x-ndjson") + lines)
        answer = everything(connection)
        found = [json.loads(line) for line in answer.splitlines() if line.startswith(b"{")]
        assert [(one["line"], one["status"], one.get("code")) for one in found] == [
            (1, 201, None),
            (2, 408, "body_timeout"),
        ]
    until(lambda: nothing_is_left(server))


def asked(server: Server) -> bytes:
    """The answer to a request on a connection of its own."""
    with connect(server) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return everything(connection)


def test_idle_connections_make_room_for_new_ones(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = server.config.http_protocol_class
    monkeypatch.setattr(bounds, "head_seconds", 600)
    monkeypatch.setattr(bounds, "most", 20)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(server)) for _ in range(60)]
        for connection in idle[:40]:  # the oldest
            assert everything(connection) == b""
        assert asked(server).startswith(b"HTTP/1.1 200")
        # One that has been quiet for long is as good as ever.
        idle[-1].sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert everything(idle[-1]).startswith(b"HTTP/1.1 200")
    until(lambda: nothing_is_left(server))


def test_a_connection_too_many_is_told_so_where_none_is_idle(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = server.config.http_protocol_class
    monkeypatch.setattr(bounds, "head_seconds", 600)
    monkeypatch.setattr(bounds, "most", 2)
    with connect(server, small=True) as first, connect(server, small=True) as second:
        for connection in (first, second):  # answers that nobody reads
            connection.sendall(b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n" * 8)
        until(lambda: len(server.server_state.tasks) == 2)
        time.sleep(0.2)  # the first of the pipelined answers may be through: the connections are as busy as before
        head, _, body = asked(server).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"\r\nretry-after: 1" in head.lower()
        assert json.loads(body)["code"] == "too_many_connections"
    until(lambda: nothing_is_left(server))
    assert asked(server).startswith(b"HTTP/1.1 200")


def drip(path: str, parts: int, *, pause: float, seconds: float) -> int:
    """Bytes that an application receives of a body that comes one by one, each after a `pause` and in time."""
    taken = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal taken
        while (await receive())["more_body"]:
            taken += 1

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": b"x", "more_body": taken < parts}

    middleware = BodyTimeoutMiddleware(app, seconds, frozenset({"/endless"}))
    with contextlib.suppress(HTTPException):
        asyncio.run(middleware({"type": "http", "path": path}, receive, app))  # type: ignore[arg-type]
    return taken


def test_a_body_that_drips_is_not_meant() -> None:
    assert drip("/items", 30, pause=0.05, seconds=0.2) < 6
    assert drip("/endless", 6, pause=0.2, seconds=1) == 6


class Written(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.content = b""

    def write(self, data: Any) -> None:
        self.content += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def spoken(app: Any, *pieces: bytes) -> bytes:
    """What a connection answers to these pieces, each of which comes in one read."""

    async def speak() -> bytes:
        config = uvicorn.Config(app, log_config=None)
        config.load()
        written, state = Written(), ServerState()
        connection = Connection(config, state, {})
        connection.connection_made(written)
        for piece in pieces:
            connection.data_received(piece)
        while state.tasks:  # a pipelined request's comes when the answer before has gone
            await asyncio.gather(*state.tasks)
        connection.connection_lost(None)
        return written.content

    return asyncio.run(speak())


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def test_a_long_body_in_one_piece_with_its_head_is_no_long_head() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"
    assert spoken(read_all, head + bytes(200_000)).startswith(b"HTTP/1.1 200")


def test_a_long_last_piece_of_a_body_is_no_long_head() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n"
    assert spoken(read_all, head, bytes(200_000), bytes(200_000)).startswith(b"HTTP/1.1 200")


def test_a_head_that_never_ends_is_refused() -> None:
    headers = [f"X-{number}: {'x' * 1000}\r\n".encode() for number in range(70)]
    assert spoken(read_all, b"GET / HTTP/1.1\r\n", *headers).startswith(b"HTTP/1.1 400")


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"


def offering(head: bytes) -> bytes:
    """A request's head with what Java's client and `curl --http2` add to each."""
    return head.replace(b"\r\n\r\n", b"\r\n" + H2C)


def test_who_offers_http_2_is_answered_in_http_1_and_loses_no_body(server: Server) -> None:
    lines = b'{"id": "c2", "title": "mug"}\n'
    whole = offering(request("POST", "/items/bulk", len(lines), "application/x-ndjson")) + lines
    head_ends = len(whole) - len(lines)
    with connect(server) as connection:
        for number, split in enumerate((0, 40, head_ends - 1, head_ends, head_ends + 5)):
            connection.sendall(whole[:split])
            time.sleep(0.05)
            connection.sendall(whole[split:])
            answer = b""
            while b"\r\n0\r\n\r\n" not in answer:
                part = connection.recv(65536)
                assert part
                answer += part
            assert b'"id":"c2","status":%d' % (200 if number else 201) in answer
        connection.sendall(offering(b"GET /items/c2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
        assert everything(connection).startswith(b"HTTP/1.1 200")
    until(lambda: nothing_is_left(server))


async def repeat(scope: Any, receive: Any, send: Any) -> None:
    body, more = f"[{scope['method']} {scope['path']} {scope['http_version']} ".encode(), True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    headers = [(b"content-length", str(len(body) + 1).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body + b"]"})


@pytest.mark.parametrize("size", [1, 7, 50, 160, 10_000])
def test_bodies_of_any_kind_follow_an_offer_of_http_2(size: int) -> None:
    chunked = b"PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent = offering(request("POST", "/a", 4)) + b"body" + offering(chunked) + b"3\r\nabc\r\n0\r\n\r\n"
    sent += offering(b"GET /c HTTP/1.0\r\n\r\n")
    answers = spoken(repeat, *(sent[begin : begin + size] for begin in range(0, len(sent), size)))
    found = [part.partition(b"]")[0] for part in answers.split(b"[")[1:]]
    assert found == [b"POST /a 1.1 body", b"PUT /b 1.1 abc", b"GET /c 1.0 "]


def test_an_invalid_request_is_logged_with_its_client(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with connect(server) as connection:
        connection.sendall(b"no HTTP at all\r\n\r\n")
        assert everything(connection).startswith(b"HTTP/1.1 400")
    fields = [one.fields for one in caplog.records if "Invalid HTTP request" in one.message]  # type: ignore[attr-defined]
    assert fields == [{"client": "127.0.0.1"}]

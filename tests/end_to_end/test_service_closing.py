"""SIGTERM: not ready, then finish, then close."""

import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.serving import Running, Server
from tests.service.helpers import picture_file

pytestmark = pytest.mark.slow

SEARCH, INGEST = "search-key-0123456789", "ingest-key-0123456789"


def test_sigterm_drains(tmp_path: Path, running_tiny: Running) -> None:
    keys = {"SEARCH_SEARCH_KEYS": SEARCH, "SEARCH_INGEST_KEYS": INGEST}
    with running_tiny(tmp_path / "data", SEARCH_DRAIN_SECONDS="6", **keys) as server:
        with httpx.Client(base_url=server.url, timeout=120, headers={"X-API-Key": INGEST}) as client:
            lines: queue.Queue[bytes | None] = queue.Queue()
            results: list[dict[str, object]] = []

            def sent() -> Iterator[bytes]:
                while (line := lines.get()) is not None:
                    yield line

            def bulk() -> None:
                head = {"Content-Type": "application/x-ndjson", "X-API-Key": INGEST}
                with httpx.stream("POST", f"{server.url}/items/bulk", content=sent(), headers=head, timeout=120) as got:
                    results.extend(json.loads(line) for line in got.iter_lines())

            uploader = threading.Thread(target=bulk)
            uploader.start()
            lines.put(b'{"id": "bulk-1", "title": "mug"}\n{"id": "bulk-2", "title": "mug"}\n{"id": "half')
            until(lambda: client.get("/items/bulk-2").status_code == 200)

            # An upload whose second half comes after the signal, and after the socket was closed.
            body = b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\nlate\r\n--b\r\n'
            body += b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + picture_file()
            body += b"\r\n--b--\r\n"
            late = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
            head = f"POST /items HTTP/1.1\r\nHost: a\r\nX-API-Key: {INGEST}\r\nContent-Length: {len(body)}\r\n"
            late.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + body[:50])

            server.process.terminate()
            until(lambda: client.get("/health/ready").status_code == 503)
            ready = client.get("/health/ready")
            assert ready.json()["code"] == "draining"
            assert ready.headers["connection"] == "close"
            assert client.get("/health/live").status_code == 200
            found = client.get("/items/bulk-1")
            assert (found.status_code, found.headers["connection"]) == (200, "close"), "still answered meanwhile"
            lines.put(None)  # httpx reads no answer before it has sent all
            uploader.join(60)
            assert [(one["line"], one["status"]) for one in results] == [(1, 201), (2, 201), (3, 503)]
            assert results[-1]["code"] == "draining"
        until(lambda: refused(server))
        assert server.process.poll() is None, "it waits for what is running"
        late.sendall(body[50:])
        late.settimeout(60)
        assert late.recv(4096).startswith(b"HTTP/1.1 201")
        late.close()
        assert server.process.wait(60) == 0
        log = server.log.read_text()
        messages = [json.loads(line)["message"] for line in log.splitlines()]
        assert "API keys: 1 for search, 1 for ingest" in messages
        assert any(message.startswith("draining") for message in messages)
        assert messages.index("closed") > max(i for i, message in enumerate(messages) if message == "request")
        assert SEARCH not in log
        assert INGEST not in log

    text = {"SEARCH_LOG_FORMAT": "text", "SEARCH_DRAIN_SECONDS": "0"}
    with running_tiny(tmp_path / "data", **text) as server:
        stored = httpx.get(f"{server.url}/items", headers={"X-Request-ID": "after"}, timeout=60).json()["items"]
        assert {item["id"] for item in stored} == {"bulk-1", "bulk-2", "late"}
        server.stop()
    (line,) = [line for line in server.log.read_text().splitlines() if "request_id=after" in line]
    assert " INFO service.request: request " in line
    assert "path=/items status=200" in line


def until(condition: object) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def refused(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=5).close()
    except OSError:
        return True
    return False

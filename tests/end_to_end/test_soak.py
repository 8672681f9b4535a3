"""Memory and file descriptors stay flat over many requests, good and bad, answered and abandoned.

`make soak` sends 20,000 requests; docs/operations.md has the figures.
"""

import io
import json
import os
import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image

from benchmarks.process import family, resident_bytes
from tests.end_to_end.serving import Running, Server

REQUESTS = int(os.environ.get("SOAK_REQUESTS", "1600"))
CLIENTS = 4
WARM_UP = 0.4  # share of the requests after which caches and allocators have what they will have
WORDS = ["red", "blue", "green", "mug", "shirt", "shoe", "lamp", "striped", "stoneware", "linen"]


class Shopper:
    """One client with one connection, that sends whatever clients send."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server, self.random = server, random.Random(seed)
        self.http = httpx.Client(base_url=server.url, timeout=120)
        kinds: list[tuple[int, Callable[[], int]]] = [
            (50, self.search),
            (12, self.read),
            (10, self.refused),
            (8, self.put),
            (6, self.search_by_picture),
            (6, self.bulk),
            (4, self.leave),
            (4, self.metrics),
        ]
        self.weights, self.kinds = zip(*kinds, strict=True)

    def send(self) -> None:
        (kind,) = self.random.choices(self.kinds, self.weights)
        status = kind()
        assert status < 500, f"{kind.__name__}: {status}"

    def id(self) -> str:
        return f"item-{self.random.randrange(40)}"

    def picture(self) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (120, 90), tuple(self.random.randrange(256) for _ in range(3))).save(buffer, "JPEG")
        return buffer.getvalue()

    def search(self) -> int:
        query = " ".join(self.random.choices(WORDS, k=3)) + f" {self.random.randrange(10_000)}"
        return self.http.post("/search", json={"query": query, "facets": ["brand"], "explain": True}).status_code

    def read(self) -> int:
        path = self.random.choice(["/items/{}", "/items/{}/image", "/items/{}/similar", "/suggest?q=mu", "/items"])
        return self.http.get(path.format(self.id())).status_code

    def refused(self) -> int:
        return self.random.choice(
            [
                lambda: self.http.post("/search", json={"query": "-" * 2000}),
                lambda: self.http.post("/search", content=b"{", headers={"content-type": "application/json"}),
                lambda: self.http.post("/items", files={"id": (None, "x"), "image": ("a.png", b"no picture")}),
                lambda: self.http.get("/nowhere"),
            ]
        )().status_code

    def put(self) -> int:
        fields = {"title": (None, "red mug"), "attributes": (None, '{"brand": "Kiln"}'), "image": ("a", self.picture())}
        return self.http.put(f"/items/{self.id()}", files=fields).status_code

    def search_by_picture(self) -> int:
        return self.http.post("/search/image", files={"image": ("a.jpg", self.picture())}).status_code

    def bulk(self) -> int:
        lines = [json.dumps({"id": self.id(), "title": "blue shirt", "attributes": {"brand": "Loom"}}), "no JSON"]
        headers = {"content-type": "application/x-ndjson"}
        return self.http.post("/items/bulk", content="\n".join(lines), headers=headers).status_code

    def leave(self) -> int:
        """Hangs up in the middle of its own request."""
        with socket.create_connection(("127.0.0.1", int(self.server.url.rpartition(":")[2]))) as connection:
            connection.sendall(b"POST /items HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n")
            connection.sendall(b"Content-Length: 9999\r\n\r\n--b\r\n")
        return 0

    def metrics(self) -> int:
        return self.http.get("/metrics").status_code


def footprint(server: Server) -> tuple[int, int]:
    """Resident bytes of the service and its engine, and open file descriptors.

    Pages of mapped files (the index) are the kernel's to drop, and no leak.
    """
    members = family(server.process.pid)
    files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in members)
    return sum(resident_bytes(pid, "RssAnon") for pid in members), files


def load(server: Server, requests: int, seed: int) -> None:
    """Sends requests from all clients at once; raises what any of them raised."""
    failures: list[BaseException] = []

    def run(shopper: Shopper) -> None:
        try:
            for _ in range(requests // CLIENTS):
                shopper.send()
        except BaseException as error:
            failures.append(error)
        finally:
            shopper.http.close()

    threads = [threading.Thread(target=run, args=[Shopper(server, seed + n)]) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.slow
def test_memory_and_file_descriptors_stay_flat(tmp_path: Path, running_tiny: Running) -> None:
    settings = {"SEARCH_QUERY_CACHE": "200", "SEARCH_LOG_LEVEL": "WARNING"}
    with running_tiny(tmp_path / "data", **settings) as server:
        load(server, int(REQUESTS * WARM_UP), seed=0)
        figures = [footprint(server)]
        for part in range(3):
            load(server, int(REQUESTS * (1 - WARM_UP) / 3), seed=100 * (part + 1))
            figures.append(footprint(server))
        print("\n".join(f"{memory / 2**20:.1f} MiB, {files} file descriptors" for memory, files in figures))
    memory, files = zip(*figures, strict=True)
    sent = REQUESTS * (1 - WARM_UP)
    assert max(files[1:]) <= files[0] + 8, files
    # A thousandth of a mebibyte a request would be a leak; what allocators keep for later comes in steps of their own.
    assert memory[-1] - memory[0] < 24 * 2**20 + sent * 1024, figures

"""Searches that arrive at a constant rate from another process: below what the service can do, all are answered; far
above it, it answers what it can and turns the rest away with 429, and nothing else happens to anybody.

How much it can do, `python -m benchmarks.capacity` finds. Here the rates are far on either side of it on any machine.
"""

import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.helpers import NDJSON
from tests.end_to_end.serving import Running, Server

QUEUE = 32
FILES = 1024  # that the service may have open: the usual limit


@contextlib.contextmanager
def open_files(most: int) -> Iterator[None]:
    """So many files may this process have open, and what it starts."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, running_tiny: Running) -> Iterator[Server]:
    settings = {"SEARCH_QUERY_CACHE": "0", "SEARCH_MAX_QUEUE": str(QUEUE), "SEARCH_LOG_LEVEL": "WARNING"}
    settings["SEARCH_CLIENT_SECONDS"] = "600"
    with (
        open_files(FILES),
        running_tiny(tmp_path_factory.mktemp("load") / "data", **settings) as server,
    ):
        lines = "\n".join(json.dumps({"id": f"item-{n}", "title": f"red mug number {n}"}) for n in range(30))
        httpx.post(f"{server.url}/items/bulk", content=lines, headers=NDJSON, timeout=300).raise_for_status()
        yield server


def load(server: Server, *, connections: int, rate: float, seconds: float) -> dict[str, float]:
    bodies = "\n".join(json.dumps({"query": f"red mug {n}"}) for n in range(1000))
    command = [sys.executable, "-m", "benchmarks.load", f"{server.url}/search", "--clients", str(connections)]
    command += ["--rate", str(rate), "--seconds", str(seconds)]
    done = subprocess.run(command, input=bodies.encode(), stdout=subprocess.PIPE, check=True)  # fails if one is cut
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


@pytest.mark.slow
def test_below_capacity_every_search_is_answered(server: Server) -> None:
    measured = load(server, connections=QUEUE, rate=4, seconds=5)
    assert measured["requests"] == 20
    assert measured["refused %"] == measured["failed %"] == 0


@pytest.mark.slow
def test_far_above_it_what_is_too_much_gets_429_and_nothing_fails(server: Server) -> None:
    measured = load(server, connections=8 * QUEUE, rate=5000, seconds=1)
    assert measured["failed %"] == 0
    assert 0 < measured["refused %"] < 100
    # And it is as well as before.
    after = load(server, connections=1, rate=2, seconds=2)
    assert after["refused %"] == after["failed %"] == 0


@pytest.mark.slow
def test_searches_go_on_beside_two_thousand_idle_connections(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    with open_files(4 * FILES), contextlib.ExitStack() as stack:
        for _ in range(2000):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        measured = load(server, connections=4, rate=4, seconds=2)
        assert measured["refused %"] == measured["failed %"] == 0
        assert len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) < FILES

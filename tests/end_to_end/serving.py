"""`python -m service` as a process of its own, on a free port, for tests that kill it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import SystemRandom

import httpx


class Server:
    """A running service. `kill` is `kill -9`; `stop` is SIGTERM."""

    def __init__(self, data_dir: Path, model: Path, port: int, **settings: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = data_dir.parent / "service.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SEARCH_", "QDRANT_"))}
        environment |= {
            "SEARCH_DATA_DIR": str(data_dir),
            "SEARCH_MODEL": str(model),
            "SEARCH_PORT": str(port),
            "SEARCH_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
            **settings,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "service"], env=environment, stderr=log, stdout=log)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 600  # a busy machine takes its time
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health/ready", timeout=30).status_code == 200:
                    return
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


def free_port() -> int:
    """Below those of outgoing connections (Linux: from 32768 on), one of which could take it meanwhile."""
    while True:
        port = SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def running(data_dir: Path, model: Path, **settings: str) -> Iterator[Server]:
    """A service that answers, and is gone afterwards however the test ends."""
    server = Server(data_dir, model, free_port(), **settings)
    try:
        server.wait_until_ready()
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


Running = Callable[..., contextlib.AbstractContextManager[Server]]
"""`running` with a certain model: a data folder and settings → a service that answers."""

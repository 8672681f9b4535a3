"""A server as a process of its own: when it is ready, what it has taken, and load on it from another process."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_LOAD = [sys.executable, "-m", "benchmarks.load"]
_TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """`python -m …`, or a command, that answers `GET {ready}` with 200 once it can serve.

    Raises:
        RuntimeError: it ended before.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        ready: str,
        environment: Mapping[str, str],
        log: Path,
        *,
        module: bool = True,
        folder: Path | None = None,
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        started = time.perf_counter()
        with log.open("ab") as out:
            python = [sys.executable, "-m"] if module else []
            self.process = subprocess.Popen(
                [*python, *command], cwd=folder, env={**os.environ, **environment}, stdout=out, stderr=out
            )
        while not self._answers(ready):
            if self.process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended before it was ready: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        self.seconds_to_ready = time.perf_counter() - started
        self.cpu_to_ready = self.cpu_seconds()

    def _answers(self, path: str) -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(self.url + path) as answer:
            return bool(answer.status == 200)
        return False

    def settle(self) -> None:
        """Waits until it has nothing to do: once it answers, it still learns the catalogue's words."""
        before = self.cpu_seconds()
        while True:
            time.sleep(1)
            if (now := self.cpu_seconds()) - before < 0.05:
                return
            before = now

    def cpu_seconds(self) -> float:
        """What all its threads, and those of the processes that it started, have taken so far."""
        return sum(map(cpu_seconds, family(self.process.pid)))

    def memory_mb(self) -> float:
        """Resident, of it and the processes that it started, files that are mapped included."""
        return sum(resident_bytes(pid, "VmRSS") for pid in family(self.process.pid)) / 2**20

    def load(
        self,
        path: str,
        bodies: Sequence[bytes],
        *,
        clients: int = 1,
        rate: float = 0.0,
        seconds: float,
    ) -> dict[str, float]:
        """What `benchmarks.load` measured, and the server's own `CPU ms` for one request, refused or not."""
        command = [*_LOAD, self.url + path, "--clients", str(clients), "--rate", str(rate), "--seconds", str(seconds)]
        before = self.cpu_seconds()
        done = subprocess.run(command, input=b"\n".join(bodies), stdout=subprocess.PIPE, check=True)
        measured: dict[str, float] = json.loads(done.stdout)
        measured["CPU ms"] = 1000 * (self.cpu_seconds() - before) / measured.pop("requests")
        return measured

    @contextlib.contextmanager
    def changing(self, path: str, body: bytes, *, rate: float) -> Iterator[None]:
        """`PATCH` requests meanwhile, so many a second. Raises urllib.error.HTTPError where they are refused."""
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(self.url + path, body, headers, method="PATCH")).close()
        command = [*_LOAD, self.url + path, "--method", "PATCH", "--rate", str(rate), "--seconds", "3600"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as changes:
            assert changes.stdin is not None
            changes.stdin.write(body)
            changes.stdin.close()
            try:
                yield
            finally:
                changes.kill()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def service(data_dir: Path, model: str | Path, **settings: str) -> Iterator[Server]:
    """This project's service over a data folder, at its default settings but for the log."""
    port = free_port()
    environment = {
        "SEARCH_DATA_DIR": str(data_dir),
        "SEARCH_MODEL": str(model),
        "SEARCH_PORT": str(port),
        "SEARCH_LOG_LEVEL": "WARNING",
        **settings,
    }
    server = Server(["service"], port, "/health/ready", environment, data_dir / "service.log")
    try:
        yield server
    finally:
        server.stop()


def family(pid: int) -> list[int]:
    """A process, and those that it and they started."""
    children = [int(one) for task in Path(f"/proc/{pid}/task").glob("*/children") for one in task.read_text().split()]
    return [pid, *(member for child in children for member in family(child))]


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int, kind: str) -> int:
    """`VmRSS`, or `RssAnon`: without files that are mapped, whose pages are the kernel's to drop."""
    return int(Path(f"/proc/{pid}/status").read_text().partition(f"{kind}:")[2].split()[0]) * 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

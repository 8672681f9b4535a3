"""The load generator, a process of its own: `python -m benchmarks.load URL --clients 8 --rate 50 < bodies.jsonl`.

With a rate, requests are due at constant intervals whether or not earlier ones were answered, and each is timed from
when it was due: a server that stalls is charged for all who wait meanwhile ("coordinated omission" counted). Without,
each client sends its next request as soon as it has its answer, which finds the saturation throughput.

Speaks plain HTTP/1.1 over keep-alive sockets: a full client would take as much of the processor as the server.
"""

import argparse
import asyncio
import itertools
import json
import sys
from collections.abc import Iterator
from time import perf_counter
from urllib.parse import urlsplit

import numpy as np


class Connection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, head: bytes, body: bytes) -> int:
        """Sends a request and reads its answer; returns the status."""
        self._writer.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length))
        return int(answer[9:12])

    def close(self) -> None:
        self._writer.close()


async def drive(
    url: str,
    bodies: Iterator[bytes],
    *,
    clients: int,
    seconds: float,
    rate: float = 0.0,
    method: str = "POST",
) -> dict[str, float]:
    """Answers per second, milliseconds at the median and the 99th percentile, the shares refused (429) and failed.

    Rate and times are of what was answered with 2xx: a refusal is quick, and no search. Times are NaN without any.
    With a rate, `clients` bounds how many requests are under way: more than the server takes on show how it refuses.

    Raises:
        OSError, asyncio.IncompleteReadError: a connection was refused or cut.
    """
    address = urlsplit(url)
    head = f"{method} {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n".encode()
    latencies: list[float] = []
    sent = refused = 0
    connections = [Connection(*await asyncio.open_connection(address.hostname, address.port)) for _ in range(clients)]
    begun = perf_counter()
    numbers = itertools.count()

    async def client(connection: Connection) -> None:
        nonlocal sent, refused
        while True:
            due = begun + next(numbers) / rate if rate else perf_counter()
            if due - begun >= seconds:
                return
            if (wait := due - perf_counter()) > 0:
                await asyncio.sleep(wait)
            status = await connection.send(head, next(bodies))
            sent += 1
            refused += status == 429
            if 200 <= status < 300:
                latencies.append(1000 * (perf_counter() - due))

    await asyncio.gather(*map(client, connections))
    took = perf_counter() - begun
    for connection in connections:
        connection.close()
    p50, p99 = np.percentile(latencies, [50, 99]).tolist() if latencies else (float("nan"),) * 2
    return {
        "requests": sent,
        "requests/s": len(latencies) / took,
        "p50 ms": p50,
        "p99 ms": p99,
        "refused %": 100 * refused / sent,
        "failed %": 100 * (sent - refused - len(latencies)) / sent,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second, all clients together (0: no limit)")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--method", default="POST")
    options = parser.parse_args()
    bodies = [line.rstrip(b"\n") for line in sys.stdin.buffer]
    measured = drive(
        options.url,
        itertools.cycle(bodies),
        clients=options.clients,
        seconds=options.seconds,
        rate=options.rate,
        method=options.method,
    )
    print(json.dumps(asyncio.run(measured)))


if __name__ == "__main__":
    main()

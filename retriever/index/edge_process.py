"""The embedded engine in a process of its own, and the way to it.

The engine holds Python's global lock for as long as a call takes: to count what a filter lets through of 100,000 items
stops every other thread for up to 30 ms. So it has an interpreter to itself. Requests and answers cross a socket, and
are worked off one by one.

The process ends with the one that started it, however that ended: what was acknowledged is in the engine's log. If it
ends by itself (a panic of the engine, or no memory), calls that wait fail, and the next one starts it again; but not
twice within five seconds. If it hangs (a disk that does not answer), reads are given up after a while, and it is asked
nothing more until it answers again: shoppers need not wait each for as long, and nothing piles up.
"""

import asyncio
import contextlib
import logging
import math
import os
import pickle
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple, cast

from retriever.index.edge_opening import open_shard
from retriever.index.edge_shard import Shard
from retriever.index.results import IndexUnavailable

log = logging.getLogger(__name__)

_LENGTH = struct.Struct("<Q")  # before each answer
_START = "from retriever.index.edge_process import serve; serve()"
_READING = 30.0  # seconds that a read may take, as with a Qdrant server
# These may take as long as the disk does: whoever gave them up would not know whether they were done.
_CHANGES = frozenset({Shard.write, Shard.delete, Shard.flush, Shard.make_index})
_CLOSING = 60.0  # seconds that the engine may take to write all that it holds; its log has what it then did not
_DYING = 5.0  # seconds that the end of a process that was killed may take
_BETWEEN_RESTARTS = 5.0  # seconds at least: where it ends again and again, its starts must not take the whole machine


Given = TypeVarTuple("Given")
Returned = TypeVar("Returned")


class EngineProcess(asyncio.Protocol):
    """A `Shard` elsewhere. It belongs to the event loop that starts it.

    Args:
        arguments: of `edge_opening.open_shard`.
    """

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0
        self._received = bytearray()
        self._restarting: asyncio.Task[None] | None = None
        self._restarted = -math.inf  # when, by the monotonic clock
        self._closed = False
        self._hangs = False  # a read was given up, and nothing was answered since
        self.items = 0  # in the index, as of the latest answer

    @property
    def pid(self) -> int | None:
        """None where it has ended, or was never started."""
        return self._process.pid if self._process is not None and self._transport is not None else None

    async def start(self) -> None:
        """Opens the shard. Raises as `EdgeIndex.open`, and IndexUnavailable where no process can be started."""
        await self._end()  # of one that ended by itself
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = await launch(theirs)
            except OSError as error:
                ours.close()
                raise IndexUnavailable(f"the embedded index's process cannot be started: {error}") from error
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
        try:
            await self._opened
        except BaseException:
            await self._end()
            raise

    async def call(self, method: Callable[[Shard, *Given], Returned], *arguments: *Given) -> Returned:
        """What a method of `Shard` returns or raises. Raises IndexUnavailable where the process has ended or hangs."""
        if self._closed:
            raise IndexUnavailable("the embedded index is closed")
        try:
            async with asyncio.timeout(None if method in _CHANGES else _READING):
                if self._transport is None:
                    if self._restarting is None or self._restarting.done():
                        self._restarting = asyncio.create_task(self._restart(), name="restart of the engine")
                    await asyncio.shield(self._restarting)  # others wait for it too, when whoever asked first has gone
                if self._hangs:
                    raise IndexUnavailable("the embedded index does not answer")
                return cast(Returned, await self._ask(method, *arguments))
        except TimeoutError as error:
            self._hangs = True
            raise IndexUnavailable(f"the embedded index does not answer within {_READING:g} s") from error

    async def _restart(self) -> None:
        wait = self._restarted + _BETWEEN_RESTARTS - time.monotonic()
        if wait > 0:
            raise IndexUnavailable(
                f"the embedded index's process ended, as it had just before; its next start is in {wait:.1f} seconds"
            )
        self._restarted = time.monotonic()
        await self.start()

    async def close(self) -> None:
        """Waits for what is under way, and for the engine to write all that it holds, but not for ever.

        May be called twice.
        """
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(_CLOSING):
                if self._restarting is not None:
                    await asyncio.wait([self._restarting])
                if self._transport is not None:
                    await self._ask(Shard.close)
        except TimeoutError:
            log.error("the embedded index does not close within %g s; its next start goes by its log", _CLOSING)
            if self._process is not None:
                self._process.kill()
        finally:
            await self._end()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one without saying so
        self._hangs = False
        self._opened = self._ask(open_shard, *self._arguments)  # before anything else can be asked

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._received)
            end = _LENGTH.size + length
            if len(self._received) < end:
                return
            number, error, value, self.items = pickle.loads(memoryview(self._received)[_LENGTH.size : end])
            del self._received[:end]
            self._hangs = False
            waiting = self._waiting.pop(number)
            if waiting.done():  # whoever asked has gone
                continue
            if error is None:
                waiting.set_result(value)
            else:
                waiting.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._process is not None:
            log.error("the embedded index's process ended by itself; the next call starts it again")
        self._received.clear()
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            if not one.done():
                one.set_exception(IndexUnavailable("the embedded index's process ended in the middle of its work"))

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        if self._transport is None:
            raise IndexUnavailable("the embedded index's process ended as soon as it was started")
        self._asked += 1
        answer = self._waiting[self._asked] = asyncio.get_running_loop().create_future()
        self._transport.write(pickle.dumps((self._asked, function, arguments), pickle.HIGHEST_PROTOCOL))
        return answer

    async def _end(self) -> None:
        process, self._process = self._process, None
        if self._transport is not None:
            self._transport.close()
        if process is not None:
            try:
                await asyncio.wait_for(process.wait(), _CLOSING)
            except TimeoutError:
                process.kill()
                with contextlib.suppress(TimeoutError):  # what waits for a disk does not even end by this
                    await asyncio.wait_for(process.wait(), _DYING)


async def launch(connection: socket.socket) -> asyncio.subprocess.Process:
    """An interpreter that answers on a socket. Raises OSError."""
    return await asyncio.create_subprocess_exec(sys.executable, "-c", _START, stdin=connection.fileno())


def serve() -> None:
    """The other end: a process that answers on its standard input, a socket, for as long as somebody asks."""
    for stop in (signal.SIGINT, signal.SIGTERM):  # sent to all processes of a terminal or a service; who asks decides
        signal.signal(stop, signal.SIG_IGN)
    connection = socket.socket(fileno=0)
    requests = connection.makefile("rb")
    shard: Shard | None = None
    items = 0
    while True:
        try:
            number, function, arguments = pickle.load(requests)
        except (EOFError, OSError, pickle.UnpicklingError):  # nobody asks any more, or not to the end
            os._exit(0)  # at once: another process may be waiting for the folder, and the log has everything
        error = value = None
        try:
            if function is open_shard:
                shard = open_shard(*arguments)
            elif shard is None:
                raise IndexUnavailable("the embedded index could not be opened")
            else:
                value = function(shard, *arguments)
            if function is not Shard.close:
                items = shard.items()
        except Exception as caught:
            error = caught
        answer = pickle.dumps((number, error, value, items), pickle.HIGHEST_PROTOCOL)
        try:
            connection.sendall(_LENGTH.pack(len(answer)) + answer)
        except OSError:
            os._exit(0)

"""Processes that are born in milliseconds: forked from one that has their imports done.

A test's index has an engine in an interpreter of its own, whose imports take half a second, a thousand times over. How
a service really starts its engine is tested by `contract/test_edge_process.py`, and by all tests that start a service.
"""

import asyncio
import multiprocessing
import os
import socket
from multiprocessing.context import ForkServerProcess
from typing import cast

from retriever.index.edge_process import serve

context = multiprocessing.get_context("forkserver")
ENGINE = ["pytest", __name__, "retriever.index.edge_opening"]
context.set_forkserver_preload(ENGINE)


class Forked:
    """Of `asyncio.subprocess.Process`, what an index asks its engine's."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process, self.pid = process, process.pid

    async def wait(self) -> int | None:
        await asyncio.to_thread(self._process.join)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


async def launch(connection: socket.socket) -> asyncio.subprocess.Process:
    """In the place of `edge_process.launch`."""
    process = context.Process(target=_serve, args=(connection,))
    process.start()
    return cast(asyncio.subprocess.Process, Forked(process))


def _serve(connection: socket.socket) -> None:
    os.dup2(connection.detach(), 0)
    serve()


def end() -> None:
    """Of all that a test has left."""
    for process in multiprocessing.active_children():
        process.kill()

"""The embedded engine's process: it ends with its owner, and its owner outlives it."""

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest

from retriever.index import IndexUnavailable, edge_process
from retriever.index.edge import EdgeIndex
from retriever.index.edge_shard import Shard
from tests.contract.helpers import DIM, item, query

pytestmark = pytest.mark.anyio
launch = edge_process.launch

# Opens an index, says which process the engine has, and waits to be killed.
OWNER = """
import asyncio, sys
from pathlib import Path
from retriever.index.edge import EdgeIndex

async def main():
    index = await EdgeIndex.open(Path(sys.argv[1]), int(sys.argv[2]), "model-a")
    print(index.engine_pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines as services start them."""
    monkeypatch.setattr(edge_process, "launch", launch)


def runs(pid: int) -> bool:
    """A zombie, which nobody has waited for yet, does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    """Waits for it."""
    until = time.monotonic() + 30
    while runs(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not runs(pid)


async def test_an_engine_that_is_killed_is_started_again_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    await index.upsert([item(str(n), n=n) for n in range(20)])
    killed = index.engine_pid
    assert killed not in (None, os.getpid())
    os.kill(killed, signal.SIGSTOP)  # so that what is asked now waits
    waiting = [asyncio.create_task(index.search(query(0), "", limit=5)) for _ in range(3)]
    await asyncio.sleep(0.05)
    os.kill(killed, signal.SIGKILL)
    for one in waiting:
        with pytest.raises(IndexUnavailable, match="ended in the middle"):
            await one
    results = await asyncio.gather(*(index.search(query(0), "", limit=5) for _ in range(3)))
    assert [found.total for found in results] == [20, 20, 20]
    assert index.engine_pid not in (None, killed)
    await index.upsert([item("late")])
    assert await index.count() == 21
    await index.close()


async def test_a_start_goes_on_when_whoever_asked_for_it_has_gone(tmp_path: Path) -> None:
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    await index.upsert([item("a")])
    killed = index.engine_pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    while index.engine_pid is not None:  # noqa: ASYNC110 (nothing tells when the socket is closed)
        await asyncio.sleep(0.01)
    gone = asyncio.create_task(index.get(["a"]))
    await asyncio.sleep(0)
    gone.cancel()
    assert set(await index.get(["a"])) == {"a"}
    await index.close()


async def test_an_engine_that_hangs_keeps_nobody_and_goes_on_when_it_answers_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    await index.upsert([item("a"), item("b")])
    assert index.engine_pid is not None
    os.kill(index.engine_pid, signal.SIGSTOP)
    writing = asyncio.create_task(index.upsert([item("c")]))
    with monkeypatch.context() as impatient:
        impatient.setattr(edge_process, "_READING", 0.2)
        with pytest.raises(IndexUnavailable, match=r"within 0\.2 s"):
            await index.get(["a"])
    for call in (index.get(["b"]), index.search(query(0), "", limit=1), index.delete(["a"])):
        with pytest.raises(IndexUnavailable, match=r"does not answer$"):  # at once
            await call
    os.kill(index.engine_pid, signal.SIGCONT)
    await writing
    assert set(await index.get(["b"])) == {"b"}, "and not the late answer to another"
    assert await index.count() == 3
    await index.close()


async def test_an_engine_that_ends_again_and_again_is_not_started_for_every_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_process, "_BETWEEN_RESTARTS", 3600.0)  # a start may take longer than it is otherwise
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    await index.upsert([item("a")])

    async def kill() -> None:
        assert index.engine_pid is not None
        os.kill(index.engine_pid, signal.SIGSTOP)
        waiting = asyncio.create_task(index.get(["a"]))
        await asyncio.sleep(0.05)
        os.kill(index.engine_pid, signal.SIGKILL)
        with pytest.raises(IndexUnavailable, match="ended in the middle"):
            await waiting

    await kill()
    assert set(await index.get(["a"])) == {"a"}  # the first time at once
    await kill()
    for _ in range(3):
        with pytest.raises(IndexUnavailable, match=r"next start is in \d+\.\d seconds"):
            await index.get(["a"])
    assert index.engine_pid is None
    monkeypatch.setattr(edge_process, "_BETWEEN_RESTARTS", 0.0)
    assert set(await index.get(["a"])) == {"a"}
    await index.close()


async def test_an_engine_that_ends_as_soon_as_it_is_started_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    start = index._engine.start

    async def kill() -> None:
        assert index.engine_pid is not None
        os.kill(index.engine_pid, signal.SIGKILL)
        while index.engine_pid is not None:  # noqa: ASYNC110 (nothing tells when the socket is closed)
            await asyncio.sleep(0.01)

    async def start_in_vain() -> None:
        await start()
        await kill()

    await kill()
    monkeypatch.setattr(index._engine, "start", start_in_vain)
    with pytest.raises(IndexUnavailable, match="ended as soon as it was started"):
        await index.get(["a"])
    await index.close()


async def test_an_engine_that_hangs_is_killed_when_it_is_closed_and_has_all_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    await index.upsert([item("a"), item("b")])
    hangs = index.engine_pid
    assert hangs is not None
    os.kill(hangs, signal.SIGSTOP)
    waiting = asyncio.create_task(index.upsert([item("c")]))
    await asyncio.sleep(0)
    monkeypatch.setattr(edge_process, "_CLOSING", 0.2)
    async with asyncio.timeout(30):
        await index.close()
    assert not runs(hangs)
    with pytest.raises(IndexUnavailable):
        await waiting
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    assert set(await index.get(["a", "b", "c"])) >= {"a", "b"}
    await index.close()


async def test_a_restart_that_hangs_keeps_neither_readers_nor_the_index_from_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    assert index.engine_pid is not None
    os.kill(index.engine_pid, signal.SIGKILL)
    while index.engine_pid is not None:  # noqa: ASYNC110 (nothing tells when the socket is closed)
        await asyncio.sleep(0.01)

    async def launch_stopped(connection: socket.socket) -> asyncio.subprocess.Process:
        process = await launch(connection)
        os.kill(process.pid, signal.SIGSTOP)
        return process

    monkeypatch.setattr(edge_process, "launch", launch_stopped)
    monkeypatch.setattr(edge_process, "_READING", 0.2)
    with pytest.raises(IndexUnavailable, match=r"within 0\.2 s"):
        await index.get(["a"])
    monkeypatch.setattr(edge_process, "_CLOSING", 0.2)
    async with asyncio.timeout(30):
        await index.close()


async def test_the_engine_ends_with_its_owner(tmp_path: Path) -> None:
    repository = Path(__file__).parents[2]
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(tmp_path), str(DIM)), stdout=asyncio.subprocess.PIPE, cwd=repository
    )
    assert owner.stdout is not None
    engine = int(await owner.stdout.readline())
    assert runs(engine)
    owner.kill()
    await owner.wait()
    assert await asyncio.to_thread(ends, engine)
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    await index.close()


async def test_signals_that_reach_all_processes_leave_the_engine_to_its_owner(tmp_path: Path) -> None:
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    engine = index.engine_pid
    assert engine is not None
    for stop in (signal.SIGINT, signal.SIGTERM):
        os.kill(engine, stop)
    await index.upsert([item("a")])
    assert await index.count() == 1
    await index.close()
    assert not runs(engine)
    await index.close()
    with pytest.raises(IndexUnavailable, match="closed"):
        await index.count()


async def test_whoever_stops_waiting_does_not_take_anothers_answer(tmp_path: Path) -> None:
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    await index.upsert([item(str(n)) for n in range(5)])
    gone = asyncio.create_task(index.get(["0"]))
    await asyncio.sleep(0)
    gone.cancel()
    assert set(await index.get(["1", "2"])) == {"1", "2"}
    with pytest.raises(asyncio.CancelledError):
        await gone
    await index.close()


async def test_mistakes_in_the_engines_process_are_told(tmp_path: Path) -> None:
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    await index.upsert([item("a"), item("b")])
    with pytest.raises(TypeError, match="not an instance of 'Sequence'"):
        await index._engine.call(Shard.delete, cast(Any, 3))
    assert await index.count() == 2
    await index.close()

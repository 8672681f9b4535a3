"""Damaged files of an embedded index stop its start, and nothing that is whole does."""

import errno
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from retriever.index import IndexUnavailable, edge, edge_files, edge_opening, open_index
from tests.contract.helpers import DIM, item

pytestmark = pytest.mark.anyio


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("segments/*/version.info", Path.unlink),  # the engine would open it empty
        ("segments/*/segment.json", lambda path: path.write_bytes(b"\0" * 100)),
        ("segments/*/vector_storage-tokens/tq_vectors/status.dat", lambda path: path.write_bytes(b"")),  # it panics
        ("segments/*/vector_storage-tokens/tq_offsets/status.dat", Path.unlink),  # it opens, without their tokens
        ("segments/*/vector_storage-dense/tq_vectors/status.dat", Path.unlink),
        ("segments/*/vector_storage-dense/tq_vectors/chunk_0.mmap", Path.unlink),  # it opens, and fails at a search
        ("segments/*/mutable_id_tracker.mappings", Path.unlink),  # it opens, with what is in its log
        ("segments/*/mutable_id_tracker.mappings", cut_in_half),
        ("segments/*/mutable_id_tracker.versions", Path.unlink),
        ("segments/*/mutable_id_tracker.versions", cut_in_half),
        ("segments/*", shutil.rmtree),
        ("wal/open-1", lambda path: path.write_bytes(b"not a log" * 100)),
        ("wal/open-1", cut_in_half),
        ("wal/open-1", Path.unlink),  # it opens, and drops what is written to the items that are there
        ("wal", shutil.rmtree),
    ],
)
async def test_damaged_files_stop_the_start_and_say_what_to_do(
    tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    await index.upsert([item(str(n), text="a") for n in range(5)])
    await index.close()
    folder = tmp_path / "index" / "model-a"
    damage(next(folder.glob(name)))
    with pytest.raises(IndexUnavailable, match=r"index/model-a cannot be opened: .*service\.backup --restore"):
        await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")


@pytest.mark.parametrize(
    ("name", "damage"), [("wal", shutil.rmtree), ("wal/open-1", Path.unlink), ("wal/open-1", cut_in_half)]
)
async def test_a_log_that_is_lost_after_a_kill_stops_the_first_start_already(
    tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    await index.upsert([item(str(n), text="a") for n in range(5)])
    assert index.engine_pid is not None
    os.kill(index.engine_pid, signal.SIGKILL)
    damage(tmp_path / "index" / "model-a" / name)
    with pytest.raises(IndexUnavailable, match=r"index/model-a cannot be opened: .*service\.backup --restore"):
        await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    await index.close()


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.EACCES, "Give .* to the user that the service runs as"), (errno.EROFS, "Mount ")]
)
def test_files_that_cannot_be_written_are_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refused(folder: Path) -> None:
        raise OSError(number, os.strerror(number), str(folder))

    monkeypatch.setattr(edge_opening, "_lock", refused)
    with pytest.raises(IndexUnavailable, match=rf"{os.strerror(number)}.*{advice}"):
        edge_opening.open_shard(tmp_path, DIM, "model-a", beside=False)


def test_the_log_may_grow_and_lose_its_oldest_files(tmp_path: Path) -> None:
    def log(*names: str) -> str | None:
        shutil.rmtree(tmp_path / "wal", ignore_errors=True)
        (tmp_path / "wal").mkdir()
        for name in ("first-index", "open-1.bak", *names):
            with (tmp_path / "wal" / name).open("wb") as file:
                file.truncate(32 << 20)
        return edge_files.lost(tmp_path)

    assert log("closed-9", "open-2") is None
    edge_files.record(tmp_path)
    for whole in (("closed-9", "open-2", "open-3"), ("closed-9", "closed-53", "open-3"), ("closed-104", "open-4")):
        assert log(*whole) is None, whole
    for partly in (("closed-9", "open-3"), ("open-2", "open-3"), ("open-3",), ("closed-9",), ()):
        assert log(*partly) is not None, partly


async def test_files_that_are_whole_open_whatever_was_written_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "_FLUSH_EVERY", 50)
    chance, there = random.Random(0), set[str]()
    for _ in range(4):
        index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
        assert await index.count() == len(there)
        for _ in range(20):
            some = {str(n) for n in chance.sample(range(100), 30)}
            if chance.random() < 0.5:
                await index.upsert([item(one) for one in some])
                there |= some
            else:
                await index.delete(list(some))
                there -= some
        await index.delete(list(there))
        there.clear()
        await index.close()


async def test_an_item_without_words_opens(tmp_path: Path) -> None:
    for _ in range(2):
        index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
        await index.upsert([item("...")])
        await index.close()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"engine": "0.1", "sizes": {"segments/of another/version": 7}}'])
async def test_what_an_earlier_version_or_engine_wrote_opens(tmp_path: Path, content: bytes) -> None:
    for _ in range(2):
        index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
        await index.upsert([item("a")])
        await index.close()
        (tmp_path / "index" / "model-a" / edge_files.SIZES).write_bytes(content)


async def test_sizes_that_cannot_be_recorded_fail_no_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    (tmp_path / "index" / "model-a" / f"{edge_files.SIZES}.tmp").mkdir()
    monkeypatch.setattr(edge, "_FLUSH_EVERY", 1)
    await index.upsert([item("a")])
    await index.close()

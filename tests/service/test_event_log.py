"""The log of events on its disk: its parts, its bound, who shares it, and disks that are slow or full."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.disk import Disk
from service.events import SEGMENTS, EventLog
from service.problems import Problem
from service.search_schemas import Page, SearchResponse, TookMs
from tests.service.test_events import SEARCH_ID, event, kept

DISK = Disk(Path("/"), 0)  # never full


def test_the_log_is_rotated_and_bounded(tmp_path: Path) -> None:
    most = SEGMENTS * 2000

    async def fill() -> None:
        for restart in range(2):
            log = EventLog(tmp_path / "events", DISK, max_bytes=most)
            for n in range(400):
                await log.append([event(position=1000 * restart + n)])
            await log.close()

    asyncio.run(fill())
    sizes = [path.stat().st_size for path in (tmp_path / "events").iterdir()]
    assert sum(sizes) <= most
    assert max(sizes) < 2 * 2000
    positions = [one["position"] for one in kept(tmp_path)]
    assert positions == [n for n in [*range(400), *range(1000, 1400)] if n >= positions[0]], "only the oldest are gone"
    assert 0 < positions[0] < 1399


def test_the_bound_holds_after_every_event_and_after_a_restart_the_oldest_go_first_too(tmp_path: Path) -> None:
    most = SEGMENTS * 1000

    async def fill() -> None:
        for positions in (range(250), range(250, 270)):
            log = EventLog(tmp_path / "events", DISK, max_bytes=most)
            for n in positions:
                await log.append([event(position=n)])
                assert sum(path.stat().st_size for path in (tmp_path / "events").iterdir()) <= most
            await log.close()

    asyncio.run(fill())
    positions = [one["position"] for one in kept(tmp_path)]
    assert positions == list(range(positions[0], 270))
    assert 0 < positions[0] < 250


def test_a_folder_that_somebody_clears_goes_on(tmp_path: Path) -> None:
    def clear() -> int:
        """How many events were there."""
        paths = list(tmp_path.glob("*.jsonl"))
        events = sum(len(path.read_text().splitlines()) for path in paths)
        for path in paths:
            path.unlink()
        tmp_path.rmdir()
        return events

    async def main() -> None:
        log = EventLog(tmp_path, DISK, max_bytes=SEGMENTS * 1000)
        for size in (1, 1, 2000, 1):  # within a segment, and as one ends
            await asyncio.wait_for(log.append([{"padding": "x" * size}]), 10)
            assert clear() == 1
        await log.close()

    asyncio.run(main())


def test_many_at_once_share_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor))[1])

    async def together() -> None:
        log = EventLog(tmp_path / "events", DISK, max_bytes=2**20)
        await asyncio.gather(*(log.append([event(position=n)]) for n in range(100)))
        await log.close()

    asyncio.run(together())
    assert [one["position"] for one in kept(tmp_path)] == list(range(100))
    assert len(synced) < 10


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set while the disk works; otherwise it keeps what is written waiting."""
    works, fsync = threading.Event(), os.fsync
    works.set()

    def slow(descriptor: int) -> None:
        if not works.wait(10):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    yield works
    works.set()


PADDING = "x" * 2**22


FOUND = SearchResponse(
    hits=[], total=0, took_ms=TookMs(queue=0, encode=0, retrieve=0, total=0), model_id="m", search_id=SEARCH_ID
)


def test_more_than_the_disk_takes_is_refused_until_it_has_caught_up(
    tmp_path: Path, disk: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        log = EventLog(tmp_path / "events", DISK, max_bytes=2**30)
        disk.clear()
        waiting = [asyncio.create_task(log.append([event(position=n, padding=PADDING)])) for n in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(Problem) as refused:
            await log.append([event()])
        assert (refused.value.status, refused.value.code) == (429, "overloaded")
        assert refused.value.headers == {"Retry-After": "1"}
        for _ in range(3):
            log.searched("lost", Page(), FOUND)
        disk.set()
        await asyncio.gather(*waiting)
        log.searched("kept", Page(), FOUND)
        await log.append([event(position=4)])
        await log.close()

    asyncio.run(main())
    assert [one.get("position", one.get("query")) for one in kept(tmp_path)] == [0, 1, 2, 3, "kept", 4]
    assert [one.getMessage() for one in caplog.records] == [
        "the disk does not keep up: 1 searches are missing in the event log"
    ]


def test_a_client_that_goes_takes_nobody_elses_event_along(tmp_path: Path, disk: threading.Event) -> None:
    async def main() -> None:
        log = EventLog(tmp_path / "events", DISK, max_bytes=2**20)
        disk.clear()
        gone, stays = (asyncio.create_task(log.append([event(position=n)])) for n in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        disk.set()
        await asyncio.wait_for(stays, 30)
        await log.close()

    asyncio.run(main())
    assert [one["position"] for one in kept(tmp_path)] == [0, 1]


def test_what_waits_is_written_when_the_log_is_closed(tmp_path: Path) -> None:
    async def main() -> None:
        log = EventLog(tmp_path / "events", DISK, max_bytes=2**20)
        for query in ("red", "blue"):
            log.searched(query, Page(), FOUND)
        await log.close()

    asyncio.run(main())
    assert [one["query"] for one in kept(tmp_path)] == ["red", "blue"]


def test_an_old_part_that_cannot_be_removed_refuses_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    async def main() -> None:
        log = EventLog(tmp_path / "events", DISK, max_bytes=SEGMENTS * 1000)
        for n in range(200):
            await log.append([event(position=n)])
        await log.close()

    monkeypatch.setattr(Path, "unlink", locked)
    asyncio.run(main())
    assert [one["position"] for one in kept(tmp_path)] == list(range(200))


def test_a_full_disk_is_said_and_the_next_write_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.events._PAUSE", 0)
    fsync = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async def write() -> None:
        log = EventLog(tmp_path / "events", DISK, max_bytes=2**20)
        await log.append([event(position=0)])
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(Problem) as refused:
            await log.append([event(position=1)])
        assert (refused.value.status, refused.value.code) == (507, "storage_failed")
        monkeypatch.setattr(os, "fsync", fsync)
        await log.append([event(position=2)])
        await log.close()

    asyncio.run(write())
    positions = [one["position"] for one in kept(tmp_path)]
    assert positions[0] == 0
    assert positions[-1] == 2
    assert len(list((tmp_path / "events").iterdir())) == 2


def test_what_the_disk_refused_does_not_count_as_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.events._PAUSE", 0)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        log = EventLog(tmp_path / "events", DISK, max_bytes=2**30)
        with monkeypatch.context() as changed:
            changed.setattr(os, "fsync", full)
            lost = (log.append([event(padding=PADDING)]) for _ in range(4))
            codes = [
                one.code for one in await asyncio.gather(*lost, return_exceptions=True) if isinstance(one, Problem)
            ]
            assert codes == ["storage_failed"] * 4
        await log.append([event(position=1)])
        await log.close()

    asyncio.run(main())
    assert [one["position"] for one in kept(tmp_path) if "padding" not in one] == [1]


def test_a_new_part_is_in_its_folder_for_good_before_its_events_are_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, synced, fsync = tmp_path / "events", set[int](), os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.add(os.fstat(descriptor).st_ino), fsync(descriptor))[1])

    async def main() -> None:
        log = EventLog(folder, DISK, max_bytes=SEGMENTS * 10)  # each event is a part
        for _ in range(3):
            synced.clear()
            await log.append([event()])
            assert folder.stat().st_ino in synced, "a file's own fsync does not keep its name"
        await log.close()

    asyncio.run(main())


def test_parts_that_somebody_removed_do_not_keep_the_others(tmp_path: Path) -> None:
    most = SEGMENTS * 1000

    async def main() -> None:
        log = EventLog(tmp_path / "events", DISK, max_bytes=most)
        for n in range(300):
            await log.append([event(position=n)])
            if n == 50:
                min((tmp_path / "events").iterdir()).unlink()
        await log.close()

    asyncio.run(main())
    assert sum(path.stat().st_size for path in (tmp_path / "events").iterdir()) <= most
    assert kept(tmp_path)[-1]["position"] == 299


def test_logs_that_share_a_folder_share_the_bound_and_remove_what_was_written_longest_ago(tmp_path: Path) -> None:
    most = SEGMENTS * 1000

    async def main() -> None:
        quiet, busy = (EventLog(tmp_path / "events", DISK, max_bytes=most) for _ in range(2))
        await quiet.append([event(position=0)])
        for n in range(150):
            await busy.append([event(position=1000 + n)])
        await busy.close()
        await quiet.append([event(position=1)])
        restarted = EventLog(tmp_path / "events", DISK, max_bytes=most)
        for n in range(150, 250):
            await restarted.append([event(position=1000 + n)])
            sizes = [path.stat().st_size for path in (tmp_path / "events").iterdir()]
            assert sum(sizes) <= most + most // SEGMENTS, "what the other one writes now comes on top"
        await quiet.append([event(position=2)])
        await quiet.close()
        await restarted.close()

    asyncio.run(main())
    positions = sorted(one["position"] for one in kept(tmp_path))
    assert positions[:3] == [0, 1, 2], "in the oldest part, which was written to a moment ago"
    assert positions[3:] == list(range(positions[3], 1250)), "only the oldest are gone"
    assert positions[3] > 1000


def test_a_part_that_another_process_removes_at_the_start_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "20260101T000000000000-000000.jsonl").symlink_to("gone")  # listed, and not there

    async def main() -> None:
        log = EventLog(tmp_path / "events", DISK, max_bytes=2**20)
        await log.append([event()])
        await log.close()

    asyncio.run(main())
    assert len(list((tmp_path / "events").glob("*.jsonl"))) == 2


def test_a_part_that_is_removed_while_it_is_written_takes_no_acknowledged_event_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    async def main() -> None:
        log = EventLog(tmp_path / "events", DISK, max_bytes=2**20)
        await log.append([event(position=0)])
        (part,) = (tmp_path / "events").iterdir()
        monkeypatch.setattr(os, "fsync", lambda descriptor: (fsync(descriptor), part.unlink(missing_ok=True)))
        await log.append([event(position=1)])
        await log.close()

    asyncio.run(main())
    assert [one["position"] for one in kept(tmp_path)] == [1]


def test_an_event_larger_than_the_bound_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        log = EventLog(tmp_path / "events", DISK, max_bytes=SEGMENTS * 1000)
        for n in range(2):
            await log.append([event(position=n, padding="x" * SEGMENTS * 1000)])
            assert kept(tmp_path)[-1]["position"] == n
        await log.close()

    asyncio.run(main())
    assert len(kept(tmp_path)) == 1


def test_a_disk_that_fails_is_left_alone_for_a_moment_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries, fails = [], True

    def full(descriptor: int) -> None:
        tries.append(descriptor)
        if fails:
            os.ftruncate(descriptor, 0)  # nothing of it came to the disk
            raise OSError(28, "No space left on device")

    async def main() -> None:
        nonlocal fails
        monkeypatch.setattr("service.events.sync", lambda folder: None)
        monkeypatch.setattr("service.events.os.fsync", full)
        log = EventLog(tmp_path, DISK, max_bytes=2**20)
        for n in range(20):
            log.searched(f"query {n}", Page(), FOUND)
            with pytest.raises(Problem, match="No space left"):
                await log.append([event()])
        assert len(tries) == 1
        assert os.listdir(tmp_path) == [], "no segment without content stays"
        fails = False
        monkeypatch.setattr("service.events._PAUSE", 0)
        log._next_try = 0
        await log.append([event()])
        await log.close()

    asyncio.run(main())
    assert [one.getMessage() for one in caplog.records] == [
        "events cannot be stored, and searches are not noted meanwhile: [Errno 28] No space left on device",
        "events are stored again; 20 searches are missing in their log",
    ]

"""A full disk and one that can only be read: clear errors, searches go on, and all is well again by itself."""

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import retriever
from service import reindex
from service.app import create_app
from service.disk import Disk, NoRoom
from service.routes import health
from service.settings import Settings
from tests.service.helpers import picture_file, post_item

KEPT = 256 * 2**20


class Found:
    """What `statvfs` says of a disk."""

    def __init__(self, free: int, flags: int = 0, files: int = 100) -> None:
        self.f_bavail, self.f_frsize, self.f_flag, self.f_files, self.f_favail = free // 4096, 4096, flags, 100, files


def be(monkeypatch: pytest.MonkeyPatch, found: Found) -> None:
    monkeypatch.setattr("service.disk.os.statvfs", lambda folder: found)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Found(KEPT - 4096), "SEARCH_MIN_FREE_BYTES"),
        (Found(10 * KEPT, flags=os.ST_RDONLY), "only be read"),
        (Found(10 * KEPT, files=0), "inodes"),
    ],
)
def test_writes_stop_searches_go_on_and_writes_go_on_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, found: Found, said: str
) -> None:
    post_item(client, "a", picture_file(), title="mug")
    be(monkeypatch, found)
    for answer in (
        post_item(client, "a", picture_file("blue"), title="other"),
        post_item(client, "b", title="text alone"),
        client.patch("/items/a", json={"price": 3}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
        assert said in answer.json()["detail"]
    line = client.post(
        "/items/bulk", content='{"id": "c", "title": "c"}', headers={"Content-Type": "application/x-ndjson"}
    )
    assert line.json()["status"] == 507
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["code"]) == (503, "storage_full")
    assert said in ready.json()["detail"]
    hits = client.post("/search", json={"query": "mug"}).json()["hits"]
    assert [hit["item"]["title"] for hit in hits] == ["mug"]
    assert client.get("/health/live").status_code == 200

    be(monkeypatch, Found(KEPT))
    assert client.get("/health/ready").status_code == 200
    assert post_item(client, "b", picture_file(), title="b").status_code == 201


def test_a_disk_that_does_not_answer_holds_up_its_writes_alone(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_item(client, "a", title="mug")
    monkeypatch.setattr(health, "READY_TIMEOUT", 0.1)
    asked, answers, statvfs = threading.Event(), threading.Event(), os.statvfs

    def stalled(folder: Path) -> os.statvfs_result:
        asked.set()
        answers.wait(60)
        return statvfs(folder)

    monkeypatch.setattr("service.disk.os.statvfs", stalled)
    with ThreadPoolExecutor() as pool:
        try:
            writing = pool.submit(post_item, client, "b", title="lamp")
            assert asked.wait(30)
            assert pool.submit(client.get, "/health/live").result(timeout=30).status_code == 200
            hits = pool.submit(client.post, "/search", json={"query": "mug"}).result(timeout=30).json()["hits"]
            assert [hit["id"] for hit in hits] == ["a"]
            ready = pool.submit(client.get, "/health/ready").result(timeout=30)
            assert (ready.status_code, ready.json()["code"]) == (503, "storage_full")
            assert "does not answer" in ready.json()["detail"]
        finally:
            answers.set()
        assert writing.result().status_code == 201


def test_what_makes_room_may_use_some_of_the_reserve(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    post_item(client, "a", picture_file(), title="mug")
    post_item(client, "b", picture_file(), title="mug")
    post_item(client, "c", picture_file(), title="mug")
    be(monkeypatch, Found(KEPT // 2))
    assert client.delete("/items/a").status_code == 204
    assert client.delete("/items", params={"filter": '{"id": "c"}'}).json() == {"deleted": 1}
    be(monkeypatch, Found(KEPT // 2 - 4096))
    assert client.delete("/items/b").status_code == 507
    assert client.delete("/items?all=true").status_code == 507
    assert client.get("/items").json()["total"] == 1


def test_a_disk_that_refuses_without_warning(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """A quota, say: `statvfs` knows nothing of it."""
    post_item(client, "a", picture_file(), title="mug")
    real = open

    def refuse(path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if "w" in mode and Path(path).is_relative_to(settings.data_dir):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return real(path, mode, *rest, **named)

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("service.media.MediaStore.now", lambda store: refuse(store.folder / "probe", "w"))
    answer = post_item(client, "a", picture_file("blue"), title="other")
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_failed")
    assert "quota" in answer.json()["detail"].lower()
    assert client.get("/health/ready").json()["code"] == "storage_full"
    monkeypatch.undo()
    assert client.get("/items/a").json()["title"] == "mug"
    assert client.get("/items/a/image").status_code == 200
    assert client.get("/health/ready").status_code == 200


def test_a_real_disk_has_room(tmp_path: Path) -> None:
    Disk(tmp_path, 0).check()
    with pytest.raises(NoRoom, match="MiB left"):
        Disk(tmp_path, 2**60).check()


@pytest.mark.parametrize("checks", [0, 1])
def test_a_reindex_leaves_room_for_the_services_own_writes(
    settings: Settings,
    other_checkpoint: Path,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    checks: int,
) -> None:
    """Whether the room is used up at its beginning, or on the way."""
    with TestClient(create_app(settings)) as client:
        post_item(client, "a", title="mug")
    found = iter([Found(10 * KEPT)] * checks)
    monkeypatch.setattr("service.disk.os.statvfs", lambda folder: next(found, Found(KEPT * 3 // 2)))
    assert command(reindex.main, settings, "--model", str(other_checkpoint)) == 2
    told = capsys.readouterr().err
    new = settings.data_dir / "index" / retriever.identify(str(other_checkpoint))
    assert "384 MiB left, and writes stop at 512 MiB" in told
    assert new.exists() == bool(checks)
    assert (f"remove the unfinished {new} to make room" in told) == bool(checks)


def test_pictures_of_another_user_are_told_as_such(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("service.media.MediaStore.save", refuse)
    monkeypatch.setattr("service.media.MediaStore.now", refuse)
    for answer, status in ((post_item(client, "a", picture_file()), 507), (client.get("/health/ready"), 503)):
        assert (answer.status_code, answer.json()["code"]) == (status, "storage_failed")
        assert "to the user that the service runs as" in answer.json()["detail"]

"""Kept pictures: they are on the disk before anything names them, and what a crash leaves behind goes."""

import os
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.media import MediaStore, Picture
from service.settings import Settings
from tests.service.helpers import picture_file, post_item
from tests.service.test_media import read


@pytest.fixture
def media(tmp_path: Path) -> MediaStore:
    return MediaStore(tmp_path / "media")


@pytest.fixture
def pictures() -> list[Picture]:
    return [read(picture_file(colour)) for colour in ("red", "blue")]


def test_each_file_is_synced_before_it_has_its_name_and_its_folder_after(
    media: MediaStore, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []  # what, and the inode of what
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("sync", os.fstat(descriptor).st_ino))

    def named(source: Path, target: Path) -> None:
        replace(source, target)
        done.append(("name", os.stat(target).st_ino))

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", named)
    files = [media.path(name) for name in media.save("mug", pictures)]
    first, second = (os.stat(file).st_ino for file in files)
    folder = os.stat(files[0].parent).st_ino
    assert done[-5:] == [("sync", first), ("name", first), ("sync", second), ("name", second), ("sync", folder)]


def test_what_was_saved_since_is_no_crashs(media: MediaStore, pictures: list[Picture]) -> None:
    before = media.now()
    names = media.save("mug", pictures)
    assert media.sweep(media.names(), set(), before) == 0
    for name in names:
        os.utime(media.path(name), (1, 1))
    assert media.sweep(media.names(), set(names[:1]), before) == 1
    assert [media.path(name).exists() for name in names] == [True, False]


def test_a_file_that_goes_while_the_sweep_looks_stops_nothing(media: MediaStore, pictures: list[Picture]) -> None:
    (orphan,) = media.save("mug", pictures[:1])
    os.utime(media.path(orphan), (1, 1))
    media.path(orphan).with_name("renamed.tmp").symlink_to("gone")  # listed, and not there when it is asked for
    assert media.sweep(media.names(), set(), media.now()) == 1
    assert not media.path(orphan).exists()


def test_words_of_an_item_whose_picture_is_lost_can_be_changed(client: TestClient, settings: Settings) -> None:
    post_item(client, "mug", picture_file(), title="mug")
    for path in (settings.data_dir / "media").rglob("*.jpg"):
        path.unlink()
    assert client.patch("/items/mug", json={"title": "cup"}).json()["title"] == "cup"


def test_a_picture_that_cannot_be_read_now_is_not_given_up(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    before = post_item(client, "mug", picture_file(), title="mug").json()

    def too_many_open(self: Path) -> bytes:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", too_many_open)
        refused = client.patch("/items/mug", json={"title": "cup"})
    assert (refused.status_code, refused.json()["code"]) == (503, "picture_unreadable")
    assert client.get("/items/mug").json() == before
    assert client.patch("/items/mug", json={"title": "cup"}).status_code == 200


def test_an_emptied_picture_is_not_served_and_its_item_asks_for_pictures(
    client: TestClient, settings: Settings
) -> None:
    post_item(client, "mug", picture_file(), title="mug")
    (path,) = (settings.data_dir / "media").rglob("*.jpg")
    path.write_bytes(b"")
    shown = client.get("/items/mug/image")
    assert (shown.status_code, shown.json()["code"]) == (404, "image_not_found")
    refused = client.patch("/items/mug", json={"title": "cup"})
    assert (refused.status_code, refused.json()["code"]) == (503, "picture_unreadable")
    assert "is damaged: send its pictures with the change" in refused.json()["detail"]
    assert "Retry-After" not in refused.headers, "trying again cannot help"

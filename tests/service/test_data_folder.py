"""The data folder's stamp, and what is left in it after a crash."""

import errno
import json
import os
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.data_folder import FORMAT, RESTORING, STAMP, UnusableDataFolder, folder_id, open_data_folder
from service.logs import StartupFailed
from service.settings import Settings
from tests.service.helpers import picture_file, post_item


def test_a_new_folder_is_stamped_and_opens_again(tmp_path: Path) -> None:
    open_data_folder(tmp_path / "data")
    assert json.loads((tmp_path / "data" / STAMP).read_text())["format"] == FORMAT
    open_data_folder(tmp_path / "data")


def test_a_folder_from_before_there_was_a_stamp_opens(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    open_data_folder(tmp_path)
    assert (tmp_path / STAMP).exists()


def test_each_folder_has_an_id_of_its_own_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / STAMP).write_text(json.dumps({"format": FORMAT, "version": "0"}))  # from before there were ids
    monkeypatch.setattr("service.data_folder.write_whole", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "")))
    open_data_folder(old)
    assert folder_id(old) is None, "a full disk stops no start for it"
    monkeypatch.undo()
    for folder in (old, new):
        open_data_folder(folder)
    known = folder_id(old), folder_id(new)
    assert None not in known
    assert len(set(known)) == 2
    open_data_folder(old)
    (new / STAMP).write_text((new / STAMP).read_text().replace(f'"format": {FORMAT}', '"format": 1'))
    open_data_folder(new)
    assert (folder_id(old), folder_id(new)) == known


def test_a_newer_format_is_refused_before_anything_is_touched(settings: Settings) -> None:
    settings.data_dir.mkdir()
    stamp = json.dumps({"format": FORMAT + 1, "version": "9.9"})
    (settings.data_dir / STAMP).write_text(stamp)
    with (
        pytest.raises(StartupFailed, match=rf"format {FORMAT + 1}, written by version 9\.9"),
        TestClient(create_app(settings)),
    ):
        pass
    assert [path.name for path in settings.data_dir.iterdir()] == [STAMP]
    assert (settings.data_dir / STAMP).read_text() == stamp


@pytest.mark.parametrize("content", ["", "[]", '{"format": "new"}', "{}"])
def test_a_damaged_stamp_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / STAMP).write_text(content)
    with pytest.raises(UnusableDataFolder, match=STAMP):
        open_data_folder(tmp_path)


@pytest.mark.parametrize("name", ["", "media", "index", "events"])
def test_a_file_where_a_folder_belongs_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    with pytest.raises(UnusableDataFolder, match=f"{path} must be a folder"):
        open_data_folder(tmp_path / "data")
    path.unlink()
    path.symlink_to(tmp_path / "not mounted")
    with pytest.raises(UnusableDataFolder, match=f"{path} must be a folder"):
        open_data_folder(tmp_path / "data")
    (tmp_path / "not mounted").mkdir()
    open_data_folder(tmp_path / "data")


def test_a_folder_where_the_stamp_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / STAMP).mkdir()
    with pytest.raises(UnusableDataFolder, match=f"{STAMP} must be a file"):
        open_data_folder(tmp_path)


def test_a_restore_that_was_cut_off_must_be_finished(tmp_path: Path) -> None:
    (tmp_path / RESTORING).write_text("")
    with pytest.raises(UnusableDataFolder, match="--restore"):
        open_data_folder(tmp_path)
    open_data_folder(tmp_path, restoring=True)


def orphan(settings: Settings, name: str) -> Path:
    path = settings.data_dir / "media" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    os.utime(path, (1, 1))
    return path


def wait_for_stock(client: TestClient, settings: Settings, gone: Path) -> None:
    deadline = time.monotonic() + 60
    while gone.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_pictures_that_no_item_names_are_removed_at_the_start(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        post_item(client, "a", picture_file(), picture_file("blue"), title="mug")
    kept = set((settings.data_dir / "media").rglob("*.jpg"))
    of_the_item = orphan(settings, f"{next(iter(kept)).parent.relative_to(settings.data_dir / 'media')}/old.jpg")
    of_none = orphan(settings, "00/none/unfinished.tmp")
    with TestClient(create_app(settings)) as client:
        wait_for_stock(client, settings, of_none)
        wait_for_stock(client, settings, of_the_item)
        assert client.get("/items/a/image?n=1").status_code == 200
    assert set((settings.data_dir / "media").rglob("*.jpg")) == kept


def test_another_indexs_pictures_are_left_alone(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(create_app(settings)) as client:
        post_item(client, "a", picture_file(), title="mug")
    others = [orphan(settings, f"00/{n}/a.jpg") for n in range(150)]
    with caplog.at_level("WARNING"), TestClient(create_app(settings)):
        deadline = time.monotonic() + 60
        while "belong to no item" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert all(path.exists() for path in others)


@pytest.mark.parametrize(("number", "advice"), [(errno.EACCES, "to the user that the service"), (errno.EROFS, "Mount")])
def test_a_folder_that_takes_no_writes_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("service.data_folder.write_whole", refuse)
    with pytest.raises(UnusableDataFolder, match=rf"{tmp_path} cannot be made or written: .*{advice}"):
        open_data_folder(tmp_path)


def test_a_folder_that_cannot_be_made_is_named_with_its_setting() -> None:
    with pytest.raises(UnusableDataFolder, match=r"/proc/x cannot be made .*SEARCH_DATA_DIR names it"):
        open_data_folder(Path("/proc/x"))

"""Files that are replaced in one step."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retriever import files
from retriever.files import whole, write_whole


def test_of_several_writers_the_file_is_of_one(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    contents = [b"a" * 100_000, b"b" * 10]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            list(pool.map(write_whole, [path, path], contents))
            assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_takes_nothing_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "rules.json"
    write_whole(path, b"old")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_not_written_to_its_end_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    with pytest.raises(UnicodeEncodeError), whole(path) as file:
        file.writelines(["[", "\ud800"])  # half of it goes, and the rest cannot
    assert not list(tmp_path.iterdir())

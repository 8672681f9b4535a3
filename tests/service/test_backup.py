"""`python -m service.backup`: what comes out goes in again, on any engine; what is damaged is named and refused."""

import asyncio
import io
import json
import os
import resource
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

import retriever
from retriever.index import IndexUnavailable
from service import backup
from service.app import create_app
from service.archive import Manifest, Reader, Writer
from service.data_folder import RESTORING
from service.export import Exported, export
from service.from_settings import generations_of
from service.media import MediaStore
from service.remote import RemoteCatalogue
from service.settings import Settings
from tests.service.helpers import picture_file, post_item

RULES = {
    "synonyms": [{"words": ["tv"], "means": "television"}],
    "curations": [],
    "boost": [{"field": "price", "filter": None, "weight": -0.1}],
}


@pytest.fixture
def shop(settings: Settings) -> Settings:
    """A stopped service with three items."""
    with TestClient(create_app(settings)) as client:
        post_item(client, "a/1", picture_file("red"), picture_file("blue"), title="red mug", price=3, stock=2)
        post_item(client, "b", picture_file("green"), title="shirt", attributes='{"colour": ["Green", "x"], "n": 7}')
        post_item(client, "c", title="only words")
        client.patch("/items/c", json={"price": 9.5})
        client.put("/rules", json=RULES)
    return settings


def content(settings: Settings, model_id: str, dim: int = 16) -> dict[str, Exported]:
    async def read() -> dict[str, Exported]:
        index = await generations_of(settings).open(model_id, dim)
        media = MediaStore(settings.data_dir / "media")
        found = {item.payload["id"]: item async for item in export(index, media, whole=True)}
        await index.close()
        return found

    return asyncio.run(read())


def same(found: dict[str, Exported], expected: dict[str, Exported]) -> None:
    assert found.keys() == expected.keys()
    for item_id, item in found.items():
        assert item.payload == expected[item_id].payload
        assert item.pictures == expected[item_id].pictures
        assert all(item.pictures or ())
        np.testing.assert_allclose(item.tokens, expected[item_id].tokens, rtol=1e-6)  # type: ignore[arg-type]


def elsewhere(settings: Settings, tmp_path: Path, name: str, **changed: Any) -> Settings:
    return settings.model_copy(update={"data_dir": tmp_path / name, **changed})


def test_from_embedded_to_a_server_and_back(
    shop: Settings, tmp_path: Path, command: Callable[..., int], memory_server: str, tiny_retriever: retriever.Retriever
) -> None:
    before = content(shop, tiny_retriever.model_id)
    assert len(before) == 3
    assert command(backup.main, shop, "--output", str(tmp_path / "first.tar")) == 0

    on_server = elsewhere(shop, tmp_path, "on-server", qdrant_url=memory_server)
    assert command(backup.main, on_server, "--restore", str(tmp_path / "first.tar")) == 0
    same(content(on_server, tiny_retriever.model_id), before)
    assert command(backup.main, on_server, "--output", str(tmp_path / "second.tar")) == 0

    back = elsewhere(shop, tmp_path, "back")
    assert command(backup.main, back, "--restore", str(tmp_path / "second.tar")) == 0
    same(content(back, tiny_retriever.model_id), before)
    with TestClient(create_app(back)) as client:
        assert client.post("/search", json={"query": "red mug", "mode": "lexical"}).json()["hits"][0]["id"] == "a/1"
        assert client.get("/items/c").json()["version"] == before["c"].payload["version"]
        assert client.get("/rules").json() == RULES
        filtered = client.post("/search", json={"query": "shirt", "filter": {"colour": "green"}}).json()
        assert [hit["id"] for hit in filtered["hits"]] == ["b"]
        post_item(client, "a/1", picture_file("white"), title="white mug")
        assert client.get("/items/a%2F1").json()["version"] == before["a/1"].payload["version"] + 1


def test_only_an_empty_catalogue_is_filled(
    shop: Settings, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shop.tar"
    assert command(backup.main, shop, "--output", str(file)) == 0
    assert command(backup.main, shop, "--restore", str(file)) == 2
    assert "3 items already" in capsys.readouterr().err
    assert command(backup.main, elsewhere(shop, tmp_path, "nothing"), "--output", str(tmp_path / "none.tar")) == 2
    assert "no index yet" in capsys.readouterr().err
    assert not (tmp_path / "none.tar").exists()


def test_a_restore_that_was_cut_off_is_finished(
    shop: Settings,
    tmp_path: Path,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tiny_retriever: retriever.Retriever,
) -> None:
    before = content(shop, tiny_retriever.model_id)
    file, new = tmp_path / "shop.tar", elsewhere(shop, tmp_path, "new")
    assert command(backup.main, shop, "--output", str(file)) == 0
    monkeypatch.setattr(backup, "_AT_ONCE", 1)
    restored, calls = backup._restored, []

    def fails(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 3:
            raise IndexUnavailable("the engine is gone")
        return restored(*given)

    monkeypatch.setattr(backup, "_restored", fails)
    assert command(backup.main, new, "--restore", str(file)) == 2
    assert (new.data_dir / RESTORING).exists(), "and so no service begins with half of it"
    monkeypatch.setattr(backup, "_restored", restored)
    assert command(backup.main, new, "--restore", str(file)) == 0
    assert not (new.data_dir / RESTORING).exists()
    same(content(new, tiny_retriever.model_id), before)


def test_another_models_vectors_are_made_anew_and_never_mixed(
    shop: Settings, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shop.tar"
    assert command(backup.main, shop, "--output", str(file)) == 0
    other = elsewhere(shop, tmp_path, "other", model="compact")
    assert command(backup.main, other, "--restore", str(file)) == 2
    assert "--encode" in capsys.readouterr().err
    assert not (other.data_dir / "index").exists()
    assert command(backup.main, other, "--restore", str(file), "--encode") == 0
    found = content(other, retriever.identify("compact"), retriever.load("compact").config.embed_dim)
    assert found.keys() == {"a/1", "b", "c"}
    tokens = found["a/1"].tokens
    assert tokens is not None
    assert tokens.shape == (2 * len(found["b"].tokens), retriever.load("compact").config.embed_dim)  # type: ignore[arg-type]


def damaged(file: Path, kind: str) -> str:
    """Damages a backup; returns what the command must say of it."""
    data = bytearray(file.read_bytes())
    if kind == "cut off":
        file.write_bytes(data[: len(data) // 3])  # the end is padding
        return ""
    if kind == "a bit":
        with tarfile.open(file) as tar:
            member = next(one for one in tar if one.name.startswith("vectors-"))
        data[member.offset_data + member.size - 5] ^= 1
        file.write_bytes(data)
        return member.name
    if kind == "no tar":
        file.write_bytes(b"PK" * 5000)
        return "no backup"
    members = {}
    with tarfile.open(file) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            members[member.name] = content.read()
    if kind == "a file gone":
        gone = next(name for name in members if name.startswith("media/"))
        del members[gone]
    if kind == "no manifest":
        del members["manifest.json"]
    if kind == "newer":
        members["manifest.json"] = json.dumps({**json.loads(members["manifest.json"]), "format": 2}).encode()
    with tarfile.open(file, "w") as tar:
        for name, one in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(one)
            tar.addfile(info, io.BytesIO(one))
    return {"a file gone": "is missing", "no manifest": "manifest.json", "newer": "format 2"}[kind]


@pytest.mark.parametrize("kind", ["cut off", "a bit", "no tar", "a file gone", "no manifest", "newer"])
def test_a_damaged_backup_is_refused_before_anything_is_written(
    shop: Settings, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    file, new = tmp_path / "shop.tar", elsewhere(shop, tmp_path, "new")
    assert command(backup.main, shop, "--output", str(file)) == 0
    said = damaged(file, kind)
    assert command(backup.main, new, "--restore", str(file)) == 1
    error = capsys.readouterr().err
    assert str(file) in error
    assert said in error
    assert not new.data_dir.exists()


def test_a_backup_that_fails_leaves_the_last_one(
    shop: Settings, tmp_path: Path, command: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shop.tar"
    assert command(backup.main, shop, "--output", str(file)) == 0
    before = file.read_bytes()

    def fail(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.archive.Writer._write", fail)
    assert command(backup.main, shop, "--output", str(file)) == 2
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.glob("*.tar*")] == ["shop.tar"]


def test_a_full_disk_keeps_nothing_of_a_backup_and_is_told_in_one_line(
    shop: Settings,
    tmp_path: Path,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    closed_by_itself = []

    async def items(*_: Any, **__: Any) -> AsyncIterator[Exported]:
        task = asyncio.current_task()
        try:
            for _n in range(3):
                yield Exported({"id": "a", "images": [{"file": "00/a.jpg"}]}, pictures=[b"x" * 100_000])
        finally:
            closed_by_itself.append(asyncio.current_task() is task)

    monkeypatch.setattr(backup, "export", items)
    (tmp_path / "backups").mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        assert command(backup.main, shop, "--output", str(tmp_path / "backups")) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert capsys.readouterr().err.splitlines() == ["No backup was made: [Errno 27] File too large"]
    assert closed_by_itself == [True], "at the end of all that runs, a connection would be closed with a traceback"
    assert not list((tmp_path / "backups").iterdir())


def test_a_backup_leaves_the_service_its_reserve_of_the_disk(
    shop: Settings,
    tmp_path: Path,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SEARCH_MIN_FREE_BYTES", str(2**60))
    assert command(backup.main, shop, "--output", str(tmp_path / "shop.tar")) == 2
    assert "SEARCH_MIN_FREE_BYTES" in capsys.readouterr().err
    assert not list(tmp_path.glob("shop.tar*"))
    others = [name for name in ("/dev/shm", "/var/tmp") if os.stat(name).st_dev != tmp_path.stat().st_dev]
    for name in others[:1]:  # another disk's room is no matter of the service's
        with tempfile.TemporaryDirectory(dir=name) as elsewhere:
            assert command(backup.main, shop, "--output", elsewhere) == 0


def test_broken_rules_stop_a_backup_before_its_items_are_read(
    shop: Settings,
    tmp_path: Path,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (shop.data_dir / "rules.json").write_text("{")
    added: list[Exported] = []
    monkeypatch.setattr(Writer, "add", lambda writer, item: added.append(item))
    assert command(backup.main, shop, "--output", str(tmp_path / "shop.tar")) == 2
    assert "holds no rules" in capsys.readouterr().err
    assert not added


def test_what_a_killed_backup_left_is_removed_and_what_one_writes_is_not(
    shop: Settings, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    left, other = tmp_path / "backup-20250101T000000Z.tar.unfinished", tmp_path / "shop.tar.unfinished"
    left.write_bytes(b"half")
    other.write_bytes(b"half" * 100_000)
    written = tmp_path / "backup-20250102T000000Z.tar"
    writer = Writer(written, Manifest("model", "model", 16))
    assert command(backup.main, shop, "--output", str(tmp_path)) == 0
    assert {path.name for path in tmp_path.glob("*.unfinished")} == {f"{written.name}.unfinished", other.name}
    assert command(backup.main, shop, "--output", str(written)) == 2
    assert "another backup is writing" in capsys.readouterr().err
    writer.finish()
    writer.abandon()
    assert Reader(written).manifest.items == 0
    assert command(backup.main, shop, "--output", str(tmp_path / "shop.tar")) == 0
    assert Reader(tmp_path / "shop.tar").manifest.items == 3


@pytest.mark.parametrize("end", [Writer.finish, Writer.abandon])
def test_a_backup_that_ends_as_another_begins_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Callable[[Writer], None]
) -> None:
    path = tmp_path / "shop.tar"
    first = Writer(path, Manifest("model", "model", 16))

    def late(file: Any, operation: int) -> None:
        end(first)  # after the second has opened the file, and before it marks it as its own

    monkeypatch.setattr("service.archive.fcntl.flock", late)
    with pytest.raises(OSError, match="another backup is writing"):
        Writer(path, Manifest("model", "model", 16))
    if end is Writer.finish:
        assert Reader(path).manifest.items == 0, "whole"


def test_another_shops_service_is_not_taken_for_this_ones(
    shop: Settings,
    tmp_path: Path,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: dict[str, Any] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/items":
            return httpx.Response(200, json={"total": 0})
        return httpx.Response(200, content="".join(json.dumps(line) + "\n" for line in (told, {"end": 0})))

    asked = httpx.MockTransport(answer)
    monkeypatch.setattr(RemoteCatalogue, "_client", lambda _: httpx.AsyncClient(base_url="http://b", transport=asked))
    file = tmp_path / "shop.tar"
    with TestClient(create_app(shop)) as client:
        told |= json.loads(client.get("/export").text.splitlines()[0])
        own = told["folder_id"]
        told["folder_id"] = "0" * 32
        assert command(backup.main, shop, "--output", str(file)) == 2
        assert "another shop's service" in capsys.readouterr().err
        assert not file.exists()
        told["folder_id"] = own
        assert command(backup.main, shop, "--output", str(file)) == 0
        del told["folder_id"]  # a service from before there was one
        assert command(backup.main, shop, "--output", str(file)) == 0

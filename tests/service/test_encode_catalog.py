"""`service.encode_catalog` and `service.load_catalog`: rows of Parquet become items that are found."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from retriever import ItemInput, Retriever, item_text
from service import encode_catalog, load_catalog
from service.app import create_app
from service.encode_catalog import prepared
from service.encoded import SCHEMA, Folder, Manifest
from service.from_settings import generations_of
from service.media import PictureLimits
from service.settings import Settings
from tests.service.helpers import picture_file, post_item

LIMITS = PictureLimits(pixels=10_000, side=64, file_bytes=100_000)


class Ledger:
    """The ledger, without Ray around it."""

    def __init__(self) -> None:
        self.rejected: dict[str, str] = {}
        self.add = self

    def remote(self, encoded: int, rejected: dict[str, str]) -> None:
        self.rejected.update(rejected)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(encode_catalog.ray, "get", lambda reference: reference)
    return Ledger()


def write(folder: Path, rows: list[dict[str, Any]], name: str = "products") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return folder


def prepare(folder: Path, ledger: Ledger) -> dict[str, dict[str, Any]]:
    table = pq.read_table(folder / "products.parquet")
    return {row["id"]: row for row in prepared(table, Folder.of(str(folder)), 2, LIMITS, ledger).to_pylist()}


def test_a_picture_may_be_given_in_every_usual_way(tmp_path: Path, ledger: Ledger) -> None:
    content = picture_file("red")
    (tmp_path / "a.png").write_bytes(content)
    for ways in ([content], ["a.png"], [{"bytes": content, "path": None}], [[content, content]], [["a.png"]]):
        found = prepare(write(tmp_path, [{"id": "a", "image": way} for way in ways]), ledger)
        assert [picture["jpeg"][:2] for picture in found["a"]["pictures"]][:1] == [b"\xff\xd8"]
    assert not ledger.rejected


def test_attributes_may_be_json_a_struct_or_a_map(tmp_path: Path, ledger: Ledger) -> None:
    rows = [{"id": "json", "title": "x", "attributes": '{"brand": "Kiln"}'}]
    structs = [
        {"id": "a", "title": "x", "attributes": {"brand": "Kiln", "ml": None}},
        {"id": "b", "title": "x", "attributes": {"brand": None, "ml": 7}},
    ]
    found = prepare(write(tmp_path, rows), ledger) | prepare(write(tmp_path, structs), ledger)
    pairs = pa.array([[("brand", "Kiln")]], pa.map_(pa.string(), pa.string()))
    pq.write_table(pa.table({"id": ["map"], "title": ["x"], "attributes": pairs}), tmp_path / "products.parquet")
    found |= prepare(tmp_path, ledger)
    attributes = {item_id: json.loads(row["fields"])["attributes"] for item_id, row in found.items()}
    assert attributes == {"json": {"brand": "Kiln"}, "a": {"brand": "Kiln"}, "b": {"ml": 7}, "map": {"brand": "Kiln"}}


def test_what_is_refused_is_named_and_the_rest_goes_on(tmp_path: Path, ledger: Ledger) -> None:
    large = picture_file("red", size=(200, 200))
    rows = [
        {"id": "good", "title": "mug", "price": 3.0, "image": None},
        {"id": "broken", "title": "mug", "price": None, "image": [b"no picture"]},
        {"id": "large", "title": "mug", "price": None, "image": [large]},
        {"id": "many", "title": "mug", "price": None, "image": [large] * 3},
        {"id": "cheap", "title": "mug", "price": -1.0, "image": None},
        {"id": "empty", "title": "", "price": 1.0, "image": None},
        {"id": " blank", "title": "mug", "price": 1.0, "image": None},
    ]
    assert set(prepare(write(tmp_path, rows), ledger)) == {"good"}
    assert set(prepare(write(tmp_path, [{"id": "lost", "image": "nowhere.jpg"}]), ledger)) == set()
    for item_id, said in {
        "broken": "image 1 is not a whole JPEG",
        "large": "million pixels",
        "many": "SEARCH_MAX_PICTURES",
        "cheap": "price: ",
        "empty": "a picture or some text",
        " blank": "id: has blanks",
        "lost": "nowhere.jpg",
    }.items():
        assert said in ledger.rejected.pop(item_id)
    assert not ledger.rejected


@pytest.mark.parametrize(
    ("rows", "said"),
    [([{"sku": "a"}], "no column `id`; its columns are sku"), ([{"id": 7}], "`id` must be text"), (None, "no Parquet")],
)
def test_input_that_cannot_be_encoded_is_told_before_anything_starts(
    tmp_path: Path,
    settings: Settings,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    rows: list[dict[str, Any]] | None,
    said: str,
) -> None:
    (tmp_path / "in").mkdir()
    if rows:
        write(tmp_path / "in", rows)
    arguments = [str(tmp_path / "in"), str(tmp_path / "out")]
    assert command(encode_catalog.main, settings, *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def run(settings: Settings, cache: Path, source: Path, output: Path) -> "subprocess.Popen[str]":
    arguments = [str(source), output.as_uri(), "--workers", "2", "--rows", "8", "--quiet"]
    environment = {"SEARCH_MODEL": settings.model, "SEARCH_INFERENCE": "onnx", "XDG_CACHE_HOME": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-m", "service.encode_catalog", *arguments],
        env={**os.environ, **environment, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_workers_are_killed_go_on_and_the_service_finds_what_they_encoded(
    tmp_path: Path,
    settings: Settings,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tiny_retriever: Retriever,
    tiny_cache: Path,
) -> None:
    rows = [
        {"id": f"{n}", "title": f"red mug {n}", "attributes": '{"brand": "Kiln"}', "image": None, "sku": n}
        for n in range(400)
    ]
    rows[7]["image"], rows[207]["image"] = picture_file("blue"), picture_file("green")
    rows[9]["image"] = b"no picture"
    source, output = write(tmp_path / "in", rows[:200], "1"), tmp_path / "out"
    write(source, rows[200:], "2")

    first = run(settings, tiny_cache, source, output)
    while not list(output.glob("done/*[0-9a-f].parquet")):
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()

    second = run(settings, tiny_cache, source, output)
    said, complained = second.communicate()
    assert second.returncode == 1, complained  # one picture is none
    encoded = int(said.split()[0])
    assert 0 < encoded < 399, "what the first run wrote is not encoded again"
    assert "9: image 1 is not a whole JPEG" in complained
    assert "Columns that are left out: sku" in complained
    table = pa.concat_tables(pq.read_table(path, schema=SCHEMA) for path in output.glob("items/*.parquet"))
    assert sorted(table["id"].to_pylist(), key=int) == [row["id"] for row in rows if row["id"] != "9"]

    with TestClient(create_app(settings)) as client:
        older = post_item(client, "3", picture_file("red"), title="an older one").json()
    assert command(load_catalog.main, settings, str(output)) == 0
    assert "399 items written, 0 were there already; the index holds 399" in capsys.readouterr().out
    check_vectors(settings, tiny_retriever, {row["id"]: row for row in rows if row["id"] != "9"})
    with TestClient(create_app(settings)) as client:
        hits = client.post("/search", json={"query": "mug 321", "mode": "lexical"}).json()["hits"]
        assert hits[0]["id"] == "321"
        replaced = client.get("/items/3").json()
        assert (replaced["version"], replaced["images"]) == (older["version"] + 1, [])
        assert client.get("/items/7/image").status_code == 200
    assert len(list((settings.data_dir / "media").rglob("*.jpg"))) == 2, "the replaced item's picture is gone"
    assert command(load_catalog.main, settings, str(output)) == 0
    assert "0 items written, 399 were there already" in capsys.readouterr().out


def check_vectors(settings: Settings, model: Retriever, rows: dict[str, dict[str, Any]]) -> None:
    async def read() -> dict[str, Any]:
        index = await generations_of(settings).open(model.model_id, model.config.embed_dim)
        try:
            return await index.tokens(list(rows))
        finally:
            await index.close()

    found = asyncio.run(read())
    assert found.keys() == rows.keys()
    for item_id, row in rows.items():
        if row["image"] is None:
            text = item_text(row["title"], "", [], {"brand": "Kiln"})
            expected = model.encode_items([ItemInput(text=text)])[0]
            np.testing.assert_allclose(found[item_id], expected, atol=1e-2)  # stored in eight bits


def encoded(folder: Path, model_id: str, dim: int, item_id: str = "a") -> Path:
    """An encoded catalogue of one item."""
    (folder / "items").mkdir(parents=True)
    place = Folder.of(str(folder))
    place.write_manifest(Manifest(model_id, "some/model", dim))
    fields = json.dumps({"id": item_id, "title": "red mug"})
    row = {"id": item_id, "fields": fields, "tokens": np.ones(dim, dtype=np.float32), "pictures": []}
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMA), folder / "items" / "1.parquet")
    return folder


def test_what_cannot_be_loaded(
    tmp_path: Path,
    settings: Settings,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tiny_retriever: Retriever,
) -> None:
    def refused(folder: Path) -> str:
        assert command(load_catalog.main, settings, str(folder)) == 2
        return capsys.readouterr().err

    assert "is no encoded catalogue" in refused(tmp_path)
    assert "vectors of two models" in refused(encoded(tmp_path / "other", "f00", 16))
    whole = encoded(tmp_path / "whole", tiny_retriever.model_id, 16)
    (whole / "done").mkdir()
    (whole / "done" / "x.pending.parquet").touch()
    assert "was cut off: run" in refused(whole)
    (whole / "done" / "x.pending.parquet").unlink()
    with TestClient(create_app(settings)):
        assert "stop that process" in refused(whole).lower()
    assert command(load_catalog.main, settings, str(whole)) == 0


def test_of_an_id_that_comes_twice_one_row_is_loaded_with_its_picture(
    tmp_path: Path,
    settings: Settings,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tiny_retriever: Retriever,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = encoded(tmp_path / "encoded", tiny_retriever.model_id, 16)
    (row,) = pq.read_table(folder / "items" / "1.parquet", schema=SCHEMA).to_pylist()
    jpegs = [picture_file(colour, file_format="JPEG") for colour in ("red", "blue", "green")]
    rows = [{**row, "pictures": [{"jpeg": jpeg, "sha256": f"{n}"}]} for n, jpeg in enumerate(jpegs)]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "items" / "1.parquet")
    monkeypatch.setattr(load_catalog, "_AT_ONCE", 2)  # two in one write, and one in the next
    assert command(load_catalog.main, settings, str(folder)) == 0
    said = capsys.readouterr()
    assert "1 items written, 0 were there already; the index holds 1" in said.out
    assert "2 rows left out, whose ids had come before: a" in said.err
    with TestClient(create_app(settings)) as client:
        assert client.get("/items/a/image").content == jpegs[0]
    assert command(load_catalog.main, settings, str(folder)) == 0
    assert "0 items written, 1 were there already" in capsys.readouterr().out


def test_a_server_is_loaded_while_the_service_runs(
    tmp_path: Path,
    settings: Settings,
    memory_server: str,
    command: Callable[..., int],
    tiny_retriever: Retriever,
) -> None:
    on_server = settings.model_copy(update={"qdrant_url": memory_server})
    with TestClient(create_app(on_server)) as client:
        folder = encoded(tmp_path / "encoded", tiny_retriever.model_id, 16, "from/afar")
        assert command(load_catalog.main, on_server, str(folder)) == 0
        assert client.get("/items/from%2Fafar").json()["title"] == "red mug"


def test_pictures_of_a_load_that_was_killed_do_not_stay(
    tmp_path: Path,
    settings: Settings,
    command: Callable[..., int],
    tiny_retriever: Retriever,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = encoded(tmp_path / "encoded", tiny_retriever.model_id, 16)
    (row,) = pq.read_table(folder / "items" / "1.parquet", schema=SCHEMA).to_pylist()
    row["pictures"] = [{"jpeg": picture_file(file_format="JPEG"), "sha256": "1"}]
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMA), folder / "items" / "1.parquet")

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(load_catalog, "indexed", killed)  # between an item's pictures and its point
        assert command(load_catalog.main, settings, str(folder)) == 2
    assert command(load_catalog.main, settings, str(folder)) == 0
    assert len(list((settings.data_dir / "media").rglob("*.jpg"))) == 1

"""What the embedded index adds to the contract: a folder that outlives the process, and one opener."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from retriever.index import (
    IndexedItem,
    IndexInUse,
    IndexUnavailable,
    ModelMismatch,
    Sort,
    edge,
    edge_opening,
    edge_room,
    open_index,
)
from retriever.index.edge import EdgeIndex
from retriever.index.edge_opening import LOCK
from retriever.index.fields import FieldValue, key
from retriever.index.filters import parse
from tests.contract.helpers import DIM, item, query

pytestmark = pytest.mark.anyio

# Writes new items, and an old one again and again; says what it wrote only once that is acknowledged.
WRITER = """
import asyncio, sys
from pathlib import Path
from retriever.index import open_index
from tests.contract.helpers import DIM, item

async def main():
    index = await open_index(data_dir=Path(sys.argv[1]), dim=DIM, model_id="model-a")
    for i in range(1_000_000):
        await index.upsert([item(f"sku-{i}-{j}", n=i) for j in range(3)] + [item("counter", n=i)])
        if i % 10 == 9:
            await index.delete([f"sku-{i - 5}-0"])
        print(i, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    repository = Path(__file__).parents[2]
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, str(tmp_path)),
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert writer.stdout is not None
    acknowledged = -1
    try:
        async for line in writer.stdout:
            acknowledged = int(line)
            if acknowledged in (20, 150):
                with pytest.raises(IndexUnavailable, match="open already"):
                    await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
            if acknowledged >= 300:
                break
    finally:
        writer.kill()  # SIGKILL, in the middle of a write
    for line in (await writer.stdout.read()).splitlines(keepends=True):  # said before it died
        if line.endswith(b"\n"):
            acknowledged = int(line)
    assert await writer.wait() == -signal.SIGKILL
    assert acknowledged >= 300

    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    try:
        deleted = {f"sku-{i - 5}-0" for i in range(9, acknowledged + 1, 10)}
        written = {f"sku-{i}-{j}": i for i in range(acknowledged + 1) for j in range(3)}
        written.pop(f"sku-{acknowledged - 4}-0")  # the next round may have deleted it, and not lived to say so
        found = await index.get(list(written))
        assert {name: payload["n"] for name, payload in found.items()} == {
            name: n for name, n in written.items() if name not in deleted
        }
        assert (await index.get(["counter"]))["counter"]["n"] in (acknowledged, acknowledged + 1)
        assert (await index.search(query(0), "", limit=5)).total == await index.count()
    finally:
        await index.close()


async def test_items_are_there_after_reopening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a flush on the way, and the one at the end."""
    monkeypatch.setattr(edge, "_FLUSH_EVERY", 7)
    items = [item(str(i), seed=i, text=f"shoe 4245-{i}", n=i) for i in range(30)]
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    for i in range(0, 30, 5):
        await index.upsert(items[i : i + 5])
    await index.delete(["3"])
    before = await index.search(query(0), "4245-12", limit=30, explain=True)
    await index.close()

    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    assert await index.count() == 29
    after = await index.search(query(0), "4245-12", limit=30, explain=True)
    assert [(hit.id, hit.semantic, hit.payload) for hit in after.hits] == [
        (hit.id, hit.semantic, hit.payload) for hit in before.hits
    ]
    # The engine counts a deleted item's words among all until it is opened again, so BM25 moves a little.
    assert [hit.lexical for hit in after.hits] == pytest.approx([hit.lexical for hit in before.hits], abs=0.01)
    await index.close()


@pytest.mark.slow
async def test_the_log_of_writes_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same items, written again and again: eight times what one of the log's files holds."""
    monkeypatch.setattr(edge, "_FLUSH_EVERY", 50)
    one_file, long = 32 * 2**20, "x" * 60_000
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    most = 0
    for n in range(8 * one_file // (50 * len(long))):
        await index.upsert([item(str(i), description=long, n=n) for i in range(50)])
        log = (tmp_path / "index" / "model-a" / "wal").iterdir()
        most = max(most, sum(file.stat().st_blocks * 512 for file in log))
    await index.close()
    assert one_file < most < 5 * one_file


async def test_fields_are_known_after_reopening(tmp_path: Path) -> None:
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="m")
    await index.upsert(
        [IndexedItem("a", item("a").tokens, "", {}, {"price": 3, "the colour": "red", "made": "2026-01-02"})]
    )
    await index.close()
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="m")
    assert await index.fields() == {"price": {"number"}, "the colour": {"keyword"}, "made": {"keyword", "date"}}
    await index.close()


async def test_only_fields_that_are_asked_for_are_indexed_beyond_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And they are filtered, counted and sorted by as the others are, before and after the folder is opened again."""
    made: list[str] = []
    make = EdgeIndex._make_index

    async def counted(self: EdgeIndex, payload_key: str) -> None:
        made.append(payload_key)
        await make(self, payload_key)

    monkeypatch.setattr(EdgeIndex, "_make_index", counted)
    fields: dict[str, FieldValue] = {f"field {n}": "yes" for n in range(40)}
    names = {*fields, "size", "made"}
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="m")
    for n in range(6):
        late = {"size": n % 3, "made": f"2026-01-0{n + 1}"} if n else {}
        await index.upsert([IndexedItem(str(n), item(str(n)).tokens, "", {}, {**fields, **late})])
    early = len(made)
    assert 0 < early <= edge._INDEXED_AT_ONCE
    for reopened in (False, True):
        if reopened:
            await index.close()
            index = await open_index(data_dir=tmp_path, dim=DIM, model_id="m")
        assert set(await index.fields()) == names
        condition = parse({"size": {"gte": 1}, "not": {"size": 2}}, await index.fields())
        assert await index.count(condition) == 2
        assert {hit.id for hit in (await index.search(query(0), "", limit=9, filter=condition)).hits} == {"1", "4"}
        page, _ = await index.scroll(None, 9, None, Sort(key("date", "made"), descending=True))
        assert [item_id for item_id, _ in page] == ["5", "4", "3", "2", "1", "0"]
        facets = await index.facets(["field 39", "size"], condition)
        assert (facets["field 39"].values, facets["size"].low) == ([("yes", 2)], 1)
        asked = [key("number", "size"), key("date", "made"), key("keyword", "field 39")]
        assert made[early:] == asked, "each once"
    await index.close()


async def test_a_full_disk_is_named_where_the_engine_would_need_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be killed by it."""
    monkeypatch.setattr(edge, "_INDEXED_AT_ONCE", 0)
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="m")
    await index.upsert([IndexedItem("a", item("a").tokens, "", {}, {"colour": "red", "brand": "Nord"})])
    assert (await index.facets(["colour"], None, 10))["colour"].values == [("red", 1)]
    monkeypatch.setattr(edge_room, "ROOM", 1 << 60)
    with pytest.raises(IndexUnavailable, match="MiB left"):
        await index.facets(["brand"], None, 10)
    assert (await index.facets(["colour"], None, 10))["colour"].values == [("red", 1)]
    assert (await index.search(query(0), "", limit=1)).hits
    await index.close()


def test_on_a_full_disk_no_folder_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine would be killed halfway. Nobody is told of damage, by which a whole folder is moved away."""
    edge_opening.open_shard(tmp_path, DIM, "model-a", beside=False).close()
    monkeypatch.setattr(edge_room, "ROOM", 1 << 60)
    for model in ("model-a", "model-b"):
        with pytest.raises(IndexUnavailable, match=r"MiB left.*make room. Nothing is damaged") as raised:
            edge_opening.open_shard(tmp_path, DIM, model, beside=True)
        assert "restore" not in str(raised.value)
    assert not (tmp_path / "model-b").exists()
    monkeypatch.setattr(edge_opening, "_PATIENCE", 0)
    with (tmp_path / "model-a" / LOCK).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(IndexInUse):  # by which a backup knows to ask the service
            edge_opening.open_shard(tmp_path, DIM, "model-a", beside=False)


async def test_whoever_holds_the_lock_keeps_the_engine_away(tmp_path: Path) -> None:
    """The engine's own lock comes too late: before it, a second engine mends what the first is writing."""
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    await index.close()
    with (tmp_path / "index" / "model-a" / LOCK).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(IndexInUse, match="open already"):
            await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    await index.close()


async def test_one_opener_at_a_time(tmp_path: Path) -> None:
    first = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    with pytest.raises(IndexUnavailable, match=r"one at a time.*QDRANT_URL"):
        await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    await first.upsert([item("a")])
    await first.close()
    second = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    assert await second.count() == 1
    await second.close()


async def test_another_models_index_must_be_removed_first(tmp_path: Path) -> None:
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    await index.close()
    with pytest.raises(ModelMismatch, match=r"remove .*index/model-a"):
        await open_index(data_dir=tmp_path, dim=8, model_id="model-b")
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["model-a"]

    (tmp_path / "index" / "model-a").rename(tmp_path / "elsewhere")
    index = await open_index(data_dir=tmp_path, dim=8, model_id="model-b")
    await index.ready()
    await index.close()


async def test_a_creation_that_was_cut_short_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "index" / ".new-abc" / "segments").mkdir(parents=True)
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    await index.upsert([item("a")])
    assert await index.count() == 1
    await index.close()


async def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "index" / "model-a"
    folder.mkdir(parents=True)
    (folder / "edge_config.json").write_text("not json")
    with pytest.raises(IndexUnavailable, match="cannot be opened"):
        await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexUnavailable, match="cannot be created"):
        await open_index(data_dir=tmp_path / "file", dim=DIM, model_id="model-a")


async def test_a_closed_index_says_so(tmp_path: Path) -> None:
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    await index.close()
    await index.close()
    for call in (index.count(), index.ready(), index.get(["a"]), index.upsert([item("a")])):
        with pytest.raises(IndexUnavailable, match="closed"):
            await call


async def test_close_waits_for_a_write_under_way(tmp_path: Path) -> None:
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    write = asyncio.create_task(index.upsert([item(str(i)) for i in range(2000)]))
    while not await index.count():  # noqa: ASYNC110 - the engine tells nobody that it has begun
        await asyncio.sleep(0)
    await asyncio.gather(index.close(), write)
    index = await open_index(data_dir=tmp_path, dim=DIM, model_id="model-a")
    assert await index.count() == 2000
    await index.close()


def test_the_embedded_index_does_not_load_the_servers_client() -> None:
    """It takes 50 MB and a second of every start."""
    code = "import sys, service.app; sys.exit('qdrant_client' in sys.modules)"
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)


async def test_counts_and_facets_are_asked_once_until_the_catalogue_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def branded(item_id: str) -> IndexedItem:
        return IndexedItem(item_id, item(item_id).tokens, "", {}, {"brand": "Nike"})

    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    await index.upsert([branded(f"sku-{n}") for n in range(3)])
    of_nike = parse({"brand": "Nike"}, await index.fields())
    asked: list[str] = []
    call = index._engine.call

    async def counted(method: str, *arguments: Any) -> Any:
        asked.append(method)
        return await call(method, *arguments)

    async def answers() -> tuple[int, list[tuple[str, int]]]:
        facets = await index.facets(["brand"], of_nike)
        return await index.count(of_nike), facets["brand"].values

    assert await answers() == (3, [("Nike", 3)])
    monkeypatch.setattr(index._engine, "call", counted)
    assert await answers() == (3, [("Nike", 3)])
    assert asked == []
    await index.upsert([branded("sku-3")])
    assert await answers() == (4, [("Nike", 4)])
    await index.delete(["sku-0", "sku-1"])
    assert await answers() == (2, [("Nike", 2)])
    await index.close()
    with pytest.raises(IndexUnavailable):
        await answers()


async def test_counts_are_right_however_often_items_were_written(tmp_path: Path) -> None:
    """Facets, and how many items have one value, are what the engine calls approximate, and have to be exact."""
    random = Random(0)
    items: dict[str, dict[str, Any]] = {}
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    for round in range(12):
        for name in random.sample(range(300), 100):
            colours: FieldValue = [["red"], ["Blue", "red"], ["green"]][random.randrange(3)]
            items[str(name)] = {"brand": random.choice("ABCD"), "colour": colours, "price": random.randrange(10)}
        await index.upsert([IndexedItem(name, item(name).tokens, "", {}, own) for name, own in items.items()])
        gone = random.sample(sorted(items), 40)
        await index.delete(gone)
        items = {name: own for name, own in items.items() if name not in gone}
        if round % 4 == 3:
            await index.close()
            index = await EdgeIndex.open(tmp_path, DIM, "model-a")
        for asked, lets_through in (
            (None, lambda own: True),
            ({"colour": "red"}, lambda own: "red" in own["colour"]),
            ({"not": {"colour": "red"}}, lambda own: "red" not in own["colour"]),
            ({"price": {"lt": 5}, "brand": ["A", "B"]}, lambda own: own["price"] < 5 and own["brand"] in "AB"),
        ):
            filter = parse(asked, await index.fields()) if asked else None
            facets = await index.facets(["brand", "colour"], filter)
            left = [own for own in items.values() if lets_through(own)]
            assert await index.count(filter) == len(left), asked
            assert dict(facets["brand"].values) == Counter(own["brand"] for own in left), asked
            assert dict(facets["colour"].values) == Counter(colour for own in left for colour in own["colour"]), asked
    await index.close()

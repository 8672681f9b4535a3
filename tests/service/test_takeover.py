"""Another model takes over inside one process: on a server, where the alias moves, and by the embedded index's note."""

import asyncio
import fcntl
import gc
import json
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import retriever
from retriever.index import IndexUnavailable, server
from retriever.index.edge_opening import LOCK
from retriever.index.generations import EdgeGenerations, Generation
from service import reindex, takeover
from service.app import create_app
from service.from_settings import generations_of
from service.index_copy import IndexCopy
from service.schemas import ItemFields
from service.settings import Settings
from tests.service.helpers import picture_file, post_item


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(reindex, "_SETTLE_SECONDS", 0.5)


@pytest.fixture(params=["embedded", "server"])
def shop(
    request: pytest.FixtureRequest, settings: Settings, memory_server: str
) -> Iterator[tuple[TestClient, Settings]]:
    """A running service with an item."""
    if request.param == "server":
        settings = settings.model_copy(update={"qdrant_url": memory_server})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        post_item(client, "a", picture_file("red"), title="red mug")
        yield client, settings


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def model_id(client: TestClient) -> Any:
    return client.get("/health/ready").json()["model_id"]


def services(client: TestClient) -> Any:
    return client.app.state.services  # type: ignore[attr-defined]


def move(settings: Settings, generation: Generation) -> None:
    """What the command does at its end."""

    async def act() -> None:
        generations = generations_of(settings)
        if isinstance(generations, EdgeGenerations):
            await generations.ask(generation)
        else:
            await generations.promote(generation)

    asyncio.run(act())


def current(settings: Settings) -> Generation:
    found = asyncio.run(generations_of(settings).current())
    assert found is not None
    return found


def test_searches_and_writes_go_on_while_a_model_takes_over(
    shop: tuple[TestClient, Settings],
    other_checkpoint: Any,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, settings = shop
    old, new = services(client), retriever.identify(other_checkpoint)
    # The command cannot reach this test's client by HTTP: it reads the embedded index through the service's own.
    export = [payload for _, payload in client.portal.call(old.index.scroll)[0]]  # type: ignore[union-attr]

    async def payloads(remote: object) -> Any:
        for payload in export:
            yield payload

    async def count(remote: object) -> int:
        return len(export)

    monkeypatch.setattr("service.remote.RemoteCatalogue.payloads", payloads)
    monkeypatch.setattr("service.remote.RemoteCatalogue.count", count)
    with client.portal.wrap_async_context_manager(old.in_use.shared()):
        waiting = client.portal.call(old.catalogue.prepare, ItemFields(id="waiting", title="lamp"))  # type: ignore[union-attr]
        statuses: list[int] = []
        over = threading.Event()

        def search() -> None:
            while not over.is_set():
                statuses.append(client.post("/search", json={"query": f"mug {len(statuses)}"}).status_code)

        thread = threading.Thread(target=search)
        thread.start()
        post_item(client, "later", title="written after the export")
        assert command(reindex.main, settings, "--model", str(other_checkpoint)) == 0
        until(lambda: services(client) is not old)
        # Prepared by the old model, stored after the new one took over.
        payload, created = client.portal.call(old.catalogue.store, waiting)  # type: ignore[union-attr]
        over.set()
        thread.join()
    assert created
    assert payload["id"] == "waiting"
    assert set(statuses) == {200}
    assert model_id(client) == new
    assert {item["id"] for item in client.get("/items").json()["items"]} == {"a", "later", "waiting"}
    model = retriever.load(other_checkpoint)
    tokens = client.portal.call(services(client).index.tokens, ["waiting"])["waiting"]  # type: ignore[union-attr]
    assert tokens == pytest.approx(model.encode_items([retriever.ItemInput(text="lamp")])[0], abs=1e-2)
    assert current(settings).previous_id == old.encoder.retriever.model_id
    with client.portal.wrap_async_context_manager(old.in_use.exclusive()):
        pass  # nobody works with the old model any more
    assert client.delete("/items/waiting").status_code == 204
    assert command(reindex.main, settings, "--model", str(other_checkpoint)) == 0, "it serves already"


def test_a_model_that_another_took_over_from_is_let_go(settings: Settings, other_checkpoint: Any) -> None:
    new = retriever.load(other_checkpoint)
    with TestClient(create_app(settings)) as client:
        old = weakref.ref(services(client).encoder.retriever)
        until(gc.get_freeze_count)
        generation = current(settings).followed_by(new.model_id, str(other_checkpoint), new.config.embed_dim)
        move(settings, generation)
        until(lambda: model_id(client) == new.model_id)
        until(lambda: old() is None)
    gc.unfreeze()


def test_a_model_that_is_not_here_takes_nothing_over(shop: tuple[TestClient, Settings]) -> None:
    client, settings = shop
    before, here = model_id(client), current(settings)
    generations = generations_of(settings)
    if isinstance(generations, EdgeGenerations):
        move(settings, here.followed_by("0123456789ab", "no-such-model", 16))
        until(lambda: (asyncio.run(generations.asked()) or (None, None))[1])
        asked = asyncio.run(generations.asked())
        assert asked is not None
        assert "no-such-model" in str(asked[1])
    else:
        index = asyncio.run(generations.open("0123456789ab", 16))
        assert index is not None
        move(settings, here.followed_by("0123456789ab", "no-such-model", 16))
        until(lambda: post_item(client, "b", title="b").status_code == 503)
        refused = post_item(client, "b", title="b")
        assert refused.json()["code"] == "index_moved"
        assert refused.headers["retry-after"]
        move(settings, here)
        until(lambda: post_item(client, "b", title="b").status_code in (200, 201))
    assert "a" in [hit["id"] for hit in client.post("/search", json={"query": "mug"}).json()["hits"]]
    assert model_id(client) == before
    assert post_item(client, "c", title="c").status_code == 201


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_damaged_model_takes_nothing_over(
    shop: tuple[TestClient, Settings], other_checkpoint: Path, tmp_path: Path, file: str
) -> None:
    """Above all, nothing is written into an index on a server that this process does not read."""
    client, settings = shop
    damaged = tmp_path / "damaged"
    shutil.copytree(other_checkpoint, damaged)
    whole = (damaged / file).read_bytes()
    (damaged / file).write_bytes(whole[: len(whole) // 2])
    wanted = current(settings).followed_by(retriever.identify(damaged), str(damaged), 16)
    generations = generations_of(settings)
    if isinstance(generations, EdgeGenerations):
        move(settings, wanted)
        until(lambda: (asyncio.run(generations.asked()) or (None, None))[1])
        assert file in str((asyncio.run(generations.asked()) or (None, None))[1])
    else:
        asyncio.run(generations.open(wanted.model_id, wanted.dim))
        move(settings, wanted)
        until(lambda: post_item(client, "b", title="b").status_code == 503)
    assert client.post("/search", json={"query": "mug"}).json()["hits"]


def test_an_export_under_way_breaks_off(
    shop: tuple[TestClient, Settings], other_checkpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pictures of what is replaced from then on are gone, and the old index would not know."""
    client, settings = shop
    old = services(client)
    wanted = current(settings).followed_by(retriever.identify(other_checkpoint), str(other_checkpoint), 16)
    tokens = old.index.tokens

    async def make() -> None:
        await (await generations_of(settings).open(wanted.model_id, wanted.dim)).close()

    def take_over() -> None:
        asyncio.run(make())
        move(settings, wanted)
        until(lambda: services(client) is not old)
        assert post_item(client, "a", picture_file("blue"), title="blue mug").status_code in (200, 201)

    async def meanwhile(ids: Any) -> Any:
        found = await tokens(ids)
        await asyncio.to_thread(take_over)
        return found

    monkeypatch.setattr(old.index, "tokens", meanwhile)
    lines = [json.loads(line) for line in client.get("/export?whole=true").text.splitlines()]
    assert [line for line in lines if "item" in line or "end" in line] == []
    again = [json.loads(line) for line in client.get("/export?whole=true").text.splitlines()]
    assert again[1]["item"]["title"] == "blue mug"
    assert again[1]["pictures"][0] is not None
    assert again[-1] == {"end": 1}


def test_what_is_under_way_when_writes_are_first_watched_is_not_missed(shop: tuple[TestClient, Settings]) -> None:
    client, _ = shop

    async def play() -> None:
        catalogue, index = services(client).catalogue, services(client).index
        upsert, entered, go = index.upsert, asyncio.Event(), asyncio.Event()

        async def slow(items: Any) -> None:
            entered.set()
            await go.wait()
            await upsert(items)

        index.upsert = slow
        write = asyncio.create_task(catalogue.store(await catalogue.prepare(ItemFields(id="b", title="lamp"))))
        await entered.wait()
        watching = asyncio.create_task(catalogue.watch())
        await asyncio.sleep(0.05)
        go.set()
        touched = await watching
        assert "b" in touched or await index.get(["b"]), "neither a pass over the index nor its end would see it"
        await write

    client.portal.call(play)  # type: ignore[union-attr]


def test_a_server_that_fails_after_the_move_leaves_nobody_in_doubt_about_what_serves(
    settings: Settings,
    memory_server: str,
    other_checkpoint: Any,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = settings.model_copy(update={"qdrant_url": memory_server})
    copy, new = IndexCopy.run, retriever.identify(other_checkpoint)

    async def copy_or_fail(self: IndexCopy, *args: Any) -> int:
        serving = await generations_of(settings).current()
        if serving is not None and serving.model_id == new:
            raise IndexUnavailable("the Qdrant server: gone")
        return await copy(self, *args)

    monkeypatch.setattr(IndexCopy, "run", copy_or_fail)
    with TestClient(create_app(settings)) as client:
        post_item(client, "a", title="red mug")
        assert command(reindex.main, settings, "--model", str(other_checkpoint)) == 1
        told = capsys.readouterr().err
        assert "The new model serves" in told
        assert "gone" in told
        until(lambda: model_id(client) == new)


def test_an_index_beside_is_made_as_the_settings_say(
    settings: Settings, memory_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Any] = {}
    client = server.connect("", None)
    create = client.create_collection

    async def spy(name: str, **how: Any) -> Any:
        made.update(how)
        return await create(name, **how)

    monkeypatch.setattr(client, "create_collection", spy)
    copies = {"qdrant_replicas": 2, "qdrant_write_consistency": 2, "qdrant_quantization": "int8"}
    settings = settings.model_copy(update={"qdrant_url": memory_server, **copies})
    asyncio.run(generations_of(settings).open("0123456789ab", 16))
    assert (made["replication_factor"], made["write_consistency_factor"]) == (2, 2)
    assert made["vectors_config"]["dense"].quantization_config is not None


def test_there_is_nothing_to_go_back_to(
    settings: Settings, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(reindex.main, settings, "--rollback") == 2
    assert "start the service once" in capsys.readouterr().err
    with TestClient(create_app(settings)):
        pass
    assert command(reindex.main, settings, "--rollback") == 2
    assert "nothing to go back to" in capsys.readouterr().err
    assert command(reindex.main, settings, "--model", "no-such-model") == 2
    assert "no-such-model" in capsys.readouterr().err


def test_on_a_stopped_service(
    settings: Settings, command: Callable[..., int], other_checkpoint: Any, caplog: Any
) -> None:
    with TestClient(create_app(settings)) as client:
        post_item(client, "a", picture_file("red"), title="red mug")
        old = model_id(client)
    assert command(reindex.main, settings, "--model", str(other_checkpoint)) == 0
    with caplog.at_level("WARNING"), TestClient(create_app(settings)) as client:
        assert model_id(client) == retriever.identify(other_checkpoint) != old
        assert "Set SEARCH_MODEL to it" in caplog.text
        assert [hit["id"] for hit in client.post("/search", json={"query": "red mug"}).json()["hits"]] == ["a"]
    assert command(reindex.main, settings, "--rollback") == 0
    with TestClient(create_app(settings)) as client:
        assert model_id(client) == old


def test_pictures_that_are_not_there_stop_the_move_before_anything_is_encoded(
    settings: Settings, command: Callable[..., int], other_checkpoint: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with TestClient(create_app(settings)) as client:
        for n in range(3):
            post_item(client, str(n), picture_file("red"), title="red mug")
    media, away = settings.data_dir / "media", settings.data_dir / "away"
    media.rename(away)
    ask = ("--model", str(other_checkpoint))
    assert command(reindex.main, settings, *ask) == 2
    assert "3 of 3 pictures are not in" in capsys.readouterr().err
    shutil.rmtree(media)
    away.rename(media)
    assert command(reindex.main, settings, *ask) == 0
    assert capsys.readouterr().err == "", "nothing was copied before"
    media.rename(away)
    assert command(reindex.main, settings, "--rollback") == 2
    assert command(reindex.main, settings, "--rollback", "--force") == 0
    assert "3 of 3 pictures are lost" in capsys.readouterr().err


def test_a_command_that_is_started_again_while_the_service_moves_waits_for_it(
    settings: Settings,
    command: Callable[..., int],
    other_checkpoint: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moving, go = threading.Event(), threading.Event()
    begin, wait = takeover.IndexCopy.begin, reindex._wait

    async def held(self: Any) -> int:
        moving.set()
        await asyncio.to_thread(go.wait)
        return await begin(self)

    async def waited(*asked: Any) -> None:
        go.set()
        await wait(*asked)

    monkeypatch.setattr(takeover.IndexCopy, "begin", held)
    monkeypatch.setattr(reindex, "_wait", waited)
    with TestClient(create_app(settings)) as client:
        new = retriever.identify(other_checkpoint)
        move(settings, current(settings).followed_by(new, str(other_checkpoint), 16))
        until(moving.is_set)
        assert command(reindex.main, settings, "--model", str(other_checkpoint)) == 0
        until(lambda: model_id(client) == new)

        with (settings.data_dir / "index" / retriever.identify(settings.model) / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert command(reindex.main, settings, "--rollback") == 1
        assert "is in use" in capsys.readouterr().err


def test_a_note_outlives_a_crash_of_the_service(settings: Settings, other_checkpoint: Any) -> None:
    """Killed before it moved, it moves when it is started; killed after, it only takes the note away."""
    with TestClient(create_app(settings)) as client:
        post_item(client, "a", picture_file("red"), title="red mug")
    new = retriever.identify(other_checkpoint)
    wanted = current(settings).followed_by(new, str(other_checkpoint), 16)
    generations = generations_of(settings)
    assert isinstance(generations, EdgeGenerations)
    move(settings, wanted)
    with TestClient(create_app(settings)) as client:
        until(lambda: asyncio.run(generations.asked()) is None)
        assert model_id(client) == new
        assert post_item(client, "b", title="b").status_code == 201
    assert current(settings) == wanted
    move(settings, wanted)
    with TestClient(create_app(settings)) as client:
        until(lambda: asyncio.run(generations.asked()) is None)
        assert model_id(client) == new
        assert client.get("/items").json()["total"] == 2
    assert current(settings) == wanted

"""Under load: a new model takes over, and a backup is made. No error, nothing lost, no mixed vectors."""

import asyncio
import os
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import retriever
from tests.end_to_end.helpers import check_vectors, send, stored
from tests.end_to_end.lives import Command, Life
from tests.service.helpers import picture_file

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")


class Load:
    """Shoppers and a shop, until `stop`: what they were answered, and what the shop knows to be stored."""

    def __init__(self, url: str) -> None:
        self.searches: Counter[tuple[int, str]] = Counter()  # (status, model)
        self.titles: dict[str, str] = {}
        self.deleted: set[str] = set()
        self._url = url
        self._over = threading.Event()
        self._threads = ThreadPoolExecutor(2)
        self._running: list[Future[None]] = [self._threads.submit(self._search), self._threads.submit(self._write)]

    def goes_on(self) -> bool:
        return not any(one.done() for one in self._running)

    def stop(self) -> None:
        self._over.set()
        for one in self._running:
            one.result()

    def _search(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            n = 0
            while not self._over.is_set():
                n += 1
                # A new query each time: a cached one would not need the model.
                answer = client.post("/search", json={"query": f"mug number {n}"})
                body = answer.json()
                self.searches[answer.status_code, body.get("model_id", body.get("code"))] += 1
                assert body["hits"]
                time.sleep(0.01)

    def _write(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            n = 0
            while not self._over.is_set():
                n += 1
                item_id = f"live-{n % 9}"
                if n % 5 == 4:
                    gone = client.delete(f"/items/{item_id}")
                    assert gone.status_code in (204, 404), gone.text
                    self.titles.pop(item_id, None)
                    self.deleted.add(item_id)
                elif n % 5 == 2 and item_id in self.titles:
                    patched = client.patch(f"/items/{item_id}", json={"title": f"patched {n}"})
                    assert patched.status_code == 200, patched.text
                    self.titles[item_id] = f"patched {n}"
                else:
                    send(client, (item_id, f"mug live {n}", [picture_file((n % 256, 0, 0), (24, 24))]))
                    self.titles[item_id] = f"mug live {n}"
                    self.deleted.discard(item_id)
                time.sleep(0.02)


def model_id(client: httpx.Client) -> str:
    found: str = client.get("/health/ready").json()["model_id"]
    return found


def check(client: httpx.Client, load: Load, fixed: int) -> dict[str, Any]:
    items = stored(client)
    live = {item_id: item["title"] for item_id, item in items.items() if item_id.startswith("live-")}
    assert live == load.titles
    assert len(items) - len(live) == fixed
    for item in items.values():
        for image in item["images"]:
            assert client.get(image["url"]).status_code == 200
    return items


def test_a_new_model_takes_over_and_the_old_one_comes_back(
    tmp_path: Path, tiny_checkpoint: Path, other_checkpoint: Path
) -> None:
    data_dir = tmp_path / "data"
    old, new = retriever.identify(tiny_checkpoint), retriever.identify(other_checkpoint)
    life = Life(data_dir, tiny_checkpoint)
    with httpx.Client(base_url=life.url, timeout=60) as client:
        for begin in range(0, 120, 40):
            send(
                client,
                *((f"mug-{n}", f"mug {n}", [picture_file((0, n, 0), (24, 24))]) for n in range(begin, begin + 40)),
            )
        load = Load(life.url)
        first = Command(
            "service.reindex", "--model", str(other_checkpoint), data_dir=data_dir, model=tiny_checkpoint, url=life.url
        )
        while not (data_dir / "index" / new).exists():
            assert first.process.is_alive(), first.log.read_text()
            time.sleep(0.01)
        time.sleep(0.2)
        first.process.kill()
        first.process.join()
        assert model_id(client) == old

        again = Command(
            "service.reindex", "--model", str(other_checkpoint), data_dir=data_dir, model=tiny_checkpoint, url=life.url
        )
        status, said = again.wait()
        assert status == 0, said
        assert model_id(client) == new
        seen = sum(load.searches.values())
        while sum(load.searches.values()) < seen + 10 and load.goes_on():
            time.sleep(0.05)
        load.stop()
        assert load.searches.keys() == {(200, old), (200, new)}
        check(client, load, 120)
    life.stop()
    assert asyncio.run(check_vectors(data_dir, other_checkpoint)) == 120 + len(load.titles)

    # SEARCH_MODEL still names the old model: what took over from it serves all the same.
    life = Life(data_dir, tiny_checkpoint)
    with httpx.Client(base_url=life.url, timeout=60) as client:
        assert model_id(client) == new
        send(client, ("late", "mug late", []))
        back = Command("service.reindex", "--rollback", data_dir=data_dir, model=tiny_checkpoint, url=life.url)
        status, said = back.wait()
        assert status == 0, said
        assert model_id(client) == old
        assert check(client, load, 121)["late"]["title"] == "mug late"
    life.stop()
    assert asyncio.run(check_vectors(data_dir, tiny_checkpoint)) == 121 + len(load.titles)


def test_a_backup_under_writes_restores_every_item_whole(tmp_path: Path, tiny_checkpoint: Path) -> None:
    data_dir, new_dir, file = tmp_path / "data", tmp_path / "new", tmp_path / "shop.tar"
    life = Life(data_dir, tiny_checkpoint)
    with httpx.Client(base_url=life.url, timeout=60) as client:
        send(client, *((f"mug-{n}", f"mug {n}", [picture_file((0, n, 0), (24, 24))]) for n in range(60)))
        load = Load(life.url)
        made = Command("service.backup", "--output", str(file), data_dir=data_dir, model=tiny_checkpoint, url=life.url)
        status, said = made.wait()
        assert status == 0, said
        load.stop()
        assert {code for code, _ in load.searches} == {200}
        before = stored(client)
    life.kill()

    restored = Command("service.backup", "--restore", str(file), data_dir=new_dir, model=tiny_checkpoint)
    status, said = restored.wait()
    assert status == 0, said
    life = Life(new_dir, tiny_checkpoint)
    with httpx.Client(base_url=life.url, timeout=60) as client:
        items = stored(client)
        fixed = {item_id: item for item_id, item in before.items() if item_id.startswith("mug-")}
        assert fixed.items() <= items.items()
        for item in items.values():
            assert all(client.get(image["url"]).status_code == 200 for image in item["images"])
    life.stop()
    assert asyncio.run(check_vectors(new_dir, tiny_checkpoint)) == len(items)

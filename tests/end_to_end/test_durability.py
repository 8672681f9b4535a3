"""`kill -9` at random moments of a bulk ingest, twenty times over one data folder: what was acknowledged is there."""

import asyncio
import base64
import hashlib
import io
import json
import os
import random
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.helpers import NDJSON, check_vectors, stored
from tests.end_to_end.lives import Life
from tests.service.helpers import picture_file

pytestmark = pytest.mark.slow

KILLS = 20


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")


def colour(serial: int) -> tuple[int, int, int]:
    return (serial % 16 * 16, serial // 16 % 16 * 16, serial // 256 * 16)


def pictures(serial: int) -> list[bytes]:
    """One or two, told apart by their size."""
    return [picture_file(colour(serial), (24 + 8 * n, 24)) for n in range(1 + serial % 2)]


class Shop:
    """What was sent, and what was acknowledged, by item id; a write is known by its serial number."""

    def __init__(self) -> None:
        self.sent: dict[str, set[int]] = defaultdict(set)
        self.acknowledged: dict[str, int] = {}
        self.serial = 0
        self.acknowledgements = 0
        self._lock = threading.Lock()

    def ingest(self, url: str, writer: int, seed: int) -> None:
        """Bulk requests of 16 lines, new items and old ones, until the service dies."""
        rng = random.Random(seed)
        with httpx.Client(base_url=url, timeout=60) as client:
            while True:
                lines: list[bytes] = []
                serials: list[tuple[str, int]] = []
                for item_id in rng.sample([f"{writer}/{n}" for n in range(24)], 16):
                    with self._lock:
                        self.serial += 1
                        serial = self.serial
                        self.sent[item_id].add(serial)
                    encoded = [base64.b64encode(picture).decode() for picture in pictures(serial)]
                    lines.append(json.dumps({"id": item_id, "title": f"mug {serial}", "images": encoded}).encode())
                    serials.append((item_id, serial))
                try:
                    with client.stream("POST", "/items/bulk", content=b"\n".join(lines), headers=NDJSON) as response:
                        for answer, (item_id, serial) in zip(response.iter_lines(), serials, strict=False):
                            assert json.loads(answer)["status"] in (200, 201), answer
                            self.acknowledged[item_id] = serial
                            self.acknowledgements += 1
                except httpx.TransportError:
                    return  # killed


def check(shop: Shop, client: httpx.Client) -> dict[str, Any]:
    """Every acknowledged item is there, as it was acknowledged or as a later write under way made it, and whole."""
    items = stored(client)
    assert shop.acknowledged.keys() <= items.keys() <= shop.sent.keys()
    for item_id, item in items.items():
        serial = int(item["title"].removeprefix("mug "))
        assert serial in shop.sent[item_id]
        assert serial >= shop.acknowledged.get(item_id, 0), "an acknowledged write was undone"
        assert [image["sha256"] for image in item["images"]] == [
            hashlib.sha256(picture).hexdigest() for picture in pictures(serial)
        ]
        for image in item["images"]:
            answer = client.get(image["url"])
            assert answer.status_code == 200, item_id
            seen = np.asarray(Image.open(io.BytesIO(answer.content))).mean(axis=(0, 1))
            assert np.abs(seen - colour(serial)).max() < 6, "the picture is of this very write"
    return items


def test_twenty_kills_lose_nothing(tmp_path: Path, tiny_checkpoint: Path) -> None:
    data_dir = tmp_path / "data"
    shop = Shop()
    rng = random.Random(6)
    threads = ThreadPoolExecutor(2)
    for kill in range(KILLS):
        life = Life(data_dir, tiny_checkpoint)
        with httpx.Client(base_url=life.url, timeout=60) as client:
            check(shop, client)
        writers = [threads.submit(shop.ingest, life.url, n, 100 * kill + n) for n in range(2)]
        enough = shop.acknowledgements + rng.randint(1, 40)
        while shop.acknowledgements < enough:
            assert not any(writer.done() for writer in writers), [writer.result() for writer in writers]
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))  # anywhere in a write
        life.kill()
        for writer in writers:
            writer.result()
    assert shop.acknowledgements > 200

    life = Life(data_dir, tiny_checkpoint)
    with httpx.Client(base_url=life.url, timeout=60) as client:
        items = check(shop, client)
    deadline = time.monotonic() + 60
    kept = sum(len(item["images"]) for item in items.values())
    while len([path for path in (data_dir / "media").rglob("*") if path.is_file()]) != kept:
        assert time.monotonic() < deadline, "pictures that belong to no item are still there"
        time.sleep(0.05)
    life.stop()
    assert asyncio.run(check_vectors(data_dir, tiny_checkpoint)) == len(items)

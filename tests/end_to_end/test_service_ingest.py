"""`examples/ingest.py` against a running service: everything arrives, nothing twice, and failures are told."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.serving import Running, Server
from tests.service.helpers import picture_file

pytestmark = pytest.mark.slow

CATEGORIES = ("Home > Kitchen", ["Home > Kitchen"], '["Home", "Kitchen"]')


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, running_tiny: Running) -> Iterator[Server]:
    # A short queue, so that four workers are refused now and then and have to come back.
    tight = {"SEARCH_MAX_QUEUE": "2", "SEARCH_MAX_PICTURES": "2"}
    with running_tiny(tmp_path_factory.mktemp("service") / "data", **tight) as server:
        yield server


def ingest(server: Server, source: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.ingest", str(source), "--url", server.url, *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ}, check=False)


def get(server: Server, path: str) -> httpx.Response:
    return httpx.get(server.url + path, timeout=60)


def products(folder: Path, count: int) -> Path:
    """The format of a shop's export, with what real ones hold: prices as text, uneven attributes."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for n in range(count):
        (folder / "images" / f"{n}.webp").write_bytes(picture_file((20 * n % 256, 0, 0), file_format="WEBP"))
        rows.append(
            {
                "item_id": f"shop/{n}",
                "image": f"images/{n}.webp",
                "title": f" Mug {n}",
                "description": "For tea. ",
                "category": ["Home", "Mugs"],
                "attributes": {"brand": "Kiln ", "Model ID": f"K{n}"},
                "price": "600.0",
                "stock": "12" if n else 0,
            }
        )
    source = folder / "items.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return source


def test_a_file_of_products_arrives_once(server: Server, tmp_path: Path) -> None:
    source = products(tmp_path / "shop", 25)
    first = ingest(server, source)
    assert first.returncode == 0, first.stderr
    assert "25 new, 0 replaced, 0 unchanged, 0 failed" in first.stdout
    item = get(server, "/items/shop%2F7").json()
    assert (item["title"], item["category"], item["price"], item["stock"]) == ("Mug 7", ["Home", "Mugs"], 600.0, 12)
    assert get(server, "/items/shop%2F0").json()["stock"] == 0, "sold out is not the same as not counted"
    hits = httpx.post(f"{server.url}/search", json={"query": "K7"}, timeout=60).json()["hits"]
    assert hits[0]["id"] == "shop/7"

    again = ingest(server, source, "--workers", "2")
    assert "0 new, 0 replaced, 25 unchanged, 0 failed" in again.stdout

    (tmp_path / "shop/images/3.webp").write_bytes(picture_file("blue", file_format="WEBP"))
    changed = ingest(server, source)
    assert "0 new, 1 replaced, 24 unchanged, 0 failed" in changed.stdout


def encoded(server: Server) -> float:
    """How many pictures and texts of items the model has seen."""
    found = re.search(r'^search_encoder_batch_size_sum\{kind="item"\} (.+)$', get(server, "/metrics").text, re.M)
    assert found
    return float(found[1])


def test_a_price_or_a_stock_that_changed_alone_costs_no_run_of_the_model(server: Server, tmp_path: Path) -> None:
    source = products(tmp_path / "shop", 3)
    ingest(server, source)
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    rows[0]["price"], rows[1]["stock"] = "12.5", None
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = encoded(server)
    assert "0 new, 2 replaced, 1 unchanged, 0 failed" in ingest(server, source).stdout
    assert encoded(server) == before
    first, second = (get(server, f"/items/shop%2F{n}").json() for n in range(2))
    assert (first["price"], second["stock"], len(first["images"])) == (12.5, None, 1)

    rows[2] |= {"title": "Jug", "price": 1}
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "0 new, 1 replaced, 2 unchanged, 0 failed" in ingest(server, source).stdout
    assert encoded(server) > before


def test_what_fails_is_named_and_the_rest_arrives(server: Server, tmp_path: Path) -> None:
    source = products(tmp_path / "shop", 3)
    with source.open("a") as file:
        file.write("not json\n")
        file.write(json.dumps({"title": "no id"}) + "\n")
        file.write(json.dumps({"id": "no-picture", "title": "a", "image": "images/none.png"}) + "\n")
        file.write(json.dumps({"id": "bad-price", "title": "a", "price": -1}) + "\n")
        file.write(json.dumps({"id": "text-only", "title": "a lamp"}) + "\n")
    result = ingest(server, source, "--force")
    assert result.returncode == 1
    assert " 4 failed" in result.stdout
    for told in ("line 4", "line 5", "no-picture", "bad-price: validation_failed: body.price"):
        assert told in result.stderr
    assert get(server, "/items/text-only").status_code == 200
    assert get(server, "/items/bad-price").status_code == 404


def test_every_form_that_the_service_takes_is_known_again(server: Server, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "attributes as JSON", "title": "a", "attributes": '{"brand": "S"}'},
        {"id": "without null", "title": "a", "attributes": {"brand": "S", "colour": None}},
        {"id": "of Windows", "title": "a", "description": "a\r\nb"},
        {
            "id": "sizes",
            "title": "a",
            "attributes": {"sizes": [38, 38.5, " M"]},
            "created_at": "2026-01-31T01:00+01:00",
        },
        *({"id": f"category {n}", "category": category} for n, category in enumerate(CATEGORIES)),
    ]
    source = tmp_path / "items.jsonl"
    source.write_text("\ufeff" + "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert "7 new, 0 replaced, 0 unchanged, 0 failed" in ingest(server, source).stdout
    assert get(server, "/items/category%201").json()["category"] == ["Home", "Kitchen"]
    assert "0 new, 0 replaced, 7 unchanged, 0 failed" in ingest(server, source).stdout


def test_no_product_ends_the_import(server: Server, tmp_path: Path) -> None:
    rows = [
        {"id": "..", "title": "a"},
        {"id": "x" * 70_000, "title": "no URL is as long"},
        {"id": "\ud800", "title": "half of a character"},
        {"id": "no path", "image": "a\0.png"},
        {"id": "behind them", "title": "a"},
    ]
    source = tmp_path / "items.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = ingest(server, source)
    assert (result.returncode, "1 new, 0 replaced, 0 unchanged, 4 failed" in result.stdout) == (1, True), result.stderr


def feed(folder: Path, *ids: str) -> Path:
    (folder / "feed.csv").write_text("id;title;price\n" + "".join(f"{item_id};mug;12,50 €\n" for item_id in ids))
    return folder / "feed.csv"


def shop_ids(server: Server) -> list[str]:
    return sorted(item["id"] for item in get(server, "/items").json()["items"])


def test_what_is_no_longer_in_the_feed_is_removed_after_all_else_arrived(server: Server, tmp_path: Path) -> None:
    httpx.delete(f"{server.url}/items?all=true", timeout=60).raise_for_status()
    assert "4 new" in ingest(server, feed(tmp_path, "a/1", "A/1", "b", "c")).stdout
    assert get(server, "/items/b").json()["price"] == 12.5

    bad = feed(tmp_path, "A/1", "b", "c", "")
    result = ingest(server, bad, "--prune")
    assert (result.returncode, "feed.csv: 1. They stay" in result.stdout) == (1, True), result.stdout
    assert shop_ids(server) == ["A/1", "a/1", "b", "c"]

    result = ingest(server, feed(tmp_path, "A/1", "b", "c", "d"), "--prune")
    assert (result.returncode, "feed.csv: 1. Removing them" in result.stdout) == (0, True)
    assert shop_ids(server) == ["A/1", "b", "c", "d"], "ids that differ in case are two items"


def test_a_feed_that_lacks_most_of_the_shop_is_refused_however_often_it_comes(server: Server, tmp_path: Path) -> None:
    httpx.delete(f"{server.url}/items?all=true", timeout=60).raise_for_status()
    ingest(server, feed(tmp_path, "a", "b", "c"))
    wrong = feed(tmp_path, "c", "x", "y", "z")
    for _ in range(2):
        result = ingest(server, wrong, "--prune")
        assert (result.returncode, "2 of the shop's 3 items are not in it" in result.stderr) == (2, True), result.stderr
        assert shop_ids(server) == ["a", "b", "c"], "nothing was sent either"
    for flag in ("--prune", "--prune-all"):
        result = ingest(server, feed(tmp_path), flag)
        assert (result.returncode, "holds no products" in result.stderr) == (2, True)
    assert ingest(server, feed(tmp_path, "c", "x"), "--prune", "--limit", "1").returncode == 2

    assert ingest(server, feed(tmp_path, "c", "x"), "--prune-all").returncode == 0
    assert shop_ids(server) == ["c", "x"]


def test_pictures_by_url_are_the_services_to_fetch(server: Server, tmp_path: Path) -> None:
    source = tmp_path / "items.jsonl"
    source.write_text(json.dumps({"id": "far", "title": "a lamp", "image": ["https://shop.example/lamp.jpg"]}))
    result = ingest(server, source)
    assert (result.returncode, "far: image_urls_off" in result.stderr) == (1, True), "this service does not"


def test_a_picture_that_fails_does_not_hold_back_the_price(server: Server, tmp_path: Path) -> None:
    source = products(tmp_path / "shop", 1)
    assert ingest(server, source).returncode == 0
    picture = get(server, "/items/shop%2F0").json()["images"][0]["sha256"]
    row = json.loads(source.read_text()) | {"price": 5, "stock": 2, "description": "", "attributes": {"brand": "Pikku"}}
    for image in ("https://shop.example/mug.jpg", "images/none.webp"):
        source.write_text(json.dumps(row | {"image": image}))
        result = ingest(server, source)
        assert (result.returncode, "all else of it is up to date" in result.stderr) == (1, True), result.stderr
        item = get(server, "/items/shop%2F0").json()
        assert (item["price"], item["stock"], item["description"]) == (5, 2, "")
        assert (item["attributes"], item["images"][0]["sha256"]) == ({"brand": "Pikku"}, picture)


def test_a_folder_of_pictures(server: Server, tmp_path: Path) -> None:
    (tmp_path / "pictures/summer").mkdir(parents=True)
    (tmp_path / "pictures/red.png").write_bytes(picture_file("red"))
    (tmp_path / "pictures/summer/blue hat.JPG").write_bytes(picture_file("blue", file_format="JPEG"))
    (tmp_path / "pictures/notes.txt").write_text("no picture")
    result = ingest(server, tmp_path / "pictures")
    assert "2 new" in result.stdout, result.stderr
    assert get(server, "/items/summer%2Fblue%20hat/image").status_code == 200


def test_no_service_no_source(tmp_path: Path, server: Server) -> None:
    (tmp_path / "a.jsonl").write_text("")
    nowhere = subprocess.run(
        [sys.executable, "-m", "examples.ingest", str(tmp_path / "a.jsonl"), "--url", "http://127.0.0.1:1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert nowhere.returncode == 2
    assert "No service answers" in nowhere.stderr
    missing = ingest(server, tmp_path / "none.jsonl")
    assert missing.returncode == 2
    assert "does not exist" in missing.stderr

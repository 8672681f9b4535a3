"""The clients in examples/ do what they say, against a running service."""

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright._impl._driver import compute_driver_executable

from examples.client import Client, SearchError
from tests.end_to_end.serving import Server, running

WALK = Path(__file__).parent / "client_walk.mjs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("clients") / "data", tiny_checkpoint) as server:
        yield server


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60), "red").save(buffer, "PNG")
    (tmp_path / "mug.png").write_bytes(buffer.getvalue())
    return tmp_path / "mug.png"


def test_the_python_client(server: Server, picture: Path) -> None:
    with Client(server.url) as shop:
        mug = shop.put(
            "mug/1",
            {
                "title": "red mug",
                "category": ["Home", "Mugs"],
                "price": 12.5,
                "stock": None,
                "attributes": {"b": "Kiln"},
            },
            pictures=[picture, picture.read_bytes()],
            only_new=True,
        )
        assert (len(mug["images"]), mug["category"]) == (2, ["Home", "Mugs"])
        with pytest.raises(SearchError, match="already") as refused:
            shop.put("mug/1", {"title": "other"}, only_new=True)
        assert (refused.value.status, refused.value.code) == (412, "already_exists")
        assert shop.change("mug/1", {"price": 9, "stock": 2}, if_version=mug["version"])["price"] == 9
        with pytest.raises(SearchError, match="version_mismatch"):
            shop.change("mug/1", {"price": 1}, if_version=mug["version"])

        stored = list(shop.bulk(iter([{"id": "lamp", "title": "blue lamp", "price": 40}, {"id": "bad", "price": -1}])))
        assert [(one["id"], one["status"]) for one in stored] == [("lamp", 201), ("bad", 422)]

        found = shop.search("mug", filter={"price": {"lt": 20}}, facets=["b"], explain=True)
        assert [hit["id"] for hit in found["hits"]] == ["mug/1"]
        assert found["facets"]["b"]["values"][0]["value"] == "Kiln"
        assert found["hits"][0]["explanation"]
        assert len(shop.search_image(picture, "mug", limit=1)["hits"]) == 1
        with pytest.raises(SearchError, match="image_urls_off"):
            shop.search_image("https://shop.example/mug.jpg")
        with pytest.raises(SearchError, match="image_urls_off"):
            shop.put("far", {"title": "mug"}, pictures=["https://shop.example/mug.jpg"])
        assert sorted(hit["id"] for hit in shop.search_all("mug", limit=1)) == ["lamp", "mug/1"]
        assert [hit["id"] for hit in shop.similar("mug/1")["hits"]] == ["lamp"]
        assert shop.similar("mug/1", filter={"price": {"lt": 20}})["hits"] == []
        assert [hit["id"] for hit in shop.recommend(["mug/1"], limit=5)["hits"]] == ["lamp"]
        assert "blue lamp" in shop.suggest("blu")

        assert [item["id"] for item in shop.items({"price": {"gt": 10}})] == ["lamp"]
        assert [item["id"] for item in shop.items(sort="price:desc")] == ["lamp", "mug/1"]
        assert shop.count() == 2
        assert shop.get("mug/1")["title"] == "red mug"
        shop.delete("mug/1")
        with pytest.raises(SearchError, match="item_not_found"):
            shop.get("mug/1")
        with pytest.raises(SearchError, match="empty_filter"):
            shop.delete_where({})
        assert shop.delete_all() == 1


def test_the_javascript_client(server: Server, picture: Path) -> None:
    node, _ = compute_driver_executable()  # the Node that Playwright brings along
    walk = subprocess.run([node, str(WALK), server.url, str(picture)], capture_output=True, text=True, timeout=120)
    assert walk.returncode == 0, walk.stderr
    assert walk.stdout == "walked\n"

"""The service runs the model as it is told to, and says how."""

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from retriever import checkpoint_folder, cpu, onnx_cache
from service.app import create_app
from service.logs import StartupFailed
from service.settings import Settings
from tests.service.helpers import picture_file, post_item


def test_items_and_searches_go_through_onnx_runtime(
    settings: Settings, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny_cache))
    with TestClient(create_app(settings)) as client:  # `auto` finds the graphs
        assert post_item(client, "m-1", picture_file("red"), title="red mug").status_code == 201
        assert post_item(client, "m-2", title="blue lamp").status_code == 201
        hits = client.post("/search", json={"query": "red mug"}).json()["hits"]
        assert {hit["id"] for hit in hits} == {"m-1", "m-2"}
        quickest = "int8" if cpu.quickest()[0] == "int8" else "onnx"
        assert f'inference="{quickest}"' in client.get("/metrics").text


def test_a_service_whose_graph_of_queries_is_damaged_does_not_start(
    settings: Settings, tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would say that it is ready, and fail at every search."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shutil.copytree(tiny_cache, tmp_path / "cache")))
    folder = onnx_cache.cache_folder(checkpoint_folder.model_id(Path(settings.model)), "int8")
    (folder / "query.onnx").write_bytes(b"half")
    with (
        pytest.raises(StartupFailed, match=r"query\.onnx cannot be opened"),
        TestClient(create_app(settings.model_copy(update={"inference": "int8"}))),
    ):
        pass

"""Data folders that earlier versions left are opened, searched and written to by this one."""

import json
import tarfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from retriever import checkpoint_folder
from service.app import create_app
from service.data_folder import FORMAT, STAMP
from service.settings import Settings
from tests.service.helpers import picture_file, post_item

ARCHIVES = sorted((Path(__file__).parents[1] / "fixtures").glob("data-format-*.tar.xz"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name)
def folder(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An old data folder, and a model that takes itself for the one that wrote it."""
    with tarfile.open(request.param) as tar:
        tar.extractall(settings.data_dir.parent, filter="data")
    (model_id,) = (path.name for path in (settings.data_dir / "index").iterdir() if path.is_dir())
    monkeypatch.setattr(checkpoint_folder, "model_id", lambda folder: model_id)
    return settings.data_dir


@pytest.mark.parametrize("stamped", [True, False])
def test_an_old_folder_opens(folder: Path, settings: Settings, stamped: bool) -> None:
    if not stamped:  # as the first versions left it
        (folder / STAMP).unlink()
        (folder / "index" / "current.json").unlink()
    with TestClient(create_app(settings)) as client:
        items = {item["id"]: item for item in client.get("/items").json()["items"]}
        assert items.keys() == {"mug/1", "shirt", "words"}
        assert items["mug/1"]["price"] == 12.5
        assert (items["words"]["version"], items["words"]["description"]) == (2, "Gives light. 灯")
        for item in items.values():
            for image in item["images"]:
                assert client.get(image["url"]).status_code == 200
        for query, expected in {"red mug": "mug/1", "KC-17": "shirt", "lamp": "words"}.items():
            answer = client.post("/search", json={"query": query, "mode": "lexical"}).json()
            assert [hit["id"] for hit in answer["hits"]] == [expected]
        assert client.post("/search", json={"query": "mug"}).json()["total"] == 3
        for condition in ({"colour": "lime"}, {"made": {"gte": "2026-01-01"}}, {"waterproof": True}):
            found = client.get("/items", params={"filter": json.dumps(condition)}).json()
            assert [item["id"] for item in found["items"]] == ["shirt"], condition
        assert post_item(client, "shirt", picture_file("white"), title="white shirt").json()["version"] == 2
    assert json.loads((folder / STAMP).read_text())["format"] == FORMAT
    assert json.loads((folder / "index" / "current.json").read_text())["model"] == settings.model

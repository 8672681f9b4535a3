"""A running service's own catalogue, read page by page with its pictures."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.helpers import post_item
from tests.training.prepare.conftest import picture
from training.prepare.__main__ import main
from training.prepare.job import Job


class Borrowed:
    """The test's client in the place of one that would open a socket."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def __call__(self, **options: Any) -> "Borrowed":
        assert options["headers"] == {"Authorization": "Bearer secret"}
        return self

    def __enter__(self) -> TestClient:
        return self.client

    def __exit__(self, *error: object) -> None:
        pass


def test_a_services_catalogue(tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREPARE_SERVICE_KEY", "secret")
    settings = Settings(data_dir=tmp_path / "data", model=str(tiny_checkpoint), device="cpu")
    with TestClient(create_app(settings)) as client:
        for n in range(3):
            post_item(
                client, f"a/{n}", picture(n), title=f"mug {n}", category="Home > Mugs", attributes='{"brand": "Kiln"}'
            )
        post_item(client, "bare", title="no picture")
        monkeypatch.setattr("training.prepare.sources.httpx.Client", Borrowed(client))
        main(["read", "--job", str(tmp_path / "job"), "--source", "http://testserver/"])
    with Job(tmp_path / "job") as job:
        rows = dict(job.all("SELECT item_id, fields FROM items"))
        assert set(rows) == {"a%2F0", "a%2F1", "a%2F2", "bare"}
        fields = json.loads(rows["a%2F1"])
        assert (fields["title"], fields["category"], fields["attributes"]) == (
            "mug 1",
            ["Home", "Mugs"],
            {"brand": "Kiln"},
        )
        assert job.one("SELECT COUNT(*) FROM items WHERE picture IS NOT NULL") == 3

"""The demonstration catalogue fills an empty service, goes on after an interruption, and never comes back unasked."""

import asyncio
import itertools
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from examples.demo_catalogue import products
from service import demo
from service.app import create_app
from service.settings import Settings
from tests.service.helpers import post_item

SOME = list(itertools.islice(products(), 9))


@pytest.fixture(autouse=True)
def a_short_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "products", lambda: iter(SOME))


@pytest.fixture
def demo_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"demo_catalogue": True})


def wait_until_filled(client: TestClient, settings: Settings) -> list[Any]:
    deadline = time.monotonic() + 60
    while (settings.data_dir / "demo-catalogue.under-way").exists() or not client.get("/items").json()["total"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    items: list[Any] = client.get("/items").json()["items"]
    return items


def test_an_empty_catalogue_is_filled_while_the_service_answers(demo_settings: Settings) -> None:
    with TestClient(create_app(demo_settings)) as client:
        assert client.get("/health/ready").status_code == 200
        items = wait_until_filled(client, demo_settings)
        assert {item["id"] for item in items} == {product.id for product in SOME}
        assert client.get(items[0]["images"][0]["url"]).status_code == 200
        # What is deleted stays deleted.
        client.delete(f"/items/{SOME[0].id}")
    with TestClient(create_app(demo_settings)) as client:
        time.sleep(0.2)
        assert client.get("/items").json()["total"] == len(SOME) - 1


def test_filling_goes_on_where_it_was_interrupted(demo_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[str] = []
    store = demo._store

    async def die_after_five(catalogue: Any, product: Any) -> None:
        if len(stored) >= 5:
            await asyncio.Event().wait()  # for ever: the service is stopped here
        stored.append(product.id)
        await store(catalogue, product)

    monkeypatch.setattr(demo, "_store", die_after_five)
    with TestClient(create_app(demo_settings)) as client:
        deadline = time.monotonic() + 60
        while client.get("/items").json()["total"] < 5:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    monkeypatch.setattr(demo, "_store", store)
    with TestClient(create_app(demo_settings)) as client:
        items = wait_until_filled(client, demo_settings)
        assert {item["id"] for item in items} == {product.id for product in SOME}
        assert all(item["updated_at"] == item["created_at"] for item in items), "nothing is sent twice"


def test_a_shops_own_catalogue_is_left_alone(settings: Settings, demo_settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        post_item(client, "mine", title="mug")
    with TestClient(create_app(demo_settings)) as client:
        time.sleep(0.2)
        assert [item["id"] for item in client.get("/items").json()["items"]] == ["mine"]

"""Writes of one item side by side: each is whole, and none undoes another."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.catalogue import Catalogue, Precondition
from service.media import PictureLimits
from service.problems import Problem
from service.schemas import ItemFields, ItemPatch
from tests.service.helpers import picture_file, post_item
from tests.service.test_problems import check


def test_changes_of_one_item_side_by_side_lose_none(client: TestClient) -> None:
    post_item(client, "mug", title="mug")
    with ThreadPoolExecutor(8) as pool:
        changes = [{"attributes": {f"field {n}": n}} for n in range(16)]
        answers = list(pool.map(lambda change: client.patch("/items/mug", json=change), changes))
    assert {answer.status_code for answer in answers} == {200}
    assert client.get("/items/mug").json()["attributes"] == {f"field {n}": n for n in range(16)}


def test_words_of_a_replaced_item_are_suggested_no_more(client: TestClient) -> None:
    def suggested() -> list[str]:
        return [one["text"] for one in client.get("/suggest", params={"q": "stone"}).json()["suggestions"]]

    post_item(client, "mug", title="Stoneware mug")
    assert suggested() == ["Stoneware mug"]
    client.patch("/items/mug", json={"title": "Enamel mug"})
    assert suggested() == []


def test_a_change_moves_an_item_among_the_changed_and_not_among_the_new(client: TestClient) -> None:
    def order(sort: str) -> list[str]:
        return [item["id"] for item in client.get("/items", params={"sort": sort}).json()["items"]]

    for item_id in ("old", "new"):
        post_item(client, item_id, title="mug")
    client.patch("/items/old", json={"price": 1})
    assert order("updated_at:desc") == ["old", "new"]
    assert order("created_at:desc") == ["new", "old"]


def test_of_many_that_bring_a_new_item_one_is_the_first(client: TestClient) -> None:
    def bring(number: int) -> int:
        form = {"title": (None, f"mug {number}")}
        return client.put("/items/mug", files=form, headers={"If-None-Match": "*"}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(bring, range(8))) == [201] + [412] * 7


@pytest.mark.parametrize(
    "remove",
    [lambda catalogue: catalogue.delete("mug"), lambda catalogue: catalogue.delete_where(None)],
    ids=["by id", "by filter"],
)
def test_an_item_that_is_removed_while_it_is_changed_stays_removed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, remove: Callable[[Catalogue], Any]
) -> None:
    services = client.app.state.services  # type: ignore[attr-defined]
    upsert, removing = services.index.upsert, list[asyncio.Task[Any]]()

    async def meanwhile(items: Any) -> None:
        removing.append(asyncio.create_task(remove(services.catalogue)))
        await asyncio.wait(removing, timeout=0.1)  # it waits for its turn
        await upsert(items)

    post_item(client, "mug", title="mug")
    monkeypatch.setattr(services.index, "upsert", meanwhile)
    assert client.patch("/items/mug", json={"price": 3}).status_code == 200
    client.portal.call(asyncio.wait, removing)  # type: ignore[union-attr]
    assert client.get("/items/mug").status_code == 404


def test_what_was_to_hold_for_a_write_holds_where_another_catalogue_makes_it(client: TestClient) -> None:
    services = client.app.state.services  # type: ignore[attr-defined]
    old: Catalogue = services.catalogue
    parts = (services.index, services.encoder, old.media, services.metrics, services.lexicon, old.disk)
    new = Catalogue(*parts, PictureLimits(pixels=10**6, side=64, file_bytes=10**6))

    async def play() -> None:
        prepared = await old.prepare(ItemFields(id="mug", title="mug"))
        async with old.handing_over() as hand_over:
            hand_over(new)
        payload, created = await old.store(prepared)
        assert created
        stale, price = Precondition(frozenset([payload["version"] - 1])), ItemPatch.model_validate({"price": 3})
        for write in (old.store(prepared, stale), old.change("mug", price, stale), old.delete("mug", stale)):
            with pytest.raises(Problem, match="has been changed"):
                await write
        assert (await old.change("mug", price))["price"] == 3
        assert await old.delete_where(None) == 1
        assert await services.index.count() == 0

    try:
        client.portal.call(play)  # type: ignore[union-attr]
    finally:
        new.close()


def test_what_needs_the_model_is_refused_while_its_queue_is_full_and_the_rest_is_not(client: TestClient) -> None:
    post_item(client, "mug", picture_file(), title="mug")
    services = client.app.state.services  # type: ignore[attr-defined]
    photo = {"image": ("a.png", picture_file())}
    with services.encoder.admit(services.settings.max_queue):
        check(client.patch("/items/mug", json={"title": "cup"}), 429, "overloaded")
        check(client.post("/search/image", files=photo), 429, "overloaded")
        assert client.patch("/items/mug", json={"price": 3}).status_code == 200
    assert client.patch("/items/mug", json={"title": "cup"}).status_code == 200
    assert client.post("/search/image", files=photo).status_code == 200

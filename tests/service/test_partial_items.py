"""`fields`: what is answered of each item."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.schemas import Item
from tests.service.helpers import picture_file

PARTS = ["title", "price", "images"]


def test_hits_carry_the_fields_that_are_asked_for(mugs: TestClient) -> None:
    picture = {"image": ("a.png", picture_file())}
    answers = [
        mugs.post("/search", json={"query": "mug", "fields": PARTS}),
        mugs.post("/search", json={"fields": PARTS}),
        mugs.post("/recommend", json={"items": ["mug-1"], "fields": PARTS}),
        mugs.post("/search/image", files=picture, data={"fields": PARTS}),
        mugs.post("/search/image", files=picture, data={"fields": json.dumps(PARTS)}),
        mugs.get("/items/mug-1/similar", params={"fields": PARTS}),
    ]
    for answer in answers:
        hits = answer.json()["hits"]
        assert len(hits) >= 3
        for hit in hits:
            whole = mugs.get(f"/items/{hit['id']}").json()
            assert hit["item"] == {name: whole[name] for name in ["id", *PARTS]}


def test_a_list_carries_them_too(mugs: TestClient) -> None:
    items = mugs.get("/items", params={"fields": ["price"]}).json()["items"]
    assert len(items) == 4
    assert all(item.keys() == {"id", "price"} for item in items)


@pytest.mark.parametrize("fields", [[], *([name] for name in Item.model_fields), list(Item.model_fields)])
def test_every_field_can_be_asked_for_and_the_id_always_comes(mugs: TestClient, fields: list[str]) -> None:
    (hit,) = mugs.post("/search", json={"query": "mug", "limit": 1, "fields": fields}).json()["hits"]
    assert hit["item"].keys() == {"id", *fields}


def test_without_it_all_of_an_item_comes(mugs: TestClient) -> None:
    for more in ({}, {"fields": None}):
        (hit,) = mugs.post("/search", json={"query": "mug", "limit": 1, **more}).json()["hits"]
        assert hit["item"].keys() == Item.model_fields.keys()


def test_only_texts_that_are_asked_for_are_marked(mugs: TestClient) -> None:
    def highlights(*fields: str) -> Any:
        asked = {"query": "mug", "limit": 1, "highlight": True, "fields": fields}
        return mugs.post("/search", json=asked).json()["hits"][0]["highlights"]

    assert highlights("title").keys() == {"title"}
    assert highlights("price") == {}


def test_the_page_after_may_carry_others(mugs: TestClient) -> None:
    first = mugs.post("/search", json={"query": "mug", "limit": 1, "fields": ["title"]}).json()
    second = mugs.post("/search", json={"query": "mug", "limit": 1, "cursor": first["next_cursor"]})
    assert second.json()["hits"][0]["item"].keys() == Item.model_fields.keys()


def test_what_no_item_has_is_refused(mugs: TestClient) -> None:
    for answer in (
        mugs.post("/search", json={"query": "mug", "fields": ["title", "colour"]}),
        mugs.get("/items", params={"fields": "title,price"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
        assert "'title', 'description'" in answer.json()["detail"]

"""`rerank`: the best hits in the order of the matching head, which reads query and item together."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import retriever
from retriever import ItemInput, Retriever, checkpoint, item_text
from service.app import create_app
from service.settings import Settings
from tests.service.helpers import picture_file, post_item
from tests.service.test_problems import check
from tests.service.test_rules import put

COLOURS = ["red", "blue", "green", "white", "black", "orange"]


@pytest.fixture
def matcher(tiny_retriever: Retriever, tmp_path: Path) -> Path:
    """The tiny model, as one that says it was trained to match."""
    model = tiny_retriever.model
    model.config = replace(model.config, matching=True)
    try:
        checkpoint.save(model, tiny_retriever.processor.tokenizer, tmp_path / "matcher")
    finally:
        model.config = replace(model.config, matching=False)
    return tmp_path / "matcher"


@pytest.fixture
def shop(settings: Settings, matcher: Path) -> Iterator[TestClient]:
    with TestClient(create_app(settings.model_copy(update={"model": str(matcher)}))) as client:
        for colour in COLOURS:
            post_item(client, colour, picture_file(colour, (64, 64)), title="a mug")
        yield client


def search(client: TestClient, **more: Any) -> Any:
    answer = client.post("/search", json={"query": "red mug", **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: Any) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


def test_what_the_rules_lift_has_no_part_in_matching(shop: TestClient) -> None:
    plain = search(shop, rerank=4, explain=True)
    third = ids(search(shop))[2]
    put(shop, boost=[{"filter": {"id": third}, "weight": 1}])
    assert ids(search(shop))[1] == third
    lifted = search(shop, rerank=4, explain=True)
    assert [(hit["id"], hit["score"]) for hit in lifted["hits"]] == [(hit["id"], hit["score"]) for hit in plain["hits"]]
    assert {hit["explanation"]["boost"] for hit in lifted["hits"]} == {0}


def test_the_best_hits_are_put_into_the_order_of_matching(shop: TestClient, matcher: Path) -> None:
    before = ids(search(shop))
    inputs = {colour: ItemInput(Image.new("RGB", (64, 64), colour), item_text("a mug")) for colour in COLOURS}
    logits = retriever.load(matcher).match(["red mug"] * 4, [inputs[one] for one in before[:4]])
    expected = [before[i] for i in np.argsort(-logits)]
    assert expected != before[:4], "a test that could not fail"

    answer = search(shop, rerank=4)
    assert ids(answer) == expected + before[4:]
    assert [hit["match"] for hit in answer["hits"][:4]] == pytest.approx(
        sorted((1 / (1 + np.exp(-logits))).tolist(), reverse=True), abs=1e-3
    )
    assert [hit["match"] for hit in answer["hits"][4:]] == [None, None]
    assert answer["total"] == 6


def test_pages_of_a_reranked_search_join(shop: TestClient) -> None:
    whole = ids(search(shop, rerank=4))
    assert [ids(search(shop, rerank=4, limit=2, offset=offset)) for offset in (0, 2, 4)] == [
        whole[:2],
        whole[2:4],
        whole[4:],
    ]
    first = search(shop, rerank=4, limit=3)
    assert ids(search(shop, rerank=4, limit=3, cursor=first["next_cursor"])) == whole[3:]
    refused = shop.post("/search", json={"query": "red mug", "rerank": 2, "cursor": first["next_cursor"]})
    assert refused.json()["code"] == "invalid_cursor"


def test_pinned_items_stay_first_whatever_they_match(shop: TestClient) -> None:
    matching = ids(search(shop, rerank=6))
    pins = [matching[-1], matching[2]]
    assert shop.put("/rules", json={"curations": [{"query": "red mug", "pin": pins}]}).status_code == 200
    answer = search(shop, rerank=6)
    assert ids(answer) == pins + [one for one in matching if one not in pins]
    assert [hit["pinned"] for hit in answer["hits"]] == [True, True, False, False, False, False]


def test_it_works_beside_filters_and_reasons(shop: TestClient) -> None:
    post_item(shop, "two", picture_file("red"), picture_file("blue"), title="blue mug")
    answer = search(shop, rerank=10, explain=True, filter={"id": ["two", "green"]})
    assert sorted(ids(answer)) == ["green", "two"]
    assert all(hit["match"] is not None and hit["explanation"]["picture"] is not None for hit in answer["hits"])


def test_an_item_is_matched_by_the_picture_that_fits_best(shop: TestClient) -> None:
    """Wherever it stands among the item's pictures."""
    pictures = {"red-blue": ("red", "blue"), "blue-red": ("blue", "red")}
    for item_id, colours in pictures.items():
        post_item(shop, item_id, *(picture_file(colour, (64, 64)) for colour in colours), title="a mug")
    hits = {
        hit["id"]: hit for hit in search(shop, rerank=8, explain=True, filter={"id": [*pictures, *COLOURS]})["hits"]
    }
    best = {pictures[one][hits[one]["explanation"]["picture"]] for one in pictures}
    assert len(best) == 1
    assert [hits[one]["match"] for one in pictures] == pytest.approx([hits[best.pop()]["match"]] * 2, abs=1e-5)


def test_what_is_matched_has_its_place_in_the_models_queue(shop: TestClient) -> None:
    whole = ids(search(shop, rerank=2))  # from here on, the query's embedding is remembered
    services = shop.app.state.services  # type: ignore[attr-defined]
    with services.encoder.admit(services.settings.max_queue - 1):
        check(shop.post("/search", json={"query": "red mug", "rerank": 2}), 429, "overloaded")
        assert sorted(ids(search(shop))) == sorted(whole)
    assert ids(search(shop, rerank=2)) == whole


def test_a_model_that_was_not_trained_to_match_refuses(client: TestClient) -> None:
    post_item(client, "a", title="mug")
    answer = client.post("/search", json={"query": "mug", "rerank": 3})
    assert (answer.status_code, answer.json()["code"]) == (422, "cannot_rerank")
    assert "--itm" in answer.json()["detail"]
    batch = client.post("/search/batch", json={"searches": [{"query": "mug"}, {"query": "mug", "rerank": 3}]})
    assert batch.json()["errors"][0]["field"] == "body.searches.1.rerank"


@pytest.mark.parametrize("more", [{"rerank": 3, "sort": [{"field": "price"}]}, {"rerank": 101}, {"rerank": "3"}])
def test_orders_that_cannot_be(client: TestClient, more: dict[str, Any]) -> None:
    answer = client.post("/search", json={"query": "mug", **more})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")

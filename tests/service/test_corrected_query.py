"""What of a query is understood, and the query that an answer gives back for it."""

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.searcher import Searcher
from tests.service.helpers import picture_file, post_item


@pytest.fixture
def shop(client: TestClient) -> TestClient:
    titles = ["stoneware mug", "blue stoneware mug", "stoneware mug with a lid", "television"]
    for n, title in enumerate(titles):
        assert post_item(client, str(n), title=title).status_code == 201
    known = [{"words": ["telly"], "means": "television"}]
    assert client.put("/rules", json={"synonyms": known}).status_code == 200
    return client


def search(client: TestClient, query: str, **more: Any) -> Any:
    answer = client.post("/search", json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_only_a_phrase_itself_is_taken_word_for_word(shop: TestClient) -> None:
    asked = {"mode": "lexical", "explain": True, "complete": True}
    answer = search(shop, 'telly "stoneware mug" blu', **asked)
    assert answer["hits"][0]["explanation"]["words"] == ["stoneware", "mug", "blue"]
    assert search(shop, 'telly "television"', **asked)["hits"][0]["explanation"]["words"] == ["television"]
    assert search(shop, '"telly" mug', **asked)["hits"] == []
    for phrase in ('mug "stonewear"', 'mug "stonew"'):
        assert search(shop, phrase, complete=True)["corrected_query"] is None


@pytest.mark.parametrize("query", ['telly "stoneware mug" stonwear', 'this, but telly "stoneware mug" stonwear'])
def test_only_a_phrase_itself_is_taken_word_for_word_beside_a_picture(shop: TestClient, query: str) -> None:
    picture = {"image": ("a.png", picture_file("red"))}
    answer = shop.post("/search/image", files=picture, data={"query": query}).json()
    assert {hit["id"] for hit in answer["hits"]} == {"0", "1", "2"}
    assert answer["corrected_query"].split()[0] == "television"
    assert answer["corrected_query"].split()[-1] == "stoneware"


@pytest.mark.parametrize(
    ("query", "corrected"),
    [
        ("stonwear -blue", "stoneware -blue"),
        ('-blue stonwear "stoneware mug" -"a lid".', 'stoneware "stoneware mug" -blue -"a lid"'),
        ("stonwear, but not blue", "stoneware -blue"),
    ],
)
def test_the_corrected_query_finds_the_same_when_it_is_asked(shop: TestClient, query: str, corrected: str) -> None:
    answer = search(shop, query, exclude=["television"])
    assert answer["corrected_query"] == corrected, "without what is excluded beside the query, and asked again with it"
    assert "1" not in {hit["id"] for hit in answer["hits"]}
    again = search(shop, corrected, exclude=["television"])
    assert again["corrected_query"] is None
    assert [(hit["id"], hit["score"]) for hit in again["hits"]] == [(hit["id"], hit["score"]) for hit in answer["hits"]]


def test_a_synonym_that_is_gone_corrects_nothing_after_another_model_took_over(shop: TestClient) -> None:
    assert shop.put("/rules", json={"synonyms": [{"words": ["jumper"], "means": "mug"}]}).status_code == 200
    assert search(shop, "jumpr")["corrected_query"] == "jumper"
    old = shop.app.state.services  # type: ignore[attr-defined]
    searcher = Searcher(old.index, old.encoder, old.lexicon, old.catalogue, old.rules, old.metrics)
    shop.app.state.services = replace(old, searcher=searcher)  # type: ignore[attr-defined]
    assert search(shop, "jumpr")["corrected_query"] == "jumper"
    assert shop.put("/rules", json={}).status_code == 200
    assert search(shop, "jumpr")["corrected_query"] == "jump"

"""POST /search and /search/image over the real index: ranking, floors, paging, and what a query may be."""

from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from retriever import ItemInput, Retriever, item_text
from retriever.index import fusion
from retriever.scoring import maxsim
from tests.service.helpers import picture_file, post_item


def search(client: TestClient, query: str, **more: Any) -> Any:
    answer = client.post("/search", json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_answer_is_whole(client: TestClient, tiny_retriever: Retriever) -> None:
    stored = post_item(client, "mug", picture_file("red"), title="red mug").json()
    answer = search(client, "red mug")
    assert answer["total"] == 1
    assert answer["model_id"] == tiny_retriever.model_id
    assert answer["search_id"]
    assert answer["took_ms"].keys() == {"queue", "encode", "retrieve", "total"}
    assert answer["took_ms"]["encode"] > 0
    (hit,) = answer["hits"]
    assert (hit["id"], hit["item"]) == ("mug", stored)
    assert search(client, " red mug ")["took_ms"]["encode"] == 0, "the same query again is not encoded again"


def test_nothing_is_found_in_nothing(client: TestClient) -> None:
    answer = search(client, "red mug")
    assert (answer["hits"], answer["total"]) == ([], 0)


def test_an_item_is_found_at_once_by_its_id_and_article_number(client: TestClient) -> None:
    for n in range(5):
        post_item(client, f"sku-{n}", title="mug", attributes=f'{{"article number": "AB{n}X-77"}}')
    for n in range(5):
        assert search(client, f"AB{n}X-77")["hits"][0]["id"] == f"sku-{n}"
        assert search(client, f"sku-{n}")["hits"][0]["id"] == f"sku-{n}"


def test_an_article_number_comes_before_what_the_model_makes_of_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though words weigh next to nothing in other queries."""
    monkeypatch.setattr(fusion, "LEXICAL_WEIGHT", 1e-6)
    for n in range(8):
        code = "424522-100" if n == 5 else f"39000{n}-200"
        post_item(client, str(n), picture_file((30 * n, 0, 90)), title=f"shoe {n}", description=f"Article {code}.")
    assert search(client, "424522-100")["hits"][0]["id"] == "5"
    assert search(client, "shoe 424522100")["hits"][0]["id"] == "5"
    plain, meant = (search(client, "a shoe", limit=1, mode=mode)["hits"][0]["score"] for mode in ("hybrid", "semantic"))
    assert plain == pytest.approx(meant, abs=1e-3)


def test_semantic_order_is_maxsim_of_picture_and_text_together(client: TestClient, tiny_retriever: Retriever) -> None:
    colours = ["red", "blue", "green", "white", "black"]
    for colour in colours:
        post_item(client, colour, picture_file(colour), title="a mug")
    inputs = [ItemInput(Image.new("RGB", (60, 40), colour), item_text("a mug")) for colour in colours]
    query = "zzz"  # in no item's words, so that BM25 has nothing to say
    question, encoded = tiny_retriever.encode_queries([query]), tiny_retriever.encode_items(inputs)
    kept = client.portal.call(client.app.state.services.index.tokens, colours)  # type: ignore[union-attr, attr-defined]
    items = np.stack([kept[colour] for colour in colours])  # (N, Q, D)
    np.testing.assert_allclose(items, encoded, atol=1e-2)  # stored in eight bits
    scores = maxsim(torch.from_numpy(question), torch.from_numpy(items))[0]
    expected = [colours[i] for i in torch.argsort(scores, descending=True)]
    assert [hit["id"] for hit in search(client, query)["hits"]] == expected


def test_every_picture_of_an_item_counts(client: TestClient, tiny_retriever: Retriever) -> None:
    post_item(client, "two", picture_file("red"), picture_file("blue"), title="mug")
    post_item(client, "one", picture_file("red"), title="mug")
    post_item(client, "other", picture_file("blue"), title="mug")
    hits = {hit["id"]: hit["score"] for hit in search(client, "zzz")["hits"]}
    assert hits["two"] == pytest.approx(max(hits["one"], hits["other"]), abs=1e-3)


def test_sorted_hits_are_near_the_best_unless_asked_otherwise(client: TestClient) -> None:
    post_item(client, "whole", title="red stoneware mug", price=10)
    post_item(client, "part", title="mug", price=1)
    asked: dict[str, Any] = {"mode": "lexical", "sort": [{"field": "price"}]}
    for more, expected in (({}, ["whole"]), ({"relevance_floor": 0}, ["part", "whole"])):
        assert [hit["id"] for hit in search(client, "red stoneware mug", **asked, **more)["hits"]] == expected


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
def test_what_scores_too_little_is_neither_shown_nor_counted(client: TestClient, mode: str) -> None:
    for item_id, title in (("both", "red mug"), ("one", "mug and spoon"), ("none", "desk lamp")):
        post_item(client, item_id, title=title, price=len(title))
    first, second = (hit["score"] for hit in search(client, "red mug", mode=mode)["hits"][:2])
    floors: list[dict[str, Any]] = [{}, {"sort": [{"field": "price"}], "relevance_floor": 0.01}]
    for more in floors:
        answer = search(client, "red mug", mode=mode, min_score=(first + second) / 2, facets=["id"], **more)
        assert [hit["id"] for hit in answer["hits"]] == ["both"]
        assert answer["facets"]["id"]["values"] == [{"value": "both", "count": 1}]


def test_a_cursor_belongs_to_what_was_chosen_with_it(client: TestClient) -> None:
    for n in range(3):
        post_item(client, str(n), title="mug", attributes='{"brand": "Kiln"}')
    cursor = search(client, "mug", limit=1)["next_cursor"]
    shown: dict[str, Any] = {"limit": 2, "facets": ["brand"], "facet_size": 3, "explain": True, "highlight": True}
    assert len(search(client, "mug", cursor=cursor, **shown)["hits"]) == 2, "what is shown of them may differ"
    others: list[dict[str, Any]] = [
        {"filter": {"brand": "Kiln"}},
        {"exclude": ["steel"]},
        {"min_score": -1},
        {"relevance_floor": 0.1},
        {"sort": [{"field": "updated_at"}]},
        {"group_by": "brand"},
    ]
    for more in others:
        answer = client.post("/search", json={"query": "mug", "limit": 1, "cursor": cursor, **more})
        assert answer.json()["code"] == "invalid_cursor", more


def test_words_beside_a_picture_count_from_nothing_to_all(client: TestClient) -> None:
    for colour in ("red", "blue", "green"):
        post_item(client, colour, picture_file(colour), title="a mug")

    def scores(**parts: str) -> dict[str, float]:
        picture = {"image": ("a.png", picture_file("red"))}
        hits = client.post("/search/image", files=picture, data={"explain": "true", **parts}).json()["hits"]
        return {hit["id"]: hit["explanation"]["semantic"] for hit in hits}

    said = {hit["id"]: hit["score"] for hit in search(client, "a lamp", mode="semantic")["hits"]}
    assert scores(query="a lamp", words="0") == pytest.approx(scores(), abs=1e-5)
    assert scores(query="a lamp", words="1") == pytest.approx(said, abs=1e-5)
    assert said != pytest.approx(scores(), abs=1e-2)


def test_a_query_is_remembered_where_it_found_something_and_by_its_first_page(client: TestClient) -> None:
    for n in range(3):
        post_item(client, str(n), title="stoneware mug", price=n)

    def suggested() -> bool:
        found = client.get("/suggest", params={"q": "mug stone"}).json()["suggestions"]
        return "mug stoneware" in [one["text"] for one in found]

    cursor = search(client, "mug stoneware", limit=1)["next_cursor"]
    for more in ({"cursor": cursor}, {"offset": 1}, {"complete": True}, {"filter": {"price": {"gt": 100}}}):
        search(client, "mug stoneware", limit=1, **more)
        assert not suggested(), more
    search(client, "mug stoneware")
    assert suggested()


def test_pages_follow_each_other(client: TestClient) -> None:
    for n in range(6):
        post_item(client, str(n), picture_file((40 * n, 0, 0)), title="mug")
    everything = [hit["id"] for hit in search(client, "blue mug")["hits"]]
    pages = [search(client, "blue mug", limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [hit["id"] for page in pages for hit in page["hits"]] == everything
    assert {page["total"] for page in pages} == {6}


@pytest.mark.parametrize("query", ["🧢👟", "قميص أحمر", "红色 杯子", "x" * 1000, "'; DROP TABLE", "- -", "\t a \n"])
def test_any_text_is_a_query(client: TestClient, query: str) -> None:
    post_item(client, "a", picture_file(), title="mug")
    assert [hit["id"] for hit in search(client, query)["hits"]] == ["a"]


def test_an_article_number_with_plain_words_in_it_comes_first(client: TestClient) -> None:
    """Whatever the model makes of it, and though sorting keeps to what is relevant."""
    for n in range(8):
        code = "1639C Black" if n == 5 else f"1639D{n} Brown"
        post_item(
            client, str(n), picture_file((30 * n, 0, 90)), title="black shoe", attributes=f'{{"article": "{code}"}}'
        )
    answer = search(client, "1639c black", explain=True)
    assert answer["hits"][0]["id"] == "5"
    for hit in answer["hits"]:
        why = hit["explanation"]
        assert 0 <= why["lexical"] <= 1
        assert hit["score"] == pytest.approx(why["semantic"] + why["lexical_weight"] * why["lexical"], abs=1e-4)
    pages = [search(client, "1639c black", limit=3, offset=offset)["hits"] for offset in (0, 3, 6)]
    assert [hit["id"] for page in pages for hit in page] == [hit["id"] for hit in answer["hits"]]
    by_price = search(client, "1639c black", sort=[{"field": "article"}])
    assert "5" in [hit["id"] for hit in by_price["hits"]]


def test_a_title_with_a_minus_word_finds_its_item(client: TestClient) -> None:
    """As it is pasted, or chosen from the suggestions."""
    post_item(client, "pad", title="Diaper Pad Small -Blue")
    post_item(client, "nappy", title="Nappy Small")
    (suggestion,) = client.get("/suggest", params={"q": "diaper"}).json()["suggestions"]
    assert search(client, suggestion["text"])["hits"][0]["id"] == "pad"
    assert [hit["id"] for hit in search(client, "small -blue")["hits"]] == ["nappy"]


@pytest.mark.parametrize("typed", ["red mug.", "Red mug?!", "ｒｅｄ　ｍｕｇ"])
def test_how_a_query_ends_or_was_typed_does_not_matter(client: TestClient, typed: str) -> None:
    for colour in ("red", "blue"):
        post_item(client, colour, picture_file(colour), title="mug")
    plain, other = search(client, "red mug"), search(client, typed)
    assert [(hit["id"], hit["score"]) for hit in other["hits"]] == [(hit["id"], hit["score"]) for hit in plain["hits"]]
    assert other["corrected_query"] is None

"""`boost`, of a search or of the rules: what comes first of hits that are about as relevant."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.helpers import picture_file, post_item
from tests.service.test_problems import check
from tests.service.test_rules import found, put


@pytest.fixture
def shop(client: TestClient) -> TestClient:
    """Six mugs, of which the later ones are sold the more often; the last two cannot be had."""
    for n in range(6):
        attributes = f'{{"sold": {10**n}, "brand": "Kiln"}}'
        answer = post_item(
            client, f"mug-{n}", title="stoneware mug", price=n + 1, stock=int(n < 4), attributes=attributes
        )
        assert answer.status_code == 201
    assert post_item(client, "tv", picture_file("black"), title="television").status_code == 201
    return client


def mugs(client: TestClient, **more: Any) -> list[int]:
    return [int(one.removeprefix("mug-")) for one in found(client, "stoneware mug", **more) if one != "tv"]


def test_what_sells_comes_first_of_what_is_as_relevant(shop: TestClient) -> None:
    assert mugs(shop, boost=[{"field": "sold", "weight": 0.2}]) == [5, 4, 3, 2, 1, 0]
    assert mugs(shop, boost=[{"field": "price", "weight": -0.2}]) == [0, 1, 2, 3, 4, 5]
    dear = {"filter": {"price": {"gt": 2}}, "weight": 0.2}
    assert set(mugs(shop, boost=[dear])[:4]) == {2, 3, 4, 5}
    sold_out = {"filter": {"available": False}, "weight": -0.5}
    assert mugs(shop, boost=[{"field": "sold", "weight": 0.1}, sold_out]) == [3, 2, 1, 0, 5, 4]
    for mode in ("semantic", "lexical"):
        assert mugs(shop, boost=[{"field": "attributes.Sold", "weight": 0.2}], mode=mode) == [5, 4, 3, 2, 1, 0]


def test_a_boost_is_part_of_the_score_and_is_explained(shop: TestClient) -> None:
    asked = {"query": "stoneware mug", "explain": True, "boost": [{"field": "sold", "weight": 0.2}]}
    hits = shop.post("/search", json=asked).json()["hits"]
    for hit in hits:
        parts = hit["explanation"]
        whole = parts["semantic"] + parts["lexical_weight"] * parts["lexical"] + parts["boost"]
        assert hit["score"] == pytest.approx(whole)
    assert hits[0]["explanation"]["boost"] == pytest.approx(0.2 * max(hit["explanation"]["semantic"] for hit in hits))
    plain = shop.post("/search", json={"query": "mug", "explain": True}).json()["hits"][0]
    assert plain["explanation"]["boost"] == 0


def test_pages_of_a_boosted_search_join(shop: TestClient) -> None:
    asked: dict[str, Any] = {"query": "mug", "limit": 2, "boost": [{"field": "sold", "weight": 0.5}]}
    whole = found(shop, "mug", boost=asked["boost"])
    page = shop.post("/search", json=asked).json()
    ids = [hit["id"] for hit in page["hits"]]
    while cursor := page["next_cursor"]:
        page = shop.post("/search", json=asked | {"cursor": cursor}).json()
        ids += [hit["id"] for hit in page["hits"]]
        without = {name: asked[name] for name in asked if name != "boost"}
        check(shop.post("/search", json=without | {"cursor": cursor}), 422, "invalid_cursor")
    assert ids == whole


def test_a_picture_search_takes_boosts_as_a_form_does(shop: TestClient) -> None:
    image = {"image": ("a.png", picture_file("red"), "image/png")}
    boost = '[{"field": "sold", "weight": 1}]'
    answer = shop.post("/search/image", files=image, data={"boost": boost, "filter": '{"brand": "Kiln"}'})
    assert [hit["id"] for hit in answer.json()["hits"]] == [f"mug-{n}" for n in reversed(range(6))]


def test_the_rules_lift_hits_of_searches_that_say_nothing_of_their_own(shop: TestClient) -> None:
    put(shop, boost=[{"field": "sold", "weight": 0.2}])
    assert mugs(shop) == [5, 4, 3, 2, 1, 0]
    assert mugs(shop, boost=[{"field": "price", "weight": -0.2}]) == [0, 1, 2, 3, 4, 5]
    assert mugs(shop, sort=[{"field": "price"}]) == [0, 1, 2, 3, 4, 5]
    hits = shop.post("/search", json={"query": "mug", "boost": [], "explain": True}).json()["hits"]
    assert {hit["explanation"]["boost"] for hit in hits} == {0}
    image = {"image": ("a.png", picture_file("red"), "image/png")}
    seen = shop.post("/search/image", files=image, data={"explain": "true"}).json()["hits"]
    assert any(hit["explanation"]["boost"] for hit in seen)
    listed = shop.post("/search", json={"limit": 3})
    assert listed.status_code == 200, "without a query there is nothing to lift"
    kept = shop.get("/rules").json()
    assert kept["boost"] == [{"field": "sold", "filter": None, "weight": 0.2}]
    assert shop.put("/rules", json=kept).json() == kept
    put(shop)
    first = shop.post("/search", json={"query": "mug", "explain": True}).json()["hits"][0]
    assert first["explanation"]["boost"] == 0


def test_a_picture_search_may_say_that_nothing_is_lifted(shop: TestClient) -> None:
    put(shop, boost=[{"field": "sold", "weight": 0.2}])
    image = {"image": ("a.png", picture_file("red"), "image/png")}
    hits = shop.post("/search/image", files=image, data={"explain": "true", "boost": "[]"}).json()["hits"]
    assert {hit["explanation"]["boost"] for hit in hits} == {0}


def test_a_cursor_ends_with_the_rules_that_it_was_made_under(shop: TestClient) -> None:
    cursor = shop.post("/search", json={"query": "mug", "limit": 2}).json()["next_cursor"]
    put(shop, boost=[{"field": "sold", "weight": 0.2}])
    check(shop.post("/search", json={"query": "mug", "limit": 2, "cursor": cursor}), 422, "invalid_cursor")


def test_rules_about_a_field_that_is_gone_lift_nothing(
    shop: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(shop, boost=[{"field": "sold", "weight": 0.2}, {"field": "price", "weight": -0.2}])
    index = shop.app.state.services.index  # type: ignore[attr-defined]
    known = index._fields._known
    monkeypatch.setattr(index._fields, "_known", {name: kinds for name, kinds in known.items() if name != "sold"})

    async def read() -> dict[str, set[str]]:
        return dict(index._fields._known)

    monkeypatch.setattr(index._fields, "_read", read)
    for _ in range(2):
        assert mugs(shop) == [0, 1, 2, 3, 4, 5]
    (said,) = [record.getMessage() for record in caplog.records if "lift nothing" in record.getMessage()]
    assert "'sold'" in said


@pytest.mark.parametrize(
    ("boost", "code", "says"),
    [
        ([{"field": "margin", "weight": 0.1}], "unknown_field", "boost[0].field"),
        ([{"field": "brand", "weight": 0.1}], "wrong_type", "numbers or dates"),
        ([{"filter": {"price": {"lt": "cheap"}}, "weight": 0.1}], "wrong_type", "boost[0].filter.price"),
        ([{"filter": {}, "weight": 0.1}], "validation_failed", "at least 1"),
        ([{"weight": 0.1}], "validation_failed", "field or filter"),
        ([{"field": "sold", "filter": {"brand": "Kiln"}, "weight": 0.1}], "validation_failed", "field or filter"),
        ([{"field": "sold", "weight": True}], "validation_failed", "valid number"),
        ([{"field": "sold", "weight": "0.1"}], "validation_failed", "valid number"),
        ([{"field": "sold", "weight": 2}], "validation_failed", "less than or equal to 1"),
        ([{"field": "sold"}], "validation_failed", "weight"),
        ([{"field": "sold", "weight": 0.1}] * 11, "validation_failed", "at most 10"),
    ],
)
def test_a_boost_that_cannot_be_is_refused_in_a_search_and_in_the_rules(
    shop: TestClient, boost: list[dict[str, Any]], code: str, says: str
) -> None:
    for answer in (
        shop.post("/search", json={"query": "mug", "boost": boost}),
        shop.put("/rules", json={"boost": boost}),
    ):
        check(answer, 422, code)
        assert says in answer.text
    assert shop.get("/rules").json()["boost"] == []


@pytest.mark.parametrize("other", [{"sort": [{"field": "price"}]}, {"rerank": 5}], ids=["sort", "rerank"])
def test_a_boost_beside_another_order_is_refused(shop: TestClient, other: dict[str, Any]) -> None:
    answer = shop.post("/search", json={"query": "mug", "boost": [{"field": "sold", "weight": 0.1}], **other})
    check(answer, 422, "validation_failed")
    assert "send one of them" in answer.text

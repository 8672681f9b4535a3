"""`facet_ranges`: how many hits lie in each range of a field."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from retriever.index.edge_process import EngineProcess
from tests.service.helpers import picture_file, post_item
from tests.service.test_problems import check

PRICES = [4, 8, 12, 12, 20, 99.5, None]


@pytest.fixture
def shop(client: TestClient) -> TestClient:
    for n, price in enumerate(PRICES):
        attributes = f'{{"made": "2026-0{n + 1}-01", "brand": "{"Kiln" if n % 2 else "Nord"}"}}'
        more = {} if price is None else {"price": price}
        assert post_item(client, f"{n}", title="stoneware mug", attributes=attributes, **more).status_code == 201
    return client


def ranges(client: TestClient, asked: dict[str, Any], field: str = "price") -> list[tuple[Any, Any, int]]:
    answer = client.post("/search", json=asked)
    assert answer.status_code == 200, answer.text
    return [(one["gte"], one["lt"], one["count"]) for one in answer.json()["facets"][field]["ranges"]]


@pytest.mark.parametrize("query", ["", "mug"])
def test_each_range_goes_from_its_bound_to_below_the_next(shop: TestClient, query: str) -> None:
    asked = {"query": query, "facet_ranges": {"price": [8, 12, 20]}}
    assert ranges(shop, asked) == [(None, 8, 1), (8, 12, 1), (12, 20, 2), (20, None, 2)]
    assert ranges(shop, asked | {"limit": 0}) == ranges(shop, asked)
    assert ranges(shop, asked | {"facet_ranges": {"price": [10]}}) == [(None, 10, 2), (10, None, 4)]
    answer = shop.post("/search", json=asked | {"facets": ["brand"]}).json()["facets"]
    assert set(answer) == {"brand", "price"}
    assert (answer["price"]["min"], answer["price"]["max"]) == (4, 99.5)
    assert answer["brand"]["ranges"] == []


def test_ranges_count_under_filters_and_floors(shop: TestClient) -> None:
    asked = {"query": "mug", "filter": {"brand": "Kiln"}, "facet_ranges": {"price": [12]}}
    assert ranges(shop, asked) == [(None, 12, 1), (12, None, 2)]
    assert ranges(shop, {"query": "mug", "min_score": 100.0, "facet_ranges": {"price": [12]}}) == [
        (None, 12, 0),
        (12, None, 0),
    ]


def test_the_ends_of_a_range_are_a_filter(shop: TestClient) -> None:
    for low, high, count in ranges(shop, {"query": "mug", "facet_ranges": {"price": [8, 20]}}):
        bounds = {name: bound for name, bound in (("gte", low), ("lt", high)) if bound is not None}
        assert shop.post("/search", json={"query": "mug", "filter": {"price": bounds}}).json()["total"] == count


def test_ranges_of_dates(shop: TestClient) -> None:
    asked = {"query": "mug", "facet_ranges": {"made": ["2026-02-01", "2026-06-15"]}}
    assert ranges(shop, asked, "made") == [
        (None, "2026-02-01", 1),
        ("2026-02-01", "2026-06-15", 5),
        ("2026-06-15", None, 1),
    ]


def test_dates_go_up_however_they_are_written(shop: TestClient) -> None:
    asked = {"query": "mug", "facet_ranges": {"made": ["20260201", "2026-06-15T00:00:00Z"]}}
    assert [count for _, _, count in ranges(shop, asked, "made")] == [1, 5, 1]


def test_a_field_may_be_called_as_filters_join(client: TestClient) -> None:
    assert post_item(client, "a", title="mug", attributes='{"or": 3}').status_code == 201
    assert ranges(client, {"query": "mug", "facet_ranges": {"or": [2]}}, "or") == [(None, 2, 0), (2, None, 1)]


def test_a_form_takes_ranges_too(shop: TestClient) -> None:
    image = {"image": ("a.png", picture_file("red"), "image/png")}
    answer = shop.post("/search/image", files=image, data={"facet_ranges": '{"price": [12]}'})
    assert [one["count"] for one in answer.json()["facets"]["price"]["ranges"]] == [2, 4]


def test_an_empty_shop_has_empty_ranges(client: TestClient) -> None:
    assert ranges(client, {"facet_ranges": {"price": [8]}}) == [(None, 8, 0), (8, None, 0)]


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        ({"pric": [8]}, "unknown_field", "facet_ranges.pric"),
        ({"brand": [8]}, "wrong_type", "facet_ranges.brand"),
        ({"price": ["2026-01-31"]}, "wrong_type", "numbers"),
        ({"price": ["8"]}, "validation_failed", "ISO dates"),
        ({"price": []}, "validation_failed", "at least 1"),
        ({"price": [8, 8]}, "validation_failed", "go up"),
        ({"price": [9, 8]}, "validation_failed", "go up"),
        ({"price": [8, "9"]}, "validation_failed", "go up"),
        ({"price": [True]}, "validation_failed", "facet_ranges.price"),
        ({"price": list(range(21))}, "validation_failed", "at most 20"),
        ({name: list(range(17)) for name in ("price", "stock", "id")}, "validation_failed", "more than 50"),
        ({"made": ["2026-12-31", "2026-02-01"]}, "validation_failed", "go up"),
        ({"made": ["2026-01-31T23:00:00+00:00", "2026-02-01T00:00:00+05:00"]}, "validation_failed", "go up"),
        ({"made": ["spring"]}, "validation_failed", "ISO dates"),
        ({"made": [5]}, "wrong_type", "date"),
    ],
)
def test_bounds_that_cannot_be_are_refused(shop: TestClient, asked: dict[str, Any], code: str, says: str) -> None:
    answer = shop.post("/search", json={"query": "mug", "facet_ranges": asked})
    check(answer, 422, code)
    assert says in answer.text


def test_many_counts_among_hits_let_other_searches_go_in_between(
    shop: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A floor leaves hits that each count names one by one: what that costs, only the search itself is to wait for."""
    under_way, most, calls = 0, 0, list[str]()
    call = EngineProcess.call

    async def counted(self: EngineProcess, method: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal under_way, most
        calls.append(method.__name__)
        under_way += 1
        most = max(most, under_way)
        try:
            return await call(self, method, *arguments)
        finally:
            under_way -= 1

    post_item(shop, "shoe", title="black shoe", attributes='{"made": "2026-08-01", "brand": "Kiln"}', price=15)
    bounds = {"price": list(range(5, 25)), "made": [f"2026-{month:02}-15" for month in range(1, 13)]}
    asked = {"query": "mug", "relevance_floor": 0.1, "filter": {"brand": "Kiln"}, "facet_ranges": bounds}
    every = shop.post("/search", json={"query": "mug", "filter": {"brand": "Kiln"}, "facet_ranges": bounds}).json()
    floor = shop.post("/search", json=asked).json()["hits"][2]["score"]  # of the last mug
    monkeypatch.setattr(EngineProcess, "call", counted)
    some = shop.post("/search", json=asked | {"min_score": floor, "facets": ["brand", "price"]}).json()
    assert (some["total"], every["total"]) == (3, 4)
    for name in bounds:
        parts = some["facets"][name]["ranges"], every["facets"][name]["ranges"]
        assert [(one["gte"], one["lt"]) for one in parts[0]] == [(one["gte"], one["lt"]) for one in parts[1]]
        assert sum(one["count"] for one in parts[0]) == 3
        assert all(few["count"] <= many["count"] for few, many in zip(*parts, strict=True))
    assert most <= 2
    assert len(calls) < 20, "not one for each of the ranges"


def test_an_attribute_with_a_backslash_in_its_name(client: TestClient) -> None:
    for n in range(2):
        attributes = f'{{"W\\\\H": "{n}/3"}}'
        assert post_item(client, f"{n}", title="mug", attributes=attributes).status_code == 201
    answer = client.post("/search", json={"query": "", "filter": {"W\\H": "1/3"}, "facets": ["attributes.W\\H"]}).json()
    assert [hit["id"] for hit in answer["hits"]] == ["1"]
    assert answer["facets"]["attributes.W\\H"]["values"] == [{"value": "1/3", "count": 1}]

"""What POST /search and its sisters take beside a query, over the real index."""

import asyncio
import base64
import json
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from retriever import ItemInput, Retriever
from retriever.index.fields import BUILT_IN
from retriever.index.fusion import CODE_WEIGHT, LEXICAL_WEIGHT
from retriever.scoring import maxsim
from service.app import create_app
from service.search_schemas import SearchRequest, SearchResponse
from service.searcher import Searcher
from service.settings import Settings
from tests.service.helpers import MUGS, picture_file, post_item


def search(client: TestClient, query: str = "mug", **more: Any) -> Any:
    answer = client.post("/search", json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: Any) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


def test_filters_facets_and_totals_agree(mugs: TestClient) -> None:
    answer = search(mugs, filter={"category": "Home", "price": {"lt": 30}}, facets=["brand", "price", "category"])
    assert sorted(ids(answer)) == ["mug-1", "mug-2"]
    assert answer["total"] == 2
    assert answer["facets"]["brand"]["values"] == [{"value": "Kiln", "count": 1}, {"value": "Nord", "count": 1}]
    assert (answer["facets"]["price"]["min"], answer["facets"]["price"]["max"]) == (8, 12)
    assert answer["facets"]["category"]["values"][0] == {"value": "Home", "count": 2}
    assert ids(search(mugs, filter={"available": False})) == ["mug-2"]
    assert sorted(ids(search(mugs, filter={"updated_at": {"gte": "2026-01-01"}}))) == sorted(ids(search(mugs)))


@pytest.mark.parametrize(
    "moment", ["9999-12-31T23:59:59.9999999", "9999-12-31T23:59:59.999999", "0001-01-01T00:00+01:00"]
)
def test_dates_at_the_ends_of_the_calendar(client: TestClient, moment: str) -> None:
    post_item(client, "mug", title="mug", attributes=json.dumps({"valid to": moment}))
    facet = search(client, facets=["valid to"])["facets"]["valid to"]
    assert facet["max"][:4] == moment[:4]


@pytest.mark.parametrize("offset", ["-5", "-1", "9" * 20, "1_0", " 3"])
def test_a_forged_cursor_is_none(mugs: TestClient, offset: str) -> None:
    cursor = search(mugs, limit=1)["next_cursor"]
    _, mark = base64.urlsafe_b64decode(cursor + "==").decode().split(":")
    forged = base64.urlsafe_b64encode(f"{offset}:{mark}".encode()).decode().rstrip("=")
    answer = mugs.post("/search", json={"query": "mug", "limit": 1, "cursor": forged})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


def test_what_is_not_wanted_leaves_the_others_when_they_are_sorted(mugs: TestClient) -> None:
    """Their likeness may be less than nothing then."""
    found = ids(search(mugs, "mug -lamp -red -blue"))
    assert len(found) == 3
    assert sorted(ids(search(mugs, "mug -lamp -red -blue", sort=[{"field": "price"}]))) == sorted(found)


def test_keywords_are_sorted_as_in_a_dictionary_and_numbers_group_as_they_were_given(client: TestClient) -> None:
    for n, brand in enumerate(["Banana", "apple", "cherry", "Date"]):
        post_item(client, brand, title="mug", attributes=json.dumps({"brand": brand, "style": 17 + n % 2}))
    answer = search(client, sort=[{"field": "brand"}], relevance_floor=0)
    assert ids(answer) == ["apple", "Banana", "cherry", "Date"]
    groups = search(client, group_by="style")["hits"]
    assert {hit["group"]["value"] for hit in groups} == {"17", "18"}


def test_sizes_of_numbers_and_letters_are_all_in_order(client: TestClient) -> None:
    for size in (42, "M", "L", 38, "40"):
        post_item(client, str(size), title="mug", attributes=json.dumps({"size": size}))
    post_item(client, "none", title="mug")
    order = search(client, sort=[{"field": "size"}], relevance_floor=0)
    assert ids(order) == ["38", "40", "42", "L", "M", "none"]


def test_a_number_that_no_item_has_decides_nothing(mugs: TestClient) -> None:
    hit = search(mugs, "mug under 20000", explain=True)["hits"][0]
    assert hit["explanation"]["lexical_weight"] == LEXICAL_WEIGHT
    assert post_item(mugs, "sku", title="Mug", attributes='{"article": "20000"}').status_code == 201
    hit = search(mugs, "mug 20000", explain=True)["hits"][0]
    assert (hit["id"], hit["explanation"]["lexical_weight"]) == ("sku", CODE_WEIGHT)


def test_without_a_query_a_category_is_listed(client: TestClient) -> None:
    for n in range(6):
        attributes = json.dumps({"style": f"S{n // 2}", "brand": "Nord"})
        post_item(client, f"mug-{n}", title="mug", price=10 - n, category="Mugs", attributes=attributes)
    post_item(client, "lamp", title="lamp", price=1)
    mugs: dict[str, Any] = {"filter": {"category": "Mugs"}, "limit": 4}
    newest = search(client, "", facets=["brand"], **mugs)
    assert (ids(newest), newest["total"]) == (["mug-5", "mug-4", "mug-3", "mug-2"], 6)
    assert newest["facets"]["brand"]["values"] == [{"value": "Nord", "count": 6}]
    assert ids(search(client, "", cursor=newest["next_cursor"], **mugs)) == ["mug-1", "mug-0"]
    assert ids(search(client, "", sort=[{"field": "price", "order": "desc"}], offset=3, **mugs)) == [
        "mug-3", "mug-4", "mug-5",
    ]  # fmt: skip
    groups = search(client, "", group_by="style", sort=[{"field": "price"}], **mugs)
    assert [(hit["id"], hit["group"]["count"]) for hit in groups["hits"]] == [("mug-5", 2), ("mug-3", 2), ("mug-1", 2)]
    assert (groups["total"], groups["next_cursor"]) == (3, None)
    assert client.post("/search/batch", json={"searches": [mugs]}).json()["results"][0]["total"] == 6


@pytest.mark.parametrize(
    ("query", "left"),
    [("?!", ["c", "b", "a"]), ("🍎", ["c", "b", "a"]), ('""', ["c", "b", "a"]), ('-steel -"red mug"', ["b"])],
)
def test_a_query_in_which_no_word_is_wanted_lists_what_is_left(client: TestClient, query: str, left: list[str]) -> None:
    for item_id, title in (("a", "red mug"), ("b", "blue mug"), ("c", "mug of steel")):
        post_item(client, item_id, title=title)
    answer = search(client, query)
    assert (ids(answer), answer["total"]) == (left, len(left))


def test_an_empty_shop_lists_nothing(client: TestClient) -> None:
    assert search(client, "")["hits"] == []


def test_an_items_own_fields_are_known_before_any_item_has_them(client: TestClient) -> None:
    always: dict[str, Any] = {"filter": {"stock": {"gt": 0}}, "facets": list(BUILT_IN), "sort": [{"field": "price"}]}
    for query in ("", "mug"):
        answer = search(client, query, **always)
        assert (answer["hits"], answer["total"]) == ([], 0)
        assert answer["facets"] == {name: {"values": [], "min": None, "max": None, "ranges": []} for name in BUILT_IN}
    for asked in ({"category": "Home>Mugs"}, {"available": True}, {"created_at": {"lt": "2026-01-01"}}):
        assert client.get("/items", params={"filter": json.dumps(asked)}).json()["total"] == 0
    post_item(client, "mug", title="mug")
    for query in ("", "mug"):
        assert search(client, query, **always)["total"] == 0
        not_sold_out = {**always, "filter": {"not": {"stock": 0}}, "group_by": "category"}
        assert ids(search(client, query, **not_sold_out)) == ["mug"]
    listed = client.get("/items", params={"sort": "stock:desc", "facets": "stock"}).json()
    assert ([one["id"] for one in listed["items"]], listed["facets"]["stock"]["values"]) == (["mug"], [])
    refused = client.post("/search", json={"filter": {"stock": {"from": 1}}}).json()
    assert (refused["code"], refused["errors"][0]["field"]) == ("invalid_filter", "body.filter.stock")
    post_item(client, "all", title="mug", category="Home", price=1, stock=1)
    assert {one["name"] for one in client.get("/fields").json()["fields"]} == set(BUILT_IN)
    assert ids(search(client, **always)) == ["all"]


def test_a_mistyped_field_is_answered_with_those_like_it(client: TestClient) -> None:
    names = [*(f"a{n}" for n in range(30)), "colour", "material"]
    post_item(client, "mug", title="mug", attributes=json.dumps(dict.fromkeys(names, "x")))
    refused = client.post("/search", json={"filter": {"attributes.color": "red"}}).json()
    assert "there are: colour, a0, a1" in refused["detail"]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"rerank": 5}, "validation_failed", "rerank is about what is found by a query"),
        ({"exclude": ["steel"]}, "validation_failed", "exclude is about"),
        ({"sort": [{"field": "price"}, {"field": "stock"}]}, "invalid_sort", "one order"),
        ({"sort": [{"field": "brand"}]}, "wrong_type", "numbers or dates"),
    ],
)
def test_what_needs_a_query_says_so(mugs: TestClient, body: dict[str, Any], code: str, said: str) -> None:
    answer = mugs.post("/search", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert said in answer.json()["detail"]


def test_what_a_storefront_always_sends_does_nothing_without_a_query(mugs: TestClient) -> None:
    always = {"explain": True, "highlight": True, "min_score": 0.3, "relevance_floor": 0.9}
    plain = search(mugs, "")
    for query in ("", None):
        answer = mugs.post("/search", json={"query": query, **always})
        assert answer.status_code == 200, answer.text
        assert answer.json()["hits"] == plain["hits"]


@pytest.mark.parametrize(
    "more", [{}, {"mode": "lexical"}, {"sort": [{"field": "price"}]}, {"group_by": "brand"}, {"min_score": 0.1}]
)
@pytest.mark.parametrize("query", ["", "mug", "mug -steel"])
def test_facets_and_the_total_alone(mugs: TestClient, query: str, more: dict[str, Any]) -> None:
    whole = search(mugs, query, facets=["brand"], **more)
    alone = search(mugs, query, facets=["brand"], limit=0, **more)
    assert (alone["hits"], alone["next_cursor"]) == ([], None)
    assert (alone["total"], alone["facets"]) == (whole["total"], whole["facets"])


def test_without_hits_nothing_is_encoded(mugs: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = mugs.app.state.services.encoder  # type: ignore[attr-defined]
    monkeypatch.setattr(encoder, "encode_query", None)
    assert search(mugs, "red mug", limit=0)["total"] == 4


@pytest.mark.parametrize("asked", [{"sort": [{"field": "line"}]}, {"group_by": "line"}, {"filter": {"line": "A1"}}])
def test_whatever_names_a_field_that_another_instance_brought_finds_it(mugs: TestClient, asked: Any) -> None:
    index = mugs.app.state.services.index  # type: ignore[attr-defined]
    del index._fields._known["line"]
    assert search(mugs, **asked)["hits"]
    del index._fields._known["line"]
    assert mugs.get("/items/mug-1/similar?group_by=line").status_code == 200


def test_dates_come_back_as_dates(mugs: TestClient) -> None:
    item = mugs.get("/items/lamp").json()
    assert search(mugs, facets=["created_at"])["facets"]["created_at"]["max"][:19] == item["created_at"][:19]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"filter": {"nope": 1}}, "unknown_field", "body.filter.nope"),
        ({"filter": {"price": "cheap"}}, "wrong_type", "body.filter.price"),
        ({"filter": {"or": 3}}, "invalid_filter", "body.filter.or"),
        ({"facets": ["nope"]}, "unknown_field", "body.facets"),
        ({"sort": [{"field": "price"}, {"field": "nope"}]}, "unknown_field", "body.sort[1].field"),
        ({"group_by": "nope"}, "unknown_field", "body.group_by"),
        ({"cursor": "nope"}, "invalid_cursor", "body.cursor"),
    ],
)
def test_what_cannot_be_says_where(mugs: TestClient, body: Any, code: str, field: str) -> None:
    answer = mugs.post("/search", json={"query": "mug", **body})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["field"] == field
    many = mugs.post("/search/batch", json={"searches": [{"query": "mug"}, {"query": "mug", **body}]}).json()
    place = field.removeprefix("body.")
    assert (many["code"], many["errors"][0]["field"]) == (code, f"body.searches.1.{place}")
    assert many["detail"].startswith(f"searches.1.{place} ")


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_sorting_by_price_leaves_out_what_is_not_relevant(mugs: TestClient, mode: str) -> None:
    hits = search(mugs, mode=mode, explain=True)["hits"]
    # Words in common lift a hit, and do not push out others that are like what is looked for.
    best = max(hit["score"] if mode == "lexical" else hit["explanation"]["semantic"] for hit in hits)
    middle = sorted(hit["score"] for hit in hits)[len(hits) // 2]
    scale = max(best, 0.2)
    floor = min(1.0, 1 - (best - middle) / scale) - 1e-6
    relevant = [hit["id"] for hit in hits if hit["score"] >= best - (1 - floor) * scale]
    price = {str(product["id"]): product["price"] for product in MUGS}
    answer = search(mugs, mode=mode, sort=[{"field": "price", "order": "desc"}], relevance_floor=floor)
    assert ids(answer) == sorted(relevant, key=lambda one: -price[one])
    assert answer["total"] == len(relevant)
    # What a shopper ticks is counted among what is shown.
    counted = search(mugs, mode=mode, sort=[{"field": "price"}], relevance_floor=floor, facets=["id"], limit=1)[
        "facets"
    ]
    assert sorted(one["value"] for one in counted["id"]["values"]) == sorted(relevant)
    assert mode != "semantic" or len(relevant) < len(MUGS)


def test_cursors_page_through_one_search(mugs: TestClient) -> None:
    everything, found, cursor = ids(search(mugs)), [], None
    while True:
        answer = search(mugs, limit=3, **({"cursor": cursor} if cursor else {}))
        found += ids(answer)
        cursor = answer["next_cursor"]
        if cursor is None:
            break
        refused = mugs.post("/search", json={"query": "lamp", "cursor": cursor})
        assert refused.json()["code"] == "invalid_cursor", "a cursor belongs to its search"
        for other in ({"mode": "semantic"}, {"correct": False}):
            refused = mugs.post("/search", json={"query": "mug", "cursor": cursor, **other})
            assert refused.json()["code"] == "invalid_cursor"
    assert found == everything


def test_modes(mugs: TestClient) -> None:
    assert sorted(ids(search(mugs, "steel", mode="lexical"))) == ["mug-3"]
    assert search(mugs, "steel", mode="lexical")["total"] == 1
    semantic = search(mugs, "steel", mode="semantic", explain=True)
    assert [hit["explanation"]["lexical_weight"] for hit in semantic["hits"]] == [0] * 4
    assert search(mugs, "steel")["hits"][0]["id"] == "mug-3"


def test_words_that_must_not_be_there(mugs: TestClient) -> None:
    assert sorted(ids(search(mugs, "mug -steel -lamp"))) == ["mug-1", "mug-2"]
    assert sorted(ids(search(mugs, "mug", exclude=["steel", "lamp"]))) == ["mug-1", "mug-2"]
    assert ids(search(mugs, '"travel mug"')) == ["mug-3"]
    assert sorted(ids(search(mugs, 'mug -"travel mug"'))) == ["lamp", "mug-1", "mug-2"]


def test_misspelt_words_are_corrected_and_the_answer_says_so(mugs: TestClient) -> None:
    answer = search(mugs, "stonware mug")
    assert (answer["corrected_query"], ids(answer)[0]) == ("stoneware mug", "mug-1")
    assert search(mugs, "stonware mug", correct=False)["corrected_query"] is None


def test_groups(mugs: TestClient) -> None:
    answer = search(mugs, filter={"brand": ["Kiln", "Nord"]}, group_by="line")
    groups = {hit["group"]["value"]: hit["group"]["count"] for hit in answer["hits"]}
    assert (groups, answer["total"]) == ({"A0": 2, "A1": 1}, 2)


def test_why(client: TestClient, tiny_retriever: Retriever) -> None:
    post_item(client, "two", picture_file("red"), picture_file("blue"), title="Blue mugs")
    (hit,) = search(client, "blue mug", explain=True, highlight=True)["hits"]
    why = hit["explanation"]
    assert hit["score"] == pytest.approx(why["semantic"] + why["lexical_weight"] * why["lexical"])
    assert why["words"] == ["blue", "mug"]
    alone = [ItemInput(Image.new("RGB", (60, 40), colour), "Blue mugs") for colour in ("red", "blue")]
    question, items = tiny_retriever.encode_queries(["blue mug"]), tiny_retriever.encode_items(alone)
    scores = maxsim(torch.from_numpy(question), torch.from_numpy(items))[0]
    assert why["picture"] == int(scores.argmax())
    assert hit["highlights"] == {"title": "<mark>Blue</mark> <mark>mugs</mark>", "description": ""}


def test_a_request_says_how_many_values_a_facet_has(client: TestClient) -> None:
    lines = [json.dumps({"id": str(n), "title": "mug", "attributes": {"maker": f"Maker {n}"}}) for n in range(25)]
    client.post("/items/bulk", content="\n".join(lines), headers={"Content-Type": "application/x-ndjson"})

    def counted(answer: Any) -> int:
        return len(answer.json()["facets"]["maker"]["values"])

    asked = {"query": "mug", "facets": ["maker"]}
    for size, expected in ((None, 20), (3, 3), (500, 25)):
        more = {} if size is None else {"facet_size": size}
        assert counted(client.post("/search", json={**asked, **more})) == expected
        assert counted(client.get("/items", params={"facets": "maker", **more})) == expected
        parts: dict[str, Any] = {"image": ("x.png", picture_file()), "facets": (None, "maker")}
        parts |= {name: (None, str(value)) for name, value in more.items()}
        assert counted(client.post("/search/image", files=parts)) == expected
    for size in (0, 501):
        assert client.post("/search", json={**asked, "facet_size": size}).json()["code"] == "validation_failed"
        assert client.get("/items", params={"facets": "maker", "facet_size": size}).status_code == 422


def test_many_searches_at_once(mugs: TestClient) -> None:
    single = [ids(search(mugs, query)) for query in ("mug", "lamp")]
    answer = mugs.post("/search/batch", json={"searches": [{"query": "mug"}, {"query": "lamp"}]})
    assert [ids(result) for result in answer.json()["results"]] == single
    assert mugs.post("/search/batch", json={"searches": []}).status_code == 422
    for wrong, place in (({"limit": -1}, "limit"), ({"filter": {"nope": 1}}, "filter.nope")):
        refused = mugs.post("/search/batch", json={"searches": [{"query": "mug"}, {"query": "a", **wrong}]})
        assert refused.json()["errors"][0]["field"] == f"body.searches.1.{place}"
    refused = mugs.post("/search/batch", json={"searches": [{}, {"facets": ["nope"]}]})
    assert refused.json()["errors"][0]["field"] == "body.searches.1.facets"
    assert refused.json()["detail"].startswith("searches.1.facets names 'nope'")


def test_a_refused_batch_ends_its_other_searches(mugs: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    search, ended = Searcher.search, []

    async def search_or_wait(self: Searcher, request: SearchRequest, place: str) -> SearchResponse:
        if request.query == "lamp":
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(place)
        return await search(self, request, place)

    monkeypatch.setattr(Searcher, "search", search_or_wait)
    searches = [{"query": "lamp"}, {"query": "mug", "filter": {"nope": 1}}, {"query": "lamp"}]
    assert mugs.post("/search/batch", json={"searches": searches}).status_code == 422
    assert mugs.get("/health/live").status_code == 200  # by then they have heard of it
    assert ended == ["body.searches.0", "body.searches.2"]


def test_suggestions_follow_the_catalogue(mugs: TestClient) -> None:
    def suggested(typed: str) -> list[str]:
        answer = mugs.get("/suggest", params={"q": typed})
        assert answer.status_code == 200, answer.text
        return [one["text"] for one in answer.json()["suggestions"]]

    assert suggested("stone") == ["Stoneware mug"]
    assert suggested("stnoe") == ["Stoneware mug"]
    assert "Nord" in suggested("no")
    mugs.delete("/items/mug-1")
    assert suggested("stone") == []


def test_an_article_number_is_found_before_its_end(client: TestClient) -> None:
    for number in ("KC-1764", "KC-1801"):
        post_item(client, number.replace("-", "."), title="Mug", attributes=f'{{"article": "{number}"}}')
    answer = search(client, "kc-17", complete=True)
    assert (answer["corrected_query"], ids(answer)[0]) == ("kc-1764", "KC.1764")
    suggested = client.get("/suggest", params={"q": "kc-1"}).json()["suggestions"]
    assert {one["text"] for one in suggested} == {"KC-1764", "KC-1801"}


def test_a_long_text_has_no_suggestions(client: TestClient) -> None:
    """A page asks for them with whatever is pasted, and searches for it next."""
    post_item(client, "mug", title="Stoneware mug")
    for typed, status in (("stone " * 40, 200), ("stone " * 170, 422)):
        answer = client.get("/suggest", params={"q": typed})
        assert (answer.status_code, answer.json().get("suggestions", [])) == (status, [])


def test_suggestions_are_there_after_a_restart(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        post_item(client, "mug", title="Stoneware mug")
    with TestClient(create_app(settings)) as client:
        for _ in range(100):  # learned in the background
            if found := client.get("/suggest", params={"q": "stone"}).json()["suggestions"]:
                break
        assert found

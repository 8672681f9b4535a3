"""The clients in examples/ do what they say, against a running service."""

import functools
import io
import json
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright._impl._driver import compute_driver_executable
from pydantic import BaseModel

from examples import client
from examples.client import Client, Event, Rules, SearchError
from service import event_schemas, rules, schemas, search_schemas
from tests.end_to_end.serving import Running, Server

WALK = Path(__file__).parent / "client_walk.mjs"
DESCRIPTION = "Holds 350 ml.\nDishwasher-safe."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, running_tiny: Running) -> Iterator[Server]:
    with running_tiny(tmp_path_factory.mktemp("clients") / "data", SEARCH_EVENTS="true") as server:
        yield server


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    buffer = io.BytesIO()
    Image.frombytes("RGB", (80, 60), random.Random(0).randbytes(3 * 80 * 60)).save(buffer, "PNG")
    (tmp_path / "mug.png").write_bytes(buffer.getvalue())
    return tmp_path / "mug.png"


def test_the_python_client(server: Server, picture: Path) -> None:
    with Client(server.url) as shop:
        mug = shop.put(
            "mug/1",
            {
                "title": "red mug",
                "description": DESCRIPTION,
                "category": ["Home", "Mugs"],
                "price": 12.5,
                "stock": None,
                "attributes": {"b": "Kiln"},
            },
            pictures=[picture, picture.read_bytes()],
            only_new=True,
        )
        assert (len(mug["images"]), mug["category"], mug["description"]) == (2, ["Home", "Mugs"], DESCRIPTION)
        with pytest.raises(SearchError, match="already") as refused:
            shop.put("mug/1", {"title": "other"}, only_new=True)
        assert (refused.value.status, refused.value.code) == (412, "already_exists")
        assert shop.change("mug/1", {"price": 9, "stock": 2}, if_version=mug["version"])["price"] == 9
        with pytest.raises(SearchError, match="version_mismatch"):
            shop.change("mug/1", {"price": 1}, if_version=mug["version"])

        stored = list(shop.bulk(iter([{"id": "lamp", "title": "blue lamp", "price": 40}, {"id": "bad", "price": -1}])))
        assert [(one["id"], one["status"]) for one in stored] == [("lamp", 201), ("bad", 422)]

        found = shop.search("mug", filter={"price": {"lt": 20}}, facets=["b"], explain=True)
        assert [hit["id"] for hit in found["hits"]] == ["mug/1"]
        assert found["facets"]["b"]["values"][0]["value"] == "Kiln"
        assert found["hits"][0]["explanation"]
        both = shop.search_batch([{"query": "mug", "limit": 1}, {"query": "lamp", "limit": 0}])
        assert [(len(one["hits"]), one["total"]) for one in both] == [(1, 2), (0, 2)]
        assert len(shop.search_image(picture, "mug", words=0.5, explain=True, limit=1)["hits"]) == 1
        click: Event = {"search_id": found["search_id"], "item_id": "mug/1", "position": 0, "kind": "click"}
        assert shop.send_events([click]) == 1
        assert {"name": "price", "kinds": ["number"]} in shop.fields()
        assert shop.put_rules({"curations": [{"query": "gift", "pin": ["lamp"]}]}) == shop.rules()
        assert [(hit["id"], hit["pinned"]) for hit in shop.search("gift")["hits"]] == [("lamp", True), ("mug/1", False)]
        calls: list[Rules] = []

        def with_synonym(rules: Rules) -> Rules:
            if not calls:
                shop.put_rules({})  # somebody else's change comes between
            calls.append(rules)
            return {**rules, "synonyms": [{"words": ["cup"], "means": "mug"}]}

        edited = shop.edit_rules(with_synonym)
        assert [len(one["curations"]) for one in calls] == [1, 0], "it is asked again"
        assert edited == shop.rules()
        assert (edited["curations"], len(edited["synonyms"])) == ([], 1)
        shop.put_rules({})
        with pytest.raises(SearchError, match="image_urls_off"):
            shop.search_image("https://shop.example/mug.jpg")
        with pytest.raises(SearchError, match="image_urls_off"):
            shop.put("far", {"title": "mug"}, pictures=["https://shop.example/mug.jpg"])
        assert sorted(hit["id"] for hit in shop.search_all("mug", limit=1)) == ["lamp", "mug/1"]
        assert [hit["id"] for hit in shop.similar("mug/1")["hits"]] == ["lamp"]
        assert shop.similar("mug/1", filter={"price": {"lt": 20}})["hits"] == []
        assert shop.similar("mug/1", fields=["title"])["hits"][0]["item"] == {"id": "lamp", "title": "blue lamp"}
        assert [hit["id"] for hit in shop.recommend(["mug/1"], limit=5)["hits"]] == ["lamp"]
        assert "blue lamp" in shop.suggest("blu")

        assert [item["id"] for item in shop.items({"price": {"gt": 10}})] == ["lamp"]
        assert [item["id"] for item in shop.items(sort="price:desc")] == ["lamp", "mug/1"]
        assert list(shop.items({"id": "lamp"}, fields=["title", "price"])) == [
            {"id": "lamp", "title": "blue lamp", "price": 40.0}
        ]
        assert shop.count() == 2
        assert shop.get("mug/1")["title"] == "red mug"
        with pytest.raises(SearchError, match="version_mismatch"):
            shop.delete("mug/1", if_version=mug["version"])
        shop.delete("mug/1", if_version=shop.get("mug/1")["version"])
        with pytest.raises(SearchError, match="item_not_found"):
            shop.get("mug/1")
        with pytest.raises(SearchError, match="empty_filter"):
            shop.delete_where({})
        assert shop.delete_all() == 1


def test_pages_of_a_catalogue_that_came_in_pieces(server: Server) -> None:
    lines = [
        {"id": str(n), "title": 5 if n == 501 else "mug", "attributes": {"style": "ab"[n % 2]}} for n in range(1, 503)
    ]
    with Client(server.url) as shop:
        results = list(shop.bulk(iter(lines)))
        assert [one["line"] for one in results] == list(range(1, 503))
        assert [(one["line"], one["id"]) for one in results if one["status"] != 201] == [(501, "501")]

        assert len(list(shop.search_all("mug", limit=100, offset=350))) == 151
        first = shop.similar("1", 2)
        second = [hit["id"] for hit in shop.similar("1", 2, cursor=first["next_cursor"])["hits"]]
        assert [hit["id"] for hit in shop.similar("1", 2, offset=2)["hits"]] == second
        assert not {hit["id"] for hit in first["hits"]} & set(second)
        (other,) = shop.similar("1", 2, group_by="style")["hits"]
        assert (other["group"] or {})["value"] == "a"
        assert shop.delete_all() == 501


Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], Client]:
    """A client of a service that answers so."""

    def make(answer: Answer) -> Client:
        with_transport = functools.partial(httpx.Client, transport=httpx.MockTransport(answer))
        monkeypatch.setattr(httpx, "Client", with_transport)
        return Client("http://shop")

    return make


def stored(ids: list[str]) -> bytes:
    """What the service says of lines that it has stored."""
    results = [{"line": n, "id": one, "status": 201} for n, one in enumerate(ids, 1)]
    return "".join(json.dumps(result, ensure_ascii=False) + "\n" for result in results).encode()


def ids_in(request: httpx.Request) -> list[str]:
    return [json.loads(line)["id"] for line in request.content.splitlines()]


def test_bulk_reads_answers_between_pieces_and_sends_one_again_after_an_overload(
    answering: Callable[[Answer], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[str]] = []
    refusals = [(429, "0"), (503, "Sat, 28 Nov 2026 12:00:00 GMT")]
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(ids_in(request))
        if len(sent) > 1 and refusals:
            status, asked = refusals.pop()
            return httpx.Response(status, headers={"Retry-After": asked})
        return httpx.Response(200, content=stored(sent[-1]))

    taken: list[str] = []

    def lines() -> Iterator[dict[str, Any]]:
        for n in range(600):
            taken.append(str(n))
            yield {"id": str(n)}

    results = answering(answer).bulk(lines())
    assert next(results)["line"] == 1
    assert len(taken) == 500, "the rest is made when it is wanted"
    assert [one["line"] for one in results] == list(range(2, 601))
    assert sent == [taken[:500], taken[500:], taken[500:], taken[500:]]
    assert 1 <= pauses[0] <= 1.25, "a date is of no use to a clock that may be wrong"
    assert pauses[1:] == [0]


def test_bulk_sends_few_lines_at_a_time_that_hold_pictures(answering: Callable[[Answer], Client]) -> None:
    sent: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(len(ids_in(request)))
        return httpx.Response(200, content=stored(ids_in(request)))

    line = {"id": "a", "images": ["A" * 3 * 2**20]}
    assert [one["line"] for one in answering(answer).bulk([line] * 4)] == [1, 2, 3, 4]
    assert sent == [3, 1]


def test_bulk_takes_a_line_of_the_answer_for_one_whatever_is_in_its_id(answering: Callable[[Answer], Client]) -> None:
    shop = answering(lambda request: httpx.Response(200, content=stored(ids_in(request))))
    assert [one["id"] for one in shop.bulk([{"id": "a\u2028b"}])] == ["a\u2028b"]


def test_bulk_says_where_a_service_that_closes_stopped(answering: Callable[[Answer], Client]) -> None:
    closing = {"line": 2, "id": "b", "status": 503, "code": "draining", "detail": "closing"}
    shop = answering(lambda _: httpx.Response(200, content=stored(["a"]) + json.dumps(closing).encode() + b"\n"))
    results = shop.bulk({"id": one} for one in "abc")
    assert [next(results)["status"], next(results)["status"]] == [201, 503]
    with pytest.raises(SearchError, match="draining"):
        next(results)


TYPES: list[tuple[str, type[BaseModel], tuple[str, ...]]] = [  # with what is a parameter of its own
    ("Item", schemas.Item, ()),
    ("Hit", search_schemas.SearchHit, ()),
    ("Results", search_schemas.SearchResponse, ()),
    ("PageOptions", search_schemas.RecommendRequest, ("items",)),
    ("Options", search_schemas.SearchRequest, ("query",)),
    ("Search", search_schemas.SearchRequest, ()),
    ("ImageOptions", search_schemas.ImageSearchForm, ("image", "image_url", "query")),
    ("BulkResult", schemas.BulkResult, ()),
    ("Event", event_schemas.ShopperEvent, ()),
    ("FieldInfo", schemas.FieldInfo, ()),
    ("Rules", rules.Rules, ()),
]


@pytest.mark.parametrize(
    ("name", "model", "apart"),
    [
        *TYPES,
        ("Fields", schemas.ItemContent, ()),
        ("Synonym", rules.Synonym, ()),
        ("Curation", rules.Curation, ()),
    ],
)
def test_python_types_have_the_services_fields(name: str, model: type[BaseModel], apart: tuple[str, ...]) -> None:
    typed = getattr(client, name)
    assert typed.__required_keys__ | typed.__optional_keys__ == model.model_fields.keys() - set(apart)


@pytest.mark.parametrize(("name", "model", "apart"), TYPES)
def test_javascript_types_have_the_services_fields(name: str, model: type[BaseModel], apart: tuple[str, ...]) -> None:
    assert _keys(name) - {"signal", *apart} == model.model_fields.keys() - set(apart)


def _typedef(name: str) -> str:
    source = (Path(client.__file__).parent / "client.mjs").read_text()
    (found,) = re.findall(rf"@typedef \{{((?:(?!@typedef).)*)\}} {name}\n", source, re.DOTALL)
    return str(found)


def _keys(name: str) -> set[str]:
    """The fields of an object's type, without those of the objects in it, and of those that it extends."""
    keys, depth = set[str](), 0
    for token in re.findall(r"\w+\??:|\w+|[{}<>()]", _typedef(name)):
        if token in "{}<>()":
            depth += 1 if token in "{<(" else -1
        elif depth == 0:
            keys |= _keys(token)
        elif depth == 1 and token.endswith(":"):
            keys.add(token.rstrip("?:"))
    return keys


def test_the_javascript_client(server: Server, picture: Path) -> None:
    node, _ = compute_driver_executable()  # the Node that Playwright brings along
    walk = subprocess.run([node, str(WALK), server.url, str(picture)], capture_output=True, text=True, timeout=120)
    assert walk.returncode == 0, walk.stderr
    assert walk.stdout == "walked\n"

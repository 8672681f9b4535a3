"""`POST /search/image`: by a picture alone, and with words beside it."""

import io
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.helpers import MUGS, picture_file, post_item
from tests.service.test_search_options import ids


def test_words_beside_a_picture_may_be_unwanted(mugs: TestClient) -> None:
    picture = {"image": ("a.png", picture_file((0, 0, 0)))}
    hits = mugs.post("/search/image", files=picture, data={"query": "mug -steel"}).json()["hits"]
    assert sorted(hit["id"] for hit in hits) == ["lamp", "mug-1", "mug-2"]


def test_misspelt_words_beside_a_picture_are_corrected(mugs: TestClient) -> None:
    picture = {"image": ("a.png", picture_file((0, 0, 0)))}
    answer = mugs.post("/search/image", files=picture, data={"query": "stonewear mug"}).json()
    assert answer["corrected_query"] == "stoneware mug"
    assert mugs.post("/search/image", files=picture, data={"query": "mug"}).json()["corrected_query"] is None


def test_this_is_what_the_picture_shows(mugs: TestClient) -> None:
    picture = {"image": ("a.png", picture_file((0, 0, 0)))}
    said, plain = (
        mugs.post("/search/image", files=picture, data={"query": q}).json() for q in ("same in red", "in red")
    )
    assert said["corrected_query"] is None
    assert [(hit["id"], hit["score"]) for hit in said["hits"]] == [(hit["id"], hit["score"]) for hit in plain["hits"]]


def test_a_cursor_belongs_to_its_picture(mugs: TestClient) -> None:
    def page(colour: str, **form: str) -> Any:
        return mugs.post("/search/image", files={"image": picture_file(colour)}, data={"limit": "1", **form}).json()

    cursor = page("red", query="mug")["next_cursor"]
    assert len(page("red", query="mug", cursor=cursor)["hits"]) == 1
    assert page("blue", query="mug", cursor=cursor)["code"] == "invalid_cursor"
    assert page("red", query="mug", words="0.1", cursor=cursor)["code"] == "invalid_cursor"


def test_the_same_picture_is_found_first(mugs: TestClient) -> None:
    for n, product in enumerate(MUGS):
        post_item(mugs, str(product["id"]), picture_file((80 * n, 255 - 60 * n, 40)))  # no text: the picture is all
    answer = mugs.post("/search/image", files={"image": picture_file((80, 195, 40))})
    assert answer.status_code == 200, answer.text
    assert answer.json()["hits"][0]["id"] == "mug-2"
    assert answer.json()["hits"][0]["score"] == pytest.approx(1, abs=0.02)


def test_a_picture_with_words_and_options(mugs: TestClient) -> None:
    parts = {
        "image": ("x.png", picture_file()),
        "query": (None, "steel"),
        "filter": (None, '{"price": {"lt": 30}}'),
        "facets": (None, '["brand"]'),
        "sort": (None, '[{"field": "price"}]'),
        "relevance_floor": (None, "0"),
        "limit": (None, "2"),
    }
    answer = mugs.post("/search/image", files=parts)
    assert answer.status_code == 200, answer.text
    assert ids(answer.json()) == ["mug-2", "mug-1"]
    assert answer.json()["facets"]["brand"]["values"]
    assert answer.json()["took_ms"]["encode"] > 0
    assert mugs.post("/search/image", files=parts).json()["took_ms"]["encode"] == 0, "the same words again"


def test_why_a_picture_found_it(client: TestClient) -> None:
    post_item(client, "two", picture_file("red"), picture_file("blue"), title="Steel mug")
    for colour, place in (("red", 0), ("blue", 1)):
        parts: dict[str, Any] = {"image": ("x.png", picture_file(colour)), "explain": (None, "true")}
        (hit,) = client.post("/search/image", files=parts).json()["hits"]
        assert hit["explanation"]["picture"] == place
        assert hit["explanation"]["words"] == []
        assert hit["score"] == pytest.approx(hit["explanation"]["semantic"])
        (hit,) = client.post("/search/image", files={**parts, "query": (None, "mugs")}).json()["hits"]
        why = hit["explanation"]
        assert why["words"] == ["mugs"]
        assert hit["score"] == pytest.approx(why["semantic"] + why["lexical_weight"] * why["lexical"])
    assert client.post("/search/image", files={"image": picture_file()}).json()["hits"][0]["explanation"] is None


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"image": ("x.png", b"not a picture")}, "invalid_image"),
        ({"query": (None, "no picture")}, "validation_failed"),
        ({"image_url": (None, "https://mugs.example/mug.jpg")}, "image_urls_off"),
        (
            {"image": ("x.png", picture_file()), "image_url": (None, "https://mugs.example/mug.jpg")},
            "validation_failed",
        ),
        ({"image": ("x.png", picture_file()), "filter": (None, "{")}, "validation_failed"),
        ({"image": ("x.png", picture_file()), "words": (None, "2")}, "validation_failed"),
    ],
)
def test_a_refused_picture_search(mugs: TestClient, files: Any, code: str) -> None:
    answer = mugs.post("/search/image", files=files)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize("name", ["filter", "facets", "sort"])
def test_options_beside_a_picture_that_are_nested_too_deep(mugs: TestClient, name: str) -> None:
    answer = mugs.post("/search/image", files={"image": picture_file()}, data={name: "[" * 3000 + "]" * 3000})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, f"body.{name}")


def test_one_file_is_read_once(mugs: TestClient) -> None:
    """A picture given to search with is not kept."""
    before = mugs.get("/items").json()["total"]
    mugs.post("/search/image", files={"image": ("x.png", io.BytesIO(picture_file()))})
    assert mugs.get("/items").json()["total"] == before

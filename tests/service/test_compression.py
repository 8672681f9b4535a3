"""Answers are compressed for clients that can read it, but for what is sent line by line, or is compressed already."""

import pytest
from fastapi.testclient import TestClient

from tests.service.helpers import picture_file, post_item

GZIP = {"Accept-Encoding": "gzip"}


@pytest.fixture
def shop(client: TestClient) -> TestClient:
    for n in range(10):
        assert post_item(
            client, f"mug-{n}", picture_file("red"), title="red mug", description="A mug. " * 40
        ).is_success
    return client


def test_answers_are_a_fraction_of_their_size(shop: TestClient) -> None:
    plain = shop.post("/search", json={"query": "mug"}, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    answer = shop.post("/search", json={"query": "mug"}, headers=GZIP)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) < len(plain.content) / 3
    assert answer.json()["hits"] == plain.json()["hits"]
    assert shop.get("/web/app.js", headers=GZIP).headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("path", ["/items/mug-0/image", "/health/live"])
def test_what_gains_nothing_is_sent_as_it_is(shop: TestClient, path: str) -> None:
    assert "content-encoding" not in shop.get(path, headers=GZIP).headers


def test_lines_are_not_held_back(shop: TestClient) -> None:
    lines = b"".join(b'{"id": "bowl-%d", "title": "bowl"}\n' % n for n in range(50))
    answer = shop.post("/items/bulk", content=lines, headers={**GZIP, "Content-Type": "application/x-ndjson"})
    exported = shop.get("/export", headers=GZIP)
    for streamed, count in ((answer, 50), (exported, 1 + 60 + 1)):  # a head and an end
        assert "content-encoding" not in streamed.headers
        assert len(streamed.text.splitlines()) == count

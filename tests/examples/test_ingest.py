"""`examples/ingest.py` without a service: what it sends of a source."""

import functools
import json
import re
from pathlib import Path

import httpx
import pytest

from examples import ingest


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles that reach the service."""
    titles: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            titles.extend(re.findall(r'name="title"\r\n\r\n(.*?)\r\n', request.content.decode()))
            return httpx.Response(201)
        return httpx.Response(200 if request.url.path == "/health/live" else 404)

    client = functools.partial(httpx.Client, transport=httpx.MockTransport(answer))
    monkeypatch.setattr(ingest.httpx, "Client", client)
    return titles


def test_of_several_products_of_one_id_the_last_is_sent_and_the_id_named(
    sent: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("a", "one"), ("b", "other"), ("a", "two"), ("a", "three")]
    source = tmp_path / "items.jsonl"
    source.write_text("".join(json.dumps({"id": item_id, "title": title}) + "\n" for item_id, title in rows))
    assert ingest.main([str(source), "--quiet"]) == 0
    assert sorted(sent) == ["other", "three"]
    told = capsys.readouterr()
    assert told.out.startswith("2 new, 0 replaced, 0 unchanged, 0 failed")
    assert "2 products left out, whose ids come again later: a" in told.err

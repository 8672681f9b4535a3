"""Limits of a key: so many a second, so many at a time, each scope and each key on its own."""

import asyncio
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.limits import Bucket, Limiter
from service.problems import Problem
from service.settings import Settings
from tests.service.helpers import post_item
from tests.service.test_problems import check


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_fills_at_its_rate_up_to_a_second() -> None:
    clock = Clock()
    bucket = Bucket(4, clock)
    assert [bucket.take() for _ in range(5)] == [0, 0, 0, 0, 0.25]
    clock.now += 0.25
    assert bucket.take() == 0
    clock.now += 100
    assert [bucket.take() for _ in range(5)] == [0, 0, 0, 0, 0.25]


def test_a_slow_bucket_still_holds_one() -> None:
    clock = Clock()
    bucket = Bucket(0.1, clock)
    assert bucket.take() == 0
    assert bucket.take() == pytest.approx(10)
    clock.now += 10
    assert bucket.take() == 0


def test_a_batch_is_a_debt() -> None:
    clock = Clock()
    bucket = Bucket(10, clock)
    assert bucket.take() == 0
    assert bucket.owe(49) == pytest.approx(4)
    assert bucket.take() == pytest.approx(4.1)
    clock.now += 4.1
    assert bucket.take() == 0


def test_what_is_paced_keeps_the_rate() -> None:
    clock = Clock()
    bucket = Bucket(10, clock)
    for _ in range(110):
        clock.now += bucket.owe()
    assert clock.now == pytest.approx(10), "ten were saved up"


def test_nobody_is_told_to_come_back_at_once() -> None:
    limiter = Limiter("searches", rate=4, at_once=1)
    for _ in range(4):
        with limiter.admit("a"):
            pass
    with pytest.raises(Problem) as caught, limiter.admit("a"):
        pass
    assert (caught.value.code, caught.value.headers) == ("rate_limited", {"Retry-After": "1"})


def test_each_caller_has_its_own_and_what_fails_is_given_back() -> None:
    limiter = Limiter("searches", rate=None, at_once=1)
    with limiter.admit("a"), limiter.admit("b"), pytest.raises(Problem) as caught, limiter.admit("a"):
        pass
    assert (caught.value.status, caught.value.code) == (429, "too_many_at_once")
    with pytest.raises(KeyError), limiter.admit("a"):
        raise KeyError
    with limiter.admit("a"):
        pass


def test_callers_without_end_are_not_all_remembered() -> None:
    limiter = Limiter("searches", rate=1, at_once=1)
    with limiter.admit("busy"):
        for n in range(10_100):
            with limiter.admit(str(n)):
                pass
        assert len(limiter._permits) <= 10_000
        with pytest.raises(Problem), limiter.admit("busy"):
            pass


def test_whoever_comes_again_is_not_the_first_to_be_forgotten() -> None:
    limiter = Limiter("searches", rate=1e-9, at_once=1)
    for n in range(10_000):
        with limiter.admit(str(n)):
            pass
    with pytest.raises(Problem), limiter.admit("0"):
        pass
    with limiter.admit("one more"):
        pass
    with pytest.raises(Problem), limiter.admit("0"):
        pass
    with limiter.admit("1"):  # forgotten in its place
        pass


def test_bulk_is_slowed_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def ten() -> None:
        with Limiter("writes", rate=2, at_once=1).admit("a") as permit:
            for _ in range(9):
                await permit.pace()

    monkeypatch.setattr("service.limits.asyncio.sleep", sleep)
    asyncio.run(ten())
    assert sorted(slept) == slept
    assert slept[-1] == pytest.approx((10 - 2) / 2, abs=0.5), "ten writes at two a second, two of them saved up"


CODES = ("rate_limited", "too_many_at_once")
KEYS = {"search_keys": "search-key-0123456789,other-key-01234567890", "ingest_keys": "ingest-key-0123456789"}


def test_single_batch_and_bulk_are_told_when_to_come_back(settings: Settings) -> None:
    limits: dict[str, Any] = {"search_rate": 0.01, "ingest_rate": 0.01}
    limited = Settings.model_validate({**settings.model_dump(), **KEYS, **limits})
    with TestClient(create_app(limited), raise_server_exceptions=False) as client:

        def ask(method: str, path: str, key: str, **body: Any) -> Any:
            return client.request(method, path, headers={"X-API-Key": key, **body.pop("headers", {})}, **body)

        def refused(answer: Any) -> None:
            check(answer, 429, "rate_limited")
            assert 1 <= int(answer.headers["retry-after"]) <= 5000

        batch = {"searches": [{"query": "mug", "mode": "lexical"}] * 20}
        assert ask("POST", "/search/batch", "other-key-01234567890", json=batch).status_code == 200
        answer = ask("POST", "/search", "other-key-01234567890", json={"query": "mug"})
        refused(answer)
        assert int(answer.headers["retry-after"]) > 1900, "twenty searches were taken"

        assert ask("GET", "/items", "search-key-0123456789").status_code == 200, "each key has its own"
        refused(ask("POST", "/search", "search-key-0123456789", json={"query": "mug"}))

        ndjson: dict[str, Any] = {"headers": {"Content-Type": "application/x-ndjson"}}
        line = json.dumps({"id": "a", "title": "mug"}).encode()
        answer = ask("POST", "/items/bulk", "ingest-key-0123456789", content=line, **ndjson)
        assert answer.json()["status"] == 201, "the first line was counted with its request"
        refused(ask("POST", "/items/bulk", "ingest-key-0123456789", content=line, **ndjson))
        refused(ask("PATCH", "/items/a", "ingest-key-0123456789", json={"price": 1}))
        assert client.get("/health/ready").status_code == 200, "probes have no limit"

        gate = client.app.state.gate  # type: ignore[attr-defined]
        gate._limiters["ingest"]._permit("ingest-1").running = limited.ingest_at_once
        for path, body in (("/items/bulk", {"content": line, **ndjson}), ("/items", {"files": {"id": (None, "b")}})):
            answer = ask("POST", path, "ingest-key-0123456789", **body)
            check(answer, 429, "too_many_at_once")
            assert answer.headers["retry-after"] == "1"
        refused_for = {name: client.app.state.services.metrics.refused.labels(name)._value.get() for name in CODES}  # type: ignore[attr-defined]
        assert refused_for == {"rate_limited": 4, "too_many_at_once": 2}


def test_reading_with_a_key_of_both_scopes_counts_as_searching(settings: Settings) -> None:
    keys = dict.fromkeys(("search_keys", "ingest_keys"), "both-keys-0123456789")
    limited = Settings.model_validate({**settings.model_dump(), **keys, "search_rate": 0.01, "ingest_rate": 1000})
    with TestClient(create_app(limited)) as client:
        client.headers["X-API-Key"] = "both-keys-0123456789"
        assert client.get("/items").status_code == 200
        assert "searches a second" in check(client.get("/items"), 429, "rate_limited")["detail"]
        for _ in range(3):
            assert post_item(client, "a", title="mug").status_code in (200, 201)


def test_bulk_that_begins_with_a_full_queue_is_refused_like_a_single_item(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        encoder = client.app.state.services.encoder  # type: ignore[attr-defined]
        with encoder.admit(settings.max_queue):
            for answer in (
                post_item(client, "a", title="mug"),
                client.post("/items/bulk", content=b"{}", headers={"Content-Type": "application/x-ndjson"}),
            ):
                check(answer, 429, "overloaded")
                assert int(answer.headers["retry-after"]) >= 1

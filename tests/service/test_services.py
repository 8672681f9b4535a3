"""What is open is closed: where a start fails halfway, and where a part fails to close."""

import pytest
from fastapi.testclient import TestClient

from retriever.index import IndexUnavailable
from retriever.index.edge import EdgeIndex
from retriever.index.generations import EdgeGenerations
from service.app import create_app
from service.events import EventLog
from service.logs import StartupFailed
from service.settings import Settings


def test_a_start_that_fails_halfway_leaves_nothing_open(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(EdgeGenerations, "describe", fail)
    with pytest.raises(StartupFailed, match="the disk is full"), TestClient(create_app(settings)):
        pass
    monkeypatch.undo()
    with TestClient(create_app(settings)) as client:
        assert client.get("/health/ready").status_code == 200


def test_the_event_log_is_closed_though_the_index_fails_to_close(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings.model_copy(update={"events": True})
    close_log, close_index, closed = EventLog.close, EdgeIndex.close, list[EventLog]()

    async def close(events: EventLog) -> None:
        await close_log(events)
        closed.append(events)

    async def fail(index: EdgeIndex) -> None:
        await close_index(index)
        raise IndexUnavailable("it hangs")

    monkeypatch.setattr(EventLog, "close", close)
    monkeypatch.setattr(EdgeIndex, "close", fail)
    with pytest.raises(IndexUnavailable, match="it hangs"), TestClient(create_app(settings)):
        pass
    assert len(closed) == 1

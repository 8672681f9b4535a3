"""What is wrong with the settings is said in one line, by the service and each of its commands, without a key in it."""

import argparse
from collections.abc import Callable

import pytest

from service import __main__, backup, encode_catalog, load_catalog, reindex
from service.remote import add_service_arguments
from service.settings import Settings, from_environment

KEY = "Abcdefgh12345678Secret"


@pytest.mark.parametrize(
    "main",
    [
        __main__.main,
        lambda: backup.main(["--output", "x.tar"]),
        lambda: reindex.main(["--rollback"]),
        lambda: load_catalog.main(["encoded"]),
        lambda: encode_catalog.main(["products", "encoded"]),
    ],
    ids=["service", "backup", "reindex", "load_catalog", "encode_catalog"],
)
def test_every_command_says_what_is_wrong(
    main: Callable[[], object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEARCH_PORT", "abc")
    monkeypatch.setenv("SEARCH_INGEST_KEYS", f"{KEY},short")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "SEARCH_PORT Input should be a valid integer" in told
    assert KEY not in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEARCH_DRAIN_SECONDS", "inf"),
        ("SEARCH_SEARCH_RATE", "1e-320"),
        ("SEARCH_INGEST_RATE", "nan"),
        ("SEARCH_MIN_FREE_BYTES", "20000000"),  # writes would fail in the engine while ready is green
        ("SEARCH_MAX_QUEUE", "2"),  # checked against another, with all of the settings at hand
    ],
)
def test_a_value_that_the_service_could_not_work_with_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("SEARCH_INGEST_KEYS", KEY)
    with pytest.raises(SystemExit):
        from_environment()
    assert KEY[:8] not in capsys.readouterr().err
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (pydantic's own)
        Settings()
    assert KEY[:8] not in str(raised.value)


def test_a_setting_of_qdrants_is_named_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QDRANT_SHARDS", "0")
    with pytest.raises(SystemExit):
        from_environment()
    assert "wrong: QDRANT_SHARDS Input should be greater" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "url"), [("::1", "http://[::1]:8000"), ("0.0.0.0", "http://localhost:8000")])
def test_commands_find_the_service_at_any_address(host: str, url: str) -> None:
    parser = argparse.ArgumentParser()
    settings = Settings(host=host, search_keys=KEY, ingest_keys=KEY)  # type: ignore[arg-type]
    add_service_arguments(parser, settings)
    assert parser.parse_args([]).url == url


def test_a_server_has_a_disk_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_URL", "http://localhost:6333")
    assert Settings(min_free_bytes=0).min_free_bytes == 0

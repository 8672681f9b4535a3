"""What is wrong with the settings is said in one line, by the service and each of its commands, without a key in it."""

import argparse
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from service import __main__, backup, encode_catalog, load_catalog, logs, reindex
from service.remote import add_service_arguments
from service.settings import Settings, from_environment, unknown_variables

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


def test_a_mistyped_setting_is_told_at_the_start_with_what_may_be_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Server:
        started = True

        def __init__(self, settings: Settings) -> None: ...

        def run(self) -> None: ...

    monkeypatch.setattr(__main__, "Server", Server)
    monkeypatch.setattr(logs, "configure", lambda level, form: logging.basicConfig(level=level, force=True))
    monkeypatch.setenv("SEARCH_PROT", "1")
    monkeypatch.setenv("SEARCH_INGEST_KEY", KEY)
    monkeypatch.setenv("QDRANT_SHARD", "2")
    monkeypatch.setenv("search_log_level", "INFO")  # as good as in capitals
    __main__.main()
    told = capsys.readouterr().err
    assert KEY not in told
    for given, meant in (("PROT", "SEARCH_PORT"), ("INGEST_KEY", "SEARCH_INGEST_KEYS"), ("SHARD", "QDRANT_SHARDS")):
        assert told.count(f"_{given} is no setting, and does nothing. Is {meant} meant?") == 1
    assert len(told.splitlines()) == 3


def test_what_the_repository_itself_sets_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    files = [root / "Makefile", root / "Dockerfile", root / "docker-compose.yml", root / ".env.example"]
    files += [path for path in (root / "deploy").rglob("*") if path.is_file()]
    text = "\n".join(path.read_text() for path in files)
    names = set(re.findall(r"\b(?:SEARCH|QDRANT)_[A-Z_]+\b", text))
    assert len(names) > 5
    kubernetes = {"QDRANT_SERVICE_HOST": "10.0.0.1", "QDRANT_PORT": "tcp://10.0.0.1:6333", "QDRANT_PORT_6333_TCP": "x"}
    for name, value in (dict.fromkeys(names, "1") | kubernetes).items():
        monkeypatch.setenv(name, value)
    assert unknown_variables() == []

"""An endpoint that misbehaves, and a run that is killed: every answer is paid for once, and none is lost."""

import email.utils
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.prepare.endpoint import Behaviour, Endpoint, Reply, subject
from tests.training.prepare.test_pipeline import prepare, report
from training.formats import read_train
from training.prepare import endpoint as client
from training.prepare.caption import BadAnswer, parse


def once(reply: Reply, endpoint: Endpoint) -> Behaviour:
    """The first request for each thing gets this; the next ones get good answers."""
    return lambda number, request: reply if endpoint.asked[subject(request)] == 1 else Reply()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(429),
        Reply(429, headers={"Retry-After": "0"}),
        Reply(429, headers={"Retry-After": email.utils.formatdate(0, usegmt=True)}),
        Reply(500),
        Reply(503, headers={"Retry-After": "0"}),
        Reply(500, body=b"<html>proxy error</html>"),
        Reply(body=b'{"id": "1", "choices": [{"index": 0, "mess'),
        Reply(body=b'{"id": "1", "choices": []}'),
        Reply(cut=True),
    ],
    ids=["429", "429 with seconds", "429 with a date", "500", "503", "html", "broken body", "no choices", "cut off"],
)
def test_what_passes_is_asked_again(reply: Reply, endpoint: Endpoint, muge: Path, tmp_path: Path) -> None:
    endpoint.behave = once(reply, endpoint)
    prepare("read", tmp_path, "--source", str(muge), "--limit", "3")
    prepare("translate", tmp_path)
    assert len(endpoint.asked) == 6
    assert set(endpoint.asked.values()) == {2}
    job = sqlite3.connect(tmp_path / "job" / "job.sqlite")
    assert job.execute("SELECT COUNT(*) FROM english WHERE english != ''").fetchone() == (6,)


def test_a_slow_answer_is_asked_for_again(
    endpoint: Endpoint, muge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREPARE_TIMEOUT", "0.5")
    never = threading.Event()
    endpoint.behave = lambda number, request: Reply(wait_for=never) if number == 0 else Reply()
    prepare("read", tmp_path, "--source", str(muge), "--limit", "1")
    prepare("translate", tmp_path)
    never.set()
    assert max(endpoint.asked.values()) >= 2


def test_one_request_that_must_wait_makes_all_wait(
    endpoint: Endpoint, muge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asks between a 429 and the time that it names."""
    arrived: list[float] = []

    def behave(number: int, request: dict[str, Any]) -> Reply:
        arrived.append(time.monotonic())
        return Reply(429, headers={"Retry-After": "1"}) if number == 0 else Reply()

    endpoint.behave = behave
    monkeypatch.setenv("PREPARE_CONCURRENCY", "1")
    prepare("read", tmp_path, "--source", str(muge), "--limit", "2")
    prepare("translate", tmp_path)
    assert arrived[1] - arrived[0] >= 1.0


@pytest.mark.parametrize(
    ("contents", "rule"),
    [
        (['{"captions": ["one", "two'], "broken_json"),
        ([""], "empty_answer"),
        (['{"texts": ["one", "two", "three"]}'], "missing_field"),
    ],
)
def test_an_answer_of_no_use_is_asked_for_three_times_and_then_dropped(
    contents: list[str], rule: str, endpoint: Endpoint, muge: Path, tmp_path: Path
) -> None:
    bad: set[str] = set()

    def behave(number: int, request: dict[str, Any]) -> Reply:
        with endpoint.lock:
            if request["model"].startswith("qwen3") and (not bad or subject(request) in bad):
                bad.add(subject(request))
                return Reply(content=contents[0])
        return Reply()

    endpoint.behave = behave
    prepare("all", tmp_path, "--source", str(muge))
    assert report(tmp_path)["caption", rule] == 1
    assert endpoint.asked[next(iter(bad))] == 3
    asked = len(endpoint.requests)
    prepare("caption", tmp_path)
    assert len(endpoint.requests) == asked, "answers of no use were paid for, too"


@pytest.mark.parametrize(("given", "kept"), [(1, 1), (2, 2), (5, 3)])
def test_a_wrong_number_of_captions(given: int, kept: int, endpoint: Endpoint, muge: Path, tmp_path: Path) -> None:
    captions = json.dumps({"captions": [f"Caption number {n} of it." for n in range(given)]})
    endpoint.behave = lambda number, request: Reply(content=captions if request["model"].startswith("qwen3") else None)
    prepare("all", tmp_path, "--source", str(muge), "--limit", "2")
    assert {len(pair.captions) for pair in read_train(tmp_path / "out" / "train.json")} == {kept}
    assert (("caption", "too_few_captions") in report(tmp_path)) == (given < 3)


@pytest.mark.parametrize(
    ("content", "captions"),
    [
        ('{"captions": ["a red mug", "a mug"]}', ["a red mug", "a mug"]),
        ('```json\n{"captions": ["a red mug", "a mug"]}\n```', ["a red mug", "a mug"]),
        ('["a red mug", "a mug", "third"]', ["a red mug", "a mug"]),
    ],
)
def test_parse(content: str, captions: list[str]) -> None:
    assert parse(content, 2) == captions


@pytest.mark.parametrize("content", ['{"captions": "a red mug"}', '{"captions": [1, null]}', "[]", "null", "a red mug"])
def test_parse_refuses(content: str) -> None:
    with pytest.raises(BadAnswer):
        parse(content, 2)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(401, error={"message": "Incorrect API key", "code": "invalid_api_key"}), "Incorrect API key"),
        (Reply(404, error={"message": "no such model", "code": "model_not_found"}), "no such model"),
        (Reply(429, error={"message": "pay first", "code": "insufficient_quota"}), "account is used up"),
        (Reply(400, error={"message": "unknown field", "code": "invalid_parameter"}), "accepts no request"),
        (Reply(500), "gave no answer in 3 tries"),
    ],
)
def test_what_does_not_pass_ends_the_run_with_the_reason(
    reply: Reply,
    said: str,
    endpoint: Endpoint,
    muge: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PREPARE_RETRIES", "2")
    endpoint.behave = lambda number, request: reply
    prepare("read", tmp_path, "--source", str(muge))
    with pytest.raises(SystemExit) as stopped:
        prepare("translate", tmp_path)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_wrong_setting_is_named(
    muge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREPARE_CAPTION_PRICE", "cheap")
    prepare("read", tmp_path, "--source", str(muge))
    with pytest.raises(SystemExit):
        prepare("caption", tmp_path)
    assert "PREPARE_CAPTION_PRICE" in capsys.readouterr().err


def test_other_translators_are_asked_in_words(
    endpoint: Endpoint, muge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREPARE_TRANSLATE_MODEL", "llama3")
    prepare("read", tmp_path, "--source", str(muge), "--limit", "1")
    prepare("translate", tmp_path)
    request = endpoint.requests[0]
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert "translation_options" not in request


def test_a_killed_run_pays_for_nothing_twice(endpoint: Endpoint, muge: Path, tmp_path: Path) -> None:
    """`kill -9` while requests are under way; what was answered is on the disk, and is not asked for again."""
    prepare("read", tmp_path, "--source", str(muge))
    held = threading.Event()
    first = 7
    endpoint.behave = lambda number, request: Reply(wait_for=held if number >= first else None)
    command = [sys.executable, "-m", "training.prepare", "caption", "--job", str(tmp_path / "job")]
    command += ["--answers", str(tmp_path / "answers.sqlite")]
    environment = os.environ | {"PREPARE_CONCURRENCY": "3", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while kept(tmp_path) < first or len(endpoint.requests) < first + 3:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "the first answers never came to be kept"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(endpoint.paid) == first
    endpoint.behave = lambda number, request: Reply()
    paid_before = set(endpoint.paid)
    asked_before = len(endpoint.requests)

    prepare("caption", tmp_path)
    again = {subject(request) for request in endpoint.requests[asked_before:]}
    assert not again & paid_before
    assert len(endpoint.requests) - asked_before == 18 - first
    held.set()
    job = sqlite3.connect(tmp_path / "job" / "job.sqlite")
    assert job.execute("SELECT COUNT(*) FROM captions WHERE captions != '[]'").fetchone() == (18,)


def kept(folder: Path) -> int:
    path = folder / "answers.sqlite"
    if not path.exists():
        return 0
    try:
        with sqlite3.connect(path, timeout=10) as answers:
            return int(answers.execute("SELECT COUNT(*) FROM answers").fetchone()[0])
    except sqlite3.OperationalError:  # the table is not there yet
        return 0


def test_equal_questions_under_way_are_asked_once(endpoint: Endpoint, tmp_path: Path) -> None:
    table = tmp_path / "shop.jsonl"
    rows = [{"item_id": n, "title": "红色杯子", "attributes": {"颜色": "红色杯子"}} for n in range(20)]
    table.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    prepare("read", tmp_path, "--source", str(table))
    prepare("translate", tmp_path)
    assert endpoint.asked == {"红色杯子": 1, "颜色": 1}


def test_the_wait_that_a_server_asks_for() -> None:
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert client._retry_after({"retry-after": "7"}) == 7
    assert 55 < (client._retry_after({"retry-after": in_a_minute}) or 0) <= 60
    assert client._retry_after({"retry-after": "soon"}) is None
    assert client._retry_after({}) is None

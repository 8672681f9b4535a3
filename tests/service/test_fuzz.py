"""The OpenAPI document, turned against the service by schemathesis: valid and invalid requests, alone and in sequences.

Every answer must be one that the document allows, and none a failure of the service. `make fuzz` does the same with
more examples, for as long as one likes.
"""

import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from service.app import create_app
from service.settings import Settings
from tests.service.helpers import picture_file

MAX_EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "5")  # for each operation and phase
SEED = os.environ.get("FUZZ_SEED", "1")
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture
def address(settings: Settings) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.mark.slow
def test_nothing_that_the_document_allows_breaks_the_service(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    # The id that the document gives as an example, so that not all that asks for an item asks in vain.
    item = {"id": (None, "mug-17"), "title": (None, "Stoneware mug"), "image": ("mug.png", picture_file())}
    assert httpx.post(f"{address}/items", files=item, timeout=120).status_code == 201
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", CONFIG, "run", f"{address}/openapi.json"]
    options = ["--max-examples", MAX_EXAMPLES, "--seed", SEED, "--no-color"]
    environment = {**os.environ, "PYTHONPATH": str(CONFIG.parents[2])}  # for the hooks
    ran = subprocess.run(
        [*map(str, command), *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    print(ran.stdout)
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert re.search(rf"✅ *{phase}", ran.stdout), f"{phase} did not run, or failed: {ran.stdout[-20_000:]}"
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    assert not caplog.records, "a request made the service log an error"

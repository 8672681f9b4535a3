"""A service that is born in milliseconds and dies by `kill -9`: forked from a process that has its imports done."""

import importlib
import os
import sys
import time
from pathlib import Path

import httpx
import uvicorn

from service.app import create_app
from service.english import english_speller
from service.settings import Settings
from tests import forks
from tests.end_to_end.serving import free_port

# A service imports what its model and its index need when it loads them: seconds, of each life.
_LATER = ["torch", "timm", "transformers.models.blip_2.modeling_blip_2", "qdrant_client"]
forks.context.set_forkserver_preload([*forks.ENGINE, __name__, "service.reindex", "service.backup", *_LATER])
english_speller()


class Life:
    """One life of a service: it answers once this returns."""

    def __init__(self, data_dir: Path, model: Path, **settings: object) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = data_dir.parent / "service.log"
        given = {"data_dir": data_dir, "model": str(model), "device": "cpu", "port": port, **settings}
        self.process = forks.context.Process(target=_live, args=(given, self.log), daemon=True)
        self.process.start()
        deadline = time.monotonic() + 120
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while True:
                try:
                    client.get("/health/ready").raise_for_status()
                    return
                except httpx.HTTPError:
                    assert self.process.is_alive(), self.log.read_text()
                    assert time.monotonic() < deadline, self.log.read_text()
                    time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.join(30)

    def stop(self) -> None:
        """SIGTERM."""
        self.process.terminate()
        self.process.join(60)


class Command:
    """A command of the service's, beside it or alone."""

    def __init__(
        self, module: str, *arguments: str, data_dir: Path, model: Path, url: str = "http://127.0.0.1:1"
    ) -> None:
        self.log = data_dir.parent / "command.log"
        environment = {"SEARCH_DATA_DIR": str(data_dir), "SEARCH_MODEL": str(model), "SEARCH_DEVICE": "cpu"}
        argv = [*arguments, "--url", url]
        self.process = forks.context.Process(target=_command, args=(module, argv, environment, self.log), daemon=True)
        self.process.start()

    def wait(self) -> tuple[int | None, str]:
        """Its exit status, and all that it and those before it said."""
        self.process.join(300)
        return self.process.exitcode, self.log.read_text()


def _command(module: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
    _into(log)
    os.environ.update(environment)
    sys.exit(importlib.import_module(module).main(arguments))


def _into(log: Path) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _live(settings: dict[str, object], log: Path) -> None:
    _into(log)
    app = create_app(Settings(**settings))  # type: ignore[arg-type]
    uvicorn.run(app, port=int(str(settings["port"])), log_config=None, access_log=False, timeout_graceful_shutdown=10)

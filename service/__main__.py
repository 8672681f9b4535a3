"""`python -m service`: reads the settings from the environment and serves until SIGTERM or Ctrl-C."""

import sys

import uvicorn
from pydantic import ValidationError

from service import logs
from service.app import create_app
from service.settings import Settings


def main() -> None:
    try:
        settings = Settings()
    except ValidationError as error:
        reasons = [f"{'_'.join(map(str, e['loc'])).upper()} {e['msg']}".strip() for e in error.errors()]
        sys.exit(f"A setting is wrong (each is the environment variable SEARCH_<NAME>): {'; '.join(reasons)}")
    logs.configure(settings.log_level)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,  # the request middleware writes a better line
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )


if __name__ == "__main__":
    main()

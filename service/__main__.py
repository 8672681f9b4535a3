"""`python -m service`: reads the settings from the environment and serves until SIGTERM or Ctrl-C."""

import contextlib
import sys

from pydantic import ValidationError

from service import logs
from service.server import Server
from service.settings import Settings


def main() -> None:
    try:
        settings = Settings()
    except ValidationError as error:
        reasons = [f"{'_'.join(map(str, e['loc'])).upper()} {e['msg']}".strip() for e in error.errors()]
        sys.exit(f"A setting is wrong (each is the environment variable SEARCH_<NAME>): {'; '.join(reasons)}")
    logs.configure(settings.log_level, settings.log_format)
    server = Server(settings)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    main()

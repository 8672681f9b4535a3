"""`python -m service`: reads the settings from the environment and serves until SIGTERM or Ctrl-C."""

import contextlib
import logging
import sys

from service import logs
from service.server import Server
from service.settings import from_environment, unknown_variables


def main() -> None:
    settings = from_environment()
    logs.configure(settings.log_level, settings.log_format)
    for told in unknown_variables():
        logging.getLogger("service").warning("%s", told)
    server = Server(settings)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    main()

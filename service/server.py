"""The HTTP server: uvicorn, which takes its leave in an order that a load balancer can follow."""

import asyncio
import logging
import signal
from time import monotonic
from types import FrameType

import uvicorn

from service.app import create_app
from service.settings import Settings
from service.slow_clients import Connection, most_connections

log = logging.getLogger(__name__)

# Longer than proxies and clients keep an idle connection (5 to 60 seconds): where the server closes first, a request
# that is on its way is lost.
_IDLE_SECONDS = 75


class Server(uvicorn.Server):
    """Serves until SIGTERM, then drains.

    At SIGTERM `/health/ready` turns to 503, answers ask for new connections and bulk uploads end after the line that
    they are at. For `drain_seconds` everything else is still answered, while balancers notice. Then the socket closes,
    what is running finishes, the application closes, and the process ends with status 0. Ctrl-C, or a second SIGTERM,
    leaves out the waiting.
    """

    def __init__(self, settings: Settings) -> None:
        app = create_app(settings)
        # uvicorn makes the protocol itself, so settings travel as class attributes.
        bounds = {"head_seconds": settings.client_seconds, "most": most_connections(), "idle": {}}
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http=type("Connection", (Connection,), bounds),
            ws="none",
            log_config=None,
            access_log=False,  # the request middleware writes a better line
            server_header=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        )
        super().__init__(config)
        self._draining: asyncio.Event = app.state.draining
        self._seconds = settings.drain_seconds
        self._closes_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """In a signal handler, outside the event loop: the next tick (ten a second) does the rest."""
        if sig == signal.SIGTERM and self.started and self._closes_at is None:
            self._closes_at = monotonic() + self._seconds
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._closes_at is not None or self.should_exit:
            if not self._draining.is_set():
                log.info("draining: not ready any more, closing in %g s", 0 if self.should_exit else self._seconds)
                self._draining.set()
            if self._closes_at is not None and monotonic() >= self._closes_at:
                self.should_exit = True
        return await super().on_tick(counter)

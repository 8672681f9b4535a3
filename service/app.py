"""The application: its routes, its middleware, and a lifespan that opens and closes what they work with."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from service import docs, problems
from service.access import Gate
from service.fetch import PictureFetcher
from service.headers import SecurityHeadersMiddleware
from service.metrics import Metrics
from service.middleware import QUIET, EscapedItemPathMiddleware, HeadMiddleware, RequestMiddleware
from service.routes import bulk, events, export, health, items, json_items, rules, search
from service.services import Services, open_services
from service.settings import Settings, comma_separated
from service.slow_clients import BodyTimeoutMiddleware

log = logging.getLogger(__name__)

WEB = Path(__file__).parent / "web"
_SEARCH_BYTES = 2**20  # fifty searches, each with hundreds of ids in its filter
_EVENTS_BYTES = 2**20  # a whole batch, with long ids
_RULES_BYTES = 2**20  # a thousand curations, each with dozens of ids
_NO_BODY = 1024  # bytes that a GET may send for nothing
_COMPRESSED_FROM = 1024  # bytes: below that an answer fits into one packet as it is


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application; nothing is loaded before its lifespan begins."""
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        def publish(opened: Services) -> None:
            app.state.services = opened

        async with open_services(settings, metrics, publish):
            log.info("%s", app.state.gate)
            yield

    app = FastAPI(
        title="Fused product search",
        summary="Search over products that are described by pictures and text together.",
        version=version("fused-product-search"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,  # a generated client's methods have these names
        redirect_slashes=False,  # `/items/` is no item, and not the list either
        # Traces go to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names, and nowhere without it. Metrics are
        # Prometheus's, and FastAPI's log records would hold what was refused of a client's input.
        telemetry={
            "auto_configure": True,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "exclude": lambda scope: scope["path"].startswith(QUIET),
        },
    )
    app.state.gate = Gate(settings, metrics)
    app.state.draining = asyncio.Event()
    app.state.fetcher = PictureFetcher(
        enabled=settings.image_urls,
        max_pictures=settings.max_pictures,
        max_bytes=settings.max_file_bytes,
        max_item_bytes=settings.max_body_bytes,
        seconds=settings.image_url_seconds,
    )
    # Body limits are set where a router is included, inside the middleware: set on the application, they would answer
    # from outside it, without an id, a log line, or problem details.
    app.include_router(json_items.router, max_body_size=settings.max_body_bytes)
    app.include_router(
        items.router,
        max_body_size=settings.max_body_bytes,
        form_limits={"max_files": settings.max_pictures, "max_part_size": settings.max_field_bytes, "max_fields": 64},
    )
    app.include_router(bulk.router)  # a body without end, each of its lines bounded
    app.include_router(
        search.image_router,
        max_body_size=settings.max_body_bytes,
        form_limits={"max_files": 1, "max_part_size": settings.max_field_bytes, "max_fields": 64},
    )
    app.include_router(search.router, max_body_size=_SEARCH_BYTES)
    app.include_router(export.router, max_body_size=_NO_BODY)
    app.include_router(events.router, max_body_size=_EVENTS_BYTES)
    app.include_router(rules.router, max_body_size=_RULES_BYTES)
    app.include_router(health.router, max_body_size=_NO_BODY)
    app.mount("/web", StaticFiles(directory=WEB, check_dir=False), name="web")
    app.add_api_route("/", _page, include_in_schema=False)
    docs.install(app)
    problems.install(app)
    # Each `add_middleware` goes around those before it.
    app.add_middleware(problems.ProblemMiddleware)
    app.add_middleware(
        BodyTimeoutMiddleware, seconds=settings.client_seconds, endless=frozenset({app.url_path_for("bulk")})
    )
    app.add_middleware(RequestMiddleware, metrics=metrics, draining=app.state.draining)
    if origins := comma_separated(settings.cors_origins):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type", "If-Match", "If-None-Match", "X-Request-ID"],
            expose_headers=["ETag", "Location", "Retry-After", "WWW-Authenticate", "X-Request-ID"],
        )
    app.add_middleware(
        GZipMiddleware,
        minimum_size=_COMPRESSED_FROM,
        compresslevel=1,  # on the event loop: others wait for it
        exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/x-ndjson"),  # its lines are not held back
    )
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(EscapedItemPathMiddleware)
    app.add_middleware(HeadMiddleware, streamed=frozenset({app.url_path_for("get_export")}))
    return app


async def _page() -> FileResponse:
    return FileResponse(WEB / "index.html")

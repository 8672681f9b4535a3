"""The application: its routes, its middleware, and a lifespan that opens and closes what they work with."""

import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from service import problems
from service.metrics import Metrics
from service.middleware import EscapedItemPathMiddleware, RequestMiddleware
from service.routes import bulk, feedback, health, items, search
from service.services import open_services
from service.settings import Settings

WEB = Path(__file__).parent / "web"


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application; nothing is loaded before its lifespan begins."""
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings, metrics) as opened:
            app.state.services = opened
            yield

    app = FastAPI(
        title="Fused product search",
        summary="Search over products that are described by pictures and text together.",
        version=version("fused-product-search"),
        lifespan=lifespan,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,  # a generated client's methods have these names
        redirect_slashes=False,  # `/items/` is no item, and not the list either
    )
    # Body limits are set where a router is included, inside the middleware: set on the application, they would answer
    # from outside it, without an id, a log line, or problem details.
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
    app.include_router(search.router, max_body_size=settings.max_field_bytes)
    app.include_router(feedback.router, max_body_size=settings.max_field_bytes)
    app.include_router(health.router, max_body_size=settings.max_field_bytes)
    app.mount("/web", StaticFiles(directory=WEB, check_dir=False), name="web")
    app.add_api_route("/", _page, include_in_schema=False)
    problems.install(app)
    # Each `add_middleware` goes around those before it.
    app.add_middleware(problems.ProblemMiddleware)
    app.add_middleware(RequestMiddleware, metrics=metrics)
    app.add_middleware(EscapedItemPathMiddleware)
    return app


async def _page() -> FileResponse:
    return FileResponse(WEB / "index.html")

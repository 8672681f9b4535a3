"""What an orchestrator and Prometheus ask."""

import asyncio
import contextlib
import logging
import shutil

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from retriever.index import ItemIndex
from retriever.index.results import IndexUnavailable
from service.access import ANY_KEY, GuardedRoute
from service.disk import remedy
from service.problems import Problem, responses
from service.schemas import Health, Readiness
from service.services import ServicesDep

log = logging.getLogger(__name__)

router = APIRouter(tags=["operations"], route_class=GuardedRoute)

READY_TIMEOUT = 5  # seconds: who asks whether all is well does not wait for long


@router.get("/health/live", summary="Does the process answer?")
async def live() -> Health:
    """If not, restart it. Asks nothing but the event loop."""
    return Health(status="ok")


@router.get("/health/ready", responses=responses(503), summary="Can it serve?")
async def ready(request: Request, services: ServicesDep) -> Readiness:
    """If not, send it no requests. Runs the model once, asks the index, and whether the disk takes writes."""
    if request.app.state.draining.is_set():
        raise Problem(503, "draining", "The service is about to close.", retry_after=2)
    try:
        await services.encoder.check()
    except Exception as error:
        log.warning("not ready: the model failed: %r", error)
        raise Problem(503, "model_unavailable", "The model does not answer.", retry_after=2) from error
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            await asyncio.to_thread(services.catalogue.disk.check)
            await asyncio.to_thread(services.catalogue.media.now)  # writes a file
    except OSError as error:  # a TimeoutError, which says nothing, is one
        reason = str(error) or "its disk does not answer"
        advice = remedy(error, services.settings.data_dir)
        code = "storage_failed" if advice else "storage_full"
        raise Problem(503, code, f"The data folder takes no writes: {reason}.{advice}") from error
    items = await _items(services.index)
    return Readiness(status="ok", model_id=services.encoder.retriever.model_id, items=items)


@router.get(
    "/metrics",
    dependencies=ANY_KEY,
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **responses(401, 403, 429)},
    summary="Metrics for Prometheus",
)
async def metrics(services: ServicesDep) -> Response:
    figures = services.metrics
    try:
        figures.items.set(await _items(services.index))
        figures.index_up.set(1)
    except IndexUnavailable:  # the other figures are wanted most when the index is down
        figures.index_up.set(0)
    with contextlib.suppress(OSError):
        disk = await asyncio.to_thread(shutil.disk_usage, services.settings.data_dir)
        figures.disk_free.set(disk.free)
        figures.disk_size.set(disk.total)
    return Response(generate_latest(figures.registry), media_type=CONTENT_TYPE_LATEST)


async def _items(index: ItemIndex) -> int:
    """How many there are, from an index that can serve. Raises IndexUnavailable if it cannot, or not in time."""
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            await index.ready()  # an embedded index knows how many there are without its engine
            return await index.count()
    except TimeoutError as error:
        raise IndexUnavailable(f"the index does not answer within {READY_TIMEOUT} s") from error

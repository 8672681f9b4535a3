"""`GET /export`: all that backup and reindexing need of a running service."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from service.access import INGEST_KEY, GuardedRoute
from service.data_folder import folder_id
from service.export import Origin, export, to_lines
from service.problems import responses
from service.services import ServicesDep

router = APIRouter(tags=["operations"], route_class=GuardedRoute)


@router.get(
    "/export",
    dependencies=INGEST_KEY,
    response_class=StreamingResponse,
    responses={
        200: {
            "description": 'JSON lines, each an object: `{"item": …}` for each item.',
            "content": {"application/x-ndjson": {"schema": {"type": "object"}}},
        },
        **responses(401, 403, 422, 429, 503),
    },
    summary="The whole catalogue, for backup and reindexing",
)
async def get_export(
    services: ServicesDep,
    whole: Annotated[bool, Query(description="With vectors and pictures, not what is said about items alone.")] = False,
) -> StreamingResponse:
    """Each item as one moment had it, while writes go on. A last line `{"end": n}` says that it is complete.

    When another model takes over meanwhile, it breaks off without that line: ask again.
    """
    catalogue, model_id = services.catalogue, services.encoder.retriever.model_id
    origin = Origin(model_id, await asyncio.to_thread(folder_id, services.settings.data_dir))
    items = export(services.index, catalogue.media, whole=whole)
    lines = to_lines(origin, items, lambda: catalogue.handed_over)
    return StreamingResponse(lines, media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})

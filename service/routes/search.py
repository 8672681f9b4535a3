"""`POST /search`: keywords in, ranked items out."""

import logging
import uuid
from time import perf_counter

from fastapi import APIRouter, Request

from service.problems import responses
from service.requests import body_of, while_connected
from service.schemas import Item, SearchHit, SearchRequest, SearchResponse, TookMs
from service.services import ServicesDep

log = logging.getLogger(__name__)

router = APIRouter(tags=["search"])


@router.post(
    "/search",
    dependencies=[body_of("application/json", 'send {"query": "…"} with the header Content-Type: application/json')],
    responses=responses(400, 413, 415, 422, 429, 503),
    summary="Search by keywords",
)
async def search(body: SearchRequest, request: Request, services: ServicesDep) -> SearchResponse:
    """Ranks the catalogue by what pictures and text together say about each item."""
    started = perf_counter()
    query = await while_connected(request, services.encoder.encode_query(body.query))
    asked = perf_counter()
    with services.metrics.stage("retrieve"):
        result = await services.index.search(query.embedding, body.query, limit=body.limit, offset=body.offset)
    ended = perf_counter()
    response = SearchResponse(
        hits=[SearchHit(id=hit.id, score=hit.score, item=Item.from_payload(hit.payload)) for hit in result.hits],
        total=result.total,
        took_ms=TookMs(
            queue=round(query.queue_seconds * 1000, 2),
            encode=round(query.encode_seconds * 1000, 2),
            retrieve=round((ended - asked) * 1000, 2),
            total=round((ended - started) * 1000, 2),
        ),
        model_id=services.encoder.retriever.model_id,
        search_id=uuid.uuid4().hex,
    )
    log.info(
        "search",
        extra={
            "fields": {"search_id": response.search_id, "hits": len(response.hits), **response.took_ms.model_dump()}
        },
    )
    return response

"""`POST /items/bulk`: a whole catalogue in one request."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BeforeValidator

from service.access import INGEST_KEY, GuardedRoute
from service.bulk import Action, BulkIngest, NdjsonResponse
from service.fetch import FetcherDep
from service.metrics import Metrics
from service.problems import responses
from service.routes.parameters import no_precondition
from service.routes.requests import body_of
from service.schemas import BulkLine, BulkResult
from service.services import ServicesDep

router = APIRouter(tags=["items"], route_class=GuardedRoute, responses=responses(401, 403, 429))

_LINES = body_of(
    ("application/x-ndjson", "multipart/form-data"),
    "one JSON object a line, as `curl -H 'Content-Type: application/x-ndjson' -X POST -T items.ndjson` sends them",
)
_FORM = {
    "type": "object",
    "properties": {
        "item": {"type": "array", "items": BulkLine.model_json_schema(mode="validation")},
        "image": {"type": "array", "items": {"type": "string", "format": "binary"}},
    },
    "description": "Each `item` is a line of JSON; each `image` that follows is a picture of it.",
}
_EXAMPLE = '{"id": "mug-17", "title": "Stoneware mug", "price": 12.5}\n{"id": "mug-18", "title": "Enamel mug"}\n'
_ANSWER = '{"line": 1, "id": "mug-17", "status": 201}\n{"line": 2, "id": "mug-18", "status": 201}\n'


def _no_removal(action: Any) -> Any:
    if action == "delete":
        raise ValueError("must be replace or update; items are removed by DELETE /items?filter=")
    return action


def bulk_ingest(
    request: Request,
    services: ServicesDep,
    fetcher: FetcherDep,
    action: Annotated[
        Action,
        BeforeValidator(_no_removal),
        Query(description="`update` changes some of items that are there: each line has an id and what changes."),
    ] = "replace",
) -> BulkIngest:
    """Raises Problem (`overloaded`): a queue that is full at the start is told to bulk as to a single item."""
    with services.encoder.admit(1):
        pass
    return BulkIngest(
        services.catalogue,
        fetcher,
        request.app.state.draining,
        longest_line=services.settings.max_body_bytes,
        action=action,
    )


@router.post(
    "/items/bulk",
    dependencies=[_LINES, *INGEST_KEY, Depends(no_precondition)],
    status_code=200,
    response_class=NdjsonResponse,
    responses={
        200: {
            "description": "One result a line, as soon as it is durable.",
            "content": {"application/x-ndjson": {"schema": BulkResult.model_json_schema(), "example": _ANSWER}},
        },
        **responses(400, 415, 422, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/x-ndjson": {"schema": BulkLine.model_json_schema(mode="validation"), "example": _EXAMPLE},
                "multipart/form-data": {"schema": _FORM, "example": {"item": [_EXAMPLE.partition("\n")[0]]}},
            },
        }
    },
    summary="Add, replace or change many items",
)
async def bulk(
    request: Request, services: ServicesDep, ingest: Annotated[BulkIngest, Depends(bulk_ingest)]
) -> NdjsonResponse:
    """Each line is an item with its pictures in base64 (`images`); each line of the answer says what became of one.
    Or a form: each part `item` is a line, and each part `image` after it a picture of it, as it is.

    Send as many as you like: the service reads as fast as it can store. One bad line fails alone. Of an item's lines,
    the last one stays.

    With `action=update` a line is what `PATCH /items/{id}` takes, and the id: `{"id": "mug-17", "price": 9.9}`. Prices
    and stock of a whole catalogue cost no run of the model.
    """
    return NdjsonResponse(_counted(ingest.results(request), services.metrics))


async def _counted(results: AsyncIterator[BulkResult], metrics: Metrics) -> AsyncIterator[BulkResult]:
    # The request itself answers 200 whatever becomes of its lines.
    async for result in results:
        metrics.bulk_lines.labels(result.status).inc()
        yield result

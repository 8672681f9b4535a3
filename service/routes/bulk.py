"""`POST /items/bulk`: a whole catalogue in one request."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from service.bulk import BulkIngest, NdjsonResponse
from service.problems import responses
from service.requests import body_of
from service.schemas import BulkLine, BulkResult
from service.services import ServicesDep

router = APIRouter(tags=["items"])

_LINES = body_of(
    ("application/x-ndjson", "multipart/form-data"), "one JSON object a line, as `curl -T items.ndjson` sends them"
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


def bulk_ingest(services: ServicesDep) -> BulkIngest:
    settings = services.settings
    return BulkIngest(services.catalogue, longest_line=settings.max_body_bytes, max_pictures=settings.max_pictures)


@router.post(
    "/items/bulk",
    dependencies=[_LINES],
    status_code=200,
    response_class=NdjsonResponse,
    responses={
        200: {
            "description": "One result a line, as soon as it is durable.",
            "content": {"application/x-ndjson": {"schema": BulkResult.model_json_schema(), "example": _ANSWER}},
        },
        **responses(415, 503),
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
    summary="Add or replace many items",
)
async def bulk(request: Request, ingest: Annotated[BulkIngest, Depends(bulk_ingest)]) -> NdjsonResponse:
    """Each line is an item with its pictures in base64 (`images`); each line of the answer says what became of one.
    Or a form: each part `item` is a line, and each part `image` after it a picture of it, as it is.

    Send as many as you like: the service reads as fast as it can store. One bad line fails alone.
    """
    return NdjsonResponse(ingest.results(request))

"""`/feedback`: what shoppers did with what they found. It goes to the log, to be joined with the searches there."""

import logging
from typing import Literal

from fastapi import APIRouter, status
from pydantic import BaseModel, ConfigDict, Field

from service.problems import responses
from service.requests import body_of
from service.schemas import ItemId, Word
from service.services import ServicesDep

log = logging.getLogger(__name__)

router = APIRouter(tags=["search"])

_JSON = body_of("application/json", 'send {"search_id": "…", …} with the header Content-Type: application/json')


class Feedback(BaseModel):
    """One thing that a shopper did with a hit."""

    model_config = ConfigDict(extra="forbid")

    search_id: Word = Field(description="Of the answer.", examples=["9d1c5f0e7b1d4c0c8a3d2f4b6e8a0c1d"])
    item_id: ItemId = Field(description="Of the hit.", examples=["mug-17"])
    action: Literal["click", "cart", "purchase"] = Field(examples=["click"])
    position: int | None = Field(default=None, ge=0, le=100_000, description="Of the hit, counted from 0.")


@router.post(
    "/feedback",
    dependencies=[_JSON],
    status_code=status.HTTP_204_NO_CONTENT,
    responses=responses(400, 413, 415, 422),
    summary="Say what became of a hit",
)
async def feedback(event: Feedback, services: ServicesDep) -> None:
    """A line of the log and a count in the metrics: which searches lead to something, and at which place."""
    services.metrics.feedback.labels(event.action).inc()
    log.info("feedback", extra={"fields": event.model_dump()})

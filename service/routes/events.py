"""`POST /events`: what shoppers did with what a search showed them."""

from typing import Annotated

from fastapi import APIRouter, Depends

from service.access import SEARCH_KEY, GuardedRoute
from service.event_schemas import EventBatch, EventsAccepted
from service.events import EventLog, event_records
from service.problems import Problem, responses
from service.routes.requests import body_of
from service.services import ServicesDep

router = APIRouter(tags=["events"], route_class=GuardedRoute)

_JSON = body_of("application/json", 'send {"events": […]} with the header Content-Type: application/json')


def _event_log(services: ServicesDep) -> EventLog:
    """Raises Problem (`events_off`), before events are looked at that nobody keeps."""
    if services.events is None:
        raise Problem(404, "events_off", "This service keeps no events; SEARCH_EVENTS=true switches it on.")
    return services.events


@router.post(
    "/events",
    dependencies=[_JSON, *SEARCH_KEY],
    responses=responses(400, 401, 403, 404, 408, 413, 415, 422, 429, 507),
    summary="Tell what shoppers did",
)
async def post_events(
    body: EventBatch, services: ServicesDep, log: Annotated[EventLog, Depends(_event_log)]
) -> EventsAccepted:
    """All of a batch is kept, or none. `python -m training.prepare events` trains on them.

    The events are on the disk when this answers. Whether their search and item exist is looked at only then.
    """
    await log.append(event_records(body.events))
    for event in body.events:
        services.metrics.events.labels(event.kind).inc()
    return EventsAccepted(accepted=len(body.events))

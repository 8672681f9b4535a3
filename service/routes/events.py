"""`POST /events`: what shoppers did with what a search showed them."""

from fastapi import APIRouter

from service.access import SEARCH_KEY, GuardedRoute
from service.event_schemas import EventBatch, EventsAccepted
from service.events import event_records
from service.problems import Problem, responses
from service.requests import body_of
from service.services import ServicesDep

router = APIRouter(tags=["events"], route_class=GuardedRoute)

_JSON = body_of("application/json", 'send {"events": […]} with the header Content-Type: application/json')


@router.post(
    "/events",
    dependencies=[_JSON, *SEARCH_KEY],
    responses=responses(400, 401, 403, 404, 408, 413, 415, 422, 429, 507),
    summary="Tell what shoppers did",
)
async def post_events(body: EventBatch, services: ServicesDep) -> EventsAccepted:
    """All of a batch is kept, or none. `python -m training.prepare events` trains on them.

    The events are on the disk when this answers. Whether their search and item exist is looked at only then.
    """
    if services.events is None:
        raise Problem(404, "events_off", "This service keeps no events; SEARCH_EVENTS=true switches it on.")
    await services.events.append(event_records(body.events))
    for event in body.events:
        services.metrics.events.labels(event.kind).inc()
    return EventsAccepted(accepted=len(body.events))

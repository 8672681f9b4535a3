"""`/rules`: synonyms, what comes first or never for certain queries, and what is lifted in searches."""

from functools import partial

from fastapi import APIRouter

from service.access import ANY_KEY, INGEST_KEY, GuardedRoute
from service.choice import boosts_of
from service.problems import filter_errors_in, responses
from service.routes.requests import body_of
from service.rules import Rules
from service.services import ServicesDep

router = APIRouter(tags=["rules"], route_class=GuardedRoute)

_JSON = body_of(
    "application/json", 'send {"synonyms": […], "curations": […], "boost": […]} with Content-Type: application/json'
)


@router.get("/rules", dependencies=ANY_KEY, responses=responses(401, 403, 429), summary="The rules that searches go by")
async def get_rules(services: ServicesDep) -> Rules:
    """As they were last put."""
    return services.rules.current()


@router.put(
    "/rules",
    dependencies=[_JSON, *INGEST_KEY],
    responses=responses(400, 401, 403, 408, 413, 415, 422, 429, 503, 507),
    summary="Replace all rules",
)
async def put_rules(body: Rules, services: ServicesDep) -> Rules:
    """On the disk when this answers, and in force from the next search on.

    Items that are pinned need not exist, nor pass the filter of each search: those that do not are left out. A field
    by which hits are lifted must be an attribute that some item has, or an item's own.
    """
    for n, one in enumerate(body.boost):
        with filter_errors_in("body"):
            await services.index.with_fields(partial(boosts_of, one, path=f"boost[{n}]"))
    await services.rules.replace(body)
    return body

"""`/rules`: synonyms, what comes first or never for certain queries, and what is lifted in searches."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from service.access import ANY_KEY, INGEST_KEY, GuardedRoute
from service.page_options import boosts_of
from service.problems import filter_errors_in, responses
from service.routes.parameters import not_modified, tags_of
from service.routes.requests import body_of
from service.rules import Rules
from service.services import ServicesDep

router = APIRouter(tags=["rules"], route_class=GuardedRoute)

_JSON = body_of(
    "application/json", 'send {"synonyms": […], "curations": […], "boost": […]} with Content-Type: application/json'
)


@router.get(
    "/rules",
    dependencies=ANY_KEY,
    response_model=Rules,
    responses={304: {"description": "The client has them"}, **responses(401, 403, 429)},
    summary="The rules that searches go by",
)
async def get_rules(services: ServicesDep, request: Request, response: Response) -> Rules | Response:
    """As they were last put. The `ETag` is for `If-Match`, so that nobody's change is lost."""
    rules = services.rules.current()
    response.headers["ETag"] = rules.tag
    return not_modified(request, rules.tag) or rules


@router.put(
    "/rules",
    dependencies=[_JSON, *INGEST_KEY],
    responses=responses(400, 401, 403, 408, 412, 413, 415, 422, 429, 503, 507),
    summary="Replace all rules",
)
async def put_rules(
    body: Rules,
    services: ServicesDep,
    response: Response,
    if_match: Annotated[
        str | None, Header(description="Replace only rules whose ETag is among these: what `GET /rules` answered.")
    ] = None,
) -> Rules:
    """On the disk when this answers, and in force from the next search on.

    Items that are pinned need not exist, nor pass the filter of each search: those that do not are left out, as are
    those without the query's words in a search by words alone (`lexical`). A field by which hits are lifted must be an
    attribute that some item has, or an item's own.
    """
    for n, one in enumerate(body.boost):
        with filter_errors_in("body"):
            await services.index.with_fields(partial(boosts_of, one, path=f"boost[{n}]"))
    await services.rules.replace(body, tags_of(if_match))
    response.headers["ETag"] = body.tag
    return body

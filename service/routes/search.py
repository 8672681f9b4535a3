"""`/search` and `/suggest`: what shoppers ask."""

import json
from time import perf_counter
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request

from service.access import SEARCH_KEY, GuardedRoute
from service.events import By
from service.fetch import FetcherDep
from service.field_types import PathItemId
from service.problems import field_errors_in, responses
from service.routes.parameters import AskedFields, Filter, condition_of
from service.routes.requests import body_of, while_connected
from service.search_schemas import (
    BatchRequest,
    BatchResponse,
    ImageSearchForm,
    Page,
    RecommendRequest,
    SearchRequest,
    SearchResponse,
    SuggestionResult,
    SuggestResponse,
)
from service.services import Services, ServicesDep
from service.tasks import gather_or_cancel

_LONGEST_TYPED = 200  # characters of which anything suggested could be the rest

_DOOR: dict[str, Any] = {
    "route_class": GuardedRoute,
    "dependencies": SEARCH_KEY,
    "responses": responses(401, 403, 408, 422, 429),
    "tags": ["search"],
}
router = APIRouter(**_DOOR)

_JSON = body_of("application/json", 'send {"query": "…"} with the header Content-Type: application/json')
_FORM = body_of("multipart/form-data", "the picture a file, each option a part, as `curl -F` sends them")


@router.post(
    "/search",
    dependencies=[_JSON],
    responses=responses(400, 413, 415, 422, 503),
    summary="Search by keywords",
)
async def search(body: SearchRequest, request: Request, services: ServicesDep) -> SearchResponse:
    """Ranks the catalogue by what pictures and text together say about each item."""
    response = await while_connected(request, services.searcher.search(body))
    _note(services, body.query, body, response)
    return response


@router.post(
    "/search/batch",
    dependencies=[_JSON],
    responses=responses(400, 413, 415, 422, 503),
    summary="Many searches in one request",
)
async def search_batch(body: BatchRequest, request: Request, services: ServicesDep) -> BatchResponse:
    """All are answered, or the first problem is. Counts as so many searches."""
    request.state.permit.charge(len(body.searches) - 1)
    searches = [services.searcher.search(one, f"body.searches.{n}") for n, one in enumerate(body.searches)]
    results = await while_connected(request, gather_or_cancel(searches))
    for asked, answer in zip(body.searches, results, strict=True):
        _note(services, asked.query, asked, answer)
    return BatchResponse(results=results)


@router.get("/suggest", responses=responses(422), summary="Suggestions while one types")
async def suggest(
    services: ServicesDep,
    q: Annotated[str, Query(max_length=1000, description="What has been typed so far.", examples=["stri"])],
    limit: Annotated[int, Query(ge=1, le=50, description="How many suggestions.")] = 8,
) -> SuggestResponse:
    """Titles, categories, brands and other attribute values, and what others searched for; one typing error is
    forgiven."""
    started = perf_counter()
    found = services.lexicon.suggest(q, limit) if len(q) <= _LONGEST_TYPED else []
    return SuggestResponse(
        suggestions=[SuggestionResult(text=one.text, kind=one.kind) for one in found],
        took_ms=round((perf_counter() - started) * 1000, 2),
    )


@router.get("/items/{item_id}/similar", responses=responses(404, 422, 503), summary="Items like one of them")
async def similar(
    item_id: PathItemId,
    request: Request,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=100, description="How many hits.")] = 12,
    offset: Annotated[int, Query(ge=0, le=10_000, description="How many hits to pass over.")] = 0,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before, in place of `offset`.")
    ] = None,
    filter: Filter = None,
    group_by: Annotated[
        str | None,
        Query(min_length=1, max_length=200, description="One item for each value of this field, none of its own."),
    ] = None,
    fields: AskedFields = None,
) -> SearchResponse:
    """By what pictures and texts show and say together; the item itself is left out."""
    condition = await condition_of(services, filter)
    with field_errors_in("query"):
        page = Page(limit=limit, offset=offset, cursor=cursor, group_by=group_by, fields=fields)
    response = await while_connected(request, services.searcher.similar([item_id], page, condition, place="query"))
    _note(services, item_id, page, response, "item")
    return response


@router.post(
    "/recommend",
    dependencies=[_JSON],
    responses=responses(400, 404, 413, 415, 422, 503),
    summary="Items like several of them",
)
async def recommend(body: RecommendRequest, request: Request, services: ServicesDep) -> SearchResponse:
    """What a shopper who looked at these may like, or has in the basket: by all of their pictures and texts together.

    They themselves are left out, and so are ids of which there is no item.
    """
    response = await while_connected(request, services.searcher.similar(body.items, body))
    _note(services, json.dumps(body.items, ensure_ascii=False), body, response, "item")
    return response


image_router = APIRouter(**_DOOR)  # takes larger bodies


@image_router.post(
    "/search/image",
    dependencies=[_FORM],
    responses=responses(400, 413, 415, 422, 503),
    summary="Search by a picture, with or without words",
)
async def search_image(
    form: Annotated[ImageSearchForm, Form(media_type="multipart/form-data")],
    request: Request,
    services: ServicesDep,
    fetcher: FetcherDep,
) -> SearchResponse:
    """Finds what looks like a photograph; words change what is meant: "in red", "for children"."""

    async def found() -> SearchResponse:
        (file,) = [form.image.file] if form.image else await fetcher.fetch_all([form.image_url or ""])
        return await services.searcher.search_image(form, file)

    response = await while_connected(request, found())
    _note(services, form.query, form, response, "picture")
    return response


def _note(services: Services, query: str, page: Page, response: SearchResponse, by: By | None = None) -> None:
    """Into the event log, where there is one."""
    if services.events is not None:
        by = by or ("words" if query else "nothing")
        services.events.searched(query, page, response, by, complete=isinstance(page, SearchRequest) and page.complete)

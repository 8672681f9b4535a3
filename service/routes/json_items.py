"""`POST /items` and `PUT /items/{id}` with a body of JSON; `items` has them with a form, and documents both."""

import io

from fastapi import APIRouter, status
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from service.access import INGEST_KEY, GuardedRoute
from service.field_types import PathItemId
from service.routes.items import StoringDep
from service.routes.requests import media_type_of
from service.schemas import BulkLine, Item, PutBody


class JsonRoute(GuardedRoute):
    """A route for bodies of JSON alone: other bodies of its address are another's."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or media_type_of(Headers(scope=scope)) != "application/json":
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(route_class=JsonRoute, include_in_schema=False)


@router.post("/items", status_code=status.HTTP_201_CREATED, dependencies=INGEST_KEY)
async def post_json_item(line: BulkLine, storing: StoringDep) -> Item:
    return await storing.store(line.content, [io.BytesIO(picture) for picture in line.images], line.image_urls)


@router.put("/items/{item_id}", status_code=status.HTTP_201_CREATED, dependencies=INGEST_KEY)
async def put_json_item(item_id: PathItemId, body: PutBody, storing: StoringDep) -> Item:
    line = BulkLine.model_construct(**dict(body), id=item_id)  # both are validated
    return await post_json_item(line, storing)

"""`/items`: what the shop puts in, sees and takes out."""

import asyncio
import hashlib
import hmac
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Query, Request, Response, status

from retriever.index import FilterError, Payload, Sort, listing
from retriever.index.fields import field_name
from retriever.index.filters import Fields
from service.access import ANY_KEY, INGEST_KEY, Gate, GuardedRoute
from service.fetch import FetcherDep
from service.field_types import MOST_FACET_VALUES, PathItemId
from service.payload import PreparedItem
from service.problems import Problem, field_errors_in, filter_errors_in, responses
from service.routes.parameters import AskedFields, Filter, PreconditionDep, condition_of, no_precondition, not_modified
from service.routes.requests import body_of, while_connected
from service.schemas import (
    BulkLine,
    Deleted,
    FacetResult,
    FieldInfo,
    FieldList,
    Item,
    ItemFields,
    ItemForm,
    ItemList,
    ItemPatch,
    PartialItem,
    PutBody,
    PutForm,
)
from service.services import ServicesDep

router = APIRouter(tags=["items"], route_class=GuardedRoute)

_DOOR = responses(401, 403, 408, 422, 429)

_FORM = body_of(
    ("multipart/form-data", "application/json"), "each field a part, each picture a file, as `curl -F` sends them"
)
_JSON = body_of("application/json", 'send {"price": 9.9} with the header Content-Type: application/json')
_STORED: dict[int | str, dict[str, Any]] = {200: {"model": Item, "description": "Replaced"}}


_EXAMPLE = {
    "title": "Stoneware mug",
    "category": ["Home", "Kitchen", "Mugs"],
    "price": 12.5,
    "stock": 3,
    "attributes": {"brand": "Kiln & Co", "article number": "KC-17"},
}


def _json_too(model: type[PutBody], example: dict[str, Any]) -> dict[str, Any]:
    """The other kind of body that a route takes (see `json_items`), in the OpenAPI document."""
    body = {"schema": model.model_json_schema(mode="validation"), "example": example}
    return {"requestBody": {"content": {"application/json": body}}}


def _answer(payload: Payload, response: Response) -> Item:
    response.headers["ETag"] = f'"{payload["version"]}"'
    return Item.from_payload(payload)


@dataclass(frozen=True)
class Storing:
    """What a route that stores an item works with, whatever its body is."""

    request: Request
    response: Response
    services: ServicesDep
    fetcher: FetcherDep
    condition: PreconditionDep

    async def store(self, fields: ItemFields, pictures: Sequence[BinaryIO], urls: Sequence[str]) -> Item:
        """Stores an item with its pictures, and those to be fetched; sets the answer's status and headers."""
        catalogue = self.services.catalogue

        async def prepared() -> PreparedItem:
            return await catalogue.prepare(fields, await self.fetcher.collect(pictures, urls))

        item = await while_connected(self.request, prepared())
        payload, created = await catalogue.store(item, self.condition)
        if created:
            self.response.headers["Location"] = f"/items/{quote(fields.id, safe='')}"
        else:
            self.response.status_code = status.HTTP_200_OK
        return _answer(payload, self.response)


StoringDep = Annotated[Storing, Depends()]


@router.post(
    "/items",
    status_code=status.HTTP_201_CREATED,
    dependencies=[_FORM, *INGEST_KEY],
    responses={**_STORED, **_DOOR, **responses(400, 412, 413, 415, 422, 503, 507)},
    openapi_extra=_json_too(BulkLine, {"id": "mug-17", **_EXAMPLE}),
    summary="Add or replace an item",
)
async def post_item(form: Annotated[ItemForm, Form(media_type="multipart/form-data")], storing: StoringDep) -> Item:
    """Stores an item under the shop's own id: 201 when it is new, 200 when it replaces one.

    An item needs a picture or some text. It is found by the next search, and survives a crash of the service, as soon
    as this answers.
    """
    fields = ItemFields.model_validate(form.model_dump(exclude={"image", "image_url"}))
    return await storing.store(fields, [upload.file for upload in form.image], form.image_url)


@router.put(
    "/items/{item_id}",
    status_code=status.HTTP_201_CREATED,
    dependencies=[_FORM, *INGEST_KEY],
    responses={**_STORED, **_DOOR, **responses(400, 412, 413, 415, 422, 503, 507)},
    openapi_extra=_json_too(PutBody, _EXAMPLE),
    summary="Add or replace the item of this address",
)
async def put_item(
    item_id: PathItemId,
    form: Annotated[PutForm, Form(media_type="multipart/form-data")],
    storing: StoringDep,
) -> Item:
    """As `POST /items`, with the id in the address alone."""
    whole = ItemForm.model_construct(**dict(form), id=item_id)  # both are validated
    return await post_item(whole, storing)


@router.patch(
    "/items/{item_id}",
    dependencies=[_JSON, *INGEST_KEY],
    responses={**_DOOR, **responses(400, 404, 412, 413, 415, 422, 503, 507)},
    summary="Change some of an item",
)
async def patch_item(
    item_id: PathItemId,
    patch: ItemPatch,
    response: Response,
    services: ServicesDep,
    fetcher: FetcherDep,
    condition: PreconditionDep,
) -> Item:
    """What is not sent stays. Price and stock cost no run of the model; pictures, texts, the category and attributes in
    words do, where they change.
    """
    pictures = None
    if patch.images is not None or patch.image_urls is not None:
        sent = [io.BytesIO(picture) for picture in patch.images or ()]
        pictures = await fetcher.collect(sent, patch.image_urls or ())
    with field_errors_in("body"):  # old and new attributes together may be more than an item takes
        return _answer(await services.catalogue.change(item_id, patch, condition, pictures), response)


@router.get("/items", dependencies=ANY_KEY, responses={**_DOOR, **responses(422, 503)}, summary="List the catalogue")
async def list_items(
    services: ServicesDep,
    cursor: Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="How many items.")] = 50,
    filter: Filter = None,
    facets: Annotated[
        list[str], Query(max_length=20, description="Fields to count: `facets=brand&facets=price`.")
    ] = [],  # noqa: B006
    facet_size: Annotated[
        int, Query(ge=1, le=MOST_FACET_VALUES, description="How many values of each, the most common first.")
    ] = 20,
    sort: Annotated[
        str | None,
        Query(
            max_length=210,
            description="A field of numbers or dates, with `:desc` for the greatest first. Items without it come last.",
            examples=["price:asc"],
        ),
    ] = None,
    fields: AskedFields = None,
) -> ItemList:
    """Every item that the filter lets through, once: in a fixed order of the index's own, or by a field."""
    condition = await condition_of(services, filter)
    with filter_errors_in("query"):
        order = await _order_of(services, sort) if sort else None
        counted = await services.index.facets(facets, condition, facet_size) if facets else {}
    try:
        page, next_cursor = await services.index.scroll(cursor, limit, condition, order)
    except ValueError as error:
        raise Problem(422, "invalid_cursor", f"cursor must be a next_cursor of this list: {error}") from error
    return ItemList(
        items=[PartialItem.from_payload(payload).only(fields) for _, payload in page],
        next_cursor=next_cursor,
        total=await services.index.count(condition),
        facets={name: FacetResult.from_facet(facet) for name, facet in counted.items()},
    )


async def _order_of(services: ServicesDep, text: str) -> Sort | None:
    """The order of `price:desc`; None where no item has that.

    Raises:
        FilterError: `unknown_field`, `wrong_type`, `invalid_sort`.
    """
    name, _, order = text.rpartition(":")

    def read(fields: Fields) -> Sort | None:
        if order in ("asc", "desc"):
            return listing.order_of(name, fields, "sort", descending=order == "desc")
        if field_name(name) in fields and field_name(text) not in fields:
            raise FilterError("invalid_sort", "sort", f"goes by {name!r} with :asc or :desc, not with :{order}")
        return listing.order_of(text, fields, "sort", descending=False)

    return await services.index.with_fields(read)


@router.get("/fields", dependencies=ANY_KEY, responses={**_DOOR, **responses(503)}, summary="What can be filtered by")
async def list_fields(services: ServicesDep) -> FieldList:
    """The fields that items have: their own, and every attribute."""
    fields = await services.index.fields()
    return FieldList(fields=[FieldInfo(name=name, kinds=sorted(kinds)) for name, kinds in sorted(fields.items())])


@router.delete(
    "/items",
    dependencies=[*INGEST_KEY, Depends(no_precondition)],
    responses={**_DOOR, **responses(422, 503, 507)},
    summary="Remove all items that a filter lets through",
)
async def delete_items(
    services: ServicesDep,
    filter: Filter = None,
    all: Annotated[bool, Query(description="Remove all items, in place of a `filter`.")] = False,
) -> Deleted:
    """With their pictures. Ask again if it was cut off. A filter that holds no condition is refused."""
    condition = await condition_of(services, filter)
    if all and condition is not None:
        raise Problem(422, "filter_or_all", "Send filter or all=true: one of them.")
    if not all and condition is None:  # `{}` is what some clients make of a value that is not set
        raise Problem(422, "empty_filter", "The filter holds no condition: to remove all items send all=true.")
    return Deleted(deleted=await services.catalogue.delete_where(condition))


@router.get(
    "/items/{item_id}",
    dependencies=ANY_KEY,
    response_model=Item,
    responses={304: {"description": "The client has it"}, **_DOOR, **responses(404, 422, 503)},
    summary="One item",
)
async def get_item(item_id: PathItemId, request: Request, response: Response, services: ServicesDep) -> Item | Response:
    item = _answer(await services.catalogue.get(item_id), response)
    return not_modified(request, response.headers["ETag"]) or item


@router.delete(
    "/items/{item_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    dependencies=INGEST_KEY,
    responses={**_DOOR, **responses(404, 412, 422, 503, 507)},
    summary="Remove an item and its pictures",
)
async def delete_item(item_id: PathItemId, services: ServicesDep, condition: PreconditionDep) -> None:
    await services.catalogue.delete(item_id, condition)


@router.get(
    "/items/{item_id}/image",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}}, "description": "The picture"},
        304: {"description": "The client has it"},
        **responses(401, 404, 422, 503),
    },
    # With the picture's own name none is needed.
    openapi_extra={"security": [{}, *({one.dependency.scheme_name: []} for one in ANY_KEY)]},
    summary="A picture of an item",
)
async def get_image(
    item_id: PathItemId,
    request: Request,
    services: ServicesDep,
    n: Annotated[int, Query(ge=0, le=1000, description="Which of its pictures, counted from 0.")] = 0,
    v: Annotated[str, Query(max_length=64, description="The picture's own name, as the item's `url` has it.")] = "",
) -> Response:
    """Upright RGB JPEG of bounded size, whatever was uploaded.

    Browsers send no key with pictures. The address that an item gives holds a name that cannot be guessed, which does
    instead: who was shown the item may see its pictures.
    """
    gate: Gate = request.app.state.gate
    try:
        path = await services.catalogue.picture(item_id, n)
    except Problem:
        gate.caller(request.scope)  # without a key not even what is missing is told
        raise
    named = hmac.compare_digest(path.stem.encode(), v.encode())
    if not named:
        gate.caller(request.scope)
    # A picture's file is written once, under a new name each time: the name is its version.
    keep = "private, max-age=31536000, immutable" if named else "no-cache"
    headers = {"ETag": f'"{hashlib.sha256(path.name.encode()).hexdigest()[:32]}"', "Cache-Control": keep}
    if same := not_modified(request, headers["ETag"], headers):
        return same
    try:
        # At once, and before the answer begins: a file that is sent piece by piece may go in between.
        content = await asyncio.to_thread(path.read_bytes)
    except FileNotFoundError:
        detail = f"The picture of item {item_id!r} was replaced or removed just now."
        raise Problem(404, "image_not_found", detail) from None
    if not content:
        raise Problem(404, "image_not_found", f"The picture of item {item_id!r} is damaged: send its pictures again.")
    return Response(content, media_type="image/jpeg", headers=headers)

"""`/items`: what the shop puts in, sees and takes out."""

import hashlib
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request, Response, status
from starlette.responses import FileResponse

from service.problems import Problem, responses
from service.requests import body_of, while_connected
from service.schemas import Item, ItemFields, ItemForm, ItemList, PathItemId
from service.services import ServicesDep

router = APIRouter(tags=["items"])


@router.post(
    "/items",
    status_code=status.HTTP_201_CREATED,
    dependencies=[body_of("multipart/form-data", "each field a part, each picture a file, as `curl -F` sends them")],
    responses={200: {"model": Item, "description": "Replaced"}, **responses(400, 413, 415, 422, 429, 503, 507)},
    summary="Add or replace an item",
)
async def put_item(
    form: Annotated[ItemForm, Form(media_type="multipart/form-data")],
    request: Request,
    response: Response,
    services: ServicesDep,
) -> Item:
    """Stores an item under the shop's own id: 201 when it is new, 200 when it replaces one.

    An item needs a picture or some text. It is found by the next search, and survives a crash of the service, as soon
    as this answers.
    """
    fields = ItemFields.model_validate(form.model_dump(exclude={"image"}))
    files = [upload.file for upload in form.image]
    prepared = await while_connected(request, services.catalogue.prepare(fields, files))
    payload, created = await services.catalogue.store(prepared)
    if created:
        response.headers["Location"] = f"/items/{quote(fields.id, safe='')}"
    else:
        response.status_code = status.HTTP_200_OK
    return Item.from_payload(payload)


@router.get("/items", responses=responses(422, 503), summary="List the catalogue")
async def list_items(
    services: ServicesDep,
    cursor: Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> ItemList:
    """Every item once, in a fixed order of the index's own."""
    try:
        page, next_cursor = await services.index.scroll(cursor, limit)
    except ValueError as error:
        raise Problem(422, "invalid_cursor", f"cursor must be a next_cursor of this list: {error}") from error
    return ItemList(
        items=[Item.from_payload(payload) for _, payload in page],
        next_cursor=next_cursor,
        total=await services.index.count(),
    )


@router.get("/items/{item_id}", responses=responses(404, 422, 503), summary="One item")
async def get_item(item_id: PathItemId, services: ServicesDep) -> Item:
    return Item.from_payload(await services.catalogue.get(item_id))


@router.delete(
    "/items/{item_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=responses(404, 422, 503),
    summary="Remove an item and its pictures",
)
async def delete_item(item_id: PathItemId, services: ServicesDep) -> None:
    await services.catalogue.delete(item_id)


@router.get(
    "/items/{item_id}/image",
    response_class=FileResponse,
    responses={
        200: {"content": {"image/jpeg": {}}, "description": "The picture"},
        304: {"description": "The client has it"},
        **responses(404, 422, 503),
    },
    summary="A picture of an item",
)
async def get_image(
    item_id: PathItemId,
    request: Request,
    services: ServicesDep,
    n: Annotated[int, Query(ge=0, le=1000, description="Which of its pictures, counted from 0.")] = 0,
) -> Response:
    """Upright RGB JPEG of bounded size, whatever was uploaded."""
    path = await services.catalogue.picture(item_id, n)
    # A picture's file is written once, under a new name each time: the name is its version.
    headers = {"ETag": f'"{hashlib.sha256(path.name.encode()).hexdigest()[:32]}"', "Cache-Control": "no-cache"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    if not path.exists():
        raise Problem(404, "image_not_found", f"The picture of item {item_id!r} was replaced or removed just now.")
    return FileResponse(path, media_type="image/jpeg", headers=headers)

"""Parameters that several routes take: what must hold for a write, and filters in an address."""

import json
import re
from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Header, Query, Request, Response, status

from retriever.index.filters import Condition, parse
from service.catalogue import ANY, Precondition
from service.problems import Problem, filter_errors_in
from service.schemas import FIELDS, ItemPart
from service.services import ServicesDep

Filter = Annotated[
    str | None, Query(max_length=10_000, description='JSON, as in `POST /search`: `{"price": {"lt": 10}}`.')
]

AskedFields = Annotated[
    list[ItemPart] | None, Query(max_length=20, description=f"{FIELDS} As in `fields=title&fields=price`.")
]


def tags_of(if_match: str | None) -> list[str] | None:
    """The ETags of an `If-Match`, of which something must have one; None where any will do."""
    return None if if_match is None or if_match.strip() == "*" else [tag.strip() for tag in if_match.split(",")]


def not_modified(request: Request, tag: str, headers: Mapping[str, str] | None = None) -> Response | None:
    """304, where a client asks for what it has already: `If-None-Match` names this ETag, or `*`."""
    asked = request.headers.get("if-none-match", "")
    if asked.strip() != "*" and tag not in asked:
        return None
    return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers={"ETag": tag, **(headers or {})})


def precondition(
    if_match: Annotated[
        str | None, Header(description="Write only if the item's ETag is among these; `*`: only if it exists.")
    ] = None,
    if_none_match: Annotated[str | None, Header(description="`*`: write only if there is no such item yet.")] = None,
) -> Precondition:
    """What a client asks to hold for its write. Raises Problem (`invalid_precondition`)."""
    if if_none_match is not None and if_none_match.strip() != "*":
        raise Problem(422, "invalid_precondition", "If-None-Match of a write must be *.")
    versions = None
    if (tags := tags_of(if_match)) is not None:
        matches = [re.fullmatch(r'"(\d{1,18})"', tag) for tag in tags]
        if not all(matches):
            raise Problem(422, "invalid_precondition", 'If-Match must be * or ETags of the item, as in "3".')
        versions = frozenset(int(match[1]) for match in matches if match)
    return Precondition(versions, must_exist=if_match is not None, must_be_new=if_none_match is not None)


PreconditionDep = Annotated[Precondition, Depends(precondition)]


def no_precondition(condition: PreconditionDep) -> None:
    """Of requests that write many items. Raises Problem (`invalid_precondition`): nobody's item is to be overwritten
    in spite of what was asked.
    """
    if condition != ANY:
        detail = "If-Match and If-None-Match are of one item: send them with POST, PUT, PATCH or DELETE of each."
        raise Problem(422, "invalid_precondition", detail)


async def condition_of(services: ServicesDep, text: str | None) -> Condition | None:
    """The condition of a `filter` parameter. Raises Problem (`invalid_filter`, `unknown_field`, `wrong_type`)."""
    if text is None:  # an empty one is no filter: it may be a variable that was not set, of a client that deletes
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(422, "invalid_filter", 'filter must be JSON, as in {"brand": "Nike"}.') from None
    with filter_errors_in("query"):
        return await services.index.with_fields(lambda fields: parse(value, fields))

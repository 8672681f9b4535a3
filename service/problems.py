"""Every error as `application/problem+json` (RFC 9457), with a `code` that clients can rely on.

The body is `{"type", "title", "status", "detail", "code"}`, and for refused fields also
`"errors": [{"field", "message"}]`. Codes are stable; titles and details are for people.
"""

import contextlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retriever.index.filters import FilterError
from retriever.index.results import IndexUnavailable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_MOST_ERRORS = 100  # refused fields that one answer names

# What Starlette and FastAPI raise by themselves, by status.
_CODES = {
    400: "malformed_body",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "validation_failed",
    500: "internal_error",
}
_DETAILS = {
    404: "Nothing is at this address; /docs lists what is.",
    405: "This address does not take this method; the Allow header names those that it takes.",
    408: "The body did not come fast enough; SEARCH_CLIENT_SECONDS sets how long a pause may be.",
    413: "The body is larger than this address takes: SEARCH_MAX_BODY_BYTES of an upload, 1 MiB at most of all else.",
    500: "Something went wrong in the service. Its log has the details under this request's X-Request-ID.",
}

# What to send, where something of another shape was sent.
_EXAMPLES: dict[str, Any] = {
    "boost": [{"field": "price", "weight": 0.1}],
    "facet_ranges": {"price": [10, 20, 50]},
    "facets": ["brand"],
    "fields": ["title", "price"],
    "filter": {"price": {"lt": 500}},
    "items": ["mug-17"],
    "searches": [{"query": "red mug"}],
    "sort": [{"field": "price", "order": "asc"}],
}


class FieldError(BaseModel):
    field: str = Field(description="Where in the request, as in `body.price`.")
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["urn:product-search:problem:item_not_found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no item 'A-17'."])
    code: str = Field(description="Stable; made for programs. docs/errors.md lists all.", examples=["item_not_found"])
    errors: list[FieldError] | None = Field(
        default=None, description=f"The refused fields, one by one; {_MOST_ERRORS} at most."
    )


class Problem(Exception):
    """An error with its answer. Raised anywhere below a route; becomes the response."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: int | None = None,  # seconds
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.errors = status, code, detail, errors
        self.headers = dict(headers or {}) | ({} if retry_after is None else {"Retry-After": str(retry_after)})

    def response(self) -> Response:
        body: dict[str, Any] = {
            "type": f"urn:product-search:problem:{self.code}",
            "title": _title(self.status),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            body["errors"] = self.errors
        # ASCII, since a refused field's name may hold what UTF-8 cannot (a lone surrogate).
        content = json.dumps(body, ensure_ascii=True).encode()
        return Response(content, self.status, self.headers, media_type=MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route in the OpenAPI document: these statuses answer with problem details."""
    return {
        status: {
            "description": _title(status),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in statuses
    }


@contextlib.contextmanager
def filter_errors_in(place: str) -> Iterator[None]:
    """Answers what a filter, facet, sort or group in this part of the request (`body`, `query`) cannot be.

    Raises:
        Problem: 422 with the code of the `FilterError`.
    """
    try:
        yield
    except FilterError as error:
        raise refused_field(place, error.path, error.code, error.message) from error


def refused_field(place: str, path: str, code: str, message: str) -> Problem:
    """What one field of this part of the request cannot be."""
    _, _, within = place.partition(".")  # of a batch, which search
    detail = f"{within}.{path} {message}." if within else f"{path} {message}."
    return Problem(422, code, detail, errors=[{"field": f"{place}.{path}", "message": message}])


@contextlib.contextmanager
def field_errors_in(place: str) -> Iterator[None]:
    """Answers what fields of this part of the request (`body`, `query`) cannot be together.

    Raises:
        RequestValidationError: of what pydantic refuses, with the fields' names as in the request.
    """
    try:
        yield
    except ValidationError as error:
        raise RequestValidationError([one | {"loc": (place, *one["loc"])} for one in error.errors()]) from error


def internal_error() -> Problem:
    return Problem(500, _CODES[500], _DETAILS[500])


def index_unavailable(error: IndexUnavailable) -> Problem:
    return Problem(503, "index_unavailable", f"The index does not answer: {error}", retry_after=2)


def install(app: FastAPI) -> None:
    """Registers the handlers; and in the OpenAPI document `ProblemDetails`, and that anything may fail with 500."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(405, _on_wrong_method)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(IndexUnavailable, _on_index_unavailable)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= {**schema.pop("$defs"), "ProblemDetails": schema}
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].setdefault("500", responses(500)[500])
        return document

    app.openapi = openapi  # type: ignore[method-assign]


class ProblemMiddleware:
    """Turns the plain-text errors that Starlette's own middleware sends past the handlers into problem details."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        replaced = False

        async def send_problem(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] >= 400:
                headers = MutableHeaders(raw=message["headers"])
                if headers.get("content-type", "").startswith("text/plain"):
                    replaced = True
                    await _problem_of_status(message["status"]).response()(scope, receive, send)
            if not replaced:
                await send(message)

        await self.app(scope, receive, send_problem)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem_of(error).response()


async def _on_wrong_method(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    # The router names the methods of the first route with this path, and each of ours is a route of its own.
    allowed = set()
    for template, operations in request.app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), request.scope["path"]):
            allowed |= {method.upper() for method in operations} | ({"HEAD"} if "get" in operations else set())
    headers = {"Allow": ", ".join(sorted(allowed))} if allowed else error.headers
    return _problem_of_status(405, None, headers).response()


def first_message(error: ValidationError) -> str:
    """The first of what a validation refuses: where, and what is said of it."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'line'}: {message_of(first)}"


def message_of(error: ErrorDetails) -> str:
    """What one error of a validation says, in pydantic's words or ours."""
    match error["type"]:
        case "extra_forbidden":
            return "is no field that this takes"
        case "too_long" if isinstance(error["input"], str):
            return f"has more than {error['ctx']['max_length']} characters"
        case "list_type":
            return f"must be a list{_as_in(error['loc'])}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must be a JSON object{_as_in(error['loc'])}"
    return error["msg"].removeprefix("Value error, ")


def _as_in(place: Sequence[int | str]) -> str:
    field = next((step for step in reversed(place) if isinstance(step, str)), "")
    example = _EXAMPLES.get(field)
    if isinstance(example, list) and place[-1] != field:  # one of a list
        example = example[0]
    return f", as in {json.dumps(example)}" if example else ""


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    refused = error.errors()[:_MOST_ERRORS]
    first = refused[0]
    if first["type"] == "json_invalid":
        detail = f"The body is not JSON: {first['ctx']['error']} (at character {first['loc'][-1]})."
        return Problem(400, _CODES[400], detail).response()
    # The refused values are left out: they may be long, private, or impossible to write as JSON.
    errors = [{"field": ".".join(map(str, entry["loc"])), "message": message_of(entry)} for entry in refused]
    detail = "; ".join(f"{entry['field']}: {entry['message']}" for entry in errors[:3])
    return Problem(422, _CODES[422], detail, errors=errors).response()


async def _on_index_unavailable(request: Request, error: Exception) -> Response:
    assert isinstance(error, IndexUnavailable)
    log.warning("index unavailable: %s", error)
    return index_unavailable(error).response()


def problem_of(error: HTTPException) -> Problem:
    """What the framework raises, in the service's own words."""
    detail = error.detail
    if detail == "There was an error parsing the body":  # FastAPI's, which leaves out why
        deep = isinstance(error.__cause__, RecursionError)
        detail = f"The body could not be read: {'it is nested too deep' if deep else 'JSON must be text in UTF-8'}."
    elif detail.startswith("Part exceeded"):  # Starlette's of a form's text
        detail += " SEARCH_MAX_FIELD_BYTES sets the limit of a field of text."
    return _problem_of_status(error.status_code, detail, error.headers)


def _problem_of_status(status: int, detail: str | None = None, headers: Mapping[str, str] | None = None) -> Problem:
    # Starlette's own details repeat the status; ours say what to do.
    return Problem(
        status, _CODES.get(status, f"http_{status}"), _DETAILS.get(status, detail or _title(status)), headers=headers
    )


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"

"""Holds calls against the OpenAPI document, so that it can never say other than what the service does.

As Qdrant's own tests do it: every call of a test is checked, not a few written for the purpose. What was answered must
be documented (status, media type, body); and whatever was accepted must have been allowed (parameters, body).
"""

import email
import json
import re
from email.policy import HTTP
from functools import cache
from typing import Any

from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from service.app import create_app
from service.settings import Settings

Document = dict[str, Any]


def check_call(document: Document, request: Any, response: Any) -> None:
    """Raises AssertionError where a call and the document differ. `request` and `response` are httpx's."""
    path = request.url.raw_path.partition(b"?")[0].decode("ascii")
    call = f"{request.method} {path} → {response.status_code}"
    operation = find_operation(document, request.method, path)
    if operation is None:
        # Pages, scripts and the document itself; and errors, which have one shape everywhere.
        if response.status_code >= 400 and request.method not in ("HEAD", "OPTIONS"):
            schema = {"$ref": "#/components/schemas/ProblemDetails"}
            _check(document, schema, json.loads(response.content), f"{call}, of no operation")
        return
    _check_response(document, operation, response, call)
    if response.status_code < 300:
        _check_parameters(document, operation, request, call)
        _check_body(document, operation, request, call)


def find_operation(document: Document, method: str, path: str) -> Document | None:
    """The operation that serves a path, still percent-encoded; a literal segment goes before a parameter."""
    for template in sorted(document["paths"], key=lambda one: one.count("{")):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            operation: Document | None = document["paths"][template].get(method.lower())
            return operation
    return None


def _check(document: Document, schema: Document, value: Any, where: str) -> None:
    validator = Draft202012Validator({**schema, "components": document["components"]})
    errors = [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]
    assert not errors, f"{where}: {errors}"


def _check_response(document: Document, operation: Document, response: Any, call: str) -> None:
    documented = operation["responses"].get(str(response.status_code))
    assert documented is not None, f"{call} is not documented: {response.text[:300]}"
    contents = documented.get("content")
    if not contents:
        assert not response.content, f"{call}: a body that is not documented: {response.text[:300]}"
        return
    media_type = response.headers["content-type"].partition(";")[0]
    assert media_type in contents, f"{call}: answers {media_type}, documented are {list(contents)}"
    schema = contents[media_type].get("schema", {})
    if media_type.endswith("json"):
        lines = response.content.splitlines() if media_type == "application/x-ndjson" else [response.content]
        for line in lines:
            _check(document, schema, json.loads(line), f"{call}, its answer")


def _check_parameters(document: Document, operation: Document, request: Any, call: str) -> None:
    parameters = {(one["in"], one["name"]): one for one in operation.get("parameters", ())}
    query = request.url.params
    for name in query.keys():  # noqa: SIM118 — httpx's own multi-dictionary
        assert ("query", name) in parameters, f"{call}: the parameter {name!r} is not documented"
    for (place, name), parameter in parameters.items():
        if place == "query":
            sent = query.get_list(name)
        elif place == "header":
            sent = [request.headers[name]] if name in request.headers else []
        else:
            continue  # the path has been matched
        if not sent:
            assert not parameter.get("required"), f"{call}: accepted without its parameter {name!r}"
            continue
        value = _of_text(sent, parameter["schema"])
        _check(document, parameter["schema"], value, f"{call}, its parameter {name!r}")


def _check_body(document: Document, operation: Document, request: Any, call: str) -> None:
    body = operation.get("requestBody")
    content = request.content if hasattr(request, "_content") else None  # None: a stream, which has been read
    if body is None or content is None:
        return
    media_type = request.headers["content-type"].partition(";")[0]
    assert media_type in body["content"], f"{call}: accepted {media_type}"
    schema = body["content"][media_type]["schema"]
    where = f"{call}, its body"
    if media_type == "application/json":
        _check(document, schema, json.loads(content), where)
    elif media_type == "multipart/form-data" and "application/x-ndjson" not in body["content"]:
        _check(document, schema, _form(document, schema, request.headers["content-type"], content), where)
    # Lines are judged one by one: a bulk request is accepted with bad ones among them.


def _form(document: Document, schema: Document, content_type: str, content: bytes) -> Document:
    """What a form says, in the types that its schema gives its fields."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    parts: dict[str, list[str]] = {}
    for name, value in _parts(content_type, content):
        parts.setdefault(name, []).append(value)
    properties = schema["properties"]
    return {name: _of_text(values, properties.get(name, {})) for name, values in parts.items()}


def _of_text(values: list[str], schema: Document) -> Any:
    kinds = {one.get("type") for one in [schema, *schema.get("anyOf", ())]}
    if "array" in kinds:
        whole = len(values) == 1 and values[0].lstrip().startswith("[")
        return json.loads(values[0]) if whole else [_object_or_text(value) for value in values]
    (value,) = values
    return json.loads(value) if kinds & {"number", "integer", "object", "boolean"} else value


def _object_or_text(value: str) -> Any:
    return json.loads(value) if value.lstrip().startswith("{") else value


def _parts(content_type: str, content: bytes) -> list[tuple[str, str]]:
    """Names and contents of a form's parts; a file's content does not matter here."""
    form = email.message_from_bytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + content, policy=HTTP)
    found = []
    for part in form.iter_parts():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        found.append((str(name), "a file" if part.get_filename() is not None else data.decode()))
    return found


@cache
def _document() -> Document:
    """The same for every application: no setting has a part in it, and to write it takes a quarter of a second."""
    return create_app(Settings()).openapi()


def install(monkeypatch: Any) -> None:
    """Lets every test client check every call, however a test has made it."""
    send = TestClient.send

    def checked(client: TestClient, request: Any, **options: Any) -> Any:
        response = send(client, request, **options)
        check_call(_document(), request, response)
        return response

    monkeypatch.setattr(TestClient, "send", checked)

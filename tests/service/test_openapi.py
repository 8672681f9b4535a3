"""The OpenAPI document is whole enough to generate a client from, and its examples are true."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from examples.demo_catalogue import products
from service.app import create_app
from service.settings import Settings
from tests.service.helpers import picture_file, post_item

DOCUMENT: dict[str, Any] = create_app(Settings()).openapi()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, in the place of its reference."""
    if reference := schema.get("$ref"):
        *_, name = reference.split("/")
        found: dict[str, Any] = SCHEMAS[name]
        return found
    return schema


def example(schema: dict[str, Any]) -> Any:
    """The example that a schema gives, or that its parts give together. Raises KeyError where one is missing."""
    schema = resolved(schema)
    if "examples" in schema:
        return schema["examples"][0]
    for name in ("example", "const", "default"):
        if name in schema:
            return schema[name]
    if "anyOf" in schema:
        return example(schema["anyOf"][0])
    if schema.get("type") == "array":
        return [example(schema["items"])]
    if "properties" in schema:
        return {name: example(own) for name, own in schema["properties"].items() if name in schema.get("required", ())}
    raise KeyError(f"no example of {schema}")


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        node: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_takes_and_gives(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["tags"]
    for parameter in operation.get("parameters", []):
        assert parameter.get("description") or parameter["in"] == "path", parameter["name"]
    for media_type, body in operation.get("requestBody", {"content": {}})["content"].items():
        schema = resolved(body["schema"])
        assert schema["properties"], media_type
        assert body.get("example") or body.get("examples") or example(schema), media_type

    good = {status: answer for status, answer in operation["responses"].items() if status < "300"}
    assert good
    for status, answer in good.items():
        assert answer["description"]
        for media_type, body in answer.get("content", {}).items():
            if media_type == "application/json":
                assert example(body["schema"]) is not None, status
    if "204" not in good and name != "GET /metrics":
        assert all(answer["content"] for answer in good.values())


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operations_problems_are_problem_details(name: str) -> None:
    problems = {status: one for status, one in OPERATIONS[name]["responses"].items() if status >= "400"}
    assert problems or name in ("GET /health/live", "GET /metrics")
    for status, problem in problems.items():
        schema = problem["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ProblemDetails"}, status
    if "requestBody" in OPERATIONS[name]:
        assert "415" in problems, "another body is refused by its kind"
    if "{item_id}" in name and not name.startswith("PUT"):
        assert "404" in problems


def test_a_picture_takes_a_key_and_needs_none_by_its_name() -> None:
    needed = OPERATIONS["GET /items/{item_id}"]["security"]
    assert OPERATIONS["GET /items/{item_id}/image"]["security"] == [{}, *needed]


def test_the_examples_work(client: TestClient) -> None:
    """Each request example, sent as it stands, in an order in which a shop would send them."""

    def body(name: str, media_type: str = "application/json") -> Any:
        content = OPERATIONS[name]["requestBody"]["content"][media_type]
        return content.get("example") or example(content["schema"])

    def form(name: str) -> list[tuple[str, Any]]:
        fields = body(name, "multipart/form-data")
        texts = {field: value if isinstance(value, str) else json.dumps(value) for field, value in fields.items()}
        return [(field, (None, text)) for field, text in texts.items()] + [("image", ("a.png", picture_file()))]

    def check(answer: Any, status: int = 200) -> Any:
        assert answer.status_code == status, answer.text
        return answer

    stored = check(client.post("/items", files=form("POST /items")), 201).json()
    assert stored.keys() == example({"$ref": "#/components/schemas/Item"}).keys()
    check(client.post("/items", json=body("POST /items")))
    check(client.put("/items/other", files=form("PUT /items/{item_id}")), 201)
    check(client.put("/items/other", json=body("PUT /items/{item_id}")))
    check(client.patch("/items/other", json=body("PATCH /items/{item_id}")))
    lines = body("POST /items/bulk", "application/x-ndjson")
    answer = client.post("/items/bulk", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert [json.loads(line)["status"] for line in check(answer).text.splitlines()] == [200, 201]
    check(client.put("/items/mug-17", files=form("PUT /items/{item_id}")))

    for one in resolved({"$ref": "#/components/schemas/SearchRequest"})["examples"]:
        assert check(client.post("/search", json=one)).json().keys() == set(
            DOCUMENT["components"]["schemas"]["SearchResponse"]["properties"]
        )
    page = {
        name: own["examples"][0]
        for name, own in resolved({"$ref": "#/components/schemas/SearchRequest"})["properties"].items()
        if name in ("filter", "facets", "boost")
    }
    check(client.post("/search", json={"query": "mug", **page}))
    check(client.post("/search/batch", json=body("POST /search/batch")))
    check(client.post("/search/image", files=form("POST /search/image")))
    check(client.post("/recommend", json=body("POST /recommend")))
    check(client.put("/rules", json=body("PUT /rules")))
    assert client.get("/rules").json()["boost"]


def test_the_example_of_events_works(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"events": True}))) as client:
        schema = OPERATIONS["POST /events"]["requestBody"]["content"]["application/json"]["schema"]
        (sent,) = resolved(schema)["examples"]
        assert client.post("/events", json=sent).json() == {"accepted": 1}


def test_the_examples_of_answers_are_true_of_the_demonstration_shop(client: TestClient) -> None:
    item, facet, response = (example(SCHEMAS[name]) for name in ("Item", "FacetResult", "SearchResponse"))
    product = next(one for one in products() if one.id == item["id"])
    post_item(
        client,
        product.id,
        picture_file(size=product.picture().size),
        title=product.title,
        description=product.description,
        category=" > ".join(product.category),
        price=product.price,
        attributes=json.dumps(dict(product.attributes)),
    )
    answer = client.post("/search", json={"query": "red mug", "facets": ["brand"], "facet_size": 2}).json()
    assert answer.keys() == response.keys()
    (shown,), (hit,) = response["hits"], answer["hits"]
    assert shown.keys() == hit.keys()
    assert shown["item"] == item
    changing = {"images", "version", "created_at", "updated_at"}
    assert {k: v for k, v in item.items() if k not in changing} == {
        k: v for k, v in hit["item"].items() if k not in changing
    }
    (picture,), (stored,) = item["images"], hit["item"]["images"]
    assert (picture["width"], picture["height"]) == (stored["width"], stored["height"])
    brands = Counter(one.attributes["brand"] for one in products())
    most = sorted(brands.items(), key=lambda one: (-one[1], one[0]))[:2]
    assert facet["values"] == [{"value": value, "count": count} for value, count in most]
    assert facet.keys() == answer["facets"]["brand"].keys()
    assert response["facets"] == {"brand": facet}
    assert response["total"] == brands.total()
    Draft202012Validator({**SCHEMAS["SearchResponse"], "components": DOCUMENT["components"]}).validate(response)


def test_the_document_is_served(client: TestClient, settings: Settings) -> None:
    assert client.get("/openapi.json").json() == create_app(settings).openapi()
    page = client.get("/docs/")
    assert (page.status_code, page.url.path) == (200, "/docs")

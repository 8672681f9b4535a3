"""What goes over the wire: the fields of an item, of a search, and of their answers."""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn
from urllib.parse import quote, unquote_to_bytes

from fastapi import Path, UploadFile
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)


def _storable(text: str) -> str:
    """Refuses what no database and no tokeniser takes."""
    if "\x00" in text:
        raise ValueError("must not contain null bytes")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not Unicode text (it holds half of a surrogate pair)") from None
    return text


def _addressable(item_id: str) -> str:
    if item_id in (".", ".."):
        raise ValueError("'.' and '..' cannot be ids: no URL could name them")
    return item_id


Text = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_storable)]
ItemId = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_storable),
    AfterValidator(_addressable),
]
Word = Annotated[Text, Field(min_length=1, max_length=200)]


def _attribute_value(value: Any) -> Any:
    """One message for all that is refused, where a union's validator would give one for each of its members."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _short(value, 4000)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [_short(one, 200) for one in value]
    if isinstance(value, int) and abs(value) > 2**53:
        raise ValueError("is a larger whole number than JSON readers keep exact; send it as a string")
    if isinstance(value, (int, float)) and math.isfinite(value):
        return value
    raise ValueError("must be a string, a finite number, a boolean, or a list of strings")


def _short(text: str, longest: int) -> str:
    if len(text) > longest:
        raise ValueError(f"is longer than {longest} characters")
    return _storable(text.strip())


AttributeValue = Annotated[str | bool | int | float | list[str], BeforeValidator(_attribute_value)]
Attributes = Annotated[dict[Word, AttributeValue], Field(max_length=200)]
Category = Annotated[list[Word], Field(max_length=20)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _decode_path(item_id: str) -> str:
    try:
        return unquote_to_bytes(item_id).decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


PathItemId = Annotated[
    ItemId,
    BeforeValidator(_decode_path),
    Path(description="The shop's own id, percent-encoded (a slash in it as `%2F`).", examples=["mug-17"]),
]


def parse_category(value: Any) -> Any:
    """One string is a path (`Home > Kitchen`) or a JSON list; several are the path's steps."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return _parse_json(value)
    return [step for step in (step.strip() for step in value.split(" > ")) if step]


def parse_attributes(value: Any) -> Any:
    return _parse_json(value) if isinstance(value, str) else value


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


class ItemFields(BaseModel):
    """What a shop says about an item, pictures aside."""

    model_config = ConfigDict(extra="forbid")

    id: ItemId = Field(description="The shop's own id; the same id again replaces the item.", examples=["mug-17"])
    title: Annotated[Text, Field(max_length=1000)] = Field(default="", examples=["Stoneware mug"])
    description: Text = Field(default="", examples=["Holds 350 ml. Dishwasher-safe."])
    category: Annotated[Category, BeforeValidator(parse_category)] = Field(
        default_factory=list,
        description="From broad to narrow: the field repeated, a JSON list, or one string joined by ` > `.",
        examples=[["Home", "Kitchen", "Mugs"]],
    )
    price: Price | None = Field(default=None, examples=[12.5])
    attributes: Annotated[Attributes, BeforeValidator(parse_attributes)] = Field(
        default_factory=dict,
        description="A JSON object; values are strings, numbers, booleans or lists of strings.",
        examples=[{"brand": "Kiln & Co", "article number": "KC-17"}],
    )


def _without_empty(files: Any) -> Any:
    # A browser sends a file field that nobody filled as a part without name or content.
    return [file for file in files if file != ""] if isinstance(files, list) else files


class ItemForm(ItemFields):
    """`ItemFields` as a form, with the pictures."""

    image: Annotated[list[UploadFile], BeforeValidator(_without_empty)] = Field(
        default_factory=list, description="JPEG, PNG or WebP; repeatable."
    )


class ItemImage(BaseModel):
    url: str = Field(examples=["/items/mug-17/image?n=0"])
    width: int = Field(examples=[1024])
    height: int = Field(examples=[768])
    sha256: str = Field(description="Of the file as it was uploaded: tells whether a picture is already here.")


class Item(BaseModel):
    """An item as it is stored."""

    id: str = Field(examples=["mug-17"])
    title: str = Field(examples=["Stoneware mug"])
    description: str = Field(examples=["Holds 350 ml. Dishwasher-safe."])
    category: list[str] = Field(examples=[["Home", "Kitchen", "Mugs"]])
    price: float | None = Field(examples=[12.5])
    attributes: dict[str, Any] = Field(examples=[{"brand": "Kiln & Co", "article number": "KC-17"}])
    images: list[ItemImage]
    version: int = Field(description="1 when new, one more with every replacement.", examples=[1])
    updated_at: str = Field(examples=["2026-01-31T12:00:00.000+00:00"])

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> "Item":
        address = f"/items/{quote(payload['id'], safe='')}/image"
        images = [{**image, "url": f"{address}?n={n}"} for n, image in enumerate(payload["images"])]
        return cls.model_validate({**payload, "images": images})


class ItemList(BaseModel):
    items: list[Item]
    next_cursor: str | None = Field(description="For the next page; null on the last one.")
    total: int = Field(description="Items in the catalogue.")


class SearchRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"query": "red striped mug", "limit": 20, "offset": 0}]}
    )

    query: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000), AfterValidator(_storable)
    ] = Field(description="What a shopper types.")
    limit: int = Field(default=20, ge=1, le=100, strict=True)
    offset: int = Field(default=0, ge=0, le=10_000, strict=True)


class SearchHit(BaseModel):
    id: str
    score: float = Field(description="Higher is better; comparable within one answer only.")
    item: Item


class TookMs(BaseModel):
    """Milliseconds by stage; `queue` and `encode` are 0 where the query's embedding was cached."""

    queue: float
    encode: float
    retrieve: float
    total: float


class SearchResponse(BaseModel):
    hits: list[SearchHit]
    total: int = Field(description="How many items could be ranked.")
    took_ms: TookMs
    model_id: str
    search_id: str = Field(description="Names this search in the log.")


class Health(BaseModel):
    status: str = Field(examples=["ok"])


class Readiness(Health):
    model_id: str
    items: int

"""What goes over the wire: the fields of an item, of a search, and of their answers."""

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import quote, unquote_to_bytes

from fastapi import Path, UploadFile
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from retriever import item_text
from retriever.index import Facet


def storable(text: str) -> str:
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


MOST_FACET_VALUES = 500
_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800, 253_402_300_799  # of the years that ISO dates have
_MOST_FIELDS = 50  # of one JSON object; each that is not known would be an error of its own
_MOST_ATTRIBUTES = 200
LONGEST_TEXT = 65_536  # characters; in a form SEARCH_MAX_FIELD_BYTES may allow less

Text = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(storable)]
ItemId = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(storable),
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
        if len(value) > 200:
            raise ValueError("has more than 200 values")
        return [_short(one, 200) for one in value]
    if isinstance(value, int) and abs(value) > 2**53:
        raise ValueError("is a larger whole number than JSON readers keep exact; send it as a string")
    if isinstance(value, (int, float)) and math.isfinite(value):
        return value
    raise ValueError("must be a string, a finite number, a boolean, or a list of strings")


def _short(text: str, longest: int) -> str:
    if len(text) > longest:
        raise ValueError(f"is longer than {longest} characters")
    return storable(text.strip())


AttributeValue = Annotated[str | bool | int | float | list[str], BeforeValidator(_attribute_value)]
Attributes = Annotated[dict[Word, AttributeValue], Field(max_length=_MOST_ATTRIBUTES)]
Category = Annotated[list[Word], Field(max_length=20)]


def _number(value: Any) -> Any:
    """False, which some shops' code has for no price, would be a price of 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false; null where there is none")
    return value


Price = Annotated[float, BeforeValidator(_number, json_schema_input_type=float), Field(ge=0, allow_inf_nan=False)]
Stock = Annotated[int, BeforeValidator(_number, json_schema_input_type=int), Field(ge=0, le=2**53)]


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
    """A string is a path (`Home > Kitchen`) or a JSON list; a list has the path's steps, or the whole path as one.

    What it gives it leaves as it is: fields are validated again where they are changed.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _parse_json(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        return value
    return [step for step in (step.strip() for step in value.split(" > ")) if step]


def parse_attributes(value: Any) -> Any:
    return few_attributes(_parse_json(value) if isinstance(value, str) else value)


def few_attributes(value: Any) -> Any:
    """Refuses too many before each is looked at, and answered with an error of its own."""
    if isinstance(value, dict) and len(value) > _MOST_ATTRIBUTES:
        raise ValueError(f"has more than {_MOST_ATTRIBUTES} attributes")
    return value


def few_fields(value: Any) -> Any:
    """As `few_attributes`, for the fields of a model that takes no others than its own."""
    if isinstance(value, dict) and len(value) > _MOST_FIELDS:
        raise ValueError(f"has more than {_MOST_FIELDS} fields")
    return value


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


def _decode_base64(value: Any) -> Any:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a picture in base64")
    if value.startswith(("http://", "https://")):
        raise ValueError("is an address, and a picture's bytes in base64 belong here: addresses go to image_urls")
    try:
        return base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value, validate=True)
    except ValueError:
        raise ValueError("is not base64") from None


Base64Picture = Annotated[
    bytes, BeforeValidator(_decode_base64, json_schema_input_type=str), Field(json_schema_extra={"format": "base64"})
]


class Strict(BaseModel):
    """JSON that takes no fields but its own."""

    model_config = ConfigDict(extra="forbid")

    _few_fields = model_validator(mode="before")(few_fields)


class ItemContent(BaseModel):
    """What a shop says about an item, its id and pictures aside."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[Text, Field(max_length=1000)] = Field(default="", examples=["Stoneware mug"])
    description: Annotated[Text, Field(max_length=LONGEST_TEXT)] = Field(
        default="", examples=["Holds 350 ml. Dishwasher-safe."]
    )
    category: Annotated[Category, BeforeValidator(parse_category)] = Field(
        default_factory=list,
        description="From broad to narrow: the field repeated, a JSON list, or one string joined by ` > `.",
        examples=[["Home", "Kitchen", "Mugs"]],
    )
    price: Price | None = Field(default=None, examples=[12.5])
    stock: Stock | None = Field(
        default=None,
        description="How many there are; none given counts as available. Filter by `stock` or `available`.",
        examples=[3],
    )
    attributes: Annotated[Attributes, BeforeValidator(parse_attributes)] = Field(
        default_factory=dict,
        description="A JSON object; values are strings, numbers, booleans or lists of strings.",
        examples=[{"brand": "Kiln & Co", "article number": "KC-17"}],
    )

    @property
    def text(self) -> str:
        """What the model reads of it."""
        return item_text(self.title, self.description, self.category, self.attributes)


class ItemFields(ItemContent):
    """What a shop says about an item, pictures aside."""

    id: ItemId = Field(description="The shop's own id; the same id again replaces the item.", examples=["mug-17"])


def _sent_once(values: Any) -> Any:
    # A form cannot say whether a field that was sent once is a value or a list of one.
    return values[0] if isinstance(values, list) and len(values) == 1 else values


def _without_empty(files: Any) -> Any:
    # A browser sends a file field that nobody filled as a part without name or content.
    return [file for file in files if file != ""] if isinstance(files, list) else files


Pictures = Annotated[
    list[UploadFile], BeforeValidator(_without_empty), Field(description="JPEG, PNG or WebP; repeatable.")
]


PictureUrl = Annotated[Text, Field(min_length=1, max_length=2000)]
PictureUrls = Annotated[
    list[PictureUrl],
    Field(
        max_length=100,
        description="Addresses of pictures on the public internet, to fetch and keep; if this service does so.",
    ),
]
# A form's lists and objects may be written as JSON.
_FORM_EXAMPLE: dict[str, Any] = {
    "title": "Stoneware mug",
    "description": "Holds 350 ml. Dishwasher-safe.",
    "category": "Home > Kitchen > Mugs",
    "price": 12.5,
    "stock": 3,
    "attributes": '{"brand": "Kiln & Co", "article number": "KC-17"}',
}


class PutForm(ItemContent):
    """`ItemContent` as a form, with the pictures: the address has the id."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FORM_EXAMPLE]})

    image: Pictures = Field(default_factory=list)
    image_url: PictureUrls = Field(default_factory=list)

    _category_sent_once = field_validator("category", mode="before")(_sent_once)


class ItemForm(ItemFields, PutForm):
    """The same, with the id."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "mug-17", **_FORM_EXAMPLE}]})


class ItemImage(BaseModel):
    url: str = Field(
        description="For `<img>` as it is: needs no key, and changes with the picture.",
        examples=["/items/mug-17/image?n=0&v=5f1d…"],
    )
    width: int = Field(examples=[1024])
    height: int = Field(examples=[768])
    sha256: str = Field(
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        description="Of the file as it was uploaded: tells whether a picture is already here.",
    )


class Item(BaseModel):
    """An item as it is stored."""

    id: str = Field(examples=["mug-17"])
    title: str = Field(examples=["Stoneware mug"])
    description: str = Field(examples=["Holds 350 ml. Dishwasher-safe."])
    category: list[str] = Field(examples=[["Home", "Kitchen", "Mugs"]])
    price: float | None = Field(examples=[12.5])
    stock: int | None = Field(examples=[3])
    attributes: dict[str, Any] = Field(examples=[{"brand": "Kiln & Co", "article number": "KC-17"}])
    images: list[ItemImage]
    version: int = Field(
        description="The item's ETag: one more with every change, and never one of an earlier item with its id.",
        examples=[1_769_860_800_000_000],
    )
    created_at: str = Field(examples=["2026-01-31T12:00:00.000+00:00"])
    updated_at: str = Field(examples=["2026-01-31T12:00:00.000+00:00"])

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> "Item":
        address = f"/items/{quote(payload['id'], safe='')}/image"
        images = [
            {**image, "url": f"{address}?n={n}&v={PurePath(image['file']).stem}"}
            for n, image in enumerate(payload["images"])
        ]
        return cls.model_validate({**payload, "images": images})


class FacetValue(BaseModel):
    value: str = Field(examples=["Kiln & Co"])
    count: int = Field(examples=[12])


def _iso(seconds: float) -> str:
    # As a float, the last moment of the year 9999 is the first of 10000; in some zones, year 1 begins before it does.
    return datetime.fromtimestamp(min(max(seconds, _FIRST_MOMENT), _LAST_MOMENT), UTC).isoformat()


class FacetResult(BaseModel):
    values: list[FacetValue] = Field(default_factory=list, description="The most common values, with their items.")
    min: float | str | None = Field(default=None, description="Of numbers, or of dates as ISO times.")
    max: float | str | None = None

    @classmethod
    def from_facet(cls, facet: Facet) -> "FacetResult":
        low: Any = facet.low
        high: Any = facet.high
        if facet.dates:
            low, high = (None if value is None else _iso(value) for value in (low, high))
        return cls(values=[FacetValue(value=value, count=count) for value, count in facet.values], min=low, max=high)


class ItemList(BaseModel):
    items: list[Item]
    next_cursor: str | None = Field(description="For the next page; null on the last one.", examples=[None])
    total: int = Field(description="Items that the filter lets through.", examples=[1])
    facets: dict[str, FacetResult] = Field(default_factory=dict)


class FieldInfo(BaseModel):
    name: str = Field(examples=["brand"])
    kinds: list[Literal["keyword", "number", "boolean", "date"]] = Field(examples=[["keyword"]])


class FieldList(BaseModel):
    fields: list[FieldInfo] = Field(description="What can be filtered by, counted and sorted by.")


class ItemPatch(Strict):
    """What changes about an item; what is not sent stays. An attribute of null is removed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"price": 9.9, "stock": 0}]})

    title: Annotated[Text, Field(max_length=1000)] | None = None
    description: Annotated[Text, Field(max_length=LONGEST_TEXT)] | None = None
    category: Annotated[Category, BeforeValidator(parse_category)] | None = None
    price: Price | None = Field(default=None, description="null: no price any more.")
    stock: Stock | None = Field(default=None, description="null: not counted any more.")
    attributes: (
        Annotated[
            dict[Word, AttributeValue | None], Field(max_length=_MOST_ATTRIBUTES), BeforeValidator(few_attributes)
        ]
        | None
    ) = None
    images: Annotated[list[Base64Picture], Field(max_length=100)] | None = Field(
        default=None, description="In place of all pictures: JPEG, PNG or WebP in base64."
    )
    image_urls: PictureUrls | None = Field(default=None, description="As `images`, or after them: fetched from there.")


class BulkLine(Strict, ItemFields):
    """One line of a bulk upload: `ItemFields`, with pictures in base64."""

    images: Annotated[list[Base64Picture], Field(max_length=100)] = Field(default_factory=list)
    image_urls: PictureUrls = Field(default_factory=list)


class PatchLine(ItemPatch):
    """One line of a bulk update: `ItemPatch`, with the id of the item that changes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "mug-17", "price": 9.9}]})

    id: ItemId


class BulkResult(BaseModel):
    """What became of one line, in the order of the lines."""

    line: int = Field(description="Counted from 1.", examples=[1])
    id: str | None = Field(default=None, description="The item's, if the line has one.", examples=["mug-17"])
    status: int = Field(description="As `POST /items` would have answered: 201, 200, 422 …", examples=[201])
    code: str | None = Field(default=None, description="Of the problem, if there was one.")
    detail: str | None = None


class Deleted(BaseModel):
    deleted: int = Field(description="How many items were removed.", examples=[3])


class Health(BaseModel):
    status: str = Field(examples=["ok"])


class Readiness(Health):
    model_id: str = Field(examples=["5e4c991110b6"])
    items: int = Field(examples=[300])

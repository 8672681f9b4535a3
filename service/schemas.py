"""Items over the wire: what a shop sends, and what is answered."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from retriever import item_text
from retriever.index import Facet
from retriever.index.fields import iso
from service.field_types import (
    LONGEST_TEXT,
    MOST_ATTRIBUTES,
    Attributes,
    AttributeValue,
    Base64Picture,
    Category,
    ItemId,
    Moment,
    Pictures,
    PictureUrls,
    Price,
    Stock,
    Text,
    Word,
    few_attributes,
    few_fields,
    own_line_ends,
    parse_attributes,
    parse_category,
    sent_once,
)


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
    category: Annotated[Category, BeforeValidator(parse_category, json_schema_input_type=Category | str)] = Field(
        default_factory=list,
        description="One path, from broad to narrow: the field repeated, a JSON list, or one string joined by `>`.",
        examples=[["Home", "Kitchen", "Mugs"]],
    )
    price: Price | None = Field(default=None, examples=[12.5])
    stock: Stock | None = Field(
        default=None,
        description="How many there are; none given counts as available. Filter by `stock` or `available`.",
        examples=[3],
    )
    attributes: Annotated[
        Attributes,
        BeforeValidator(parse_attributes, json_schema_input_type=dict[Word, AttributeValue | None]),
    ] = Field(
        default_factory=dict,
        description=(
            "A JSON object; values are strings, numbers, booleans or lists of strings. Numbers in a list are taken as "
            "text; null is none."
        ),
        examples=[{"brand": "Kiln & Co", "article number": "KC-17"}],
    )
    created_at: Moment | None = Field(
        default=None,
        description="Since when the shop has it: an ISO date, UTC unless it has a zone. The clock, if none was sent.",
        examples=["2026-01-31"],
    )

    @property
    def text(self) -> str:
        """What the model reads of it."""
        return item_text(self.title, self.description, self.category, self.attributes)


class ItemFields(ItemContent):
    """What a shop says about an item, pictures aside."""

    id: ItemId = Field(description="The shop's own id; the same id again replaces the item.", examples=["mug-17"])


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

    _category_sent_once = field_validator("category", mode="before")(sent_once)
    _own_line_ends = field_validator("description", mode="before")(own_line_ends)


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
    source_sha256: str | None = Field(
        default=None,
        examples=["4a44dc15364204a80fe80e9039455cc1608281820fe2b24f1e5233ade6af1dd5"],
        description="Of the address that it was fetched from: tells whether the shop has another by now.",
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
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        address = f"/items/{quote(payload['id'], safe='')}/image"
        images = [
            {**image, "url": f"{address}?n={n}&v={PurePath(image['file']).stem}"}
            for n, image in enumerate(payload["images"])
        ]
        return cls.model_validate({**payload, "images": images})


ItemPart = Literal[
    "id",
    "title",
    "description",
    "category",
    "price",
    "stock",
    "attributes",
    "images",
    "version",
    "created_at",
    "updated_at",
]

FIELDS = "Which fields of each item to answer, its `id` always; `attributes` are all of these. All, unless given."


class PartialItem(Item):
    """An item as it is stored; with `fields`, these and its `id` alone."""

    model_config = ConfigDict(json_schema_extra={"required": ["id"]})

    def only(self, fields: Sequence[ItemPart] | None) -> "PartialItem":
        """With these fields alone, and not even null for the others; None: as it is."""
        if fields is None:
            return self
        return PartialItem.model_construct(**{name: getattr(self, name) for name in ("id", *fields)})


class FacetValue(BaseModel):
    value: str = Field(examples=["Kiln & Co"])
    count: int = Field(examples=[12])


class FacetRange(BaseModel):
    """How many hits lie in a range. Its ends that are not null are a filter of the field as they stand."""

    gte: float | str | None = Field(default=None, description="null: from the least on.", examples=[10])
    lt: float | str | None = Field(default=None, description="null: to the greatest.", examples=[20])
    count: int = Field(examples=[7])


class FacetResult(BaseModel):
    values: list[FacetValue] = Field(default_factory=list, description="The most common values, with their items.")
    min: float | str | None = Field(default=None, description="Of numbers, or of dates as ISO times.")
    max: float | str | None = None
    ranges: list[FacetRange] = Field(default_factory=list, description="With `facet_ranges`, from below upwards.")

    @classmethod
    def from_facet(cls, facet: Facet) -> "FacetResult":
        low: Any = facet.low
        high: Any = facet.high
        if facet.dates:
            low, high = (None if value is None else iso(value) for value in (low, high))
        return cls(values=[FacetValue(value=value, count=count) for value, count in facet.values], min=low, max=high)


class ItemList(BaseModel):
    items: list[PartialItem]
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
    category: Annotated[Category, BeforeValidator(parse_category, json_schema_input_type=Category | str)] | None = None
    price: Price | None = Field(default=None, description="null: no price any more.")
    stock: Stock | None = Field(default=None, description="null: not counted any more.")
    attributes: (
        Annotated[dict[Word, AttributeValue | None], Field(max_length=MOST_ATTRIBUTES), BeforeValidator(few_attributes)]
        | None
    ) = None
    created_at: Moment | None = None
    images: Annotated[list[Base64Picture], Field(max_length=100)] | None = Field(
        default=None, description="In place of all pictures: JPEG, PNG or WebP in base64."
    )
    image_urls: PictureUrls | None = Field(default=None, description="As `images`, or after them: fetched from there.")


class PutBody(Strict, ItemContent):
    """`ItemContent` as JSON, with the pictures in base64: the address has the id."""

    images: Annotated[list[Base64Picture], Field(max_length=100)] = Field(
        default_factory=list, description="JPEG, PNG or WebP in base64."
    )
    image_urls: PictureUrls = Field(default_factory=list)


class BulkLine(PutBody, ItemFields):
    """One line of a bulk upload, or one item as JSON: `PutBody`, with the id."""

    @property
    def content(self) -> ItemFields:
        """What it says, pictures aside."""
        return ItemFields.model_validate(self.model_dump(exclude={"images", "image_urls"}))


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

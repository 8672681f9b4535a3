"""What goes over the wire in a search and its answer."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.json_schema import SkipJsonSchema

from retriever.index import picture_query
from retriever.index.fields import timestamp
from retriever.index.selection import RELEVANCE_FLOOR
from service.field_types import MOST_FACET_VALUES, ItemId, PictureUrl, Text, Word, parse_json, storable
from service.schemas import FIELDS, FacetResult, ItemPart, PartialItem, Strict

QueryText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000), AfterValidator(storable)]

Bound = Annotated[float, Field(strict=True, allow_inf_nan=False)] | Annotated[str, Field(max_length=40)]

_MOST_BOUNDS = 50  # of all ranges of a search: each is a count of its own

Mode = Literal["hybrid", "semantic", "lexical"]


def _upwards(bounds: list[Bound]) -> list[Bound]:
    try:
        values = [timestamp(one) if isinstance(one, str) else one for one in bounds]
    except ValueError:
        values = []
    if len({type(one) for one in bounds}) > 1 or not values or any(low >= high for low, high in pairwise(values)):
        raise ValueError("bounds go up, and are all numbers or all ISO dates")
    return bounds


FacetRanges = dict[Word, Annotated[list[Bound], Field(min_length=1, max_length=20), AfterValidator(_upwards)]]


class SortBy(Strict):
    field: Word = Field(
        description="`price`, `updated_at`, `created_at`, `stock` or any attribute.", examples=["price"]
    )
    order: Literal["asc", "desc"] = "asc"


class BoostBy(Strict):
    """What a shop would rather sell, of hits that are about as relevant: by a field, or by a filter."""

    field: Word | None = Field(
        default=None,
        description=(
            "Numbers or dates: of the different values of what is relevant among the best hits (200, or 500 where "
            f"these are much alike; {RELEVANCE_FLOOR} of the best likeness) the greatest brings the whole weight, the "
            "least none, and each between them by its place. A hit without the field gets nothing."
        ),
        examples=["price"],
    )
    filter: Annotated[dict[str, Any], Field(min_length=1)] | None = Field(
        default=None, description="In place of `field`: what it lets through has the whole weight.", examples=[None]
    )
    weight: float = Field(
        ge=-1,
        le=1,
        strict=True,
        description=(
            "A share of the best likeness: at 0.1 a hit passes others that are more like the query by up to a tenth "
            "of that. Below 0 hits move down."
        ),
        examples=[0.1],
    )

    @model_validator(mode="after")
    def _one_reason(self) -> "BoostBy":
        if (self.field is None) == (self.filter is None):
            raise ValueError("send field or filter: one of them")
        return self


class Page(Strict):
    """Which hits, and what they may be; the same for words and for a picture."""

    limit: int = Field(default=20, ge=0, le=100, description="How many hits; 0 for `total` and `facets` alone.")
    offset: int = Field(default=0, ge=0, le=10_000, description="How many hits to pass over.")
    cursor: str | None = Field(
        default=None, max_length=200, description="`next_cursor` of the page before, in place of `offset`."
    )
    filter: dict[str, Any] = Field(
        default_factory=dict,
        description=(
            "Fields and what they must be: a value, a list of which any will do, or a range with `gt`, `gte`, `lt`, "
            '`lte`; `{"exists": true}` is any value, and false none. `{"and": […]}`, `{"or": […]}` and `{"not": {…}}` '
            'combine. A category matches all below it. A number or date may be text: `"1.5"`, an ISO time, or an ISO '
            "date for all of that day (UTC)."
        ),
        examples=[{"category": "Home > Kitchen", "price": {"lte": 50}, "brand": ["Nordwell", "Pikku"]}],
    )
    facets: list[Word] = Field(
        default_factory=list,
        max_length=20,
        description="Fields to count among the hits of all pages.",
        examples=[["category"]],
    )
    facet_size: int = Field(
        default=20, ge=1, le=MOST_FACET_VALUES, description="How many values of each facet, the most common first."
    )
    facet_ranges: FacetRanges = Field(
        default_factory=dict,
        max_length=20,
        description="Numbers or dates, and the bounds between which their hits are counted; at most 50 in all.",
        examples=[{"price": [10, 20, 50]}],
    )
    sort: list[SortBy] = Field(
        default_factory=list,
        max_length=3,
        description="An order in place of relevance; only what is relevant is sorted (`relevance_floor`).",
    )
    boost: list[BoostBy] | None = Field(
        default=None,
        max_length=10,
        description=(
            "What comes first of hits that are about as relevant; `[]` in a search: not even what `/rules` lifts. "
            "Floors do not look at it. In a listing, and where an article number is asked for, it does nothing."
        ),
        examples=[[{"field": "price", "weight": 0.1}, {"filter": {"available": False}, "weight": -0.2}]],
    )
    relevance_floor: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description=(
            "Least share of the best likeness (of the best score, if words alone decide); "
            f"with `sort` {RELEVANCE_FLOOR} unless given, else none. In a listing (without a query) it does nothing."
        ),
    )
    min_score: float | None = Field(
        default=None, allow_inf_nan=False, description="Least score. In a listing it does nothing."
    )
    group_by: Word | None = Field(default=None, description="One hit, the best, for each value of this field.")
    fields: list[ItemPart] | None = Field(
        default=None, max_length=20, description=FIELDS, examples=[["title", "price", "images"]]
    )

    @model_validator(mode="after")
    def _one_way_to_page(self) -> "Page":
        if self.cursor is not None and self.offset:
            raise ValueError("send cursor or offset, not both")
        if sum(map(len, self.facet_ranges.values())) > _MOST_BOUNDS:
            raise ValueError(f"facet_ranges has more than {_MOST_BOUNDS} bounds")
        if self.boost and self.sort:
            raise ValueError("boost orders by relevance and sort by fields: send one of them")
        return self


class JsonPage(Page):
    """A page that is asked for in JSON, which has numbers; a form has only text."""

    limit: int = Field(
        default=20, ge=0, le=100, strict=True, description="How many hits; 0 for `total` and `facets` alone."
    )
    offset: int = Field(default=0, ge=0, le=10_000, strict=True, description="How many hits to pass over.")
    facet_size: int = Field(
        default=20, ge=1, le=MOST_FACET_VALUES, strict=True, description="How many values of each facet."
    )


def _or_none(query: Any) -> Any:
    """Null is what a storefront sends where nothing was typed."""
    return "" if query is None else query


class SearchRequest(JsonPage):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"query": "red striped mug", "limit": 20},
                {
                    "query": 'mug "dishwasher safe" -plastic',
                    "filter": {"price": {"lte": 20}},
                    "facets": ["category", "price", "brand"],
                    "sort": [{"field": "price", "order": "asc"}],
                },
                {"filter": {"category": "Home > Kitchen"}, "facets": ["brand"], "sort": [{"field": "price"}]},
            ]
        },
    )

    query: Annotated[QueryText, BeforeValidator(_or_none, json_schema_input_type=QueryText | None)] = Field(
        default="",
        description=(
            'What a shopper types. `"a phrase"` must be there; `-word` must not. Without one, all that the filter lets '
            "through is listed: by one `sort` of numbers or dates, or the newest first."
        ),
    )
    mode: Mode = Field(default="hybrid", description="By meaning and words, by meaning alone, or by words alone.")
    exclude: list[Annotated[Text, Field(max_length=200)]] = Field(
        default_factory=list,
        max_length=20,
        description="Words that hits must not have; pictures that look like them are moved down as well.",
    )
    correct: bool = Field(default=True, description="Correct misspelt words.")
    complete: bool = Field(
        default=False, description="For results while one types: the last word may be unfinished, as in `striped umbr`."
    )
    rerank: int = Field(
        default=0,
        ge=0,
        le=100,
        strict=True,
        description=(
            "How many of the best hits are read again together with the query, and put into the order of that; each "
            "costs a run of the model. Needs a model that was trained to match."
        ),
    )
    explain: bool = Field(
        default=False, description="Say for each hit how its score came about; without a `query` there is none."
    )
    highlight: bool = Field(
        default=False,
        description=(
            "Mark the query's words in titles and descriptions, or those of the two that `fields` names, as HTML; "
            "without a `query` it does nothing."
        ),
    )

    @model_validator(mode="after")
    def _one_order(self) -> "SearchRequest":
        if self.rerank and self.sort:
            raise ValueError("rerank orders by relevance and sort by fields: send one of them")
        if self.rerank and self.boost:
            raise ValueError(
                "rerank goes by the query alone, boost by what the shop would rather sell: send one of them"
            )
        if not self.query and (asked := [name for name in ("exclude", "rerank") if getattr(self, name)]):
            raise ValueError(f"{asked[0]} is about what is found by a query: send one")
        return self


def _parsed(value: Any) -> Any:
    return parse_json(value) if isinstance(value, str) else value


def _parsed_list(value: Any) -> Any:
    """A form's field, repeated or not: names as they are, or one JSON list."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) and value[0].lstrip().startswith("["):
        return _parsed(value[0])
    return [_parsed(one) if isinstance(one, str) and one.lstrip().startswith("{") else one for one in value]


class ImageSearchForm(Page):
    """`Page` as a form, with a picture or the address of one; objects are JSON."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"query": "in red", "filter": '{"price": {"lt": 50}}', "limit": 20, "explain": True}],
            "oneOf": [{"required": ["image"]}, {"required": ["image_url"]}],
        }
    )

    image: UploadFile | SkipJsonSchema[None] = Field(default=None, description="JPEG, PNG or WebP.")
    image_url: PictureUrl | SkipJsonSchema[None] = Field(
        default=None,
        description="In place of `image`: the address of one on the public internet, if this service fetches them.",
        examples=["https://shop.example/mug.jpg"],
    )
    query: QueryText = Field(default="", description='Words to go with the picture, "in red"; -words as in `/search`.')
    words: float = Field(
        default=picture_query.WORDS,
        ge=0,
        le=1,
        description="How much the words count beside the picture: at 0 it alone decides, at 1 they do.",
    )
    filter: Annotated[dict[str, Any], BeforeValidator(_parsed)] = Field(default_factory=dict)
    facets: Annotated[list[Word], BeforeValidator(_parsed_list)] = Field(default_factory=list, max_length=20)
    facet_ranges: Annotated[FacetRanges, BeforeValidator(_parsed)] = Field(default_factory=dict, max_length=20)
    sort: Annotated[list[SortBy], BeforeValidator(_parsed_list)] = Field(default_factory=list, max_length=3)
    boost: Annotated[list[BoostBy] | None, BeforeValidator(_parsed_list)] = Field(default=None, max_length=10)
    fields: Annotated[list[ItemPart] | None, BeforeValidator(_parsed_list)] = Field(default=None, max_length=20)
    explain: bool = Field(default=False, description="Say for each hit how its score came about.")

    @model_validator(mode="after")
    def _one_picture(self) -> "ImageSearchForm":
        if (self.image is None) == (self.image_url is None):
            raise ValueError("send image, a file, or image_url: one of them")
        return self


class RecommendRequest(JsonPage):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"items": ["mug-17", "bowl-3"], "filter": {"available": True}, "limit": 8}],
        },
    )

    items: list[ItemId] = Field(min_length=1, max_length=20, description="Ids of what was looked at or bought.")


class Explanation(BaseModel):
    """`score` = `semantic` + `lexical_weight` × `lexical` + `boost`."""

    semantic: float = Field(
        description="Likeness of what is looked for and the item's picture and text together.", examples=[0.38]
    )
    lexical: float = Field(
        description="How much of what the query says the text holds, by BM25: 0 to 1.", examples=[0.92]
    )
    lexical_weight: float = Field(examples=[0.4])
    boost: float = Field(default=0.0, description="What boosts add, of the search or of the rules.", examples=[0.0])
    words: list[str] = Field(description="Words of the query that the item's text has.", examples=[["mug"]])
    picture: int | None = Field(description="Which of the item's pictures matched best, counted from 0.", examples=[0])


class Group(BaseModel):
    value: str = Field(examples=["Shirt 7"])
    count: int = Field(
        description="Hits with this value, of which this is the best; beyond 1,000 items, how many at least.",
        examples=[4],
    )


class SearchHit(BaseModel):
    id: str = Field(examples=["mug-17"])
    score: float = Field(description="Higher is better; comparable within one answer only.", examples=[0.53])
    item: PartialItem
    pinned: bool = Field(default=False, description="A rule puts it there, whatever its score (`/rules`).")
    match: float | None = Field(
        default=None, description="With `rerank`: how likely the model finds it that this is what was asked for."
    )
    group: Group | None = Field(default=None, description="With `group_by`: what it stands for.")
    explanation: Explanation | None = Field(default=None, description="With `explain`.")
    highlights: dict[str, str] | None = Field(
        default=None, description="With `highlight`: HTML.", examples=[{"title": "Stoneware <mark>mug</mark>"}]
    )


class TookMs(BaseModel):
    """Milliseconds by stage; `queue` and `encode` are those of words, 0 where their embedding was cached."""

    queue: float = Field(examples=[0.1])
    encode: float = Field(examples=[6.2])
    retrieve: float = Field(examples=[3.0])
    total: float = Field(examples=[9.6])


class SearchResponse(BaseModel):
    hits: list[SearchHit]
    total: int = Field(
        description="How many hits there are on all pages; with `group_by`, beyond 1,000 items, how many at least.",
        examples=[300],
    )
    next_cursor: str | None = Field(default=None, description="For the next page; null on the last one.")
    facets: Mapping[str, FacetResult] = Field(default_factory=dict)
    corrected_query: str | None = Field(
        default=None, description="What was searched for, if the query was corrected or completed."
    )
    took_ms: TookMs
    model_id: str = Field(examples=["5e4c991110b6"])
    search_id: str = Field(description="Names this search in the log.", examples=["9d1c5f0e7b1d4c0c8a3d2f4b6e8a0c1d"])


class BatchRequest(Strict):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"searches": [{"query": "red mug"}, {"query": "lamp"}]}]}
    )

    searches: list[SearchRequest] = Field(min_length=1, max_length=50)


class BatchResponse(BaseModel):
    results: list[SearchResponse] = Field(description="In the order of `searches`.")


class SuggestionResult(BaseModel):
    text: str = Field(examples=["stoneware mug"])
    kind: Literal["title", "category", "attribute", "query"] = Field(examples=["title"])


class SuggestResponse(BaseModel):
    suggestions: list[SuggestionResult]
    took_ms: float = Field(examples=[0.4])

"""What goes over the wire when a page tells what a shopper did."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, StringConstraints

from service.field_types import ItemId
from service.schemas import Strict

EventKind = Literal["impression", "click", "add_to_cart", "purchase"]


class ShopperEvent(Strict):
    """One thing that a shopper did with one hit of one search."""

    search_id: Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")] = Field(
        description="Of the search's answer.", examples=["9d1c5a0e6f774f0c8f3f1d3d6f0b2a11"]
    )
    item_id: ItemId = Field(description="Of the hit.", examples=["mug-17"])
    position: int = Field(
        ge=0,
        le=100_000,
        strict=True,
        description="Place of the hit in the whole ranking, counted from 0.",
        examples=[3],
    )
    kind: EventKind = Field(description="`impression`: the shopper could see it.", examples=["click"])


class EventBatch(Strict):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {
                            "search_id": "9d1c5f0e7b1d4c0c8a3d2f4b6e8a0c1d",
                            "item_id": "mg-004",
                            "position": 0,
                            "kind": "click",
                        }
                    ]
                }
            ]
        },
    )

    # The first wrong event refuses them all: a thousand would take long to say what is wrong with each.
    events: Annotated[list[ShopperEvent], FailFast()] = Field(min_length=1, max_length=1000)


class EventsAccepted(BaseModel):
    accepted: int = Field(description="How many events are on the disk.", examples=[1])

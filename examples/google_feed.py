"""Feeds with the columns of Google's product feeds: these have a meaning, and every other that is filled in is an
attribute:

    id (or item_id, or sku), title (or name), description, image_link (or image), additional_image_link,
    category (or product_type, or google_product_category), price, sale_price and sale_price_effective_date,
    availability and stock, created_at

A column's letter case, a `g:` before its name, and spaces in place of `_` do not count.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from examples.feed_values import Cells, Rows, amount, is_now, lower, plain_text

IDS: tuple[str, ...] = ("id", "item_id", "sku")

_TITLE, _IMAGE, _MORE_IMAGES = ("title", "name"), ("image_link", "image"), "additional_image_link"
_CATEGORY = ("category", "product_type", "google_product_category")
_PRICE, _SALE, _DAYS = "price", "sale_price", "sale_price_effective_date"
_KNOWN = {*IDS, *_TITLE, "description", *_IMAGE, _MORE_IMAGES, *_CATEGORY, _PRICE, _SALE, _DAYS, "availability"}
_KNOWN |= {"stock", "created_at"}


def column(written: str) -> str:
    """Those with a meaning as they are called here, others as written."""
    written = re.sub(r"^g:", "", written, flags=re.IGNORECASE)
    name = re.sub(r"\s+", "_", written.lower())
    return name if name in _KNOWN else written


def is_mine(columns: Sequence[str]) -> bool:
    """Any feed is read like this that is not known for another."""
    return True


def items(rows: Callable[[], Rows]) -> Rows:
    """Each row is a product."""
    return rows()


def item_id(cells: Cells) -> str | None:
    # A row without an id must not get its sku for one, where other rows have ids.
    return cells[next(name for name in IDS if name in cells)] or None


def fields(cells: Cells) -> dict[str, Any]:
    """Raises ValueError: a price, the days of a sale, …"""
    used = next(name for name in IDS if name in cells)
    left = {name: cell for name, cell in cells.items() if cell and name != used}
    images = [_first(left, _IMAGE), *map(str.strip, left.pop(_MORE_IMAGES, "").split(","))]
    return {
        "title": _first(left, _TITLE),
        "description": plain_text(left.pop("description", "")),
        "category": [step.strip() for step in _first(left, _CATEGORY).split(">") if step.strip()],
        "price": _price(left),
        "stock": _stock(left),
        "created_at": left.pop("created_at", None),
        "image": list(filter(None, images)),
        "attributes": left,
    }


def _first(cells: Cells, names: Sequence[str]) -> str:
    """The first of these that is filled in, taken out of the cells: the others stay, as attributes."""
    return next((cells.pop(name) for name in names if name in cells), "")


def _price(cells: Cells) -> float | None:
    price, sale = (amount(name, cells.pop(name)) if name in cells else None for name in (_PRICE, _SALE))
    begins, _, ends = cells.pop(_DAYS, "").partition("/")
    return lower(price, sale if sale and is_now(_DAYS, begins.strip(), ends.strip()) else None)


def _stock(cells: Cells) -> str | int | None:
    """None where items are there and nobody says how many; what is neither in nor out of stock is an attribute too."""
    stock = cells.pop("stock", None)
    availability = re.sub(r"[\s_]+", "_", cells.get("availability", "").lower())
    if availability in ("in_stock", "out_of_stock"):
        del cells["availability"]
    return 0 if availability == "out_of_stock" else stock

"""Shopify's product CSV, of today's columns and those of before: several rows have one handle, and make one product.

Each variant is an item of its own. What the rows of a handle say of the product stands in the first of them; a row with
a SKU, a price or options is a variant, and any row may bring one more picture.
"""

import re
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from examples.feed_values import BadRow, Cells, Rows, amount, count, plain_text

IDS: tuple[str, ...] = ("handle",)

# Columns that had another name.
_NAMES = {
    "url handle": "handle",
    "body (html)": "description",
    "published on online store": "published",
    "variant sku": "sku",
    "variant barcode": "barcode",
    "variant price": "price",
    "variant inventory tracker": "inventory tracker",
    "variant inventory qty": "inventory quantity",
    "variant inventory policy": "continue selling when out of stock",
    "image src": "product image url",
    "variant image": "variant image url",
}
_OPTIONS = ("option1", "option2", "option3")
_VARIANT = ("sku", "price", *(f"{option} value" for option in _OPTIONS))  # a row without all of them is a picture's
_OF_VARIANTS = (*_VARIANT, "barcode", "inventory tracker", "inventory quantity", "variant image url")
_OF_VARIANTS += ("continue selling when out of stock",)
# All else is how the shop is run (what an article cost, …), and not for those who search.
_ATTRIBUTES = {"vendor": "Vendor", "type": "Type", "barcode": "Barcode"}
_METAFIELD = re.compile(r"(.+?)\s*\(product\.metafields\.(?:shopify|custom)\..*\)")


def column(written: str) -> str:
    return written if _METAFIELD.fullmatch(written) else _NAMES.get(written.lower(), written.lower())


def is_mine(columns: Sequence[str]) -> bool:
    return {"handle", "title"} <= set(columns) and "id" not in columns


def items(rows: Callable[[], Rows]) -> Rows:
    """The variants of what is published, each with all that its product has."""
    product: list[tuple[int, Cells]] = []
    for line, cells in rows():
        if isinstance(cells, BadRow):
            yield line, cells
            continue
        if product and cells["handle"] != product[0][1]["handle"]:
            yield from _variants(product)
            product.clear()
        product.append((line, cells))
    if product:
        yield from _variants(product)


def _variants(rows: Sequence[tuple[int, Cells]]) -> Rows:
    first_line, first = rows[0]
    if not first["handle"] or not first["title"]:
        yield first_line, BadRow("has no handle and title: keep the rows of one handle together, its title first")
        return
    if first.get("published", "").lower() == "false" or first.get("status", "").lower() not in ("", "active"):
        return
    pictures = "\n".join(dict.fromkeys(url for _, cells in rows if (url := cells.get("product image url"))))
    variants = [row for row in rows if any(row[1].get(name) for name in _VARIANT)] or rows[:1]
    for line, cells in variants:
        own = {name: cells[name] for name in _OF_VARIANTS if name in cells}
        yield line, first | own | {"product image url": pictures}


def item_id(cells: Cells) -> str | None:
    """The SKU; a variant without one is called by its options."""
    return _code(cells, "sku") or "/".join([cells["handle"], *_options(cells).values()])


def fields(cells: Cells) -> dict[str, Any]:
    """Raises ValueError: a price cannot be read."""
    attributes: dict[str, Any] = {"item_group_id": cells["handle"]}
    category = cells.get("product category") or cells.get("type", "")
    attributes |= {name: _code(cells, column) for column, name in _ATTRIBUTES.items()}
    attributes["Tags"] = [tag.strip() for tag in cells.get("tags", "").split(",") if tag.strip()]
    attributes |= {found[1]: cell for column, cell in cells.items() if (found := _METAFIELD.fullmatch(column))}
    attributes |= _options(cells)
    pictures = cells.get("variant image url") or cells["product image url"]
    return {
        "title": cells["title"],
        "description": plain_text(cells.get("description", "")),
        "category": [step.strip() for step in category.split(">") if step.strip()],
        "price": amount("price", cells["price"]) if cells.get("price") else None,
        "stock": _stock(cells),
        "image": pictures.split(),
        "attributes": {name: value for name, value in attributes.items() if value},
    }


def _code(cells: Cells, column: str) -> str:
    """Shopify writes an apostrophe before what Excel would take for a number."""
    return cells.get(column, "").removeprefix("'")


def _options(cells: Cells) -> dict[str, str]:
    """None for a product without options, whose only variant is "Title: Default Title"."""
    named = takewhile(bool, ((cells.get(f"{one} name", ""), cells.get(f"{one} value", "")) for one in _OPTIONS))
    return {name: value for name, value in named if name and value and (name, value) != ("Title", "Default Title")}


def _stock(cells: Cells) -> int | None:
    """None where it is not counted, or is sold when there is none."""
    if not cells.get("inventory quantity") or not cells.get("inventory tracker"):
        return None
    left = count("inventory quantity", cells["inventory quantity"])
    sold_on = cells.get("continue selling when out of stock", "").lower() in ("continue", "true")
    return None if sold_on and not left else left

"""WooCommerce's product CSV, as its own exporter writes it in English.

Each variation is an item of its own, and has what its product has where it says nothing else; the product itself is
left out then, as it is not what is sold. What is not published, or hidden in the catalogue, is left out.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from examples.feed_values import BadRow, Cells, Rows, amount, count, is_now, lower, plain_text

IDS: tuple[str, ...] = ("id", "sku")

# What a variation has of its own, or has not.
_OWN = {"id", "type", "sku", "parent", "published", "regular price", "sale price", "in stock?", "stock"}
_OWN |= {"date sale price starts", "date sale price ends", "backorders allowed?", "gtin, upc, ean, or isbn"}
# All else is how the shop is run (taxes, what an article cost, …), and not for those who search.
_ATTRIBUTES = {"sku": "SKU", "gtin, upc, ean, or isbn": "GTIN", "brands": "Brands", "tags": "Tags"}
_LISTS = {"brands", "tags"}
_MEASURE = re.compile(r"(weight|length|width|height) \(.+\)")
_ATTRIBUTE = re.compile(r"attribute (\d+) name")
_NAMED = "attribute: "  # before an attribute's own name


def column(written: str) -> str:
    return written.lower()


def is_mine(columns: Sequence[str]) -> bool:
    marks = {"regular price", "in stock?", "visibility in catalog"}
    return "name" in columns and "price" not in columns and not marks.isdisjoint(columns)


def items(rows: Callable[[], Rows]) -> Rows:
    """What is published and not hidden: products, or the variations in place of theirs."""
    parents: dict[str, Cells] = {}  # products with variations, by all names that these may call them by
    called = set()
    for _, row in rows():
        if isinstance(row, BadRow):
            continue
        if "variable" in row.get("type", ""):
            cells = _read(row)
            parents |= dict.fromkeys(_names(cells), cells)
        elif "variation" in row.get("type", ""):
            called.add(row.get("parent", ""))
    for line, row in rows():
        if isinstance(row, BadRow):
            yield line, row
            continue
        cells = _read(row)
        if "variation" in cells.get("type", "") and (parent := parents.get(cells.get("parent", ""))):
            shown = _is_shown(cells) and _is_shown(parent)
            cells = _with(parent, cells)
        else:
            shown = _is_shown(cells) and called.isdisjoint(_names(cells))
        if shown:
            yield line, cells


def item_id(cells: Cells) -> str | None:
    # A row without an ID must not get its SKU for one, where other rows have IDs.
    return cells["id" if "id" in cells else "sku"] or None


def fields(cells: Cells) -> dict[str, Any]:
    """Raises ValueError: a price, the days of a sale or the stock cannot be read."""
    paths = [
        [step.strip() for step in plain_text(path).split(">") if step.strip()]
        for path in _values(cells.get("categories", ""))
    ]
    attributes: dict[str, Any] = {"item_group_id": cells.get("parent", "").removeprefix("id:")}
    for name, cell in cells.items():
        if name in _ATTRIBUTES or _MEASURE.fullmatch(name):
            attributes[_ATTRIBUTES.get(name, name)] = _values(cell) if name in _LISTS else cell
        elif name.startswith(_NAMED) and (values := _values(cell)):
            attributes[name.removeprefix(_NAMED)] = values if len(values) > 1 else values[0]
    category = max(paths, key=len, default=[])  # the first of those that say the most
    if any(path != category[: len(path)] for path in paths):
        attributes["Categories"] = [" > ".join(path) for path in paths]
    texts = (_text(cells.get(name, "")) for name in ("short description", "description"))
    return {
        "title": plain_text(cells["name"]),
        "description": "\n\n".join(filter(None, texts)),
        "category": category,
        "price": _price(cells),
        "stock": _stock(cells),
        "image": _values(cells.get("images", "")),
        "attributes": {name: value for name, value in attributes.items() if value},
    }


def _read(row: Cells) -> Cells:
    """A row with its attributes under their names, and without the apostrophe that is written before -, +, = and @."""
    cells = {name: re.sub(r"^'(?=[-+=@])", "", cell) for name, cell in row.items()}
    numbers = [found[1] for name in row if (found := _ATTRIBUTE.fullmatch(name))]
    named = {cells[f"attribute {n} name"]: cells.get(f"attribute {n} value(s)", "") for n in numbers}
    return cells | {_NAMED + name: value for name, value in named.items() if name}


def _names(cells: Cells) -> set[str]:
    return {name for name in (cells.get("sku"), cells.get("id") and f"id:{cells['id']}") if name}


def _is_shown(cells: Cells) -> bool:
    return cells.get("published") in (None, "", "1") and cells.get("visibility in catalog") != "hidden"


def _with(parent: Cells, variation: Cells) -> Cells:
    inherited = {name: cell for name, cell in parent.items() if name not in _OWN}
    cells = variation | inherited | {name: cell for name, cell in variation.items() if cell}
    cells["parent"] = item_id(parent) or variation["parent"]
    if variation.get("stock") == "parent":
        cells["stock"] = parent["stock"]
    return cells


def _values(text: str) -> list[str]:
    """What commas separate; those within a value are written with a backslash."""
    return [value for part in re.split(r"(?<!\\),", text) if (value := part.replace("\\,", ",").strip())]


def _text(cell: str) -> str:
    """A line break is written as a backslash and an n; where those were meant, the backslash is doubled."""
    return plain_text("\\n".join(part.replace("\\n", "\n") for part in cell.split("\\\\n")))


def _price(cells: Cells) -> float | None:
    price, sale = (
        amount(name, text) if (text := cells.get(name)) else None for name in ("regular price", "sale price")
    )
    begins, ends = (cells.get(f"date sale price {when}", "") for when in ("starts", "ends"))
    return lower(price, sale if sale and is_now("the days of a sale,", begins, ends) else None)


def _stock(cells: Cells) -> int | None:
    """None where it is not counted, or is sold when there is none."""
    if cells.get("in stock?") == "0":
        return 0
    if cells.get("stock", "") in ("", "parent"):
        return None
    left = count("stock", cells["stock"])
    return None if not left and cells.get("backorders allowed?") in ("1", "notify") else left

"""Product feeds: CSV or TSV with the columns of Google's product feeds, read as rows of what a product has here.

These columns have a meaning, and every other one that is filled in is an attribute:

    id (or item_id, or sku), title (or name), description, image_link (or image), additional_image_link,
    category (or product_type, or google_product_category), price and sale_price, availability and stock

A column's letter case, a `g:` before its name, and spaces in place of `_` do not count.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ENDINGS = (".csv", ".tsv")

_ID, _TITLE, _IMAGE = ("id", "item_id", "sku"), ("title", "name"), ("image_link", "image")
_CATEGORY = ("category", "product_type", "google_product_category")
_PRICES = ("price", "sale_price")
_KNOWN = {*_ID, *_TITLE, "description", *_IMAGE, "additional_image_link", *_CATEGORY, *_PRICES, "availability", "stock"}

# An amount with a currency before or behind it, and the two ways to write one: 1,299.00 and 1.299,00.
_PRICE = re.compile(r"(?:[^\d+\-−–]*[^\d+\-−–.,])?(\d[\d.,'’\s]*?)\D*")
_POINT = re.compile(r"(\d+|[1-9]\d{0,2}(?:[,'’\s]\d{3})+)(?:\.(\d+))?")
_COMMA = re.compile(r"(\d+|[1-9]\d{0,2}(?:[.'’\s]\d{3})+)(?:,(\d{1,2}))?")


class UnreadableFeed(Exception):
    """The header does not say which column is which."""


def read_feed(path: Path) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    """Each row as a product's fields, or what is wrong with it, after the line on which it begins.

    Raises:
        UnreadableFeed: no column has ids, or two have one name.
        OSError: the file cannot be read.
    """
    # What is not UTF-8 stays in its cell, and costs that one product.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        try:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            # Strict, so that a quote without its end is told: it swallows the products behind it.
            rows = csv.reader(file, delimiter=delimiter, strict=True)
            columns = _columns(next(rows, []))
        except csv.Error as error:
            raise UnreadableFeed(f"The first line cannot be read: {error}.") from error
        while True:
            line = rows.line_num + 1
            try:
                row = next(rows, None)
                if row is None:
                    return
                if any(cell.strip() for cell in row):
                    yield line, _fields(columns, row)
            except csv.Error as error:
                yield line, ValueError(f"{error}; a cell that begins with a quote must end with one")
            except ValueError as error:
                yield line, error


def _delimiter(header: str) -> str:
    return max(",;\t", key=lambda delimiter: len(next(csv.reader([header], delimiter=delimiter))))


def _columns(header: Sequence[str]) -> list[str]:
    """The columns' names: those with a meaning as they are called here, others as written. Raises UnreadableFeed."""
    columns = []
    for cell in header:
        written = re.sub(r"^g:", "", cell.strip(), flags=re.IGNORECASE)
        name = re.sub(r"\s+", "_", written.lower())
        columns.append(name if name in _KNOWN else written)
    if not set(_ID).intersection(columns):
        raise UnreadableFeed(f"No column is called {' or '.join(_ID)}; the first line has: {', '.join(columns)}.")
    if twice := next((name for name in columns if name and columns.count(name) > 1), None):
        raise UnreadableFeed(f"Two columns are called {twice!r}: rename or remove one.")
    return columns


def _fields(columns: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    """Raises ValueError."""
    if len(row) != len(columns):
        raise ValueError(f"{len(row)} cells, where the first line has {len(columns)}: quote what holds line breaks")
    cells = {name: cell.strip() for name, cell in zip(columns, row, strict=True) if cell.strip()}
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8: save the file as UTF-8") from None
    fields: dict[str, Any] = {
        # A row without an id must not get its sku for one, where other rows have ids.
        "id": cells.pop(next(name for name in _ID if name in columns), None),
        "title": _first(cells, _TITLE),
        "description": cells.pop("description", None),
        "category": [step.strip() for step in _first(cells, _CATEGORY).split(">")],
        "price": _lowest(cells),
        "stock": _stock(cells),
        "image": [_first(cells, _IMAGE), *map(str.strip, cells.pop("additional_image_link", "").split(","))],
    }
    fields["category"], fields["image"] = (list(filter(None, fields[name])) for name in ("category", "image"))
    return fields | {"attributes": cells}


def _first(cells: dict[str, str], names: Sequence[str]) -> str:
    """The first of these that is filled in, taken out of the cells: the others stay, as attributes."""
    return next((cells.pop(name) for name in names if name in cells), "")


def _lowest(cells: dict[str, str]) -> float | None:
    """The sale's price where it is lower. Of nothing it is not set: many shops write that where there is no sale."""
    price, sale = (_amount(name, cells.pop(name)) if name in cells else None for name in _PRICES)
    return min((amount for amount in (price, sale or None) if amount is not None), default=None)


def _amount(name: str, text: str) -> float:
    match = _PRICE.fullmatch(text)
    readings = [written.fullmatch(match[1]) for written in (_POINT, _COMMA)] if match else []
    amounts = {float(f"{re.sub(r'[^0-9]', '', one[1])}.{one[2] or 0}") for one in readings if one}
    if len(amounts) != 1:  # none, or two: 1.299 is a little more than one, or a thousand and more
        raise ValueError(f"{name} {text!r} cannot be read as one amount: write 1299.00 or 1299,00, as in 1299.00 EUR")
    return amounts.pop()


def _stock(cells: dict[str, str]) -> str | int | None:
    """None where items are there and nobody says how many; what is neither in nor out of stock is an attribute too."""
    stock = cells.pop("stock", None)
    availability = re.sub(r"[\s_]+", "_", cells.get("availability", "").lower())
    if availability in ("in_stock", "out_of_stock"):
        del cells["availability"]
    return 0 if availability == "out_of_stock" else stock

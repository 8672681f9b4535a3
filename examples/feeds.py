"""Product feeds: CSV, TSV or XML as shops export them, read as rows of what a product has here.

The exports of Shopify and WooCommerce are known by their columns; any other feed is read as Google's product feeds are.
Each of the three has its rules in a module of its own: `examples/shopify.py`, `woocommerce.py` and `google_feed.py`.
XML is Google's alone (`google_xml.py`).
"""

import codecs
import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from examples import google_feed, google_xml, shopify, woocommerce
from examples.feed_values import BadRow, Cells, Rows

XML = ".xml"
ENDINGS = (".csv", ".tsv", ".txt", XML)

# Descriptions in HTML hold whole pictures in base64. Python's own bound, 128 KiB, would stop in the middle of such a
# cell, and read the rest of it as rows.
csv.field_size_limit(64 << 20)


class UnreadableFeed(Exception):
    """This file cannot be read as products, for the reason given."""


class Format(Protocol):
    """A shop's way to export products: a module of these functions."""

    IDS: tuple[str, ...]  # columns, of which a feed must have one

    def column(self, written: str) -> str:
        """What a column is called here."""

    def is_mine(self, columns: Sequence[str]) -> bool:
        """Whether a feed with these columns, as `column` calls them, is of this format."""

    def items(self, rows: Callable[[], Rows]) -> Rows:
        """The products that the rows make, which it may read more than once."""

    def item_id(self, cells: Cells) -> str | None:
        """The id of a product, if it has one."""

    def fields(self, cells: Cells) -> dict[str, Any]:
        """What else a product has, its pictures as `image`. Raises ValueError."""


_FORMATS: tuple[Format, ...] = (shopify, woocommerce, google_feed)  # the last takes any feed


def read_feed(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """Each product's fields, or what is wrong with it, after the line on which its row begins (XML: its number).

    Raises:
        UnreadableFeed: no column has ids, two have one name, or the file is no text in UTF-8.
        OSError: the file cannot be read.
    """
    if path.suffix.lower() == XML:
        for number, cells in google_xml.rows(path):
            yield number, cells if isinstance(cells, BadRow) else _product(cells, google_feed)
        return
    header, delimiter = _header(path)
    for kind in _FORMATS:
        columns = [kind.column(cell.strip()) for cell in header]
        if kind.is_mine(columns):
            break
    if twice := next((name for name in columns if name and columns.count(name) > 1), None):
        raise UnreadableFeed(f"Two columns are called {twice!r}: rename or remove one.")
    if not any(name in columns for name in kind.IDS):
        raise UnreadableFeed(f"No column is called {' or '.join(kind.IDS)}; the first line has: {', '.join(columns)}.")
    for line, cells in kind.items(lambda: _rows(path, delimiter, columns)):
        yield line, cells if isinstance(cells, BadRow) else _product(cells, kind)


def _header(path: Path) -> tuple[list[str], str]:
    """The cells of the first line, and what separates them. Raises UnreadableFeed."""
    with path.open("rb") as raw:
        start = raw.readline()
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start:
        raise UnreadableFeed("It is UTF-16, or no text: save it as UTF-8 (in Excel, as `CSV UTF-8`).")
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFeed("Its first line is not UTF-8: save it as UTF-8 (in Excel, as `CSV UTF-8`).") from None
    try:
        delimiter = max(",;\t", key=lambda one: len(next(csv.reader([text], delimiter=one))))
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            return next(csv.reader(file, delimiter=delimiter, strict=True), []), delimiter
    except csv.Error as error:
        raise UnreadableFeed(f"The first line cannot be read: {error}.") from error


def _rows(path: Path, delimiter: str, columns: Sequence[str]) -> Rows:
    # What is not UTF-8 stays in its cell, and costs that one product.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        # Strict, so that a quote without its end is told: it swallows the products behind it.
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        next(rows, None)
        while True:
            line = rows.line_num + 1
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield line, BadRow(f"{error}; a cell that begins with a quote must end with one")
                continue
            if row is None:
                return
            if len(row) == len(columns):
                cells = {name: cell.strip() for name, cell in zip(columns, row, strict=True)}
                if any(cells.values()):
                    yield line, cells
            elif any(cell.strip() for cell in row):
                told = f"{len(row)} cells, where the first line has {len(columns)}: quote what holds line breaks"
                yield line, BadRow(told)


def _product(cells: Cells, kind: Format) -> dict[str, Any] | BadRow:
    item_id = kind.item_id(cells)
    try:
        "".join(cells.values()).encode()
    except UnicodeEncodeError:
        return BadRow("is not UTF-8: save the file as UTF-8", item_id if item_id and item_id.isascii() else None)
    try:
        return {"id": item_id} | kind.fields(cells)
    except ValueError as error:
        return BadRow(str(error), item_id)

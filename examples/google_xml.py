"""Google's product feeds as XML: each item of RSS, or entry of Atom, as the row of columns that it would be."""

from pathlib import Path
from xml.etree import ElementTree

from examples.feed_values import BadRow, Cells, Rows
from examples.google_feed import column

_GOOGLE = "{http://base.google.com/ns/1.0}"
_ITEMS = ("item", "{http://www.w3.org/2005/Atom}entry")
_LIST = "additional_image_link"


def rows(path: Path) -> Rows:
    """The products, counted from 1. Where the XML breaks, what follows is lost, and may be any item's.

    Raises OSError.
    """
    number = 1
    try:
        for _, element in ElementTree.iterparse(path):
            if element.tag in _ITEMS:
                yield number, _cells(element)
                element.clear()  # or all of them would stay in memory
                number += 1
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two: an encoding that is none
        yield number, BadRow(f"is no XML, and what follows is not read: {error}")


def _cells(item: ElementTree.Element) -> Cells:
    """By their columns' names. Of several elements of one name the first that says something counts, Google's first.

    What holds elements itself (shipping, tax, …) says nothing of the product.
    """
    cells = {"id": ""}
    for element in sorted(item, key=lambda one: not one.tag.startswith(_GOOGLE)):
        name, text = column(element.tag.rpartition("}")[2]), (element.text or "").strip()
        if not text or len(element):
            continue
        if name == _LIST:  # which commas separate
            cells[name] = ",".join(filter(None, (cells.get(name), text.replace(",", "%2C"))))
        else:
            cells[name] = cells.get(name) or text
    return cells

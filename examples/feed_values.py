"""What cells of product feeds say: amounts as people write them."""

import re
from collections.abc import Iterator

# An amount with a currency before or behind it, and the two ways to write one: 1,299.00 and 1.299,00.
_PRICE = re.compile(r"(?:[^\d+\-−–]*[^\d+\-−–.,])?(\d[\d.,'’\s]*?)\D*")
_POINT = re.compile(r"(\d+|[1-9]\d{0,2}(?:[,'’\s]\d{3})+)(?:\.(\d+))?")
_COMMA = re.compile(r"(\d+|[1-9]\d{0,2}(?:[.'’\s]\d{3})+)(?:,(\d{1,2}))?")

Cells = dict[str, str]  # those of a row, stripped, by their columns' names


class BadRow(ValueError):
    """This row is no product, for the reason given; `item_id` is the product's that it would be, where that is known.

    An item whose row is only wrong is still the shop's: it must not be taken for one that was removed.
    """

    def __init__(self, reason: str, item_id: str | None = None) -> None:
        super().__init__(reason)
        self.item_id = item_id


Rows = Iterator[tuple[int, Cells | BadRow]]  # after the line on which each begins


def amount(name: str, text: str) -> float:
    """The amount of a price. Raises ValueError: it is none, or could be two."""
    match = _PRICE.fullmatch(text)
    readings = [written.fullmatch(match[1]) for written in (_POINT, _COMMA)] if match else []
    amounts = {float(f"{re.sub(r'[^0-9]', '', one[1])}.{one[2] or 0}") for one in readings if one}
    if len(amounts) != 1:  # none, or two: 1.299 is a little more than one, or a thousand and more
        raise ValueError(f"{name} {text!r} cannot be read as one amount: write 1299.00 or 1299,00, as in 1299.00 EUR")
    return amounts.pop()


def lower(price: float | None, sale: float | None) -> float | None:
    """The sale's price where it is lower. Of nothing it is not set: many shops write that where there is no sale."""
    return min((amount for amount in (price, sale or None) if amount is not None), default=None)

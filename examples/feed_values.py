"""What cells of product feeds say: amounts as people write them, sales that have their days, and HTML as plain text."""

import html
import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime, timedelta
from html.parser import HTMLParser

# An amount with a currency before or behind it, and the two ways to write one: 1,299.00 and 1.299,00.
_PRICE = re.compile(r"(?:[^\d+\-−–]*[^\d+\-−–.,])?([0-9][0-9.,'’\s]*?)\D*")
_POINT = re.compile(r"([0-9]+|[1-9][0-9]{0,2}(?:[,'’\s][0-9]{3})+)(?:\.([0-9]+))?")
_COMMA = re.compile(r"([0-9]+|[1-9][0-9]{0,2}(?:[.'’\s][0-9]{3})+)(?:,([0-9]{1,2}))?")

# What makes a text HTML: "2<3" and "for <size>" do not.
_TAG = re.compile(
    r"</[a-z][a-z0-9]*\s*>|<(?:p|br|hr|div|span|ul|ol|li|h[1-6]|b|i|u|em|strong|a|img|table)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-f]+|[a-z][a-z0-9]*);", re.IGNORECASE)
_LINES = {"p", "br", "hr", "div", "ul", "ol", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "tr", "dt", "dd"}
_LINES |= {"section", "article", "blockquote", "pre"}
_CELLS = {"td", "th"}
_UNSEEN = {"script", "style"}

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
    match = _PRICE.fullmatch(unicodedata.normalize("NFKC", text))  # East Asian keyboards write full-width digits
    readings = [written.fullmatch(match[1]) for written in (_POINT, _COMMA)] if match else []
    amounts = {float(f"{re.sub(r'[^0-9]', '', one[1])}.{one[2] or 0}") for one in readings if one}
    if len(amounts) != 1:  # none, or two: 1.299 is a little more than one, or a thousand and more
        raise ValueError(f"{name} {text!r} cannot be read as one amount: write 1299.00 or 1299,00, as in 1299.00 EUR")
    return amounts.pop()


def count(name: str, text: str) -> int:
    """How many there are: less than none is none. Raises ValueError."""
    try:
        return max(0, int(float(text)))
    except (ValueError, OverflowError):
        raise ValueError(f"{name} must be a number, and {text!r} is none") from None


def lower(price: float | None, sale: float | None) -> float | None:
    """The sale's price where it is lower. Of nothing it is not set: many shops write that where there is no sale."""
    return min((amount for amount in (price, sale or None) if amount is not None), default=None)


def is_now(name: str, begins: str, ends: str) -> bool:
    """Whether the days from one ISO date to another are now; an empty one is open, a day ends when it is over.

    A time without a zone is this machine's. Raises ValueError: one of them is no ISO date.
    """
    try:
        begin, end = (datetime.fromisoformat(text) if text else None for text in (begins, ends))
        if end and len(ends) == len("2026-01-31"):
            end += timedelta(days=1)
        now = datetime.now().astimezone()
        return (begin is None or begin.astimezone() <= now) and (end is None or now < end.astimezone())
    except (ValueError, OverflowError):
        raise ValueError(f"{name} {begins!r} to {ends!r} cannot be read: write dates as 2026-01-31") from None


def plain_text(text: str) -> str:
    """A text without the tags and entities of HTML, also where it was escaped twice; any other as it is."""
    if not _TAG.search(text) and _ENTITY.search(text):
        text = html.unescape(text).replace("\xa0", " ")
    if not _TAG.search(text):
        return text
    reader = _Reader()
    reader.feed(text)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return "\n".join(filter(None, lines))


class _Reader(HTMLParser):
    """What a browser would show, line by line."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._unseen = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _UNSEEN:
            self._unseen = tag
        self._part(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unseen:
            self._unseen = ""
        self._part(tag)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(re.sub(r"\s", " ", data))

    def _part(self, tag: str) -> None:
        if tag in _LINES or tag in _CELLS:
            self.parts.append("\n" if tag in _LINES else " ")

"""Where the next page of a search begins. A cursor is of one search: another one's is refused."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence

from service.problems import refused_field
from service.search_schemas import Page

_CHOOSING = {
    "filter",
    "sort",
    "boost",
    "relevance_floor",
    "min_score",
    "group_by",
    "rerank",
    "mode",
    "correct",
    "words",
}


def encode(page: Page, looked_for: Sequence[str], offset: int) -> str:
    """The cursor of the page that begins at `offset` of a search for this."""
    place = f"{offset}:{_fingerprint(page, looked_for)}"
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def resolve(page: Page, looked_for: Sequence[str], place: str) -> int:
    """Where a page begins, by its cursor or its offset. Raises Problem (`invalid_cursor`), which names its place."""
    if page.cursor is None:
        return page.offset
    try:
        offset, fingerprint = _decode(page.cursor)
        if fingerprint == _fingerprint(page, looked_for):
            return offset
    except (binascii.Error, ValueError):
        pass
    raise refused_field(place, "cursor", "invalid_cursor", "must be the next_cursor of this very search")


def decode_offset(cursor: str) -> int:
    """Where the page of a cursor begins, counted from 0, of whatever search. Raises ValueError if it is none."""
    return _decode(cursor)[0]


def _fingerprint(page: Page, looked_for: Sequence[str]) -> str:
    """What must be the same for a cursor to go on: what is looked for and all that chooses and orders hits."""
    choosing = json.dumps([page.model_dump(mode="json", include=_CHOOSING), *looked_for], sort_keys=True)
    return hashlib.sha256(choosing.encode()).hexdigest()[:16]


def _decode(cursor: str) -> tuple[int, str]:
    text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    match = re.fullmatch(r"([0-9]{1,8}):([0-9a-f]+)", text)
    if not match:
        raise ValueError("this is no cursor")
    return int(match[1]), match[2]

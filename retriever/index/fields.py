"""What items can be filtered, counted and sorted by: named fields, each with values of one or more kinds.

A field's values are stored apart by kind, under `_index` in the point's payload, since an engine's payload index takes
one kind: `{"keyword": {"colour": ["Red", "red"]}, "number": {"price": [12.5]}}`.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal

Kind = Literal["keyword", "number", "boolean", "date"]
FieldValue = str | bool | int | float | datetime | Sequence[str]
Stored = dict[str, dict[str, list[Any]]]  # kind → field → values

SECTION = "_index"  # the part of a payload that is the index's own
WORDS_KEY = f"{SECTION}.words"  # numbers of the words and pairs of words in an item's text
# Beside those built in. Each costs the engine memory; a shop's attributes beyond them are kept, but cannot be filtered
# by. Real shops have hundreds: nine hundred household products bring six hundred. (Elasticsearch's limit is the same.)
MAX_FIELDS = 1000
MAX_KEYWORD = 256  # characters; a longer string is prose

_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,6})?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800, 253_402_300_799  # of the years that ISO dates have

# What an item may have beside its attributes: known before the first item that has it.
BUILT_IN = ("id", "category", "price", "stock", "available", "created_at", "updated_at")
EXACT = frozenset({"id"})  # fields whose keywords differ by letter case, too: two items are never taken for one


def field_name(name: str) -> str:
    """The form in which names are the same field: as of values, and the kinds of quotes and slashes do not count.

    No engine takes a double quote or a backslash within a payload path.
    """
    return fold_phrase(name).replace('"', "'").replace("\\", "/")


def steps(path: str) -> list[str]:
    """The steps of a category path, `Home > Kitchen`, with or without spaces around what joins them."""
    return [step for part in path.split(">") if (step := part.strip())]


def fold(value: str) -> str:
    """The form in which two keywords are the same value: neither letter case counts, nor spaces around, nor whether a
    letter and its accent are one character or two, as some computers write them.
    """
    return unicodedata.normalize("NFC", value.strip().casefold())


def fold_phrase(text: str) -> str:
    """The form in which two phrases are the same: that of keywords, however many spaces are between the words."""
    return " ".join(fold(text).split())


def keyword(field: str, value: str) -> str:
    """The form in which a keyword of a field is looked for."""
    return value.strip() if field in EXACT else fold(value)


def key(kind: Kind, name: str) -> str:
    """The payload path of a field, as engines write it: quoted, since names may hold dots and spaces."""
    return f'{SECTION}.{kind}."{name}"'


def parse_key(path: str) -> tuple[Kind, str] | None:
    """The reverse of `key`; None for a path that is no field's. Engines leave out quotes that a name does not need.

    Items that were stored earlier may list one with a backslash, by which nothing can be asked.
    """
    match = re.fullmatch(rf'{SECTION}\.(keyword|number|boolean|date)\.(?:"([^"\\]*)"|([^".\\]+))', path)
    return (match[1], match[2] if match[2] is not None else match[3]) if match else None  # type: ignore[return-value]


def store(values: Mapping[str, FieldValue]) -> Stored:
    """Fields as they are stored. Keywords are stored as given and folded, so that a filter finds either."""
    stored: Stored = {}
    for given, value in values.items():
        name = field_name(given)
        for kind, own in _by_kind(value, folded=name not in EXACT).items():
            if name and own:
                stored.setdefault(kind, {}).setdefault(name, []).extend(own)
    return stored


def kinds_of(stored: Stored) -> Iterable[tuple[Kind, str]]:
    return ((kind, name) for kind, own in stored.items() for name in own)  # type: ignore[misc]


def timestamp(text: str) -> float:
    """Seconds since 1970 of an ISO date or time; UTC where it names no zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def iso(seconds: float) -> str:
    """The reverse of `timestamp`."""
    # As a float, the last moment of the year 9999 is the first of 10000; in some zones, year 1 begins before it does.
    return datetime.fromtimestamp(min(max(seconds, _FIRST_MOMENT), _LAST_MOMENT), UTC).isoformat()


def number_in(text: str) -> float | None:
    """The number that a text says; None if it says none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def shown(kind: Kind, value: Any) -> str:
    """A stored value as it was given: a date as an ISO time, and 17, which engines keep as 17.0, as 17."""
    if kind == "date":
        return iso(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _by_kind(value: FieldValue, *, folded: bool) -> dict[Kind, list[Any]]:
    if isinstance(value, bool):
        return {"boolean": [str(value).lower()]}
    if isinstance(value, (int, float)):
        return {"number": [float(value)]}
    if isinstance(value, (datetime, date)):
        return {"date": [timestamp(value.isoformat())]}
    texts = [value] if isinstance(value, str) else list(value)
    keywords = [text.strip() for text in texts if 0 < len(text.strip()) <= MAX_KEYWORD]
    looked_for = [*keywords, *(map(fold, keywords) if folded else ())]
    kinds: dict[Kind, list[Any]] = {"keyword": list(dict.fromkeys(looked_for))}
    # Catalogues come from spreadsheets, where numbers and dates are text: both readings can be asked for.
    numbers = [float(text) for text in keywords if _NUMBER.fullmatch(text)]
    dates = [moment for text in keywords if (moment := _moment(text)) is not None]
    return {**kinds, **({"number": numbers} if numbers else {}), **({"date": dates} if dates else {})}


def _moment(text: str) -> float | None:
    if not _DATE.match(text):
        return None
    try:
        return timestamp(text)
    except ValueError:
        return None


def fields_at(paths: Iterable[str]) -> dict[str, set[Kind]]:
    """Payload paths of fields as field → kinds; others are left out."""
    fields: dict[str, set[Kind]] = {}
    for path in paths:
        if found := parse_key(path):
            fields.setdefault(found[1], set()).add(found[0])
    return fields


def values_at(payload: Mapping[str, Any] | None, keys: Iterable[str]) -> dict[str, list[Any]]:
    """The values under each of these keys that a payload has."""
    values = {}
    for path in keys:
        found = parse_key(path)
        if found and (own := (payload or {}).get(SECTION, {}).get(found[0], {}).get(found[1])):
            values[path] = own
    return values


def merged(counts: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """One entry for keywords that differ in letter case only, under the most common spelling.

    Every item with any spelling has the folded one too, so the folded one's count is the count of all. Where a list cut
    short has a spelling without it, the two have the same count: else it would stand before.
    """
    spelling: dict[str, str] = {}
    most: dict[str, int] = {}
    for value, count in counts:
        if not count:  # an engine keeps the values of items that are gone
            continue
        folded = fold(value)
        most[folded] = max(count, most.get(folded, 0))
        if value != folded:
            spelling.setdefault(folded, value)
    return [(spelling.get(folded, folded), count) for folded, count in most.items()]

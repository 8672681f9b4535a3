"""The filter grammar: JSON → conditions, checked against the fields that there are.

    {"price": {"gte": 10, "lte": 50}, "colour": ["red", "blue"], "brand": "Nike"}

is a conjunction; `{"and": […]}`, `{"or": […]}` and `{"not": {…}}` combine. A value stands for itself, a list for any of
its values, an object with `gt`, `gte`, `lt`, `lte` for a range of numbers or of ISO dates, `{"exists": true}` for any
value at all. A number or a date may be text, as facets and groups show it.
"""

import difflib
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from retriever.index.fields import (
    EXACT,
    WORDS_KEY,
    Kind,
    field_name,
    fold,
    key,
    keyword,
    number_in,
    shown,
    steps,
    timestamp,
)
from retriever.index.lexical import required, writings

Fields = Mapping[str, set[Kind]]  # name → kinds of its values; none of a built-in field that no item has yet

_BOUNDS = ("gt", "gte", "lt", "lte")
_EXISTS = "exists"  # asks whether an item has a value at all
_SHAPES = (  # in place of what other engines say: eq, in, ne, null
    f"must be a value, a list of which any will do, bounds ({', '.join(_BOUNDS)}), or "
    f'{{"{_EXISTS}": true}} for any value and false for none; what it must not be stands in {{"not": {{…}}}}'
)
_ADVICE: Mapping[Kind, str] = {"boolean": ": send true or false", "date": ": send an ISO date, such as 2026-01-31"}
_MAX_DEPTH = 16
_MAX_CONDITIONS = 256
_ATTRIBUTE = "attributes."
_CATEGORY = "category"  # whose keywords are paths
_DAY = 86_400  # seconds
_SHOWN = 20  # fields that an error names
_LONGEST_NAME = 100  # characters of it that are compared with those of others


class FilterError(ValueError):
    """A filter, facet, sort or group that cannot be: `code` is stable, `path` says where (`filter.colour`)."""

    def __init__(self, code: str, path: str, message: str | Callable[[], str]) -> None:
        super().__init__(code, path)
        self.code, self.path, self._message = code, path, message

    @cached_property
    def message(self) -> str:
        """Made when it is read: names that are alike take a while to find, and few who catch this show them."""
        return self._message if isinstance(self._message, str) else self._message()

    def __str__(self) -> str:
        return f"{self.path} {self.message}"


@dataclass(frozen=True)
class AnyOf:
    """The field has one of these keywords (or integers)."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """The field has a number within these bounds."""

    key: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    def holds(self, number: float) -> bool:
        """Whether a number lies within, as an engine would say."""
        return (
            (self.gt is None or number > self.gt)
            and (self.gte is None or number >= self.gte)
            and (self.lt is None or number < self.lt)
            and (self.lte is None or number <= self.lte)
        )


@dataclass(frozen=True)
class Has:
    """The field has a value, of the kind that the key is of."""

    key: str


@dataclass(frozen=True)
class Among:
    """The item is one of these points."""

    point_ids: tuple[str, ...]


@dataclass(frozen=True)
class And:
    parts: "tuple[Condition, ...]"


@dataclass(frozen=True)
class Or:
    parts: "tuple[Condition, ...]"


@dataclass(frozen=True)
class Not:
    part: "Condition"


Condition = AnyOf | Range | Has | Among | And | Or | Not

_NOTHING = Among(())


def resolve(name: str, fields: Fields, path: str) -> str:
    """The field that a caller means: its name, or `attributes.` before an attribute's.

    Raises:
        FilterError: `unknown_field`, with names that there are, the most alike first.
    """
    wanted = field_name(name)
    for form in (wanted, unicodedata.normalize("NFD", wanted)):  # some that were stored earlier have accents apart
        for candidate in (form, form.removeprefix(_ATTRIBUTE)):
            if candidate in fields:
                return candidate

    def message() -> str:
        alike = difflib.get_close_matches(wanted.removeprefix(_ATTRIBUTE)[:_LONGEST_NAME], fields, _SHOWN)
        known = ", ".join(list(dict.fromkeys([*alike, *sorted(fields)]))[:_SHOWN]) or "none yet"
        what = "is" if path.endswith(name) else f"names {name!r}, which is"
        apart = [field_name(part) for part in name.split(",")]
        advice = " (these are several: send each by itself)" if len(apart) > 1 and {*apart} <= {*fields} else ""
        return f"{what} no field of any item{advice}; there are: {known}"

    raise FilterError("unknown_field", path, message)


def parse(value: Any, fields: Fields, path: str = "filter") -> Condition | None:
    """Conditions of a filter; None for an empty one.

    Raises:
        FilterError: `invalid_filter` (not the grammar), `unknown_field`, `wrong_type` (a range of keywords, say).
    """
    budget = [_MAX_CONDITIONS]
    return _conjunction(value, fields, path, 0, budget)


def _conjunction(value: Any, fields: Fields, path: str, depth: int, budget: list[int]) -> Condition | None:
    if not isinstance(value, Mapping):
        raise FilterError("invalid_filter", path, 'must be an object such as {"colour": "red"}')
    if depth > _MAX_DEPTH:
        raise FilterError("invalid_filter", path, f"is nested more than {_MAX_DEPTH} deep")
    parts = [_member(_text(name, path), own, fields, f"{path}.{name}", depth, budget) for name, own in value.items()]
    return _joined(And, [part for part in parts if part is not None])


def _member(name: str, value: Any, fields: Fields, path: str, depth: int, budget: list[int]) -> Condition | None:
    budget[0] -= 1
    if budget[0] < 0:
        raise FilterError("invalid_filter", path, f"is one condition too many: at most {_MAX_CONDITIONS}")
    if name in ("and", "or"):
        if not isinstance(value, list) or not value:
            raise FilterError("invalid_filter", path, "must be a list of at least one filter")
        if len(value) > _MAX_CONDITIONS:  # empty ones, of which the budget knows nothing, are read as well
            raise FilterError("invalid_filter", path, f"must be a list of at most {_MAX_CONDITIONS} filters")
        parts = [_conjunction(part, fields, f"{path}[{n}]", depth + 1, budget) for n, part in enumerate(value)]
        if name == "or" and None in parts:  # an empty filter holds for all
            return None
        return _joined(And if name == "and" else Or, [part for part in parts if part is not None])
    if name == "not":
        part = _conjunction(value, fields, path, depth + 1, budget)
        if part is None:
            raise FilterError("invalid_filter", path, "must hold a condition")
        return Not(part)
    field = resolve(name, fields, path)
    if isinstance(value, Mapping) and _EXISTS in value:
        return _existence(field, value, fields[field], path)
    condition = _condition(field, value, fields, path)
    return condition if fields[field] else _NOTHING


def _existence(name: str, value: Mapping[str, Any], kinds: set[Kind], path: str) -> Condition:
    if len(value) > 1 or not isinstance(value[_EXISTS], bool):
        raise FilterError("invalid_filter", path, f"must have {_EXISTS} by itself, true or false")
    there = _joined(Or, [Has(key(kind, name)) for kind in sorted(kinds)]) or _NOTHING
    return there if value[_EXISTS] else Not(there)


def _joined(join: type[And] | type[Or], parts: list[Condition]) -> Condition | None:
    return None if not parts else parts[0] if len(parts) == 1 else join(tuple(parts))


def _condition(name: str, value: Any, fields: Fields, path: str) -> Condition:
    kinds = fields[name]
    if isinstance(value, Mapping):
        return _range(name, value, kinds, path)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise FilterError("invalid_filter", path, "must name at least one value")
    if len(values) > _MAX_CONDITIONS:
        raise FilterError("invalid_filter", path, f"must name at most {_MAX_CONDITIONS} values")
    keywords: dict[Kind, list[str]] = {}
    parts: list[Condition] = []
    for one in values:
        if isinstance(one, bool) or (isinstance(one, str) and "boolean" in kinds and fold(one) in ("true", "false")):
            # Facets name true and "true", which feeds mix, in one word: that word finds either.
            keywords.setdefault(_checked("boolean", kinds, path), []).append(fold(str(one)))
            if "keyword" in kinds:
                keywords.setdefault("keyword", []).append(fold(str(one)))
        elif isinstance(one, (int, float)):
            number = _number(one, path)
            parts.append(Range(key(_checked("number", kinds, path), name), gte=number, lte=number))
        elif isinstance(one, str):
            read = list(_read(_text(one, path).strip(), name, kinds))
            parts += read
            if read and "keyword" not in kinds:
                continue
            written = [one]
            if name == _CATEGORY:  # as it was given, too: items that were stored earlier may have it so
                written.append(" > ".join(steps(one)))
            looked_for = keywords.setdefault(_checked("keyword", kinds, path), [])
            looked_for += [keyword(name, text) for text in written]
            if name not in EXACT:  # with its accents as they were given, too, for the same reason
                looked_for += [text.strip().casefold() for text in written]
        else:
            raise FilterError("invalid_filter", path, _SHAPES)
    parts += [AnyOf(key(kind, name), tuple(dict.fromkeys(own))) for kind, own in keywords.items()]
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _read(text: str, name: str, kinds: set[Kind]) -> Iterator[Range]:
    """What a text says beside itself, to a field of numbers or dates. Where a field has text, too, 007 is not 7."""
    number = number_in(text) if "number" in kinds and name not in EXACT else None
    if number is not None and ("keyword" not in kinds or shown("number", number) == text):
        yield Range(key("number", name), gte=number, lte=number)
    if "date" in kinds and "keyword" not in kinds:
        try:
            start = timestamp(text)
        except ValueError:
            return
        if len(text) <= len("2026-01-31"):  # no time of the day: the whole day
            yield Range(key("date", name), gte=start, lt=start + _DAY)
        else:
            yield Range(key("date", name), gte=start, lte=start)


def _range(name: str, value: Mapping[str, Any], kinds: set[Kind], path: str) -> Condition:
    if not value or any(bound not in _BOUNDS for bound in value):
        raise FilterError("invalid_filter", path, _SHAPES)
    if all(isinstance(bound, (int, float)) and not isinstance(bound, bool) for bound in value.values()):
        numbers = {bound: _number(number, path) for bound, number in value.items()}
        return Range(key(_checked("number", kinds, path), name), **numbers)
    if all(isinstance(bound, str) for bound in value.values()):
        if "number" in kinds and "date" not in kinds:
            raise FilterError("wrong_type", path, "holds numbers: bounds must be numbers, without quotes")
        kind = _checked("date", kinds, path)
        try:
            return Range(key(kind, name), **{bound: timestamp(moment) for bound, moment in value.items()})
        except ValueError:
            raise FilterError("wrong_type", path, "must be bounded by ISO dates, such as 2026-01-31") from None
    raise FilterError("wrong_type", path, "must be bounded by numbers, or by ISO dates such as 2026-01-31")


def _number(value: float, path: str) -> float:
    """Engines end at what is no number, and no float holds the largest whole ones."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise FilterError("invalid_filter", path, "must be a finite number")
    return number


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FilterError("invalid_filter", path, "must be Unicode text, without half of a surrogate pair") from None
    return value


def _checked(kind: Kind, kinds: set[Kind], path: str) -> Kind:
    if kinds and kind not in kinds:
        advice = next((own for only, own in _ADVICE.items() if kinds == {only}), "")
        raise FilterError(
            "wrong_type", path, f"holds {' and '.join(sorted(kinds))} values, and this is a {kind}{advice}"
        )
    return kind


def keys_of(condition: Condition | None) -> set[str]:
    """The payload keys that a condition looks at."""
    match condition:
        case And(parts) | Or(parts):
            return set().union(*map(keys_of, parts))
        case Not(part):
            return keys_of(part)
        case AnyOf() | Range() | Has():
            return {condition.key}
    return set()


def between(name: str, bounds: Mapping[str, Any], fields: Fields, path: str) -> Condition:
    """The condition that a field lies within bounds. Raises FilterError, as `parse`."""
    field = resolve(name, fields, path)
    condition = _range(field, bounds, fields[field], path)
    return condition if fields[field] else _NOTHING


def word_for_word(phrase: str) -> Condition | None:
    """All words of a phrase are there, each beside the next, however its measures are written; None without words."""
    forms = [conjoin(*(AnyOf(WORDS_KEY, (number,)) for number in required(form))) for form in writings(phrase)]
    return _joined(Or, [form for form in forms if form is not None])


def conjoin(*conditions: Condition | None) -> Condition | None:
    """All of these at once; None for none."""
    return _joined(And, [condition for condition in conditions if condition is not None])

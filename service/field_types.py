"""Values of fields as they come over the wire, checked: ids, texts, numbers, attributes, pictures."""

import base64
import json
import math
from datetime import UTC, date, datetime
from typing import Annotated, Any, NoReturn
from urllib.parse import unquote_to_bytes

from fastapi import Path, UploadFile
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from retriever.index.fields import steps


def storable(text: str) -> str:
    """Refuses what no database and no tokeniser takes."""
    if "\x00" in text:
        raise ValueError("must not contain null bytes")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not Unicode text (it holds half of a surrogate pair)") from None
    return text


def _addressable(item_id: str) -> str:
    if item_id in (".", ".."):
        raise ValueError("'.' and '..' cannot be ids: no URL could name them")
    return item_id


MOST_FACET_VALUES = 500
_MOST_FIELDS = 50  # of one JSON object; each that is not known would be an error of its own
MOST_ATTRIBUTES = 200
LONGEST_TEXT = 65_536  # characters; in a form SEARCH_MAX_FIELD_BYTES may allow less

Text = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(storable)]
ItemId = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(storable),
    AfterValidator(_addressable),
]
Word = Annotated[Text, Field(min_length=1, max_length=200)]


def _attribute_value(value: Any) -> Any:
    """One message for all that is refused, where a union's validator would give one for each of its members."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _short(value, 4000)
    if isinstance(value, list) and all(map(_listable, value)):
        if len(value) > 200:
            raise ValueError("has more than 200 values")
        return [_short(one if isinstance(one, str) else f"{one:.15g}", 200) for one in value]
    if isinstance(value, int) and abs(value) > 2**53:
        raise ValueError("is a larger whole number than JSON readers keep exact; send it as a string")
    if isinstance(value, (int, float)) and math.isfinite(value):
        return value
    raise ValueError("must be a string, a finite number, a boolean, or a list of strings or numbers")


def _listable(value: Any) -> bool:
    """Text, or a number that text can be: sizes are 38, 40 and M. 15 digits hold either whole."""
    return isinstance(value, str) or (type(value) in (int, float) and abs(value) < 10**15)


def _short(text: str, longest: int) -> str:
    if len(text) > longest:
        raise ValueError(f"is longer than {longest} characters")
    return storable(text.strip())


AttributeValue = Annotated[
    str | bool | int | float | list[str],
    BeforeValidator(_attribute_value, json_schema_input_type=str | bool | int | float | list[str | int | float]),
]
Attributes = Annotated[dict[Word, AttributeValue], Field(max_length=MOST_ATTRIBUTES)]
Category = Annotated[list[Word], Field(max_length=20)]


def _number(value: Any) -> Any:
    """False, which some shops' code has for no price, would be a price of 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false; null where there is none")
    return value


Price = Annotated[float, BeforeValidator(_number, json_schema_input_type=float), Field(ge=0, allow_inf_nan=False)]
Stock = Annotated[int, BeforeValidator(_number, json_schema_input_type=int), Field(ge=0, le=2**53)]


def _moment(value: Any) -> str:
    """As items have it; text, or what a Parquet file has for dates."""
    try:
        moment = datetime.fromisoformat(value.isoformat() if isinstance(value, date) else value.strip())
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return zoned.astimezone(UTC).isoformat(timespec="milliseconds")
    except (AttributeError, OverflowError, ValueError):
        raise ValueError("must be an ISO date or time, such as 2026-01-31 or 2026-01-31T12:00:00+01:00") from None


Moment = Annotated[str, BeforeValidator(_moment, json_schema_input_type=str)]


def _decode_path(item_id: str) -> str:
    try:
        return unquote_to_bytes(item_id).decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


PathItemId = Annotated[
    ItemId,
    BeforeValidator(_decode_path),
    Path(description="The shop's own id, percent-encoded (a slash in it as `%2F`).", examples=["mug-17"]),
]


def parse_category(value: Any) -> Any:
    """A string is a path (`Home > Kitchen`) or a JSON list; a list has the path's steps, or the whole path as one.

    What it gives it leaves as it is: fields are validated again where they are changed.

    Raises:
        ValueError: a list of several paths.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parse_json(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list) and any(isinstance(step, str) and ">" in step for step in value):
        raise ValueError("must be one path: a list of its steps, or a string in which > joins them")
    return steps(value) if isinstance(value, str) else value


def parse_attributes(value: Any) -> Any:
    """Without those that are null, of which exports are full."""
    value = few_attributes(parse_json(value) if isinstance(value, str) else value)
    return {name: one for name, one in value.items() if one is not None} if isinstance(value, dict) else value


def few_attributes(value: Any) -> Any:
    """Refuses too many before each is looked at, and answered with an error of its own."""
    if isinstance(value, dict) and len(value) > MOST_ATTRIBUTES:
        raise ValueError(f"has more than {MOST_ATTRIBUTES} attributes")
    return value


def few_fields(value: Any) -> Any:
    """As `few_attributes`, for the fields of a model that takes no others than its own."""
    if isinstance(value, dict) and len(value) > _MOST_FIELDS:
        raise ValueError(f"has more than {_MOST_FIELDS} fields")
    return value


def parse_json(text: str) -> Any:
    """Raises ValueError: it is none, or nested too deep."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


def _decode_base64(value: Any) -> Any:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a picture in base64")
    if value.startswith(("http://", "https://")):
        raise ValueError("is an address, and a picture's bytes in base64 belong here: addresses go to image_urls")
    try:
        return base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value, validate=True)
    except ValueError:
        raise ValueError("is not base64") from None


Base64Picture = Annotated[
    bytes, BeforeValidator(_decode_base64, json_schema_input_type=str), Field(json_schema_extra={"format": "base64"})
]


def sent_once(values: Any) -> Any:
    # A form cannot say whether a field that was sent once is a value or a list of one.
    return values[0] if isinstance(values, list) and len(values) == 1 else values


def own_line_ends(text: Any) -> Any:
    # Whatever was typed: a browser's form sends each end of a line as two characters.
    return text.replace("\r\n", "\n") if isinstance(text, str) else text


def _without_empty(files: Any) -> Any:
    # A browser sends a file field that nobody filled as a part without name or content.
    return [file for file in files if file != ""] if isinstance(files, list) else files


Pictures = Annotated[
    list[UploadFile], BeforeValidator(_without_empty), Field(description="JPEG, PNG or WebP; repeatable.")
]
PictureUrl = Annotated[Text, Field(min_length=1, max_length=2000)]
PictureUrls = Annotated[
    list[PictureUrl],
    Field(
        max_length=100,
        description="Addresses of pictures on the public internet, to fetch and keep; if this service does so.",
    ),
]

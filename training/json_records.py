"""Records of JSON files, one at a time, and their fields. Errors name the file, and the line or the record's number."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import ijson

_DEEPEST = 100  # levels; no record of a known format has more than three
_STEPS = {"start_array": 1, "start_map": 1, "end_array": -1, "end_map": -1}  # into a level, and out of it

_T = TypeVar("_T")


class FormatError(ValueError):
    """A file is not in the expected format. The message names the file, the line or record, and what was expected."""


def json_lines(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Line number, "file, line n" and the object of each line that is not blank."""
    empty = True
    with path.open("rb") as file:  # bytes, so that a line that is not UTF-8 is known by its number
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise FormatError(f"{where}: not UTF-8 (byte {error.start + 1})") from error
            except json.JSONDecodeError as error:
                raise FormatError(f"{where}: not JSON ({error.msg}, column {error.colno})") from error
            except (ValueError, RecursionError) as error:  # an integer of thousands of digits; nested too deep
                raise FormatError(f"{where}: not readable ({error})") from error
            empty = False
            yield number, where, _object(record, where)
    if empty:
        raise FormatError(f"{path}: the file is empty; expected one JSON object a line")


def json_list(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """ "file, record n" and the object of each element of a JSON list, however long the list is."""
    number = 0
    with path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        try:
            for number, record in enumerate(_elements(file), start=1):
                where = f"{path}, record {number}"
                yield where, _object(record, where)
        except ijson.JSONError as error:
            raise FormatError(f"{path}, record {number + 1}: not JSON ({_said(error)})") from error
        except UnicodeDecodeError as error:  # a second half; of a first, without the other, the parser makes a "?"
            raise FormatError(f"{path}, record {number + 1}: a text holds half of a character (a surrogate)") from error
    if not number:
        raise FormatError(f"{path}: the list is empty")


def _elements(file: BinaryIO) -> Iterator[Any]:
    """Elements of a JSON list. As `ijson.items`, whose memory grows with the square of how deep a value is nested."""
    depth, builder = 0, ijson.ObjectBuilder()
    for event, value in ijson.basic_parse(file, use_float=True):
        step = _STEPS.get(event, 0)
        depth += min(step, 0)
        if depth:
            builder.event(event, value)
            if depth == 1 and step <= 0:
                yield builder.value
                builder = ijson.ObjectBuilder()
        elif event not in ("start_array", "end_array"):
            raise ijson.JSONError("the training format is one list, which begins with '['")
        depth += max(step, 0)
        if depth > _DEEPEST:
            raise ijson.JSONError(f"nested more than {_DEEPEST} levels deep")


def _said(error: ijson.JSONError) -> str:
    """The reason and the text around it, in one line; below them the parser draws an arrow."""
    message = error.args[0]
    text = message.decode("utf-8", "replace") if isinstance(message, bytes) else message
    return ", near: ".join(" ".join(line.split()) for line in text.splitlines()[:2] if line.strip())


def _object(record: Any, where: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise FormatError(f"{where}: expected a JSON object, found {kind_of(record)}")
    return record


def field_of(record: dict[str, Any], field: str, kind: type[_T], where: str) -> _T:
    if field not in record:
        raise FormatError(f"{where}: {field} is missing (found {', '.join(record) or 'nothing'})")
    value = record[field]
    if not isinstance(value, kind):
        raise FormatError(f"{where}: {field} must be {_NAMES[kind]}, not {kind_of(value)}")
    if isinstance(value, str):
        refuse_surrogates(value, field, where)
    return value


def refuse_surrogates(value: str, what: str, where: str) -> None:
    """Raises FormatError for half of a character, as JSON may escape it: no tokenizer and no file takes it."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"{where}: {what} holds {value[error.start]!a}, half of a character (a surrogate)") from error


def text_of(record: dict[str, Any], field: str, where: str) -> str:
    value = field_of(record, field, str, where)
    if not value.strip():
        raise FormatError(f"{where}: {field} is empty")
    return value


def id_of(record: dict[str, Any], field: str, where: str) -> str:
    value = record.get(field)
    return str(value) if type(value) is int else text_of(record, field, where)


def new_id(record: dict[str, Any], field: str, seen: dict[str, int], line: int, where: str) -> str:
    """An id that no line before this one has; `seen` are those lines by their ids."""
    value = id_of(record, field, where)
    if value in seen:
        raise FormatError(f"{where}: {field} {value} was on line {seen[value]} already")
    seen[value] = line
    return value


_NAMES: dict[type, str] = {str: "a string", list: "a list", dict: "an object", bool: "a boolean", type(None): "null"}


def kind_of(value: Any) -> str:
    return _NAMES.get(type(value), "a number")

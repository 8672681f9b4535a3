"""Records of JSON files, one at a time, and their fields: whatever is not as it should be is named by file and line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

_RECORD_CHARS = 1 << 20  # no training record may be longer: it bounds what is held while reading one
_CHUNK_CHARS = 4 << 20

_T = TypeVar("_T")


class FormatError(ValueError):
    """A file is not in the expected format. The message names the file, the line and what was expected."""


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
            empty = False
            yield number, where, _object(record, where)
    if empty:
        raise FormatError(f"{path}: the file is empty; expected one JSON object a line")


def json_list(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and object of each element of a JSON list."""
    with path.open(encoding="utf-8-sig") as file:
        reader = _ListReader(path, file)
        reader.expect("[", "'[' (the training format is one JSON list)")
        if reader.peek() == "]":
            raise FormatError(f"{path}: the list is empty")
        while True:
            reader.peek()
            where = reader.where
            yield where, _object(reader.decode(), where)
            if reader.expect(",]", "',' or ']'") == "]":
                break
        if reader.peek():
            reader.fail("there is something after the end of the list")


class _ListReader:
    """Takes a JSON list apart in chunks, since the whole may not fit in memory.

    `raw_decode` needs all of an element, so the buffer is filled up whenever less than the longest permitted record
    is left in it; an element that still does not decode is broken, not merely cut off by the chunk.
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._at = 0
        self._line = 1
        self._ended = False

    @property
    def where(self) -> str:
        return f"{self._path}, line {self._line}"

    def fail(self, problem: str) -> NoReturn:
        raise FormatError(f"{self.where}: {problem}")

    def peek(self) -> str:
        """The next character that is not white space, without taking it; "" at the end of the file."""
        while True:
            self._fill()
            start = self._at
            while self._at < len(self._buffer) and self._buffer[self._at] in " \t\r\n":
                self._at += 1
            self._line += self._buffer.count("\n", start, self._at)
            if self._at < len(self._buffer) or self._ended:
                return self._buffer[self._at : self._at + 1]

    def expect(self, wanted: str, name: str) -> str:
        """Take the next character, which must be one of `wanted`."""
        found = self.peek()
        if not found:
            self.fail(f"the file ends where {name} was expected; is it cut off?")
        if found not in wanted:
            self.fail(f"expected {name}, found {found!r}")
        self._at += 1
        return found

    def decode(self) -> Any:
        """Take the next JSON value. The caller has moved to its first character with `peek`."""
        start = self._at
        try:
            value, self._at = self._decoder.raw_decode(self._buffer, start)
        except json.JSONDecodeError as error:
            self._line += self._buffer.count("\n", start, error.pos)
            self.fail(f"not JSON, or a record of more than {_RECORD_CHARS:,} characters ({error.msg})")
        self._line += self._buffer.count("\n", start, self._at)
        return value

    def _fill(self) -> None:
        while not self._ended and len(self._buffer) - self._at < _RECORD_CHARS:
            try:
                chunk = self._file.read(_CHUNK_CHARS)
            except UnicodeDecodeError as error:
                self.fail(f"not UTF-8, here or later in the file ({error.reason})")
            self._buffer, self._at, self._ended = self._buffer[self._at :] + chunk, 0, not chunk


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
    return value


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

"""A multipart body part by part as it arrives, where Starlette's own parser waits for the end of it all."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.problems import Problem


@dataclass
class Part:
    name: str
    content: bytes | None  # None: it has more bytes than are taken


@dataclass
class _Parts:
    """What the parser has found and nobody has taken yet."""

    longest: int
    done: list[Part] = field(default_factory=list)
    ended: bool = False

    def __post_init__(self) -> None:
        self.on_part_begin()

    def on_part_begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value, self._content, self._overlong = b"", b"", bytearray(), False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if len(self._content) + end - start > self.longest:
            self._overlong = True
            self._content.clear()
        if not self._overlong:
            self._content += data[start:end]

    def on_part_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self.done.append(Part(name, None if self._overlong else bytes(self._content)))

    def on_end(self) -> None:
        self.ended = True


async def parts_of(body: AsyncIterator[bytes], content_type: str, longest: int) -> AsyncIterator[Part]:
    """The parts of a `multipart/form-data` body, each of at most `longest` bytes.

    Raises:
        Problem: `malformed_body`, when it is not multipart or ends too early; the parts before were given.
        ClientDisconnect: the connection ends before the body does.
    """
    _, options = parse_options_header(content_type.encode("latin-1"))
    parts = _Parts(longest)
    try:
        parser = MultipartParser(
            options.get(b"boundary", b""),
            {
                "on_part_begin": parts.on_part_begin,
                "on_header_field": parts.on_header_field,
                "on_header_value": parts.on_header_value,
                "on_header_end": parts.on_header_end,
                "on_part_data": parts.on_part_data,
                "on_part_end": parts.on_part_end,
                "on_end": parts.on_end,
            },
        )
        async for data in body:
            parser.write(data)
            for part in parts.done:
                yield part
            parts.done.clear()
    except FormParserError as error:
        for part in parts.done:  # whole, in the piece that breaks
            yield part
        raise Problem(400, "malformed_body", f"The body is not multipart/form-data: {error}.") from error
    if not parts.ended:
        raise Problem(400, "malformed_body", "The body ends before its last boundary.")

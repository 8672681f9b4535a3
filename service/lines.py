"""A stream that is read line by line, whatever pieces it comes in."""

import codecs
from collections.abc import AsyncIterator


async def lines_of(parts: AsyncIterator[bytes], longest: int) -> AsyncIterator[bytes | None]:
    """The lines of a stream as they arrive, blank ones too; None in place of a line of more than `longest` bytes.

    They end at line feeds alone: what else ends a line of text (U+2028, U+0085) may be in a product's description.
    """
    mark = codecs.BOM_UTF8  # before the first line, as some editors and exports write it
    buffer = bytearray()
    overlong = False
    async for part in parts:
        begin = 0
        while (end := part.find(b"\n", begin)) >= 0:
            buffer += part[begin:end]
            yield None if overlong or len(buffer) > longest else bytes(buffer).removeprefix(mark)
            buffer.clear()
            overlong, begin, mark = False, end + 1, b""
        buffer += part[begin:]
        if len(buffer) > longest:
            overlong = True
            buffer.clear()
    if buffer or overlong:
        yield None if overlong else bytes(buffer).removeprefix(mark)

"""The whole catalogue out of a running index: each item as one moment had it, while writes go on.

An item's payload, vectors and pictures lie in different places. They belong together if the payload is the same after
they were read as it was before: every write makes it another (`version`, `updated_at`), and takes its pictures' files
away only after that.
"""

import asyncio
import base64
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson

from retriever.arrays import Floats
from retriever.index import ItemIndex, Payload
from service.lines import lines_of
from service.media import MediaStore
from service.payload import picture_files

_PAGE = 32  # items read at a time, with all that they hold


@dataclass(frozen=True)
class Origin:
    """Whose export it is."""

    model_id: str
    folder_id: str | None  # of the data folder; None: not known, as to a service from before folders had one


class OtherFolder(ValueError):
    """The export is of another data folder."""


@dataclass(frozen=True)
class Exported:
    """An item, with what was asked for."""

    payload: Payload
    tokens: Floats | None = None  # (T, D)
    pictures: Sequence[bytes | None] | None = None  # JPEG files; None for one that is lost


async def export(index: ItemIndex, media: MediaStore, *, whole: bool) -> AsyncGenerator[Exported]:
    """Every item that is there from beginning to end, once; with its vectors and pictures if `whole`.

    Raises:
        IndexUnavailable: the index does not answer.
        OSError: a picture cannot be read.
    """
    cursor = None
    while True:
        page, cursor = await index.scroll(cursor, _PAGE)
        payloads = dict(page)
        if not whole:
            for payload in payloads.values():
                yield Exported(payload)
        while whole and payloads:
            tokens = await index.tokens(list(payloads))
            pictures = await asyncio.to_thread(_pictures, media, payloads)
            after = await index.get(list(payloads))
            for item_id, payload in payloads.items():
                if after.get(item_id) == payload and item_id in tokens:
                    yield Exported(payload, tokens[item_id], pictures[item_id])
            payloads = {
                item_id: after[item_id]
                for item_id in payloads
                if after.get(item_id, payloads[item_id]) != payloads[item_id]
            }
        if cursor is None:
            return


def _pictures(media: MediaStore, payloads: Mapping[str, Payload]) -> dict[str, list[bytes | None]]:
    def read(name: str) -> bytes | None:
        try:
            return media.path(name).read_bytes()
        except FileNotFoundError:
            return None

    return {item_id: [read(name) for name in picture_files(payload)] for item_id, payload in payloads.items()}


async def to_lines(
    origin: Origin, items: AsyncIterator[Exported], outdated: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """An export as lines of JSON: a head, the items, and a last line without which it is not complete.

    It breaks off when it is `outdated`: the items are another index's by then, and their pictures may be gone.
    """
    yield orjson.dumps({"format": 1, **asdict(origin)}) + b"\n"
    count = 0
    async for item in items:
        if outdated():
            return
        count += 1
        yield await asyncio.to_thread(_line, item)
    yield orjson.dumps({"end": count}) + b"\n"


def _line(item: Exported) -> bytes:
    line: dict[str, Any] = {"item": item.payload}
    if item.tokens is not None:
        tokens = np.ascontiguousarray(item.tokens, dtype="<f4")
        line["tokens"] = {"shape": tokens.shape, "float32": base64.b64encode(tokens.tobytes()).decode()}
    if item.pictures is not None:
        line["pictures"] = [None if one is None else base64.b64encode(one).decode() for one in item.pictures]
    return orjson.dumps(line) + b"\n"


async def from_lines(origin: Origin, parts: AsyncIterator[bytes]) -> AsyncIterator[Exported]:
    """The reverse of `to_lines`, from parts of any size.

    Raises:
        OtherFolder: it is another data folder's.
        ValueError: it is not a complete export of this model's index.
    """
    count, head, ended = 0, False, False
    async for text in lines_of(parts, sys.maxsize):
        assert text is not None  # none is too long
        line = orjson.loads(text)
        if not head:
            told = line.get("folder_id")
            if told and origin.folder_id and told != origin.folder_id:
                raise OtherFolder(f"its data folder is another one ({told}) than this command's ({origin.folder_id})")
            if line.get("model_id") != origin.model_id:
                raise ValueError(f"the service's index is of the model {line.get('model_id')}, not {origin.model_id}")
            head = True
        elif "end" in line:
            ended = line["end"] == count
        else:
            count += 1
            yield _item(line)
    if not ended:
        raise ValueError(f"the service's export broke off after {count} items")


def _item(line: Mapping[str, Any]) -> Exported:
    tokens = pictures = None
    if "tokens" in line:
        numbers = np.frombuffer(base64.b64decode(line["tokens"]["float32"]), dtype="<f4")
        tokens = numbers.reshape(line["tokens"]["shape"]).astype(np.float32)
    if "pictures" in line:
        pictures = [None if one is None else base64.b64decode(one) for one in line["pictures"]]
    return Exported(line["item"], tokens, pictures)

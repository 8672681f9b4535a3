"""A form, part by part, however it arrives. No service needed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.bulk import Sent, items_of
from service.multipart import Part, parts_of
from service.problems import Problem

FORM = 'multipart/form-data; boundary="b"'


def part(name: str, content: str, disposition: str = "Content-Disposition", more: str = "") -> str:
    return f'--b\r\n{more}{disposition}: form-data; name="{name}"\r\n\r\n{content}\r\n'


def read(body: str, size: int, *, longest: int = 100, given: list[Part] | None = None) -> list[Part]:
    """The parts of a body that comes in pieces of this size, into `given` too."""
    content, found = body.encode(), [] if given is None else given

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), size):
            yield content[start : start + size]

    async def main() -> None:
        async for one in parts_of(pieces(), FORM, longest):
            found.append(one)

    asyncio.run(main())
    return found


@pytest.fixture(params=[1, 7, 10_000])
def size(request: pytest.FixtureRequest) -> int:
    size: int = request.param
    return size


def test_parts_are_whole_however_they_arrive(size: int) -> None:
    body = part("item", '{"id": "größe"}', more="Content-Type: application/json\r\n")
    body += part("größe", "a\r\n--c\r\nb", disposition="content-disposition") + part("empty", "") + "--b--\r\n"
    assert read(body, size) == [
        Part("item", '{"id": "größe"}'.encode()),
        Part("größe", b"a\r\n--c\r\nb"),
        Part("empty", b""),
    ]


def test_a_part_that_is_too_long_is_left_out_alone(size: int) -> None:
    body = part("long", "x" * 11) + part("longer", "x" * 50) + part("fits", "x" * 10) + "--b--\r\n"
    found = read(body, size, longest=10)
    assert found == [Part("long", None), Part("longer", None), Part("fits", b"x" * 10)]


def test_a_part_without_a_name_is_not_taken_for_the_one_before(size: int) -> None:
    body = part("item", "a") + "--b\r\nContent-Type: text/plain\r\n\r\nb\r\n--b--\r\n"
    assert read(body, size) == [Part("item", b"a"), Part("", b"b")]


@pytest.mark.parametrize(
    ("rest", "whole", "said"),
    [
        ("", 1, "before its last boundary"),
        ("--b\r\nno header\r\n\r\nx", 2, "not multipart/form-data"),
    ],
)
def test_what_was_whole_before_a_broken_end_is_given(size: int, rest: str, whole: int, said: str) -> None:
    given: list[Part] = []
    with pytest.raises(Problem, match=said) as refused:
        read(part("first", "a") + part("second", "b") + rest, size, given=given)
    assert (refused.value.status, refused.value.code) == (400, "malformed_body")
    assert given == [Part("first", b"a"), Part("second", b"b")][:whole]


def test_of_an_item_that_is_too_long_nothing_is_kept() -> None:
    async def body() -> AsyncIterator[bytes]:
        content = part("item", "a") + part("image", "x" * 11) + part("image", "x") + part("item", "b") + "--b--\r\n"
        yield content.encode()

    async def found() -> list[Sent | None]:
        return [item async for item in items_of(body(), FORM, 10)]

    assert asyncio.run(found()) == [Sent(None), Sent(b"b")]

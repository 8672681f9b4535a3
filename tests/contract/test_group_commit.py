"""Writes that come side by side are made together, and each caller sees its own."""

import asyncio
from collections.abc import Sequence

import pytest

from retriever.index import IndexUnavailable
from retriever.index.group_commit import GroupCommit
from retriever.index.points import Point, make_points
from tests.contract.helpers import DIM, item

pytestmark = pytest.mark.anyio


def point(item_id: str, seed: int = 0) -> Point:
    return make_points([item(item_id, seed)], DIM, "model-a")[0]


class Engine:
    """Keeps what it is given, a batch at a time, and takes no batch that holds a point of `refused`."""

    def __init__(self, refused: Sequence[Point] = ()) -> None:
        self.batches: list[list[Point]] = []
        self.begun = asyncio.Event()
        self._refused = {point.id for point in refused}

    async def write(self, points: Sequence[Point]) -> None:
        self.begun.set()
        await asyncio.sleep(0.01)
        if self._refused & {point.id for point in points}:
            raise IndexUnavailable("no room for it")
        self.batches.append(list(points))


async def test_what_waits_for_a_write_goes_as_one() -> None:
    engine = Engine()
    commits = GroupCommit(engine.write)
    first = asyncio.create_task(commits.write([point("a")]))
    await engine.begun.wait()
    await asyncio.gather(*(commits.write([point(name)]) for name in "bcd"))
    assert first.done()
    assert [len(batch) for batch in engine.batches] == [1, 3]


async def test_the_last_of_one_id_wins() -> None:
    engine = Engine()
    commits = GroupCommit(engine.write)
    newer = point("a", seed=2)
    await asyncio.gather(commits.write([point("a", seed=1), point("b")]), commits.write([newer]))
    assert [one for batch in engine.batches for one in batch if one.id == newer.id] == [newer]


async def test_one_that_fails_does_so_alone() -> None:
    bad = point("bad")
    engine = Engine(refused=[bad])
    commits = GroupCommit(engine.write)
    answers = await asyncio.gather(
        *(commits.write([one]) for one in (point("a"), bad, point("c"))), return_exceptions=True
    )
    assert answers[0] is answers[2] is None
    assert isinstance(answers[1], IndexUnavailable)
    assert {one.id for batch in engine.batches for one in batch} == {point("a").id, point("c").id}
    await commits.write([point("d")])  # and goes on


async def test_a_caller_that_goes_away_takes_nobody_along() -> None:
    engine = Engine()
    commits = GroupCommit(engine.write)
    gone, stays = (asyncio.create_task(commits.write([point(name)])) for name in "ab")
    await engine.begun.wait()
    gone.cancel()
    await stays
    assert gone.cancelled()
    assert {one.id for batch in engine.batches for one in batch} >= {point("b").id}

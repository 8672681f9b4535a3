"""Answers about a whole catalogue are kept until it changes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retriever.index import IndexedItem
from retriever.index.answer_cache import AnswerCache
from retriever.index.edge import EdgeIndex
from retriever.index.edge_process import EngineProcess
from retriever.index.filters import Among, Not, conjoin, parse
from retriever.index.points import point_id
from tests.contract.helpers import DIM, item

pytestmark = pytest.mark.anyio


async def test_an_answer_that_a_write_overtook_is_not_kept() -> None:
    kept, overtaken = AnswerCache(), asyncio.Event()

    async def slow() -> int:
        await overtaken.wait()
        return 1

    async def now() -> int:
        return 2

    first = asyncio.create_task(kept.get("how many?", slow))
    await asyncio.sleep(0)
    kept.forget()
    overtaken.set()
    assert await first == 1  # asked before the write was acknowledged
    assert await kept.get("how many?", now) == 2
    assert await kept.get("how many?", slow) == 2


async def test_what_is_left_beside_an_item_is_counted_once_for_all_who_look_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the page of a product: items like it, but not itself."""
    index = await EdgeIndex.open(tmp_path, DIM, "model-a")
    await index.upsert([IndexedItem(str(n), item(str(n)).tokens, "", {}, {"price": n}) for n in range(4)])
    cheap = parse({"price": {"lt": 3}}, await index.fields())
    others = conjoin(Not(Among((point_id("1"),))), cheap)
    asked = list[str]()
    call = EngineProcess.call

    async def noted(self: EngineProcess, method: Callable[..., Any], *arguments: Any) -> Any:
        asked.append(method.__name__)
        return await call(self, method, *arguments)

    monkeypatch.setattr(EngineProcess, "call", noted)
    for _ in range(2):
        assert await index.count(others) == 2
        assert (await index.facets(["price"], others))["price"].high == 2
    assert asked.count("count") == 1
    assert asked.count("ordered") == 2, "the least and the greatest"
    await index.close()


async def test_only_so_many_answers_are_kept_and_none_to_a_long_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retriever.index.answer_cache._MOST", 2)
    kept, asked = AnswerCache(), []

    async def ask(question: str) -> str:
        async def answer() -> str:
            asked.append(question)
            return question

        return await kept.get(question, answer)

    for question in "ab", "a", "ab", "c", "ab", "a":  # "a" was asked for longest ago when "c" came
        assert await ask(question) == question
    assert asked == ["ab", "a", "c", "a"]
    long = "a" * 20_000  # a thousand of these, each with a megabyte, would be all the memory that there is
    assert [await ask(long) for _ in range(2)] == [long, long]
    assert asked[4:] == [long, long]

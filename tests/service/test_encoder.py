"""The queue before the model: how batches form, who is dropped, who is refused, and that one failure stays alone."""

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retriever import ItemInput, Retriever
from retriever.arrays import Floats
from service.encoder import Encoder
from service.metrics import Metrics
from service.problems import Problem


class Gated:
    """The tiny model behind a gate that the test opens, with a record of every batch."""

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever
        self.gate = threading.Event()
        self.batches: list[tuple[str, list[Any]]] = []

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        self.batches.append(("query", list(texts)))
        assert self.gate.wait(10)
        if "poison" in texts:
            raise RuntimeError("cannot encode this")
        return self.retriever.encode_queries(texts)

    def encode_items(self, items: Sequence[ItemInput]) -> Floats:
        self.batches.append(("item", [item.text for item in items]))
        assert self.gate.wait(10)
        return self.retriever.encode_items(items)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (what it waits for happens in another thread)
            await asyncio.sleep(0.001)


def scenario(
    retriever: Retriever,
    play: Callable[[Encoder, Gated, Metrics], Awaitable[None]],
    *,
    max_batch: int = 4,
    max_queue: int = 16,
    query_cache: int = 100,
) -> None:
    async def main() -> None:
        gated, metrics = Gated(retriever), Metrics()
        encoder = Encoder(
            gated,  # type: ignore[arg-type]
            metrics,
            max_batch=max_batch,
            max_queue=max_queue,
            query_cache=query_cache,
        )
        encoder.start()
        try:
            await play(encoder, gated, metrics)
        finally:
            gated.gate.set()
            await encoder.close()

    asyncio.run(main())


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    return 0.0 if found is None else found


def test_vectors_are_the_models_own(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        gated.gate.set()
        image = Image.new("RGB", (20, 20), "red")
        items = [ItemInput(image, "red mug"), ItemInput(None, "lamp"), ItemInput(image, None)]
        got = await asyncio.gather(*(encoder.encode_query(text) for text in ("red mug", "blue lamp")))
        expected = tiny_retriever.encode_queries(["red mug", "blue lamp"])
        assert np.allclose([query.embedding for query in got], expected, atol=1e-5)
        with encoder.admit(3):
            tokens = await encoder.encode_items(items)
        assert np.allclose(tokens, tiny_retriever.encode_items(items), atol=1e-5)

    scenario(tiny_retriever, play)


def test_a_lone_query_goes_at_once_and_those_that_come_meanwhile_share_a_batch(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        first = asyncio.create_task(encoder.encode_query("a"))
        await until(lambda: len(gated.batches) == 1)
        rest = [asyncio.create_task(encoder.encode_query(text)) for text in "bcdefg"]
        await asyncio.sleep(0)
        gated.gate.set()
        await asyncio.gather(first, *rest)
        assert [texts for _, texts in gated.batches] == [["a"], ["b", "c", "d", "e"], ["f", "g"]]

    scenario(tiny_retriever, play)


def test_queries_and_items_take_turns(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        first = asyncio.create_task(encoder.encode_query("a"))
        await until(lambda: len(gated.batches) == 1)
        items = asyncio.create_task(encoder.encode_items([ItemInput(None, f"item {n}") for n in range(4)]))
        queries = [asyncio.create_task(encoder.encode_query(text)) for text in "bcdef"]
        await asyncio.sleep(0)
        gated.gate.set()
        await asyncio.gather(first, items, *queries)
        assert [kind for kind, _ in gated.batches] == ["query", "item", "query", "item", "query", "query"]

    scenario(tiny_retriever, play, max_batch=2)


def test_who_stays_is_answered_when_all_others_in_turn_have_gone(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        first = asyncio.create_task(encoder.encode_query("a"))
        await until(lambda: len(gated.batches) == 1)
        gone = asyncio.create_task(encoder.encode_items([ItemInput(None, "lamp")]))  # the items' turn
        stays = asyncio.create_task(encoder.encode_query("b"))
        await asyncio.sleep(0)
        gone.cancel()
        gated.gate.set()
        await asyncio.wait_for(asyncio.gather(first, stays), 10)

    scenario(tiny_retriever, play)


def test_who_has_gone_is_not_encoded(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        first = asyncio.create_task(encoder.encode_query("a"))
        await until(lambda: len(gated.batches) == 1)
        gone = [asyncio.create_task(encoder.encode_query(text)) for text in "bc"]
        stays = asyncio.create_task(encoder.encode_query("d"))
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        gated.gate.set()
        await asyncio.gather(first, stays)
        assert [texts for _, texts in gated.batches] == [["a"], ["d"]]
        assert value(metrics, "search_encoder_dropped_total") == 2

    scenario(tiny_retriever, play)


@pytest.mark.parametrize("text", ["a", "poison"])
def test_who_goes_while_the_model_runs_leaves_the_others_their_answer(tiny_retriever: Retriever, text: str) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        gone = asyncio.create_task(encoder.encode_query(text))
        await until(lambda: len(gated.batches) == 1)
        gone.cancel()
        await asyncio.wait([gone])
        gated.gate.set()
        stays = await asyncio.wait_for(encoder.encode_query("b"), 10)
        assert stays.embedding.shape == (16,)

    scenario(tiny_retriever, play)


def test_whoever_waits_when_it_closes_is_cancelled(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        running = asyncio.create_task(encoder.encode_query("a"))
        await until(lambda: len(gated.batches) == 1)
        waiting = asyncio.create_task(encoder.encode_query("b"))
        await asyncio.sleep(0)
        closing = asyncio.create_task(encoder.close())
        await asyncio.sleep(0)
        gated.gate.set()
        await closing
        await asyncio.wait([running, waiting], timeout=10)
        assert running.cancelled()
        assert waiting.cancelled()

    scenario(tiny_retriever, play)


def test_who_fails_or_goes_makes_room_in_the_queue(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        gone = asyncio.create_task(encoder.encode_query("a"))
        await until(lambda: len(gated.batches) == 1)
        gone.cancel()
        await asyncio.wait([gone])
        gated.gate.set()
        with pytest.raises(RuntimeError, match="cannot encode"):
            await encoder.encode_query("poison")
        assert (await encoder.encode_query("b")).embedding.shape == (16,)

    scenario(tiny_retriever, play, max_queue=1)


def test_beyond_its_bound_the_queue_refuses_and_then_takes_again(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        running = [asyncio.create_task(encoder.encode_query(text)) for text in "ab"]
        await until(lambda: len(gated.batches) == 1)
        with encoder.admit(2):
            with pytest.raises(Problem) as caught:
                await encoder.encode_query("c")
            assert (caught.value.status, caught.value.code) == (429, "overloaded")
            assert caught.value.headers is not None
            assert int(caught.value.headers["Retry-After"]) >= 1
        with pytest.raises(Problem), encoder.admit(3):  # an item's pictures count one by one
            pass
        assert value(metrics, "search_encoder_rejected_total") == 4
        gated.gate.set()
        await asyncio.gather(*running)
        assert (await encoder.encode_query("c")).embedding.shape == (16,)

    scenario(tiny_retriever, play, max_queue=4)


@pytest.mark.parametrize(("waiting", "seconds"), [(1, "21"), (15, "60")])
def test_the_slower_the_model_the_later_one_comes_again_but_within_a_minute(
    tiny_retriever: Retriever, monkeypatch: pytest.MonkeyPatch, waiting: int, seconds: str
) -> None:
    clock = itertools.count(step=100.0)
    monkeypatch.setattr("service.encoder.perf_counter", lambda: next(clock))

    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        gated.gate.set()
        await encoder.encode_query("a")  # in a hundred seconds; the mean of all is a fifth of that by now
        with encoder.admit(waiting), pytest.raises(Problem) as caught, encoder.admit(16):
            pass
        assert caught.value.headers == {"Retry-After": seconds}

    scenario(tiny_retriever, play)


def test_a_probe_is_answered_even_when_the_queue_is_full(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        running = [asyncio.create_task(encoder.encode_query(text)) for text in "abcd"]
        await until(lambda: len(gated.batches) == 1)
        probe = asyncio.create_task(encoder.check())
        await asyncio.sleep(0)
        gated.gate.set()
        await asyncio.gather(probe, *running)
        assert gated.batches[1][1][0] == "ready?"

    scenario(tiny_retriever, play, max_queue=4, max_batch=2)


def test_a_probe_that_hangs_up_leaves_the_others_their_answer(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        gone, stays = asyncio.create_task(encoder.check()), asyncio.create_task(encoder.check())
        await until(lambda: len(gated.batches) == 1)
        gone.cancel()
        await asyncio.wait([gone])
        gated.gate.set()
        await asyncio.wait_for(stays, 10)
        assert len(gated.batches) == 1, "they share a run"

    scenario(tiny_retriever, play)


def test_a_probe_that_failed_holds_for_no_other(tiny_retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(texts: Sequence[str]) -> Floats:
        raise RuntimeError("out of memory")

    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        monkeypatch.setattr(gated, "encode_queries", fail)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="out of memory"):
                await encoder.check()

    scenario(tiny_retriever, play)


def test_a_model_that_hangs_is_not_waited_for(tiny_retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def soon(seconds: float) -> asyncio.Timeout:
        given.append(seconds)
        return asyncio.timeout_at(asyncio.get_running_loop().time() + 0.01)

    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        with monkeypatch.context() as changed:
            changed.setattr(asyncio, "timeout", soon)
            with pytest.raises(TimeoutError):
                await encoder.check()
        assert given == [10]

    scenario(tiny_retriever, play)


def test_one_bad_input_fails_alone(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        first = asyncio.create_task(encoder.encode_query("a"))
        await until(lambda: len(gated.batches) == 1)
        rest = [asyncio.create_task(encoder.encode_query(text)) for text in ("b", "poison", "c")]
        await asyncio.sleep(0)
        gated.gate.set()
        good, bad, also_good = await asyncio.gather(*rest, return_exceptions=True)
        await first
        assert isinstance(bad, RuntimeError)
        assert not isinstance(good, BaseException)
        assert not isinstance(also_good, BaseException)
        assert (await encoder.encode_query("d")).embedding.shape == (16,), "the encoder goes on"

    scenario(tiny_retriever, play)


def test_a_query_asked_again_costs_nothing_until_the_cache_forgets_it(tiny_retriever: Retriever) -> None:
    async def play(encoder: Encoder, gated: Gated, metrics: Metrics) -> None:
        gated.gate.set()
        for text in ("a", "b", "a", "c", "a", "b"):  # "b" is the least recently used when "c" comes
            await encoder.encode_query(text)
        assert [texts for _, texts in gated.batches] == [["a"], ["b"], ["c"], ["b"]]
        assert value(metrics, "search_query_cache_total", result="hit") == 2

    scenario(tiny_retriever, play, query_cache=2)

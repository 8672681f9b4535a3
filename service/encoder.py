"""The way to the model: a bounded queue, batches, and one thread that runs the model.

Requests never touch the model. They leave inputs in a queue; whenever the model is free it takes what waits, at most
`max_batch` of one kind, and never waits for a batch to fill: under light load a query runs alone and at once, under
heavy load batches form by themselves (as in infinity's BatchHandler). Inputs whose client has gone are dropped before
they cost anything, and beyond `max_queue` new ones are refused (as in text-embeddings-inference), one permit an input,
so a request with eight pictures counts eight times.
"""

import asyncio
import contextlib
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, BinaryIO, Literal, TypeAlias, TypeVar

import numpy as np

from retriever import ItemInput, Retriever
from retriever.arrays import Floats
from service.metrics import Metrics, tracer
from service.problems import Problem

T = TypeVar("T")
Kind: TypeAlias = Literal["query", "item"]

CHECK_HOLDS = 1.0  # seconds
_BUSY_SECONDS = 0.2  # before what found the queue full is tried again


@dataclass(frozen=True)
class EncodedQuery:
    embedding: Floats  # (D,)
    queue_seconds: float = 0.0
    encode_seconds: float = 0.0


@dataclass
class _Entry:
    value: str | ItemInput
    done: asyncio.Future[Floats]
    queued_at: float = field(default_factory=perf_counter)
    queue_seconds: float = 0.0
    encode_seconds: float = 0.0


class Encoder:
    """Queries and items → vectors. Starts with `start`, inside a running event loop; ends with `close`."""

    def __init__(
        self, retriever: Retriever, metrics: Metrics, *, max_batch: int, max_queue: int, query_cache: int
    ) -> None:
        self.retriever = retriever
        self._metrics = metrics
        self._max_batch, self._max_queue, self._cache_size = max_batch, max_queue, query_cache
        self._waiting: dict[Kind, deque[_Entry]] = {"query": deque(), "item": deque()}
        metrics.queue_limit.set(max_queue)
        self._admitted = 0
        self._last: Kind = "item"
        self._cache: OrderedDict[str, Floats] = OrderedDict()
        self._seconds_per_input = 0.05  # running mean, for Retry-After
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._runner: asyncio.Task[None] | None = None
        self._check: asyncio.Task[None] | None = None
        self._checked_at = -math.inf

    def start(self) -> None:
        self._runner = asyncio.create_task(self._run(), name="encoder")

    async def close(self) -> None:
        """Stops after the batch that is running; whoever waits, for that one too, is cancelled."""
        if self._runner is not None:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
        for waiting in self._waiting.values():
            for entry in waiting:
                entry.done.cancel()
            waiting.clear()
        await asyncio.to_thread(self._thread.shutdown)

    @contextlib.contextmanager
    def admit(self, inputs: int) -> Iterator[None]:
        """Holds room for `inputs` in the queue; taken before a picture is decoded, so that a refusal costs nothing.

        Raises:
            Problem: 429 with `Retry-After`, when they would not fit.
        """
        if self._admitted + inputs > self._max_queue:
            self._metrics.rejected.inc(inputs)
            seconds = min(60, max(1, math.ceil(self._admitted * self._seconds_per_input)))
            raise Problem(
                429,
                "overloaded",
                f"The model has {self._admitted} inputs to work through; try again in {seconds} s.",
                retry_after=seconds,
            )
        self._admitted += inputs
        try:
            yield
        finally:
            self._admitted -= inputs

    async def encode_query(self, text: str) -> EncodedQuery:
        """Keywords → a unit vector `(D,)`, from the cache where it was asked before.

        Raises:
            Problem: 429, as `admit`.
        """
        cached = self._cache.get(text)
        self._metrics.cache.labels("hit" if cached is not None else "miss").inc()
        if cached is not None:
            self._cache.move_to_end(text)
            return EncodedQuery(cached)
        with self.admit(1), tracer.start_as_current_span("encode query"):  # waiting included
            entry = self._submit("query", text)
            embedding = await entry.done
        if self._cache_size:
            self._cache[text] = embedding
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        return EncodedQuery(embedding, entry.queue_seconds, entry.encode_seconds)

    async def encode_items(self, items: Sequence[ItemInput]) -> list[Floats]:
        """Items → one `(Q, D)` each. The caller holds `admit(len(items))`."""
        with tracer.start_as_current_span("encode items"):
            entries = [self._submit("item", item) for item in items]
            return list(await asyncio.gather(*(entry.done for entry in entries)))

    async def match(self, query: str, items: Sequence[ItemInput]) -> list[float]:
        """How likely each item belongs to a query, read together with it. Batches take turns with the queue's own.

        Raises:
            Problem: 429, as `admit`.
        """
        found: list[float] = []
        loop = asyncio.get_running_loop()
        for start in range(0, len(items), self._max_batch):
            batch = items[start : start + self._max_batch]
            with self.admit(len(batch)):
                self._metrics.batch_size.labels("match").observe(len(batch))
                logits = await loop.run_in_executor(self._thread, self.retriever.match, [query] * len(batch), batch)
            found += (1 / (1 + np.exp(-logits.astype(np.float64)))).tolist()
        return found

    async def check(self) -> None:
        """Runs the model once, ahead of the queue and past its bound: a busy service is a healthy one.

        Whoever asks at the same time shares one run, and one that went well holds for a second: probes need no key, and
        must not keep the model from its work.

        Raises:
            TimeoutError: no answer in ten seconds.
            Exception: whatever the model raises.
        """
        if perf_counter() - self._checked_at < CHECK_HOLDS:
            return
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._run_check(), name="readiness")
        await asyncio.shield(self._check)

    async def _run_check(self) -> None:
        entry = self._submit("query", "ready?", first=True)
        async with asyncio.timeout(10):
            await entry.done
        self._checked_at = perf_counter()

    def _submit(self, kind: Kind, value: str | ItemInput, *, first: bool = False) -> _Entry:
        entry = _Entry(value, asyncio.get_running_loop().create_future())
        if first:
            self._waiting[kind].appendleft(entry)
        else:
            self._waiting[kind].append(entry)
        self._count_waiting()
        self._arrived.set()
        return entry

    def _count_waiting(self) -> None:
        self._metrics.queue_depth.set(sum(len(waiting) for waiting in self._waiting.values()))

    async def _run(self) -> None:
        while True:
            kind, batch = self._take()
            if batch:
                try:
                    await self._encode(kind, batch)
                except asyncio.CancelledError:  # it closes, and nobody else tells those who wait for this batch
                    for entry in batch:
                        entry.done.cancel()
                    raise
            elif not any(self._waiting.values()):  # a batch is empty too where all who waited for it have gone
                self._arrived.clear()
                await self._arrived.wait()

    def _take(self) -> tuple[Kind, list[_Entry]]:
        """The next batch: shoppers' queries before items, but in turn while both wait, so that neither starves."""
        kind: Kind = "query" if self._last == "item" or not self._waiting["item"] else "item"
        if not self._waiting[kind]:
            kind = "item" if kind == "query" else "query"
        waiting = self._waiting[kind]
        batch: list[_Entry] = []
        while waiting and len(batch) < self._max_batch:
            entry = waiting.popleft()
            if entry.done.done():  # cancelled: its client has gone
                self._metrics.dropped.inc()
            else:
                batch.append(entry)
        self._count_waiting()
        self._last = kind
        return kind, batch

    async def _encode(self, kind: Kind, batch: list[_Entry]) -> None:
        started = perf_counter()
        self._metrics.batch_size.labels(kind).observe(len(batch))
        try:
            values = [entry.value for entry in batch]
            vectors = await asyncio.get_running_loop().run_in_executor(self._thread, self._forward, kind, values)
        except Exception as error:
            if len(batch) > 1:  # one bad input must not take its neighbours with it
                for entry in batch:
                    await self._encode(kind, [entry])
            elif not batch[0].done.done():
                batch[0].done.set_exception(error)
            return
        seconds = perf_counter() - started
        self._seconds_per_input += 0.2 * (seconds / len(batch) - self._seconds_per_input)
        for entry, vector in zip(batch, vectors, strict=True):
            entry.queue_seconds, entry.encode_seconds = started - entry.queued_at, seconds
            self._metrics.stage_seconds.labels("queue").observe(entry.queue_seconds)
            self._metrics.stage_seconds.labels("encode").observe(entry.encode_seconds)
            if not entry.done.done():
                entry.done.set_result(vector)

    def _forward(self, kind: Kind, values: list[str | ItemInput]) -> Floats:
        """The model itself, in its thread: (B, D) for queries, (B, Q, D) for items."""
        encode: Callable[[Any], Floats] = (
            self.retriever.encode_queries if kind == "query" else self.retriever.encode_items
        )
        return encode(values)


async def when_free(work: Callable[[], Awaitable[T]], files: Sequence[BinaryIO]) -> T:
    """Waits where a single request is refused, for the model's queue is full: shoppers' queries come first.

    Args:
        files: what `work` reads; they are read from their beginning each time.
    """
    while True:
        try:
            return await work()
        except Problem as problem:
            if problem.code != "overloaded":
                raise
            await asyncio.sleep(_BUSY_SECONDS)
            for file in files:
                file.seek(0)

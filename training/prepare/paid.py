"""What the two paid steps share: a question, a dry run that prices it, and a run with a bar that says what it costs."""

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from tqdm import tqdm

from training.prepare.answers import Answers
from training.prepare.endpoint import Endpoint, bounded
from training.prepare.settings import EndpointSettings, Price

ENOUGH = 20  # answers whose mean is a better estimate than ours

_Row = TypeVar("_Row")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Estimate:
    """What is still to be asked of a model. Tokens are an estimate, or the mean of the answers there are."""

    step: str
    model: str
    requests: int
    answered: int
    tokens_in: int
    tokens_out: int
    price: Price | None
    measured: bool

    def __str__(self) -> str:
        basis = "the mean of the answers so far" if self.measured else "a rule of thumb"
        told = (
            f"{self.step}: {self.requests:,} requests to {self.model} ({self.answered:,} more are answered already), "
            f"about {self.tokens_in:,} tokens in and {self.tokens_out:,} out (by {basis})"
        )
        if self.price is None:
            return f"{told}; set PREPARE_{self.step.upper()}_PRICE for what that costs"
        cost = (self.tokens_in * self.price[0] + self.tokens_out * self.price[1]) / 1e6
        return f"{told}: {cost:,.2f} at {self.price[0]:g} and {self.price[1]:g} a million"


def estimate(
    step: str, model: str, price: Price | None, questions: Iterator[tuple[str, int, int]], answers: Answers
) -> Estimate:
    """Price questions, each a key with what we expect it to take in and out; equal ones are asked once."""
    asked: set[bytes] = set()
    answered = tokens_in = tokens_out = 0
    for key, expected_in, expected_out in questions:
        digest = bytes.fromhex(key[:32])
        if answers.get(key) is not None:
            answered += 1
        elif digest not in asked:
            asked.add(digest)
            tokens_in, tokens_out = tokens_in + expected_in, tokens_out + expected_out
    count, mean_in, mean_out = answers.mean_tokens(model)
    if measured := count >= ENOUGH:
        tokens_in, tokens_out = math.ceil(len(asked) * mean_in), math.ceil(len(asked) * mean_out)
    return Estimate(step, model, len(asked), answered, tokens_in, tokens_out, price, measured)


def run(
    step: str,
    rows: Iterator[_Row],
    total: int,
    settings: EndpointSettings,
    answers: Answers,
    work: Callable[[Endpoint, _Row], Awaitable[_Result]],
    limit: int | None = None,
) -> Iterator[_Result]:
    """Ask about every row; results as they come, with a bar of rate, tokens and time left.

    Raises:
        EndpointError: no more can be asked.
    """
    total = total if limit is None else min(total, limit)
    with asyncio.Runner() as runner, tqdm(total=total, desc=step, unit="row") as progress:
        endpoint = runner.run(_opened(settings, answers))
        results = bounded(itertools.islice(rows, limit), lambda row: work(endpoint, row), settings.concurrency)
        try:
            while True:
                try:
                    result: Any = runner.run(_next(results))
                except StopAsyncIteration:
                    return
                usage = endpoint.usage
                progress.set_postfix_str(f"{usage.tokens_in:,} tokens in, {usage.tokens_out:,} out", refresh=False)
                progress.update()
                yield result
        finally:
            runner.run(_closed(endpoint, results))


async def _opened(settings: EndpointSettings, answers: Answers) -> Endpoint:
    return Endpoint(settings, answers)


async def _next(results: Any) -> Any:
    return await anext(results)


async def _closed(endpoint: Endpoint, results: Any) -> None:
    await results.aclose()
    await endpoint.close()

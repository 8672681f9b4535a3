"""One question to a model behind an OpenAI-compatible endpoint, asked until it is answered or refused.

Retries are ours and not the client's own, because a limit on the rate concerns all that is under way: when one request
is told to wait, every other one waits with it.
"""

import asyncio
import email.utils
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import openai
from openai import AsyncOpenAI

from training.prepare.answers import Answer, Answers
from training.prepare.settings import EndpointSettings

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds
_HOPELESS = 5  # refused requests without a single answer that mean that the request itself is wrong
_REFUSALS = ("inspection", "content_filter", "content_policy", "moderation", "safety", "inappropriate", "sensitive")

_Row = TypeVar("_Row")
_Result = TypeVar("_Result")


class EndpointError(RuntimeError):
    """No more can be asked: a wrong key or model, an empty account, or an endpoint that does not come back."""


@dataclass
class Usage:
    """What a run has cost so far."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


class Endpoint:
    """Raises EndpointError where the settings cannot work at all."""

    def __init__(self, settings: EndpointSettings, answers: Answers) -> None:
        self.settings, self.answers, self.usage = settings, answers, Usage()
        self._client = AsyncOpenAI(
            base_url=settings.base_url,
            # Local servers want none, but the client does.
            api_key=settings.api_key.get_secret_value() if settings.api_key else "none",
            timeout=settings.timeout,
            max_retries=0,
        )
        self._resume_at = 0.0  # until then nobody asks
        self._under_way: dict[str, asyncio.Future[Answer]] = {}
        self._rejected = 0

    async def close(self) -> None:
        await self._client.close()

    async def ask(
        self, key: str, model: str, messages: Callable[[], Sequence[Any]], extra: dict[str, Any] | None = None
    ) -> Answer:
        """The answer of this key: out of the file, of an equal question under way, or of the model.

        Args:
            messages: made only if they are sent: they may hold a picture.

        Raises:
            EndpointError: see there.
        """
        if (known := self.answers.get(key)) is not None:
            return known
        if key in self._under_way:
            return await asyncio.shield(self._under_way[key])
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            answer, durable = await self._answer(model, messages(), extra or {})
            if durable:
                self.answers.put(key, model, answer)
            future.set_result(answer)
            return answer
        except BaseException as error:
            future.set_exception(error if isinstance(error, Exception) else EndpointError("stopped"))
            future.exception()  # nobody else may be waiting
            raise
        finally:
            del self._under_way[key]

    async def _answer(self, model: str, messages: Sequence[Any], extra: dict[str, Any]) -> tuple[Answer, bool]:
        for attempt in range(self.settings.retries + 1):
            await self._turn()
            asked_to_wait: float | None = None
            try:
                completion = await self._client.chat.completions.create(
                    model=model, messages=list(messages), extra_body=extra or None
                )
                return self._read(completion)
            except openai.BadRequestError as error:
                return self._refusal(error)
            except openai.RateLimitError as error:
                if error.code in ("insufficient_quota", "Arrearage"):
                    raise EndpointError(f"the account is used up: {error.message}") from error
                asked_to_wait, problem = _retry_after(error.response.headers), error
            except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
                raise EndpointError(f"{self.settings.base_url} refuses {model}: {error.message}") from error
            except openai.APIStatusError as error:
                if error.status_code < 500 and error.status_code not in (408, 409):
                    return self._refusal(error)
                asked_to_wait, problem = _retry_after(error.response.headers), error  # type: ignore[assignment]
            except (openai.APIConnectionError, openai.APIResponseValidationError, ValueError) as error:
                problem = error  # type: ignore[assignment]  # cut off, too slow, or an answer that is no JSON
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0)
            if asked_to_wait is not None:
                # What was refused together should not come back together.
                pause = asked_to_wait + random.uniform(0.0, 0.25 * min(asked_to_wait, 4.0))
            if isinstance(problem, openai.RateLimitError):
                self._resume_at = max(self._resume_at, time.monotonic() + pause)
            elif attempt < self.settings.retries:
                await asyncio.sleep(pause)
        raise EndpointError(
            f"{self.settings.base_url} gave no answer in {self.settings.retries + 1} tries ({problem}); what was "
            "answered is kept: run the same command again to go on"
        ) from problem

    async def _turn(self) -> None:
        """Wait until the latest time that the server named to any request, even one that it names meanwhile."""
        wait = self._resume_at - time.monotonic()
        while wait > 0:
            await asyncio.sleep(wait)
            wait = self._resume_at - time.monotonic()

    def _read(self, completion: Any) -> tuple[Answer, bool]:
        choices = getattr(completion, "choices", None)
        if not choices:
            raise ValueError("the answer has no choices")
        usage = completion.usage
        tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        self.usage.requests += 1
        self.usage.tokens_in += tokens[0]
        self.usage.tokens_out += tokens[1]
        message = choices[0].message
        if choices[0].finish_reason == "content_filter" or getattr(message, "refusal", None):
            return Answer(getattr(message, "refusal", None) or "content_filter", True, *tokens), True
        return Answer(message.content or "", False, *tokens), True

    def _refusal(self, error: openai.APIStatusError) -> tuple[Answer, bool]:
        """A request that is refused for its content stays refused; for any other reason it can be asked again later."""
        said = f"{error.code or ''} {error.message}"
        because_of_content = any(word in said.lower() for word in _REFUSALS)
        if not because_of_content and not self.usage.requests:
            self._rejected += 1
            if self._rejected >= _HOPELESS:
                raise EndpointError(f"{self.settings.base_url} accepts no request: {said}") from error
        return Answer(said.strip(), refused=True), because_of_content


def _retry_after(headers: Any) -> float | None:
    """Seconds that a server asks for (RFC 9110 §10.2.3: a number or a date); None where it names none."""
    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        date = email.utils.parsedate_tz(value)
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None


async def bounded(
    rows: Iterable[_Row], work: Callable[[_Row], Awaitable[_Result]], at_once: int
) -> AsyncIterator[_Result]:
    """Results as they come, with `at_once` rows in the works and no more rows read than that.

    The first error ends it; what is still under way is cancelled.
    """
    running: set[asyncio.Future[_Result]] = set()
    ended: set[asyncio.Future[_Result]] = set()
    try:
        for row in rows:
            running.add(asyncio.ensure_future(work(row)))
            if len(running) >= at_once:
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                while ended:
                    yield ended.pop().result()
        while running:
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            while ended:
                yield ended.pop().result()
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, *ended, return_exceptions=True)

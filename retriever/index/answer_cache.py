"""Answers about a whole catalogue, kept until it changes: how many items a filter lets through, what values they have.

Shoppers ask with few filters, those of the shop's pages, and an engine visits every item that one lets through.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

_MOST = 1000  # answers
_LONGEST = 10_000  # characters of a question; what is longer than shops' pages ask would take the memory of many


class AnswerCache:
    """The latest answers, by question. Used in the event loop alone."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()

    async def get(self, question: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer that is kept, or that of `ask`, which is kept then. Callers leave it as it is."""
        if len(repr(question)) > _LONGEST:
            return await ask()
        # What is forgotten while `ask` is under way is another dictionary's: an old answer is never kept for a new one.
        answers = self._answers
        if question in answers:
            answers.move_to_end(question)
            found: T = answers[question]
            return found
        answer = answers[question] = await ask()
        if len(answers) > _MOST:
            answers.popitem(last=False)
        return answer

    def forget(self) -> None:
        """The catalogue has changed. Call it after the change and before whoever made it is told."""
        self._answers = OrderedDict()

"""What the catalogue's words are good for beside ranking: correcting queries, and suggestions."""

import re
from collections.abc import Mapping
from typing import Any

from service.suggest import Suggester, Suggestion
from service.vocabulary import Vocabulary

_CODE = re.compile(r"\d")  # article numbers and sizes are values too, and no suggestions
_LONGEST_VALUE = 40


class Lexicon:
    """Kept in memory, for the event loop alone: learned from every stored item at the start, and from writes after."""

    def __init__(self) -> None:
        self.words = Vocabulary()
        self.suggester = Suggester()

    def __len__(self) -> int:
        """Words and phrases."""
        return len(self.words) + len(self.suggester)

    def learn(self, payload: Mapping[str, Any]) -> None:
        """Takes in a stored item."""
        self.suggester.add(_phrases(payload))
        for text in (payload["title"], payload["description"], *payload["category"], *_values(payload)):
            self.words.learn(text)

    def forget(self, payload: Mapping[str, Any]) -> None:
        """Takes an item out of the suggestions. Its words stay known: they are no mistakes."""
        self.suggester.remove(_phrases(payload))


def _values(payload: Mapping[str, Any]) -> list[str]:
    values = []
    for value in payload["attributes"].values():
        values += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
    return values


def _phrases(payload: Mapping[str, Any]) -> list[Suggestion]:
    values = {one for one in _values(payload) if len(one) <= _LONGEST_VALUE and not _CODE.search(one)}
    return [
        *([Suggestion(payload["title"], "title")] if payload["title"] else []),
        *(Suggestion(step, "category") for step in payload["category"]),
        *(Suggestion(value, "attribute") for value in values),
    ]

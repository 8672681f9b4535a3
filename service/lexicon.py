"""What the catalogue's words are good for beside ranking: correcting queries, and suggestions."""

import re
from collections.abc import Mapping
from typing import Any

from service.suggest import Suggester, Suggestion
from service.vocabulary import Vocabulary, folded

_CODE = re.compile(r"\d")  # article numbers and sizes are values too, and no suggestions
_LONGEST_VALUE = 40
_SAY_NOTHING = {"yes", "no", "true", "false", "none", "na", "n/a", "nil", "other", "others"}  # without their field
# Of one item. It may have 200 lists of 200 values, and other requests wait while it is learned from.
_MOST_VALUES = 200
_LEARNED = 65_536  # characters


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
        self.words.learn(*_texts(payload))

    def searched(self, query: str) -> None:
        """Remembers a query to suggest, if all of its words are the catalogue's: nobody else's words, nor names."""
        if self.words.is_its_own(query):
            self.suggester.searched(query)

    def forget(self, payload: Mapping[str, Any]) -> None:
        """Takes back what `learn` counted."""
        self.suggester.remove(_phrases(payload))
        self.words.forget(*_texts(payload))


def _texts(payload: Mapping[str, Any]) -> tuple[str, str]:
    """What names an item, and what else is said of it."""
    names = " ".join([payload["title"], *payload["category"], *_values(payload)])[:_LEARNED]
    return names, payload["description"][: _LEARNED - len(names)]


def _values(payload: Mapping[str, Any]) -> list[str]:
    values = []
    for value in payload["attributes"].values():
        values += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
    return values


def _phrases(payload: Mapping[str, Any]) -> list[Suggestion]:
    told = [one for one in _values(payload) if len(one) <= _LONGEST_VALUE and not _CODE.search(one)]
    told = [one for one in told if folded(one.strip()) not in _SAY_NOTHING]
    values = dict.fromkeys(told[:_MOST_VALUES])
    return [
        *([Suggestion(payload["title"], "title")] if payload["title"] else []),
        *(Suggestion(step, "category") for step in payload["category"]),
        *(Suggestion(value, "attribute") for value in values),
    ]

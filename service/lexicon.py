"""What the catalogue's words are good for beside ranking: correcting and completing queries, and suggestions."""

import re
from collections.abc import Mapping
from typing import Any

from retriever.index.fields import fold_phrase
from service.suggest import NumberSuggester, Suggester, Suggestion
from service.vocabulary import Vocabulary, folded

_DIGIT = re.compile(r"\d")
_LONGEST_VALUE = 40
_SHORTEST_NUMBER = 5  # characters: "2026" and "XL 42" are no article numbers
_BEGUN_NUMBER = 3  # characters, a digit among them, from which on one is suggested and completed
_SAY_NOTHING = {"yes", "no", "true", "false", "none", "na", "n/a", "nil", "other", "others"}  # without their field
_LISTED = re.compile(r",|\sand\s", re.IGNORECASE)  # several values in one, which nobody types: "Men, Women"
# Of one item. It may have 200 lists of 200 values, and other requests wait while it is learned from.
_MOST_VALUES = 200
_LEARNED = 65_536  # characters


class Lexicon:
    """Kept in memory, for the event loop alone: learned from every stored item at the start, and from writes after."""

    def __init__(self) -> None:
        self.words = Vocabulary()
        self.suggester = Suggester()
        self._synonyms = ""  # words that the rules in force know, in `words`, too
        self._numbers = NumberSuggester()  # and sizes: nobody wants them for a letter that begins them

    def __len__(self) -> int:
        """Words and phrases."""
        return len(self.words) + len(self.suggester) + len(self._numbers)

    def learn(self, payload: Mapping[str, Any]) -> None:
        """Takes in a stored item."""
        self.suggester.add(_phrases(payload))
        self._numbers.add(_numbers(payload))
        self.words.learn(*_texts(payload))

    def use_synonyms(self, words: str) -> None:
        """Knows these words in place of the synonyms before. Here, for several searchers share what is known."""
        if words != self._synonyms:
            self.words.forget(self._synonyms)
            self.words.learn(words)
            self._synonyms = words

    def suggest(self, typed: str, limit: int) -> list[Suggestion]:
        """What a shopper may be about to type; where nothing begins so, for what is corrected."""
        found = self.suggester.suggest(typed, limit)
        if _begins_number(typed.strip()):
            shown = {fold_phrase(one.text) for one in found}  # as titles
            found += [one for one in self._numbers.suggest(typed, limit) if fold_phrase(one.text) not in shown]
        if not found and (meant := self.words.correct(typed)) != typed:
            found = self.suggester.suggest(meant, limit)
        return found[:limit]

    def complete(self, query: str) -> str:
        """The query with its last word, still being typed, whole: as the one article number that begins so, or a word,
        of phrases that have it after the word before if there are any.

        The query as a whole may be the beginning of an article number of several words, too.
        """
        last = query.rpartition(" ")[2]
        for begun in (query, last):
            whole = self._numbers.only(begun) if _begins_number(begun) else None
            if whole and (begun == query or " " not in whole):
                return query.removesuffix(begun) + whole
        return self.words.complete(query, self.suggester.next_word)

    def searched(self, query: str) -> None:
        """Remembers a query to suggest, if all of its words are the catalogue's: nobody else's words, nor names."""
        if self.words.is_its_own(query):
            self.suggester.searched(query)

    def forget(self, payload: Mapping[str, Any]) -> None:
        """Takes back what `learn` counted."""
        self.suggester.remove(_phrases(payload))
        self._numbers.remove(_numbers(payload))
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
    told = [one for one in _values(payload) if len(one) <= _LONGEST_VALUE and not _DIGIT.search(one)]
    told = [one for one in told if folded(one.strip()) not in _SAY_NOTHING and not _LISTED.search(one)]
    values = dict.fromkeys(told[:_MOST_VALUES])
    return [
        *([Suggestion(payload["title"], "title")] if payload["title"] else []),
        *(Suggestion(step, "category") for step in payload["category"]),
        *(Suggestion(value, "attribute") for value in values),
    ]


def _numbers(payload: Mapping[str, Any]) -> list[Suggestion]:
    """Values with a digit, and such words of the title."""
    told = [" ".join(one.split()) for one in _values(payload)[:_MOST_VALUES] if len(one) <= _LONGEST_VALUE]
    told += [word.strip("()[],.;:") for word in payload["title"].split()]
    numbers = (one for one in told if len(one) >= _SHORTEST_NUMBER and _DIGIT.search(one))
    return [Suggestion(one, "attribute") for one in dict.fromkeys(numbers)]


def _begins_number(typed: str) -> bool:
    return len(typed) >= _BEGUN_NUMBER and _DIGIT.search(typed) is not None

"""Suggestions while one types: titles, categories, brands and other attribute values, and what others searched for.

Every phrase is kept once for each of its words, from that word on, in one sorted list. So all phrases with a word that
begins with what was typed are neighbours, found by two bisections.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from sortedcontainers import SortedSet

from retriever.index.fields import fold, fold_phrase

Kind = Literal["title", "category", "attribute", "query"]

_LONGEST = 80  # characters; a longer phrase is no suggestion
_SCANNED = 2000  # phrases weighed for one letter that begins a great many
_QUERIES = 20_000  # past queries kept
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WEIGHT: dict[Kind, float] = {"query": 2.0, "category": 1.5, "attribute": 1.0, "title": 0.5}
_END = chr(0x10FFFF)
_MARKS = ".,;:!?)]"  # behind a word
_ENDING = re.compile(r"(?<=..)(['’]?s['’]?|['’])$")  # of "men's", "mens", "girls'"
_ENDS = ("", ",", "s", "'s", "’s")
_CONNECTING = frozenset(["and", "for", "from", "in", "of", "on", "the", "to", "with"])


@dataclass(frozen=True)
class Suggestion:
    text: str
    kind: Kind


class Suggester:
    """Phrases counted by how many items have them or how often they were searched; not thread-safe."""

    def __init__(self) -> None:
        self._entries: dict[str, Suggestion] = {}  # folded phrase → as it is shown
        self._items: Counter[str] = Counter()  # folded phrase → items that have it
        self._queries: Counter[str] = Counter()  # folded phrase → how often it was searched
        self._starts: SortedSet = SortedSet()  # (phrase from one of its words on, whole phrase), folded

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, phrase: str) -> bool:
        """Whether an item has this phrase as its title, a category or an attribute, whatever the letter case."""
        return fold_phrase(phrase) in self._items

    def add(self, phrases: Iterable[Suggestion]) -> None:
        """Counts phrases of an item."""
        for phrase in phrases:
            text = " ".join(phrase.text.split())
            folded = fold_phrase(text)
            if not 1 < len(folded) <= _LONGEST:
                continue
            if not self._items[folded]:
                self._show(folded, Suggestion(text, phrase.kind))
            self._items[folded] += 1

    def remove(self, phrases: Iterable[Suggestion]) -> None:
        """Takes back what `add` counted; a phrase that no item has any more is gone, or a query if it is one."""
        for phrase in phrases:
            folded = fold_phrase(phrase.text)
            if self._items[folded] > 1:
                self._items[folded] -= 1
            elif self._items.pop(folded, 0):
                self._settle(folded)

    def searched(self, query: str) -> None:
        """Remembers a query that found something. It is suggested from its second time on: one may be private."""
        folded = fold_phrase(query)
        if not 1 < len(folded) <= _LONGEST:
            return
        self._queries[folded] += 1
        if folded not in self._entries:
            self._settle(folded)
        if len(self._queries) > _QUERIES:
            before, self._queries = self._queries, Counter(dict(self._queries.most_common(_QUERIES // 2)))
            for rare in before - self._queries:
                if not self._items[rare]:
                    self._settle(rare)

    def _settle(self, folded: str) -> None:
        """Of a phrase that no item has: shown as a query, if it was searched often enough, or not at all."""
        if self._queries[folded] >= 2:
            self._show(folded, Suggestion(folded, "query"))
        elif self._entries.pop(folded, None):
            self._starts.difference_update({(start, folded) for start in _word_starts(folded)})

    def _show(self, folded: str, shown: Suggestion) -> None:
        self._entries[folded] = shown
        self._starts.update((start, folded) for start in _word_starts(folded))

    def only(self, begun: str) -> str | None:
        """The rest of a phrase from one of its words on, if all that begin so go on from it; None if they differ."""
        found = _only(self._starts, fold(begun))
        return found[0] if found else None

    def next_word(self, typed: str) -> str | None:
        """The last word of what was typed, whole, as the most common phrases have it after all that stands before it;
        None if none goes on so.
        """
        begun = fold_phrase(typed)
        at = begun.rfind(" ") + 1
        said: dict[str, float] = {}
        for start, phrase in islice(self._starts.irange((begun,), (begun + _END,)), _SCANNED):
            word = start[at:].split()[0].rstrip(_MARKS)
            said[word] = said.get(word, 0.0) + self._weight(phrase)
        return max(said, key=lambda word: (said[word], -len(word)), default=None)

    def suggest(self, typed: str, limit: int) -> list[Suggestion]:
        """The most common phrases with words that begin as typed, in any order; or else with one mistyped letter.

        Digits are not mistyped for others: 500 is no 50.
        """
        typed = fold_phrase(typed)
        if not typed:
            return []
        found = set(self._beginning(typed))
        if " " in typed or _ENDING.search(typed):
            found.update(self._with_all(typed.split()))
        if not found and len(typed) > 2 and not any(map(str.isdigit, typed)):
            for near in _one_letter_off(typed):
                found.update(self._beginning(near))
        best = sorted(found, key=lambda phrase: (self._weight(phrase), -len(phrase), phrase), reverse=True)
        shown: dict[frozenset[str], str] = {}  # by their words: in another order they say the same
        for phrase in best:
            shown.setdefault(frozenset(re.findall(r"\w+", phrase)), phrase)
            if len(shown) == limit:
                break
        return [self._entries[phrase] for phrase in shown.values()]

    def _weight(self, phrase: str) -> float:
        of_items = _WEIGHT[self._entries[phrase].kind] * self._items[phrase]
        return of_items + _WEIGHT["query"] * max(0, self._queries[phrase] - 1)

    def _with_all(self, typed: list[str]) -> Iterator[str]:
        """Phrases that for each word have one that begins so, or that is the same but for an s at the end."""
        said = [(word, _ENDING.sub("", word)) for word in typed if word not in _CONNECTING]
        if not said:
            return
        stems = [stem for _, stem in said]
        wanted = [(word, {stem + end for end in _ENDS}) for word, stem in said]
        for phrase in self._beginning(max(stems, key=len)):  # fewer phrases have the longest than a short one
            if not all(stem in phrase for stem in stems):
                continue  # most, and quickly
            words = phrase.split()
            if all(any(word.startswith(begun) or word in same for word in words) for begun, same in wanted):
                yield phrase

    def _beginning(self, typed: str) -> Iterator[str]:
        return _phrases(self._starts, typed)


class NumberSuggester(Suggester):
    """Of article numbers, which are begun without their hyphens and blanks, too: "pc301" for "PC-301"."""

    def __init__(self) -> None:
        super().__init__()
        self._joined: SortedSet = SortedSet()  # (start without marks, the same as it is written, whole phrase)

    def only(self, begun: str) -> str | None:
        typed = fold(begun)
        if not typed.isalnum():
            return super().only(begun)
        found = _only(self._joined, typed)
        return found[1] if found else None

    def _settle(self, folded: str) -> None:
        super()._settle(folded)
        if folded not in self._entries:
            self._joined.difference_update(set(_joined_starts(folded)))

    def _show(self, folded: str, shown: Suggestion) -> None:
        super()._show(folded, shown)
        self._joined.update(_joined_starts(folded))

    def _beginning(self, typed: str) -> Iterator[str]:
        yield from super()._beginning(typed)
        yield from _phrases(self._joined, typed)


def _phrases(starts: SortedSet, typed: str) -> Iterator[str]:
    return (phrase for *_, phrase in islice(starts.irange((typed,), (typed + _END,)), _SCANNED))


def _only(starts: SortedSet, typed: str) -> tuple[str, ...] | None:
    """The first of what begins so, if all else that does goes on from it; None if they differ."""
    span = (typed,), (typed + _END,)
    first = next(iter(starts.irange(*span)), None)
    last = next(iter(starts.irange(*span, reverse=True)), None)
    return first if first and last and all(map(str.startswith, last[:-1], first[:-1])) else None


def _joined_starts(folded: str) -> Iterator[tuple[str, str, str]]:
    return ((re.sub(r"[\W_]", "", start), start, folded) for start in _word_starts(folded))


def _word_starts(folded: str) -> Iterator[str]:
    words = folded.split()
    return (" ".join(words[place:]) for place in range(len(words)))


def _one_letter_off(typed: str) -> set[str]:
    """What was meant, if one letter is missing, wrong, superfluous, or in its neighbour's place. The first is right."""
    near = set()
    for place in range(1, len(typed) + 1):
        before, after = typed[:place], typed[place:]
        near |= {before + letter + after for letter in _LETTERS}
        if after:
            near.add(before + after[1:])
            near |= {before + letter + after[1:] for letter in _LETTERS}
        if len(after) > 1:
            near.add(before + after[1] + after[0] + after[2:])
    return near

"""The words that a shopper may mean: those of the catalogue, and common English ones.

Corrects misspelt queries, by SymSpell (Garbe, https://github.com/wolfgarbe/SymSpell). A catalogue's own words win over
common ones that are as near, since a brand is in no dictionary; a word that either knows is never touched; and only
where most of a catalogue is English do common English words count.
"""

import re
import unicodedata
from collections import Counter
from functools import cache
from importlib.resources import files
from itertools import islice

from sortedcontainers import SortedSet
from symspellpy import SymSpell, Verbosity

_COMMON = 10_000  # English words that count as targets, in order of frequency; colours are among them
_NAME = 10  # texts that a word in a title, a category or an attribute's value is worth
# What pictures show, though no text may say it: as likely to be meant as the catalogue's own words.
_SEEN = """
    black white grey gray silver gold golden brown beige cream ivory tan khaki olive green lime teal turquoise blue navy
    indigo purple violet lilac lavender pink magenta red crimson maroon burgundy coral orange peach yellow mustard
    striped stripes checked checkered plaid dotted polka floral flowers printed pattern plain zigzag embroidered
"""
# Shorter words have too many neighbours to guess from, and letters beside digits are an article number's.
_WORD = re.compile(r"(?<!\w)[^\W\d_]{4,}(?!\w)")
_UNFINISHED = re.compile(r"(?<![\w'’-])[^\W\d_]{2,}$")  # not the end of "t-sh"
_END = chr(0x10FFFF)
_SCANNED = 1000  # words weighed for two letters that begin a great many
_LATIN = re.compile(r"[a-zà-öø-ÿ]+")


class Vocabulary:
    """Words learned from texts; not thread-safe."""

    def __init__(self) -> None:
        self._own: Counter[str] = Counter()  # word → how much the items are about it; stays at 0 when they are gone
        self._all = self._english = 0  # the sum of that, and of English words alone
        self._sorted: SortedSet = SortedSet()
        self._speller = _new_speller()
        _english_speller()  # takes half a second: now, and not when the first shopper mistypes
        self.learn(_SEEN)
        self._all = self._english = 0

    def __len__(self) -> int:
        return len(self._own)

    def learn(self, names: str, text: str = "") -> None:
        """Takes in an item's words: those that name it, and those of its other texts."""
        for word, weight in _weights(names, text).items():
            if word not in self._own:
                self._sorted.add(word)
                self._speller.create_dictionary_entry(word, 1)
            self._count(word, weight)

    def forget(self, names: str, text: str = "") -> None:
        """Takes back what `learn` counted. The words stay known: they are no mistakes."""
        for word, weight in _weights(names, text).items():
            self._count(word, -min(weight, self._own[word]))

    def knows(self, word: str) -> bool:
        return word in self._own or word in _dictionary()

    def is_its_own(self, query: str) -> bool:
        """Whether the catalogue's texts have every word of a query; those of one or two letters count for nothing."""
        words = re.findall(r"\w+", folded(query))
        return all(word in self._own or (len(word) < 3 and word.isalpha()) for word in words)

    def correct(self, query: str) -> str:
        """The query with each unknown word replaced by the nearest known one, where one is near; else as it is."""
        return _WORD.sub(lambda match: self._corrected(match.group()), query)

    def complete(self, query: str) -> str:
        """The query with its last word, still being typed, as the catalogue's most common word that begins so."""
        match = _UNFINISHED.search(query)
        if not match or self._own[begun := folded(match.group())]:
            return query
        found = islice(self._sorted.irange(begun, begun + _END), _SCANNED)
        best = max(found, key=lambda word: (self._own[word], -len(word)), default=None)
        return query[: match.start()] + best if best and self._own[best] else query

    def _count(self, word: str, weight: int) -> None:
        self._own[word] += weight
        self._all += weight
        if word in _dictionary():
            self._english += weight

    def _corrected(self, word: str) -> str:
        typed = folded(word)
        if self.knows(typed) or not _LATIN.fullmatch(typed) or self._plural(typed):
            return word
        distance = 1 if len(typed) < 6 else 2
        found = self._speller.lookup(typed, Verbosity.CLOSEST, max_edit_distance=distance)
        if 2 * self._english >= self._all:  # to a German shop "schuhe" is no "scheme"
            found += _english_speller().lookup(typed, Verbosity.CLOSEST, max_edit_distance=distance)
        # Of two as near, the one that begins alike: people seldom mistype the first letter. Then what the shop sells.
        best = max(
            found,
            key=lambda one: (-one.distance, one.term[0] == typed[0], self._own[one.term], one.count),
            default=None,
        )
        return best.term if best else word

    def _plural(self, word: str) -> bool:
        return any(word.endswith(end) and self.knows(word[: -len(end)]) for end in ("s", "es", "'s"))


def folded(text: str) -> str:
    """The form in which two words are the same: without case, and with each accent on its letter."""
    return unicodedata.normalize("NFC", text.casefold()).replace("i\u0307", "i")  # the small form of the Turkish İ


def _weights(names: str, text: str) -> dict[str, int]:
    weights = dict.fromkeys(re.findall(r"[^\W\d_]{3,}", folded(text)), 1)
    return weights | dict.fromkeys(re.findall(r"[^\W\d_]{3,}", folded(names)), _NAME)


def _new_speller() -> SymSpell:
    return SymSpell(max_dictionary_edit_distance=2, prefix_length=7)


@cache
def _english_speller() -> SymSpell:
    speller = _new_speller()
    for place, word in enumerate(_english()[:_COMMON]):
        if len(word) > 2:
            speller.create_dictionary_entry(word, _COMMON - place)
    return speller


@cache
def _dictionary() -> frozenset[str]:
    return frozenset(_english())


@cache
def _english() -> tuple[str, ...]:
    text = (files("symspellpy") / "frequency_dictionary_en_82_765.txt").read_text(encoding="utf-8-sig")
    return tuple(line.split()[0] for line in text.splitlines() if line)

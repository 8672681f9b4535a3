"""The words that a shopper may mean: those of the catalogue, and common English ones.

Corrects misspelt queries, by SymSpell (Garbe, https://github.com/wolfgarbe/SymSpell). A catalogue's own words win over
common ones that are as near, since a brand is in no dictionary; and a word that either knows is never touched.
"""

import re
from collections import Counter
from functools import cache
from importlib.resources import files
from itertools import islice

from sortedcontainers import SortedSet
from symspellpy import SymSpell, Verbosity

_COMMON = 10_000  # English words that count as targets, in order of frequency; colours are among them
_OWN_COUNT = 10_000_000  # a word of the catalogue outweighs any common one
# What pictures show, though no text may say it: as likely to be meant as the catalogue's own words.
_SEEN = """
    black white grey gray silver gold golden brown beige cream ivory tan khaki olive green lime teal turquoise blue navy
    indigo purple violet lilac lavender pink magenta red crimson maroon burgundy coral orange peach yellow mustard
    striped stripes checked checkered plaid dotted polka floral flowers printed pattern plain zigzag embroidered
"""
# Shorter words have too many neighbours to guess from, and letters beside digits are an article number's.
_WORD = re.compile(r"(?<!\w)[^\W\d_]{4,}(?!\w)")
_UNFINISHED = re.compile(r"[^\W\d_]{2,}$")
_END = chr(0x10FFFF)
_SCANNED = 1000  # words weighed for two letters that begin a great many
_LATIN = re.compile(r"[a-zà-öø-ÿ]+")


class Vocabulary:
    """Words learned from texts; not thread-safe."""

    def __init__(self) -> None:
        self._own: Counter[str] = Counter()  # word → texts that have it
        self._sorted: SortedSet = SortedSet()
        self._speller = SymSpell(max_dictionary_edit_distance=2, prefix_length=7)
        for place, word in enumerate(_english()[:_COMMON]):
            if len(word) > 2:
                self._speller.create_dictionary_entry(word, _COMMON - place)
        self._english = frozenset(_english())
        self.learn(_SEEN)

    def __len__(self) -> int:
        return len(self._own)

    def learn(self, text: str) -> None:
        """Takes in the words of a text."""
        words = set(re.findall(r"[^\W\d_]{3,}", text.casefold()))
        for word in words:
            if word not in self._own:  # not the difference of two sets, which goes through all words that are known
                self._sorted.add(word)
                self._speller.create_dictionary_entry(word, _OWN_COUNT)
        self._own.update(words)

    def knows(self, word: str) -> bool:
        return word in self._own or word in self._english

    def is_its_own(self, query: str) -> bool:
        """Whether the catalogue's texts have every word of a query; those of one or two letters count for nothing."""
        words = re.findall(r"\w+", query.casefold())
        return all(word in self._own or (len(word) < 3 and word.isalpha()) for word in words)

    def correct(self, query: str) -> str:
        """The query with each unknown word replaced by the nearest known one, where one is near; else as it is."""
        return _WORD.sub(lambda match: self._corrected(match.group()), query)

    def complete(self, query: str) -> str:
        """The query with its last word, still being typed, as the catalogue's most common word that begins so."""
        match = _UNFINISHED.search(query)
        if not match or (begun := match.group().casefold()) in self._own:
            return query
        found = islice(self._sorted.irange(begun, begun + _END), _SCANNED)
        best = max(found, key=lambda word: (self._own[word], -len(word)), default=None)
        return query[: match.start()] + best if best else query

    def _corrected(self, word: str) -> str:
        folded = word.casefold()
        if self.knows(folded) or not _LATIN.fullmatch(folded) or self._plural(folded):
            return word
        distance = 1 if len(folded) < 6 else 2
        found = self._speller.lookup(folded, Verbosity.CLOSEST, max_edit_distance=distance)
        # Of two as near, the one that begins alike: people seldom mistype the first letter.
        best = max(found, key=lambda one: (one.term[0] == folded[0], one.count), default=None)
        return best.term if best else word

    def _plural(self, word: str) -> bool:
        return any(word.endswith(end) and self.knows(word[: -len(end)]) for end in ("s", "es", "'s"))


@cache
def _english() -> tuple[str, ...]:
    text = (files("symspellpy") / "frequency_dictionary_en_82_765.txt").read_text(encoding="utf-8-sig")
    return tuple(line.split()[0] for line in text.splitlines() if line)

"""The words that a shopper may mean: those of the catalogue, and common English ones.

Corrects misspelt queries, by SymSpell (Garbe, https://github.com/wolfgarbe/SymSpell). A word that the catalogue or
English knows is never touched. Any other may be a brand that this shop does not have, and no dictionary: so it is
replaced only where an error is likelier, and that takes

- a target that begins alike: people seldom mistype the first letter;
- one edit, and a target that names an item, or is common English where most of the catalogue is English;
- where that would often fit by chance, with two edits or a word of four letters, a target that the shop is much about.

A brand that no item has and that is one letter from such a word is still taken for it: "Miele" for "mile".
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import islice

from sortedcontainers import SortedSet
from symspellpy import Verbosity

from service.english import english_speller, is_common_english, is_english, new_speller

_NAME = 10  # texts that a word in a title, a category or an attribute's value is worth
_MUCH = 1 / 20_000  # of all that the catalogue says: what it is much about
_TWO_EDITS = 7  # letters from which on two are forgiven
_PART = 3  # least letters of each of two words written as one
_SHORTEST = 4  # letters of a word that is corrected: shorter ones have too many neighbours to guess from
_RARE = 10  # times as common as a whole word must be what it may be the beginning of
# What pictures show, though no text may say it: as likely to be meant as the catalogue's own words.
_SEEN = """
    black white grey gray silver gold golden brown beige cream ivory tan khaki olive green lime teal turquoise blue navy
    indigo purple violet lilac lavender pink magenta red crimson maroon burgundy coral orange peach yellow mustard
    striped stripes checked checkered plaid dotted polka floral flowers printed pattern plain zigzag embroidered
"""
# Letters beside digits are an article number's.
_WORD = re.compile(rf"(?<!\w)[^\W\d_]{{{_SHORTEST},}}(?!\w)")
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
        self._speller = new_speller()
        english_speller()  # takes half a second: now, and not when the first shopper mistypes
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
        return word in self._own or is_english(word)

    def is_its_own(self, query: str) -> bool:
        """Whether the catalogue's texts have every word of a query; those of one or two letters count for nothing."""
        words = re.findall(r"\w+", folded(query))
        return all(word in self._own or (len(word) < 3 and word.isalpha()) for word in words)

    def correct(self, query: str) -> str:
        """The query with each unknown word replaced by the nearest known one, where one is near; else as it is."""
        return _WORD.sub(lambda match: self._corrected(match.group()), query)

    def complete(self, query: str, phrased: Callable[[str], str | None] = lambda _: None) -> str:
        """The query with its last word, still being typed, as the catalogue's most common word that begins so.

        A word that the catalogue has stays, unless it is rare beside that: "leath" in one text is on its way to
        "leather".

        Args:
            phrased: How phrases go on from two words, of which one is begun, if any does: "usb le" is "usb led",
                however much there is of leather.
        """
        match = _UNFINISHED.search(query)
        if not match:
            return query
        begun = folded(match.group())
        before = query[: match.start()]
        if before and not self._own[begun] and (word := phrased(f"{before.split()[-1]} {begun}")):
            return before + word
        found = islice(self._sorted.irange(begun, begun + _END), _SCANNED)
        best = max(found, key=lambda word: (self._own[word], -len(word)), default=begun)
        return before + best if self._own[best] > _RARE * self._own[begun] else query

    def _count(self, word: str, weight: int) -> None:
        self._own[word] += weight
        self._all += weight
        if is_common_english(word):
            self._english += weight

    def _corrected(self, word: str) -> str:
        typed = folded(word)
        if self.knows(typed) or not _LATIN.fullmatch(typed) or self._plural(typed):
            return word
        return self._one_edit(typed) or self._taken_apart(typed) or self._two_edits(typed) or word

    def _one_edit(self, typed: str) -> str | None:
        found = self._speller.lookup(typed, Verbosity.CLOSEST, max_edit_distance=1)
        short = len(typed) <= _SHORTEST
        near = {one.term: 0 for one in found if self._names(one.term) and (not short or self._much(one.term))}
        if not short and 2 * self._english >= self._all:  # to a German shop "schuhe" is no "scheme"
            found = english_speller().lookup(typed, Verbosity.CLOSEST, max_edit_distance=1)
            near |= {one.term: one.count for one in found}
        return self._likeliest(typed, near)

    def _two_edits(self, typed: str) -> str | None:
        if len(typed) < _TWO_EDITS:
            return None
        found = self._speller.lookup(typed, Verbosity.ALL, max_edit_distance=2)
        return self._likeliest(typed, {one.term: 0 for one in found if self._much(one.term)})

    def _likeliest(self, typed: str, near: dict[str, int]) -> str | None:
        """Of words that begin as typed, what the shop is most about; then the commonest English one, by its count."""
        alike = [word for word in near if word[0] == typed[0] or word[:2] == typed[1] + typed[0]]
        return max(alike, key=lambda word: (word[0] == typed[0], self._own[word], near[word]), default=None)

    def _taken_apart(self, typed: str) -> str | None:
        """Two words of the shop's that were written as one: those of which the rarer is the most common."""
        pairs = [(typed[:end], typed[end:]) for end in range(_PART, len(typed) - _PART + 1)]
        pairs = [pair for pair in pairs if all(map(self._much, pair))]
        best = max(pairs, key=lambda pair: min(self._own[word] for word in pair), default=None)
        return " ".join(best) if best else None

    def _names(self, word: str) -> bool:
        """Whether a word names an item, or is in as many texts as that is worth."""
        return self._own[word] >= _NAME

    def _much(self, word: str) -> bool:
        """Whether the shop is so much about a word that an unlikely error is likelier than a word it never had."""
        return self._own[word] >= max(_NAME, _MUCH * self._all)

    def _plural(self, word: str) -> bool:
        return any(word.endswith(end) and self.knows(word[: -len(end)]) for end in ("s", "es"))


def folded(text: str) -> str:
    """The form in which two words are the same: without case, and with each accent on its letter."""
    return unicodedata.normalize("NFC", text.casefold()).replace("i\u0307", "i")  # the small form of the Turkish İ


def _weights(names: str, text: str) -> dict[str, int]:
    weights = dict.fromkeys(re.findall(r"[^\W\d_]{3,}", folded(text)), 1)
    return weights | dict.fromkeys(re.findall(r"[^\W\d_]{3,}", folded(names)), _NAME)

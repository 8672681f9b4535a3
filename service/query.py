"""What a shopper typed: words, "phrases in quotes", and -words that are not wanted."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from retriever.index.filters import Condition, Not, conjoin, word_for_word

# All up to the next blank that has a letter in it: cut at its first mark, the rest of "s.oliver" or "men's" would be
# searched for. "-5" has no letter.
_WORD = r'(?=[^\s"]*[^\W\d_])\w[^\s"]*'

# A minus counts where a word begins, so "t-shirt" and "3 - 5 years" stay whole.
_PART = re.compile(rf'(?:(?<=\s)|^)(?P<minus>-?)"(?P<phrase>[^"]+)"|(?:(?<=\s)|^)-(?P<word>{_WORD})')

# "Watch not black", at the end, where no other word follows that it may belong to. Not "without": a shampoo without
# sulfate says "sulfate".
_NOT = re.compile(rf"(?<=\S)\s+(?:(?:but\s+)?not|except)\s+(?={_WORD}$)", re.IGNORECASE)

# Telephones type the quotes by themselves, and East Asian keyboards full-width letters, which the model cannot read.
TYPED = str.maketrans(
    {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
    | {ord("\u3000"): " "}
    | dict.fromkeys(map(ord, "“”„‟«»"), '"')
    | dict.fromkeys(map(ord, "’‘ʼ"), "'")
)
_END = " .,;:!?…。、"  # of a sentence: to the model "red mug." is not quite "red mug"


@dataclass(frozen=True)
class ParsedQuery:
    text: str  # what is wanted, phrases without their quotes included
    phrases: tuple[str, ...] = ()  # wanted word for word
    excluded: tuple[str, ...] = ()  # words and phrases that are not wanted

    def condition(self) -> Condition | None:
        """Every phrase is there, and nothing that is excluded; None if nothing is asked."""
        wanted = [word_for_word(phrase) for phrase in self.phrases]
        unwanted = [Not(part) for part in map(word_for_word, self.excluded) if part is not None]
        return conjoin(*wanted, *unwanted)


def parse(query: str, exclude: Sequence[str] = (), *, is_title: bool = False) -> ParsedQuery:
    """Splits a query. One of minus words alone, or without a letter or digit ("?!"), has an empty `text`.

    Args:
        is_title: An item is called so: quotes and minus signs are part of its name.
    """
    phrases, excluded = [], []

    def take(match: re.Match[str]) -> str:
        if match["word"] or match["minus"]:
            excluded.append((match["word"] or match["phrase"]).strip(_END))
            return " "
        phrases.append(match["phrase"].strip())
        return match["phrase"]

    typed = query.translate(TYPED)
    text = " ".join((typed if is_title else _PART.sub(take, _NOT.sub(" -", typed.rstrip(_END)))).split())
    text = text.rstrip(_END) if re.search(r"\w", text) else ""
    wanted = [phrase for phrase in phrases if phrase]
    unwanted = [word for word in [*excluded, *(one.translate(TYPED).strip() for one in exclude)] if word]
    return ParsedQuery(text, tuple(wanted), tuple(dict.fromkeys(unwanted)))

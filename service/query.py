"""What a shopper typed: words, "phrases in quotes", and -words that are not wanted."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
_INSIDE = re.compile(r"\S(?:.*\S)?", re.DOTALL)  # a text without the blanks around it
_END = " .,;:!?…。、"  # of a sentence: to the model "red mug." is not quite "red mug"


@dataclass(frozen=True)
class Part:
    """What stands before, between and after phrases, or one of these; with the blanks beside it."""

    text: str
    quoted: bool = False  # it is wanted word for word, whatever else it may mean

    def reworded(self, reword: Callable[[str], str]) -> "Part":
        return self if self.quoted else Part(_INSIDE.sub(lambda match: reword(match.group()), self.text))


@dataclass(frozen=True)
class ParsedQuery:
    parts: tuple[Part, ...]  # of what is wanted, in their order; the last is no phrase
    minus: tuple[str, ...] = ()  # words and phrases that are not wanted
    exclude: tuple[str, ...] = ()  # those that did not stand in the query

    def __str__(self) -> str:
        """A query that is taken apart into the same."""
        wanted = "".join(f'"{part.text}"' if part.quoted else part.text for part in self.parts)
        unwanted = [f"-{one}" if _PART.fullmatch(f"-{one}") else f'-"{one}"' for one in self.minus]
        return " ".join([*wanted.rstrip(_END).split(), *unwanted])

    @property
    def excluded(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.minus, *self.exclude]))

    @property
    def text(self) -> str:
        """What is wanted, phrases without their quotes included."""
        text = " ".join("".join(part.text for part in self.parts).split())
        return text.rstrip(_END) if re.search(r"\w", text) else ""

    @property
    def phrases(self) -> tuple[str, ...]:
        """What is wanted word for word."""
        return tuple(part.text.strip() for part in self.parts if part.quoted)

    def condition(self) -> Condition | None:
        """Every phrase is there, and nothing that is excluded; None if nothing is asked."""
        wanted = [word_for_word(phrase) for phrase in self.phrases]
        unwanted = [Not(part) for part in map(word_for_word, self.excluded) if part is not None]
        return conjoin(*wanted, *unwanted)

    def reworded(self, reword: Callable[[str], str]) -> "ParsedQuery":
        """With other words for those that are outside of phrases."""
        return replace(self, parts=tuple(part.reworded(reword) for part in self.parts))

    def completed(self, complete: Callable[[str], str]) -> "ParsedQuery":
        """With another end, unless that is a phrase."""
        return replace(self, parts=(*self.parts[:-1], self.parts[-1].reworded(complete)))


def parse(query: str, exclude: Sequence[str] = (), *, is_title: bool = False) -> ParsedQuery:
    """Splits a query. One of minus words alone, or without a letter or digit ("?!"), has an empty `text`.

    Args:
        is_title: An item is called so: quotes and minus signs are part of its name.
    """
    typed = query.translate(TYPED)
    also = tuple(word for one in exclude if (word := one.translate(TYPED).strip()))
    if is_title:
        return ParsedQuery((Part(typed),), exclude=also)
    typed = _NOT.sub(" -", typed.rstrip(_END))
    parts, minus, words, done = list[Part](), list[str](), "", 0
    for match in _PART.finditer(typed):
        words += typed[done : match.start()]
        done = match.end()
        if match["word"] or match["minus"]:
            minus.append((match["word"] or match["phrase"]).strip(_END))
            words += " "
        elif match["phrase"].strip():
            parts += [Part(words), Part(match["phrase"], quoted=True)]
            words = ""
    return ParsedQuery((*parts, Part(words + typed[done:])), tuple(filter(None, minus)), also)

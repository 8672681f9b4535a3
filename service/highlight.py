"""Where the words of a query stand in a text."""

import html
import re
import unicodedata
from functools import lru_cache

from retriever.index.lexical import UNSPACED, embed_document, embed_query

# Accents and vowel signs that are characters of their own: to `re` they are no letters, and would end a word.
_SIGNS = "".join(sign for sign in map(chr, range(0x300, 0x20000)) if unicodedata.category(sign)[0] == "M")


def _words(letter: str) -> str:
    """A pattern; embed_query leaves out a possessive's 's."""
    run = rf"(?:{letter}++[{_SIGNS}]*+)++"
    return rf"{run}(?:['’.-]{run})*"


_WORD = re.compile(_words(r"[^\W_]"))
# What is marked: where scripts put no spaces, each character is a word of its own to BM25.
_MARKED = re.compile(f"[{UNSPACED}][{_SIGNS}]*|" + _words(rf"[^\W_{UNSPACED}]"))


def token_ids_by_word(text: str) -> dict[str, frozenset[int]]:
    """The words of a query, each with the ids that BM25 knows it by; a word that says nothing is left out."""
    found = {word: _token_ids(word) for word in dict.fromkeys(_WORD.findall(text))}
    return {word: ids for word, ids in found.items() if ids}


def matched(query: str, text: str) -> list[str]:
    """The words of a query that BM25 finds in a text, as they stand in the query."""
    there = set(embed_document(text).indices)
    return [word for word, ids in token_ids_by_word(query).items() if ids & there]


@lru_cache(maxsize=20_000)
def _token_ids(word: str) -> frozenset[int]:
    """What BM25 knows a word by. Texts have the same words over and over."""
    vector = embed_query(word)
    return frozenset(vector.indices) if vector else frozenset()


def highlighted(query: str, text: str) -> str:
    """A text as HTML, with `<mark>` around the words that the query has, in any form ("mugs" for "mug")."""
    wanted = set().union(*token_ids_by_word(query).values())
    parts, last = [], 0
    for match in _MARKED.finditer(text):
        if not wanted.isdisjoint(_token_ids(match.group())):
            parts += [html.escape(text[last : match.start()]), f"<mark>{html.escape(match.group())}</mark>"]
            last = match.end()
    return "".join([*parts, html.escape(text[last:])]).replace("</mark><mark>", "")

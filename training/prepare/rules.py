"""The cleaning rules, each one small function: the seed's, for texts that models wrote or translated.

A rule of `CHANGING` rewrites a text; one of `DROPPING` says that nothing usable is left of it. `clean_text` applies all
of them in this order and tells who did what.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

# Punctuation of East Asian texts that compatibility forms (NFKC) leave alone, and of typesetters.
_PUNCTUATION = str.maketrans(
    {
        **dict.fromkeys("、،", ","),
        **dict.fromkeys("。｡", "."),
        **dict.fromkeys("‘’‚′`´", "'"),
        **dict.fromkeys("“”„″「」『』《》〈〉«»", '"'),
        **dict.fromkeys("【〔〖", "["),
        **dict.fromkeys("】〕〗", "]"),
        **dict.fromkeys("–—−‐‑―", "-"),
        **dict.fromkeys("·・•", " "),
        "×": "x",
        "…": "...",
    }
)
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\U0001fb00-\U0001fbff\u2190-\u21ff\u2300-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d"
    "\u200d\u20e3\ufe0e\ufe0f\U000e0020-\U000e007f]"
)
_NOT_ENGLISH = re.compile(r"[^\x20-\x7e]")
_EMPTY_BRACKETS = re.compile(r"\(\s*[,;:.]*\s*\)|\[\s*[,;:.]*\s*\]|\"\s*\"")
_SPACE_BEFORE = re.compile(r"\s+([,.;:!?)\]])")
_REPEATED = re.compile(r"([,;:!?-])(?:\s*\1)+")
_REFUSAL = re.compile(
    r"^\W*(?:i(?:'|’)?m (?:sorry|unable)|sorry[,.]|i (?:cannot|can't|can’t|am unable|am not able)|as an ai\b|"
    r"unfortunately,? i (?:cannot|can))",
    re.IGNORECASE,
)


def full_width(text: str) -> str:
    """Full-width letters, digits and punctuation, and typographic quotes and dashes, become ASCII's."""
    return unicodedata.normalize("NFKC", text).translate(_PUNCTUATION)


def emoji(text: str) -> str:
    """Emoji, arrows and dingbats go, with the joiners and selectors between them."""
    return _EMOJI.sub(" ", text)


def accents(text: str) -> str:
    """Latin letters lose their accents; the model's tokenizer would take them away as well."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def not_english(text: str) -> str:
    """Chinese and every other character that English does not use goes."""
    return _NOT_ENGLISH.sub(" ", text)


def leftovers(text: str) -> str:
    """What the other rules leave behind: brackets around nothing, commas after nothing, runs of spaces."""
    text = _EMPTY_BRACKETS.sub(" ", text)
    text = _REPEATED.sub(r"\1", " ".join(text.split()))
    text = _SPACE_BEFORE.sub(r"\1", text)
    text = text.strip(" ,;:-/|_*#")
    if text[:1] == text[-1:] == '"' and text.count('"') == 2:  # models like to quote the whole
        text = text[1:-1].strip()
    return text if text.strip(" .,;:!?-/|_*#'\"()[]") else ""


def is_empty(before: str, after: str) -> bool:
    """There was nothing to begin with, or only punctuation and emoji."""
    return not any(char.isalnum() for char in after) and not any(_is_foreign_letter(char) for char in before)


def mostly_foreign(before: str, after: str) -> bool:
    """More letters had to go than could stay: what is left does not say what the text said."""
    before = unicodedata.normalize("NFKC", before)
    gone = sum(1 for char in before if _is_foreign_letter(char))
    return gone > sum(1 for char in after if char.isalpha())


def is_refusal(text: str) -> bool:
    """A model's words for not answering, in place of an answer."""
    return _REFUSAL.match(text) is not None


def _is_foreign_letter(char: str) -> bool:
    return char.isalpha() and not unicodedata.name(char, "LATIN").startswith(("LATIN", "FULLWIDTH LATIN"))


CHANGING: tuple[Callable[[str], str], ...] = (full_width, emoji, accents, not_english, leftovers)


@dataclass
class Cleaned:
    """A text after all rules: None if it is dropped, then `dropped` names the rule."""

    text: str | None
    changes: list[tuple[str, str, str]] = field(default_factory=list)  # rule, before, after
    dropped: str | None = None


def clean_text(text: str) -> Cleaned:
    """Apply every rule to one text."""
    before, changes = text, []
    for rule in CHANGING:
        after = rule(text)
        if after.split() != text.split():  # spaces alone are no change worth telling
            changes.append((rule.__name__, text, after))
        text = after
    if is_empty(before, text):
        return Cleaned(None, changes, "empty")
    if mostly_foreign(before, text) or not text:
        return Cleaned(None, changes, "foreign")
    if is_refusal(text):
        return Cleaned(None, changes, "refusal")
    return Cleaned(text, changes)

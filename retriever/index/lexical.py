"""BM25 as sparse vectors: a weight for each word, which the engine multiplies by the word's IDF.

The words come from the engine's own BM25 embedder (lower case, accents folded, English stemming), for both adapters.
It leaves two things to do. A product's code must be found as a whole, though the embedder cuts it at every hyphen. And
scripts that put no spaces between words would be one long word a sentence: the embedder's dictionaries for them drop
every number and cut a word by its context, so runs of such scripts become single characters and pairs of
neighbours, as in Lucene's CJKBigramFilter.
"""

import re
import unicodedata
import zlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from qdrant_edge import Bm25, Bm25Config, StopwordsSet, TokenizerType

# Only words that say nothing in any query. The usual English lists hold "down", "off", "under" and "on": a down jacket
# and three well-known brands.
_STOP_WORDS = {"a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "in", "is", "it", "of", "or", "that"}
_STOP_WORDS |= {"the", "this", "to", "with"}
_AVERAGE_WORDS = 32.0  # of a title, a few attributes and a line of description

_EMBEDDER = Bm25(
    Bm25Config(
        avg_len=_AVERAGE_WORDS,
        tokenizer=TokenizerType.Word,
        language="english",
        ascii_folding=True,
        stopwords=StopwordsSet(custom=_STOP_WORDS),
    )
)

_LONGEST_NUMBER = 8  # words of an article number with plain words in it
# Words joined by hyphens, slashes, underscores or dots: "424522-100", "602.456.78", "T-shirt".
_JOINED = re.compile(r"(?<![^\W_])[^\W_]++(?:[-‐‑–_/.][^\W_]++)+")  # possessive: in linear time, whatever the text
# "PLO 166" and "418383 002", which shoppers type "PLO166" and "418383-002". Small letters and fewer digits are for
# "Pack 100", "Fall 2011" and "SIZE 42".
_SPACED = re.compile(r"(?<![^\W_])([A-Z]{2,4}|\d{6})\s+(\d{3,}[^\W_]*)")
_UNITS = "mg|g|kg|oz|lbs?|ml|cl|dl|l|mm|cm|m|km|inch|ft|mb|gb|tb|mah|ah|k?w|v|hz|pcs?"
_ENDINGS = "in|gms?|gsm|ct|[mg]hz|mp|hrs?|yrs?|st|nd|rd|th"  # which stay with their numbers
# "42", "2024", "500ml", "25th"; "9902D" is an article number.
_MEASURE = re.compile(rf"\d{{1,4}}|\d+(?:{_UNITS}|{_ENDINGS})", re.IGNORECASE)
_CODE = re.compile(rf"{_JOINED.pattern}|(?<![^\W_])[^\W_]++")
_COUNTED = re.compile(r"\d{1,4}(?:-[^\W\d_]{3,})+")  # "12-piece", "15-inch": no article numbers
_DECIMAL = re.compile(r"\w+\.\w+")  # "3.5mm" is not "35mm"
# Most texts have "16 GB", and shoppers type "16gb".
_GLUED = re.compile(rf"(?<![\w.,])(\d+(?:[.,]\d+)?)({_UNITS})\b", re.IGNORECASE)
_APART = re.compile(rf"(?<![\w.,])(\d+(?:[.,]\d+)?)\s+({_UNITS})\b", re.IGNORECASE)
_POSSESSIVE = re.compile(r"(?<=[^\W_])['’]s\b", re.IGNORECASE)
# Thai to Myanmar, Khmer, kana and Han with its extensions, Hangul (which glues particles to its words).
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED = re.compile(f"[{UNSPACED}]+")


@dataclass(frozen=True)
class SparseVector:
    """Word numbers and their weights; empty where a text has no words."""

    indices: list[int]
    values: list[float]


def embed_document(text: str, title: str = "") -> SparseVector:
    """BM25's term-frequency part for an item's text.

    A word of the title, which is part of the text, counts as much as in a text of the title alone: the longer the rest
    of a text is, the less each of its words counts, and a title names the item however much else is said of it.
    """
    weights = _term_weights(text)
    for number, weight in _term_weights(title).items():
        weights[number] = max(weight, weights.get(number, 0.0))
    return SparseVector(list(weights), list(weights.values()))


def _term_weights(text: str) -> dict[int, float]:
    apart = [" ".join(measure) for measure in _GLUED.findall(normal(text))]
    joined = ["".join(code) for code in _SPACED.findall(normal(text))]
    vector = _EMBEDDER.embed_document(" ".join([_words(text), *apart, *joined]))
    return dict(zip(vector.indices, vector.values, strict=True))


def embed_query(text: str) -> SparseVector | None:
    """Weight 1 for each different word of a query; None if it has no words.

    Measures are taken apart ("16gb" to "16 gb"), and the 's of "men's" is no word: a text with one may be any boy's.
    """
    text = _POSSESSIVE.sub("", _GLUED.sub(r"\1 \2", normal(text)))
    vector = _EMBEDDER.embed_query(_words(text))
    return SparseVector(vector.indices, vector.values) if vector.indices else None


def has_code(text: str) -> bool:
    """Whether a query asks for something by its number ("424522-100", "FB127A", "42 43"), not by what it is.

    That is so where one word is an article number, and no size or measure, or where none is without a digit.
    """
    words = re.findall(r"[^\W_]+", normal(text))
    return bool(words) and (all(map(_digits, words)) or bool(codes(text)))


def codes(text: str) -> dict[str, tuple[int, ...]]:
    """The article numbers in a query, as they stand there, with the numbers of the words that items have for them."""
    found: dict[str, tuple[int, ...]] = {}
    for match in _CODE.finditer(normal(text)):
        if _COUNTED.fullmatch(match.group()):
            continue
        words = {re.sub(r"[\W_]", "", match.group()), *re.findall(r"[^\W_]+", match.group())}
        numbers = [_number(word) for word in words if _is_code(word)]
        if numbers:
            found[match.group()] = tuple(number for number in numbers if number is not None)
    return found


def may_name(text: str) -> bool:
    """Whether a query of several words may be an article number as a whole: "TAN 215", "1639C Black"."""
    return _digits(text) > 0 and 1 < len(_numbers(text)) <= _LONGEST_NUMBER


def _is_code(word: str) -> bool:
    return len(word) >= 4 and _digits(word) >= 2 and not _MEASURE.fullmatch(word)


def _digits(word: str) -> int:
    return sum(map(str.isdigit, word))


def word_numbers(text: str) -> list[int]:
    """A number for each different word of an item's text and each pair of neighbours: what `required` looks for."""
    numbers = _numbers(text)
    return sorted({*numbers, *map(_pair, pairwise(numbers)), *embed_document(text).indices})


def required(phrase: str) -> list[int]:
    """The numbers that an item with all words of a phrase, each beside the next, has; empty if it has no words.

    A phrase of three words is looked for as two pairs, so an item that has both pairs apart is found as well.
    """
    numbers = _numbers(phrase)
    return [_pair(pair) for pair in pairwise(numbers)] if len(numbers) > 1 else numbers


def writings(phrase: str) -> list[str]:
    """A phrase as it is, with its measures apart, and with them as one word: items have "16 GB", or "16GB"."""
    phrase = normal(phrase)
    return list(dict.fromkeys([phrase, _GLUED.sub(r"\1 \2", phrase), _APART.sub(r"\1\2", phrase)]))


def _numbers(text: str) -> list[int]:
    """Numbers of the words in their order, those that say nothing left out."""
    text = normal(text)
    words = re.findall(r"\w+", _UNSPACED.sub(lambda run: f" {' '.join(run.group())} ", text))
    return [number for word in words if (number := _number(word)) is not None]


def stemmed(text: str) -> str:
    """The form in which two texts have the same words in any of their forms: "Jumpers" and "jumper"."""
    return re.sub(r"\w+", lambda word: str(_number(word.group()) or word.group()), text)


@lru_cache(maxsize=1 << 17)
def _number(word: str) -> int | None:
    indices = _EMBEDDER.embed_query(word).indices
    return int(indices[0]) if indices else None


def _pair(pair: tuple[int, int]) -> int:
    return (1 << 32) | zlib.crc32(pair[0].to_bytes(8) + pair[1].to_bytes(8))  # beyond every word's number


def normal(text: str) -> str:
    """One form of each character, without half surrogate pairs: they are no Unicode and would stop the embedder."""
    return unicodedata.normalize("NFKC", text.encode("utf-8", "ignore").decode())


def _words(text: str) -> str:
    """A text that the embedder cuts rightly at spaces and punctuation. Items and queries both come this way."""
    text = normal(text)
    codes = [
        re.sub(r"[\W_]", "", match.group()) for match in _JOINED.finditer(text) if not _DECIMAL.fullmatch(match.group())
    ]
    return " ".join([spaced(text), *codes])


def spaced(text: str) -> str:
    """A text in which runs of scripts without spaces are single characters and pairs of neighbours."""
    return _UNSPACED.sub(_characters_and_pairs, normal(text))


def _characters_and_pairs(match: re.Match[str]) -> str:
    run = match.group()
    return f" {' '.join([*run, *(run[i : i + 2] for i in range(len(run) - 1))])} "

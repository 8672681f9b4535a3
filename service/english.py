"""Which words are English: those of a dictionary, American spellings of them, and what shops say since it was made."""

import re
from functools import cache
from importlib.resources import files

from symspellpy import SymSpell

_COMMON = 10_000  # English words that count as targets, in order of frequency; colours are among them

# The dictionary is British. Most American spellings follow a rule: what they end in, and what the British has there.
# A rule says yes only where the British word is one, so that hardly a typing error passes for American.
_AMERICAN = (
    (re.compile(r"(?<=[^\Wou]o)r"), "ur"),  # savory, colored
    (re.compile(r"er(?=s?$)"), "re"),  # theater
    (re.compile(r"og(?=s?$)"), "ogue"),  # catalog
    (re.compile(r"(?<=[iy])z(?=e|ing|ation|able)"), "s"),  # analyze
    (re.compile(r"(?<=mo)l(?=d|t)"), "ul"),  # molding
)
# "Traveled" and "traveler" have the l of "travel" once. No rule of letters: "roled" is no word for "rolled".
_ONE_L = re.compile(r"(.{2,}[^\Wl]l)(?:ed|er|ers|ing|ings|or|ors|ous|en|ens)")

# Words that a shopper may mean though this shop does not sell it, and that the dictionary lacks: other American ones,
# and clothes, cloths, appliances and things for the home that got their names lately or far from England. No brands:
# there are too many. No "trackpants" either, which are track pants. Plurals are known by themselves.
_SHOPS_SAY = """
    airplane aluminum artifact ax chili cozy donut esthetic jewelry licorice mom multicolor multicolored mustache omelet
    orthopedic pajama pediatric plow skeptic specialty sulfate sulfur
    activewear athleisure babygrow bodycon boho bootcut bralette camo cami gilet hoody jegging jeggings mens monokini
    onesie rashguard shacket skort tankini treggings tshirt windcheater womens
    abaya anarkali churidar dupatta hanfu jutti kameez kolhapuri kurta kurti lehenga mangalsutra pashmina qipao salwar
    saree sherwani yukata
    boucle elastane houndstooth ikat lyocell microfibre tencel
    bronzer duffle kajal macaron mehndi parfum
    chromebook dashcam ebook ereader hdmi lcd magsafe oled selfie ssd subwoofer trackpad ultrabook usb
    bento kefir kombucha macchiato mandoline matcha moka sippy tagine zester
    handpiece kettlebell longboard minecart monstera plushie pouffe quilling teether wheelset yoyo
"""


def is_english(word: str) -> bool:
    """Of a folded word, in any form that the dictionary has."""
    return is_common_english(word) or _is_american(word)


def is_common_english(word: str) -> bool:
    """The same, by the words that are listed alone: quick enough for every word of every item."""
    return word in _dictionary()


@cache
def english_speller() -> SymSpell:
    """Finds common words. Its first call takes half a second."""
    speller = new_speller()
    for place, word in enumerate(_in_order()[:_COMMON]):
        if len(word) > 2:
            speller.create_dictionary_entry(word, _COMMON - place)
    return speller


def new_speller() -> SymSpell:
    return SymSpell(max_dictionary_edit_distance=2, prefix_length=7)


def _is_american(word: str) -> bool:
    if any(british != word and british in _dictionary() for british in _british(word)):
        return True
    doubled = _ONE_L.fullmatch(word)
    return doubled is not None and doubled[1] in _dictionary()


def _british(word: str) -> list[str]:
    return [spelt.sub(british, word) for spelt, british in _AMERICAN]


@cache
def _dictionary() -> frozenset[str]:
    return frozenset([*_in_order(), *_SHOPS_SAY.split()])


@cache
def _in_order() -> tuple[str, ...]:
    """The words of symspellpy's dictionary, the commonest first."""
    text = (files("symspellpy") / "frequency_dictionary_en_82_765.txt").read_text(encoding="utf-8-sig")
    return tuple(line.split()[0] for line in text.splitlines() if line)

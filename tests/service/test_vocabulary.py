"""Which words are taken for others, and which are left: brands that a shop never had look like errors."""

import pytest

from service.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def shop() -> Vocabulary:
    """Most is about shirts, mugs and gifts."""
    vocabulary = Vocabulary()
    for _ in range(5000):
        vocabulary.learn("Black shirt, ceramic mug, leather wallet, gift set with ring", "of the best that there is")
    vocabulary.learn("Barilla by Zorn", "a talisman")
    return vocabulary


@pytest.mark.parametrize("word", ["onesie", "tankini", "savory", "airplane", "beveled", "tencel", "donuts"])
def test_words_that_other_shops_say_are_no_errors(shop: Vocabulary, word: str) -> None:
    assert shop.correct(word) == word


@pytest.mark.parametrize(
    ("brand", "like"),
    [
        ("Kartell", "martell"),  # begins otherwise
        ("Hongli", "hong"),  # two edits, to a short word
        ("Perilla", "barilla"),
        ("Zorr", "zorn"),  # four letters, and one item has the other
        ("talismon", "talisman"),  # no item is called so
    ],
)
def test_what_may_be_a_brand_is_left(shop: Vocabulary, brand: str, like: str) -> None:
    assert shop.correct(brand) == brand, f"and is no {like}"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("blakc shrit", "black shirt"),
        ("hsirt", "shirt"),
        ("shrt", "shirt"),
        ("lethre", "lethre"),  # two edits need a longer word
        ("leathrr waleet", "leather wallet"),
        ("ceraimcs", "ceramic"),
        ("barila", "barilla"),
        ("bicyle", "bicycle"),
    ],
)
def test_errors_are_corrected_to_what_is_likelier_than_a_new_word(shop: Vocabulary, typed: str, meant: str) -> None:
    assert shop.correct(typed) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ceramicmug", "ceramic mug"),
        ("giftset", "gift set"),
        ("red Leathershirt", "red leather shirt"),
        ("mugbarilla", "mugbarilla"),  # one item alone is called so
    ],
)
def test_words_written_as_one_are_taken_apart(shop: Vocabulary, typed: str, meant: str) -> None:
    assert shop.correct(typed) == meant


def test_a_rare_word_that_begins_a_common_one_is_completed() -> None:
    vocabulary = Vocabulary()
    vocabulary.learn("", "leathe, of linen in line")
    for _ in range(5):
        vocabulary.learn("Leather shoe")
        vocabulary.learn("Shoe horn")
    assert vocabulary.complete("leathe") == "leather"
    assert vocabulary.complete("shoe") == "shoe", "a common word is whole"
    assert vocabulary.complete("line") == "line", "and so is one that nothing much commoner begins with"
    for title in ("Lace", "Laces", "Laces"):
        vocabulary.learn(title)
    assert vocabulary.complete("lace") == "lace"


def test_of_completions_that_are_as_common_the_shortest_wins() -> None:
    vocabulary = Vocabulary()
    vocabulary.learn("Stool, stools, stoolless")
    assert vocabulary.complete("stoo") == "stool"


def test_the_words_of_a_small_shop_of_another_language_are_no_english_ones() -> None:
    vocabulary = Vocabulary()
    vocabulary.learn("Stiefel")
    assert vocabulary.correct("lampe decke") == "lampe decke"


def test_plurals_of_the_shops_own_words_are_no_errors() -> None:
    vocabulary = Vocabulary()
    vocabulary.learn("Pravox")
    assert vocabulary.correct("pravoxs pravoxes") == "pravoxs pravoxes"
    assert vocabulary.correct("pravoxe") == "pravox"


def test_a_letter_is_the_same_however_its_accent_is_written() -> None:
    vocabulary = Vocabulary()
    vocabulary.learn("Cafe\u0301 table, İstanbul tray")
    assert vocabulary.complete("caf") == "café"
    assert vocabulary.complete("istan") == "istanbul"
    assert vocabulary.is_its_own("cafe\u0301 table")
    assert vocabulary.is_its_own("café table")

"""Ways to ask for one thing that have the same suggestions. No service needed."""

import pytest

from service.suggest import Suggester, Suggestion


@pytest.fixture
def suggester() -> Suggester:
    suggester = Suggester()
    titles = ["Men Analog Watch", "Women's Red Shirt", "Brass Buttons", "Blue Lamp, Oak"]
    suggester.add([Suggestion(title, "title") for title in titles])
    return suggester


def texts(suggester: Suggester, typed: str) -> list[str]:
    return [one.text for one in suggester.suggest(typed, 5)]


@pytest.mark.parametrize("typed", ["mens watch", "men's watch", "men’s wat", "watch mens", "watch for men", "the mens"])
def test_endings_and_connecting_words_do_not_count(suggester: Suggester, typed: str) -> None:
    assert texts(suggester, typed) == ["Men Analog Watch"]


@pytest.mark.parametrize("typed", ["womens shirt", "red shirt for women", "shirts with red", "lamps in"])
def test_they_do_not_in_titles_either(suggester: Suggester, typed: str) -> None:
    assert len(texts(suggester, typed)) == 1


@pytest.mark.parametrize("typed", ["lams oak", "bras oak", "for the"])
def test_the_s_of_another_word_counts(suggester: Suggester, typed: str) -> None:
    assert texts(suggester, typed) == []


def test_a_word_with_an_ending_finds_those_without_beside_its_own(suggester: Suggester) -> None:
    suggester.add([Suggestion("Mens Belt", "title")])
    assert sorted(texts(suggester, "mens")) == ["Men Analog Watch", "Mens Belt"]


def test_two_letters_are_too_few_to_be_mistyped(suggester: Suggester) -> None:
    assert texts(suggester, "rad") == ["Women's Red Shirt"]
    assert texts(suggester, "rz") == []


def test_texts_too_long_or_short_to_be_typed_are_not_suggested(suggester: Suggester) -> None:
    long = Suggestion("Lamp " + "of oak " * 20, "title")
    suggester.add([long, Suggestion("b", "attribute")])
    assert texts(suggester, "lamp") == ["Blue Lamp, Oak"]
    assert sorted(texts(suggester, "b")) == ["Blue Lamp, Oak", "Brass Buttons"]
    suggester.remove([long])
    assert texts(suggester, "lamp") == ["Blue Lamp, Oak"]


def test_the_same_words_are_suggested_once(suggester: Suggester) -> None:
    suggester.add([Suggestion(one, "title") for one in ("Wall clock, oak", "Oak wall clock", "Oak wall-clock")])
    suggester.add([Suggestion("Wall clock", "category")])
    assert texts(suggester, "wall") == ["Wall clock", "Oak wall-clock"]


def test_a_title_is_known_however_it_is_written(suggester: Suggester) -> None:
    assert "men  ANALOG watch " in suggester
    assert "analog watch" not in suggester


def test_an_accent_is_one_letter_however_a_feed_writes_it(suggester: Suggester) -> None:
    of_a_mac = Suggestion("Cafe\u0301 set", "title")
    suggester.add([of_a_mac])
    for typed in ("caf\u00e9", "CAFE\u0301 s", "set caf\u00e9"):
        assert texts(suggester, typed) == [of_a_mac.text]
    assert "caf\u00e9 SET" in suggester
    suggester.add([Suggestion("Caf\u00e9 set", "title")])
    assert len(texts(suggester, "caf\u00e9")) == 1, "the same phrase of two items"
    suggester.remove([of_a_mac])
    assert len(texts(suggester, "caf\u00e9")) == 1
    for _ in range(2):
        suggester.searched("cre\u0300me")
    assert texts(suggester, "cr\u00e8") == ["cr\u00e8me"]
    suggester.add([Suggestion("E\u0301T-901", "attribute")])
    assert suggester.only("\u00e9t-9") == "\u00e9t-901"


def test_the_only_phrase_that_begins_so(suggester: Suggester) -> None:
    suggester.add([Suggestion("BR-901", "attribute"), Suggestion("BR-901 Red", "attribute")])
    assert suggester.only("br-9") == "br-901", "with red or without"
    suggester.add([Suggestion("BR-977", "attribute")])
    assert suggester.only("br-9") is None
    assert suggester.only("zz") is None

"""Which words are English, and which are misspelt."""

import pytest

from service.english import is_english


@pytest.mark.parametrize(
    "word", ["colored", "theater", "catalogs", "analyze", "molding", "savory", "traveler", "woolen"]
)
def test_american_spellings_are_english(word: str) -> None:
    assert is_english(word)


@pytest.mark.parametrize("word", ["donut", "airplane", "onesie", "tencel", "kurta"])
def test_words_that_shops_say_are_english(word: str) -> None:
    assert is_english(word)


@pytest.mark.parametrize("word", ["caled", "roler", "yelow", "jackt", "watchs", "xqzzvw"])
def test_errors_do_not_pass_for_american(word: str) -> None:
    assert not is_english(word)

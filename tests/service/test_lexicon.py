"""What words and phrases of the same items do together. No service needed."""

import pytest

from service.lexicon import Lexicon


def learned(title: str, **attributes: str | list[str]) -> dict[str, object]:
    return {"title": title, "description": "", "category": [], "attributes": attributes}


@pytest.fixture
def lexicon() -> Lexicon:
    lexicon = Lexicon()
    lexicon.learn(learned("Striped mug", article="KC-1764", sizes=["350 ml", "1639C Black"]))
    lexicon.learn(learned("Grey stripes", article="8903414089079"))
    lexicon.learn(learned("Hub (424522-100)", article="KC-1801"))
    return lexicon


def texts(lexicon: Lexicon, typed: str) -> list[str]:
    return [one.text for one in lexicon.suggest(typed, 5)]


def test_values_that_are_several_in_one_are_not_suggested(lexicon: Lexicon) -> None:
    lexicon.learn(learned("Shirt", who="Men, Women", fit="Women and Girls", material=["Womens linen"]))
    assert texts(lexicon, "wom") == ["Womens linen"]


@pytest.mark.parametrize(
    ("typed", "numbers"),
    [
        ("kc-1", ["KC-1764", "KC-1801"]),
        ("KC-17", ["KC-1764"]),
        ("8903", ["8903414089079"]),
        ("4245", ["424522-100"]),
        ("1639c b", ["1639C Black"]),
        ("KC17", ["KC-1764"]),
        ("1639cbl", ["1639C Black"]),
        ("kc", []),  # it may be anything
        ("17", []),
    ],
)
def test_an_article_number_is_suggested_by_its_beginning(lexicon: Lexicon, typed: str, numbers: list[str]) -> None:
    assert sorted(texts(lexicon, typed)) == sorted(numbers)


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("KC-17", "kc-1764"),
        ("mug kc-17", "mug kc-1764"),
        ("4245", "424522-100"),
        ("1639", "1639c black"),
        ("1639c b", "1639c black"),
        ("KC17", "kc-1764"),
        ("mug kc17", "mug kc-1764"),
        ("4245221", "424522-100"),
        ("kc1", "kc1"),  # two, as they are written
        ("kc-1", "kc-1"),  # two begin so
        ("mug 1639", "mug 1639"),  # nobody said that it is black
        ("mug 12", "mug 12"),
        ("grey strip", "grey stripes"),
    ],
)
def test_the_only_article_number_that_begins_so_is_completed(lexicon: Lexicon, typed: str, whole: str) -> None:
    assert lexicon.complete(typed) == whole


def test_an_article_number_that_is_a_title_too_is_suggested_once(lexicon: Lexicon) -> None:
    lexicon.learn(learned("KC-2001"))
    lexicon.learn(learned("Tray", article="kc-2001"))
    assert texts(lexicon, "kc-200") == ["KC-2001"]


def test_a_number_without_its_hyphen_is_completed_to_the_only_one(lexicon: Lexicon) -> None:
    lexicon.learn(learned("Tray", article="KC-20 Black", other="KC-20B"))
    assert lexicon.complete("kc20") == "kc20", "neither goes on from the other"
    lexicon.learn(learned("Bowl", article="KC1764"))
    assert lexicon.complete("kc176") == "kc176", "nor is one writing better than the other"
    assert sorted(texts(lexicon, "kc176")) == ["KC-1764", "KC1764"]


def test_the_number_of_an_item_that_is_gone_is_gone(lexicon: Lexicon) -> None:
    lexicon.forget(learned("Striped mug", article="KC-1764", sizes=["350 ml", "1639C Black"]))
    assert lexicon.complete("kc-1") == lexicon.complete("kc1") == "kc-1801"
    assert texts(lexicon, "1639") == []


def test_a_typing_error_is_forgiven_in_another_order(lexicon: Lexicon) -> None:
    assert texts(lexicon, "stripes gery") == ["Grey stripes"]
    assert texts(lexicon, "gum striepd") == []


def test_what_is_being_typed_is_no_typing_error(lexicon: Lexicon) -> None:
    lexicon.learn(learned("Terracotta pot"))
    lexicon.learn(learned("Terrace chair"))
    assert texts(lexicon, "terraco") == ["Terracotta pot"], "and is not meant to be a terrace"


def test_a_value_that_is_a_whole_sentence_is_not_suggested(lexicon: Lexicon) -> None:
    lexicon.learn(learned("Bowl", care="Velvet cloths alone, please, and neither soap nor water"))
    lexicon.learn(learned("Sofa", cover="Velvet"))
    assert texts(lexicon, "velv") == ["Velvet"]


def test_the_words_of_a_category_are_the_shops_own(lexicon: Lexicon) -> None:
    lexicon.learn({**learned("Bowl"), "category": ["Home", "Glimware"]})
    assert lexicon.complete("glim") == "glimware"


def test_a_word_is_completed_as_phrases_have_it_after_the_one_before(lexicon: Lexicon) -> None:
    for n in range(9):
        lexicon.learn(learned(f"Leather bag {n}", colour="Black"))
    for title in ("USB LED, 2 W", "USB LED lamp", "USB lens"):
        lexicon.learn(learned(title))
    assert lexicon.complete("le") == "leather"
    assert lexicon.complete("usb le") == "usb led"
    assert lexicon.complete("black le") == "black leather", "no phrase goes on so"
    assert lexicon.complete("usb bag") == "usb bag"

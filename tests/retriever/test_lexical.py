"""What is an article number in a query. How words find items is in the contract suite."""

import pytest

from retriever.index.lexical import embed_document, embed_query, has_code, may_name


@pytest.mark.parametrize(
    "text",
    [
        "424522-100",
        "FB127A",
        "602.456.78",
        "puma 35482901",
        "42 43",
        "DM0029-400 nike",
        "٤٢٤٥",
        "towel asvtwl322",
        "Shoes 9902D",
    ],
)
def test_a_number_that_names_a_product(text: str) -> None:
    assert has_code(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "red mug",
        "iphone 12",
        "mug 350 ml",
        "levis 501 jeans",
        "t-shirt",
        "-",
        "500ml bottle",
        "calendar 2027",
        "12-piece dinner set",
        "green 10-pack socks",
        "15-inch laptop",
        "ring 18-carat",
        "15in laptop",
        "25th anniversary mug",
        "towel 500gsm",
    ],
)
def test_words_that_say_what_a_product_is(text: str) -> None:
    assert not has_code(text)


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("TAN 215", True),
        ("CFR - 120 B", True),
        ("222-Blue", True),
        ("red mug", False),
        ("the 12", False),
        ("SD_147", False),  # one word to a phrase
        ("mug 1 2 3 4 5 6 7 8", False),
    ],
)
def test_a_number_may_have_plain_words_in_it(text: str, possible: bool) -> None:
    assert may_name(text) == possible


def test_a_word_of_the_title_counts_the_same_however_long_the_rest_is() -> None:
    title = "Wild and free mug"
    alone, other = embed_document(title), embed_document(f"{title}. {'A gift for every day of theirs. ' * 30}", title)
    weights = dict(zip(other.indices, other.values, strict=True))
    assert [weights[number] for number in alone.indices] == alone.values
    assert min(weights[number] for number in alone.indices) > weights[embed_document("gift").indices[0]] / 2


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("16gb", "pen drive 16 GB"),
        ("16 gb", "pen drive 16GB"),
        ("1.5l", "1.5 L kettle"),
        ("7W", "bulb, 7 W"),
        ("men's", "men"),
    ],
)
def test_measures_and_possessives_are_found_however_they_are_written(query: str, text: str) -> None:
    asked = embed_query(query)
    assert asked is not None
    assert set(asked.indices) <= set(embed_document(text).indices)


def test_no_other_boy_is_found_by_an_s() -> None:
    asked = embed_query("men's")
    assert asked is not None
    assert not set(asked.indices) & set(embed_document("Baby Boy’s shirt, U.S. Polo").indices)


@pytest.mark.parametrize(
    ("text", "typed"), [("palito PLO 166 watch", "plo166"), ("IN 91390001", "in91390001"), ("418383 002", "418383002")]
)
def test_a_number_written_apart_is_found_written_as_one(text: str, typed: str) -> None:
    asked = embed_query(typed)
    assert asked is not None
    assert set(asked.indices) <= set(embed_document(text).indices)


@pytest.mark.parametrize("text", ["Pack 100", "SIZE 42", "iPhone 12", "Fall 2011", "TOP 10", "set of 300"])
def test_words_beside_a_number_stay_apart(text: str) -> None:
    word, number = text.split()[-2:]
    asked = embed_query(word + number)
    assert asked is not None
    assert not set(asked.indices) & set(embed_document(text).indices)

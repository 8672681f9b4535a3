"""What is an article number in a query. How words find items is in the contract suite."""

import pytest

from retriever.index.lexical import has_code


@pytest.mark.parametrize(
    "text",
    ["424522-100", "FB127A", "602.456.78", "puma 35482901", "42 43", "DM0029-400 nike", "٤٢٤٥", "towel asvtwl322"],
)
def test_a_number_that_names_a_product(text: str) -> None:
    assert has_code(text)


@pytest.mark.parametrize(
    "text",
    ["", "red mug", "iphone 12", "mug 350 ml", "levis 501 jeans", "t-shirt", "-", "500ml bottle", "calendar 2027"],
)
def test_words_that_say_what_a_product_is(text: str) -> None:
    assert not has_code(text)

"""Numbers on the benchmarks' command lines."""

import argparse

import pytest

from benchmarks.arguments import number, numbers


def test_numbers_have_units() -> None:
    assert numbers("1k,20k,1M,7") == [1000, 20_000, 1_000_000, 7]
    assert number("20k") == 20_000


@pytest.mark.parametrize("text", ["", "0", "-1", "8,", "many", "1.5"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="1k,20k"):
        numbers(text)


def test_one_number_is_not_several() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="one number"):
        number("1,8")

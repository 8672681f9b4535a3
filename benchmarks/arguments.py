"""Kinds of arguments that the benchmarks' command lines share."""

import argparse


def numbers(text: str) -> list[int]:
    """`1k,20k,1M` → [1000, 20000, 1000000]; each is at least 1."""
    units = {"k": 1000, "M": 1_000_000}
    try:
        found = [int(part.rstrip("kM")) * units.get(part[-1:], 1) for part in text.split(",")]
    except ValueError:
        found = []
    if min(found, default=0) < 1:
        raise argparse.ArgumentTypeError(f"must be numbers such as 1k,20k,1M, not {text!r}")
    return found


def number(text: str) -> int:
    """One of these: `20k` → 20000."""
    found = numbers(text)
    if len(found) > 1:
        raise argparse.ArgumentTypeError(f"must be one number, not {text!r}")
    return found[0]

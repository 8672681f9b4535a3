"""A product feed as a file, and what is read of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from examples.products import Product, Rejected, read_products

Feed = Callable[..., list[Product | Rejected]]


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    def read(content: str | bytes, name: str = "feed.csv") -> list[Product | Rejected]:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(read_products(tmp_path / name))

    return read

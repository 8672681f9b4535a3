"""Catalogues of any size: payloads from the demonstration products, vectors scattered around real ones.

A generated item's tokens are those of a demonstration product's text with noise, so that some items are near to a
query and most are far, as in a shop. Everything follows from the item's number.
"""

import asyncio
import itertools
from pathlib import Path

import numpy as np
from tqdm import tqdm

from examples.demo_catalogue import products
from examples.demo_catalogue.palette import COLOURS, PATTERNS
from retriever import ItemInput, Retriever, item_text
from retriever.arrays import Floats
from retriever.index import IndexedItem, ItemIndex, open_index
from service.payload import indexed
from service.schemas import ItemFields

_NOISE = 0.8  # length of what is added to a token of length 1
_BATCH = 256
_MOMENT = "2026-01-31T12:00:00.000+00:00"


def texts(count: int) -> list[str]:
    """Texts of the demonstration products, over and over."""
    own = [item_text(one.title, one.description, one.category, one.attributes) for one in products()]
    return list(itertools.islice(itertools.cycle(own), count))


def queries(count: int) -> list[str]:
    """Different queries of three to five words, so that no cache answers."""
    kinds = sorted({product.kind.name for product in products()})
    words = itertools.product(("", "cheap ", "new ", "small ", "large ", "light "), COLOURS, PATTERNS, kinds)
    made = [f"{first}{colour} {pattern} {kind}" for first, colour, pattern, kind in words]
    np.random.default_rng(0).shuffle(made)
    return list(itertools.islice(itertools.cycle(made), count))


class Generator:
    """Items by their number."""

    def __init__(self, retriever: Retriever) -> None:
        self._products = list(products())
        own = [item_text(one.title, one.description, one.category, one.attributes) for one in self._products]
        parts = [retriever.encode_items([ItemInput(text=text) for text in own[i : i + 8]]) for i in range(0, 300, 8)]
        self._tokens = np.concatenate(parts)  # (300, Q, D)

    def tokens(self, number: int) -> Floats:
        """`(Q, D)` unit vectors."""
        own = self._tokens[number % len(self._tokens)]
        noise = np.random.default_rng(number).standard_normal(own.shape, dtype=np.float32)
        noisy = own + _NOISE / np.sqrt(own.shape[-1]) * noise
        unit: Floats = (noisy / np.linalg.norm(noisy, axis=-1, keepdims=True)).astype(np.float32)
        return unit

    def item(self, number: int) -> IndexedItem:
        product = self._products[number % len(self._products)]
        fields = ItemFields(
            id=f"{product.id}-{number}",
            title=f"{product.title} {number}",
            description=product.description,
            category=product.category,
            price=round(product.price * (0.5 + number % 97 / 97), 2),
            stock=number % 12,
            attributes=dict(product.attributes),
        )
        payload = {
            **fields.model_dump(),
            "images": [],
            "version": 1,
            "created_at": _MOMENT,
            "updated_at": _MOMENT,
        }
        return indexed(payload, self.tokens(number))


def fill(data_dir: Path, retriever: Retriever, count: int) -> None:
    """Writes `count` generated items as the service stores them, embedded in `data_dir`; keeps those that are there."""

    async def write() -> None:
        index: ItemIndex = await open_index(
            data_dir=data_dir, dim=retriever.config.embed_dim, model_id=retriever.model_id
        )
        try:
            there = await index.count()
            generator = Generator(retriever)
            with tqdm(total=count, initial=there, desc="generated items", unit="item", leave=False) as bar:
                for start in range(there, count, _BATCH):
                    numbers = range(start, min(start + _BATCH, count))
                    await index.upsert([generator.item(number) for number in numbers])
                    bar.update(len(numbers))
        finally:
            await index.close()

    asyncio.run(write())

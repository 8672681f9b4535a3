"""Measure search by a picture with words beside it: `python -m training.composed --items items.jsonl`.

"This, but in red": each product's picture is searched with another value of one of its attributes, and what answers are
the products of its category that have this value, and its gender unless that was asked for. Where several values are
possible one is drawn, the same in every run. The index is the service's, and ranks as the service does.

The task is composed image retrieval, as of FashionIQ (Wu et al., arXiv 1905.12794), with attributes for words.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import retriever
from retriever import ItemInput, Retriever, item_text
from retriever.arrays import Floats
from retriever.index import IndexedItem, ItemIndex, open_index, picture_query
from training import catalogue
from training.arguments import make_room
from training.markdown import markdown_table
from training.metrics import SHOWN, bootstrap_intervals, first_rank_metrics
from training.picture_folder import PictureFolder, open_picture

PHRASES = {"colour": "in {}", "color": "in {}", "gender": "for {}"}  # any other value is asked for as it is
DEPTH = 100  # hits read; an answer behind them counts as the one after
_BATCH = 64


@dataclass(frozen=True)
class Product:
    item_id: str
    picture: Path
    text: str
    category: tuple[str, ...]
    values: Mapping[str, str]  # lower case


@dataclass(frozen=True)
class Change:
    """A product, the words beside its picture, and the products that answer."""

    product: int
    words: str
    answers: frozenset[int]


def products(path: Path, images: Path) -> list[Product]:
    """The catalogue's products that have a picture.

    Raises:
        ValueError: a line is not an item, or no item has a picture.
    """
    folder, found = PictureFolder(images), []
    for item, (item_id, *_) in catalogue.items(path):
        if item_id not in folder:
            continue
        category, attributes = tuple(catalogue.category_of(item.get("category"))), item.get("attributes") or {}
        text = item_text(item.get("title"), item.get("description"), category, attributes)
        values = {name.lower(): value.strip().lower() for name, value in attributes.items() if isinstance(value, str)}
        found.append(Product(item_id, folder.path(item_id), text, category, values))
    if not found:
        raise ValueError(f"no item of {path} has a picture in {images}")
    return found


def changes(shop: Sequence[Product], attribute: str) -> list[Change]:
    """One for each product that has the attribute, where another of its kind has another value of it."""
    by_kind: dict[tuple[Any, ...], dict[str, set[int]]] = {}  # kind → value → products
    for number, product in enumerate(shop):
        if value := product.values.get(attribute):
            by_kind.setdefault(_kind(product, attribute), {}).setdefault(value, set()).add(number)
    rng, drawn = np.random.default_rng(0), []
    for number, product in enumerate(shop):
        own = product.values.get(attribute)
        others = sorted(by_kind[_kind(product, attribute)].keys() - {own}) if own else []
        if others:
            value = others[rng.integers(len(others))]
            answers = frozenset(by_kind[_kind(product, attribute)][value])
            drawn.append(Change(number, PHRASES.get(attribute, "{}").format(value), answers))
    return drawn


async def measure(
    model: Retriever, shop: Sequence[Product], asked: Mapping[str, Sequence[Change]], share: float
) -> dict[str, dict[str, dict[str, Floats]]]:
    """Metrics of every change, by attribute and by what was searched with: its picture, its words, or both."""
    texts = [product.text or None for product in shop]
    fused, pictures = _encode(model, shop, texts, "items"), _encode(model, shop, [None] * len(shop), "pictures")
    with tempfile.TemporaryDirectory() as folder:
        index = await open_index(data_dir=Path(folder), dim=model.config.embed_dim, model_id=model.model_id)
        try:
            for start in range(0, len(shop), _BATCH):
                part = range(start, min(start + _BATCH, len(shop)))
                await index.upsert([IndexedItem(str(n), fused[n], shop[n].text, {}) for n in part])
            found: dict[str, dict[str, dict[str, Floats]]] = {}
            for attribute, of_attribute in asked.items():
                ranks: dict[str, list[int]] = {"picture": [], "words": [], "both": []}
                for change in tqdm(of_attribute, desc=attribute, unit="search"):
                    words = model.encode_queries([change.words])[0]  # (D,)
                    both = picture_query.query_vectors(pictures[change.product], words, share)
                    for name, rows, text, weight in (
                        ("picture", picture_query.query_vectors(pictures[change.product]), "", 0.0),
                        ("words", words, change.words, None),
                        ("both", both, change.words, picture_query.lexical_weight(change.words, share)),
                    ):
                        ranks[name].append(await _first(index, rows, text, weight, change))
                found[attribute] = {name: first_rank_metrics(np.array(own)) for name, own in ranks.items()}
            return found
        finally:
            await index.close()


async def _first(index: ItemIndex, rows: Floats, text: str, weight: float | None, change: Change) -> int:
    """The rank of the first answer, the product itself left out."""
    result = await index.search(rows, text, limit=DEPTH, lexical_weight=weight)
    others = [int(hit.id) for hit in result.hits if int(hit.id) != change.product]
    return next((rank for rank, other in enumerate(others, start=1) if other in change.answers), DEPTH + 1)


def _encode(model: Retriever, shop: Sequence[Product], texts: Sequence[str | None], what: str) -> Floats:
    parts = []
    for start in tqdm(range(0, len(shop), _BATCH), desc=what, unit="batch"):
        part = slice(start, start + _BATCH)
        both = zip(shop[part], texts[part], strict=True)
        parts.append(model.encode_items([ItemInput(open_picture(one.picture), text) for one, text in both]))
    return np.concatenate(parts)  # (N, Q, D)


def _kind(product: Product, attribute: str) -> tuple[Any, ...]:
    """What an answer has in common with the product when this attribute is changed."""
    return product.category, None if attribute == "gender" else product.values.get("gender")


def _row(attribute: str, name: str, metrics: Mapping[str, Floats]) -> list[str]:
    chosen = {metric: metrics[metric] for metric in SHOWN}
    intervals = bootstrap_intervals(chosen)
    cells = [
        f"{100 * values.mean():.1f} ({100 * intervals[metric][0]:.1f}–{100 * intervals[metric][1]:.1f})"
        for metric, values in chosen.items()
    ]
    return [f"{attribute} ({len(metrics['mean'])})", name, *cells]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.composed", description="Measure search by a picture with words beside it."
    )
    parser.add_argument("--items", type=Path, required=True, help="items.jsonl of a catalogue")
    parser.add_argument("--images", type=Path, help="pictures by item id (images/ beside the items)")
    parser.add_argument("--model", default="compact", help="shipped name, checkpoint folder or hub name (compact)")
    parser.add_argument("--attributes", nargs="+", default=["colour", "gender", "brand", "pattern"], metavar="NAME")
    parser.add_argument(
        "--words", type=float, default=picture_query.WORDS, help=f"how much words count ({picture_query.WORDS})"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the metrics of every search")
    options = parser.parse_args(arguments)
    if not 0 <= options.words <= 1:
        parser.error(f"--words is a share, from 0 to 1, not {options.words}")
    try:
        _run(options)
    except (ValueError, OSError) as error:  # pictures that cannot be read among them
        parser.exit(2, f"{parser.prog}: {error}\n")


def _run(options: argparse.Namespace) -> None:
    shop = products(options.items, options.images or options.items.parent / "images")
    asked = {name: drawn for name in options.attributes if (drawn := changes(shop, name.lower()))}
    if not asked:
        raise ValueError(f"{options.items}: no two products of a category differ in {', '.join(options.attributes)}")
    if options.json:
        make_room(options.json, "--json")
    found = asyncio.run(measure(retriever.load(options.model), shop, asked, options.words))
    rows = [_row(attribute, name, metrics) for attribute, by in found.items() for name, metrics in by.items()]
    print(markdown_table([["changed (searches)", "searched with", *SHOWN], *rows]))
    if options.json:
        values = {
            attribute: {name: {metric: own.tolist() for metric, own in metrics.items()} for name, metrics in by.items()}
            for attribute, by in found.items()
        }
        options.json.write_text(json.dumps(values))


if __name__ == "__main__":
    main()

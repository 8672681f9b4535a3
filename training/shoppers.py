"""Simulated shoppers: `python -m training.shoppers --items items.jsonl --log runs/shoppers/events`.

They search a catalogue with a model, look and click, and leave the log that the service would have written, so that
`training.prepare events` can be tried, and measured, without a shop: here the right answers are known.

They follow the position-based click model (Craswell et al., "An experimental comparison of click position-bias models",
WSDM 2008) as Joachims et al. (arXiv 1608.04468, §6) simulate it: a hit at place k is looked at with probability
(1 / k)^η; looked at, it is clicked if it answers the query, and with a small probability if it does not. Queries are as
unequally popular as a power law makes them, and some items are out of stock at any time, so that the others move up.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import retriever
from retriever.scoring import maxsim
from training import catalogue
from training.arguments import count
from training.collate import Collator
from training.data import normalise
from training.encode import encode_items, encode_queries
from training.features import FeatureCache
from training.formats import read_gallery, read_valid
from training.json_records import FormatError
from training.picture_folder import PictureFolder

SHOWN = 20  # hits on a page
ETA = 1.0  # how fast attention falls
RIGHT, WRONG = 0.9, 0.1  # chance of a click on what is looked at, if it answers the query and if not
BOUGHT = 0.2  # of the clicks on what answers it
OUT_OF_STOCK = 0.1
POPULARITY = 0.7  # exponent of the power law


@dataclass(frozen=True)
class Shop:
    """Queries, their answers, and how a model ranks the items for them."""

    item_ids: list[str]
    queries: list[str]
    answers: list[set[int]]  # by query, columns of item_ids
    ranking: np.ndarray  # (queries, items) columns, the best first


def known_answers(items: Path, item_ids: Sequence[str], excluded: set[str]) -> dict[str, set[int]]:
    """Queries that the items' own fields answer, each with every item that answers it."""
    column = {item_id: n for n, item_id in enumerate(item_ids)}
    answers: dict[str, set[int]] = {}
    for item, _ in catalogue.items(items):
        for query, _ in catalogue.pairs(item):
            normal = normalise(query)
            if normal and normal not in excluded and item["item_id"] in column:
                answers.setdefault(normal, set()).add(column[item["item_id"]])
    return answers


@torch.inference_mode()
def open_shop(options: argparse.Namespace) -> Shop:
    """Raises FormatError, FileNotFoundError: a file is missing or not in its format, or both have no item in common."""
    gallery = list(read_gallery(options.gallery))
    item_ids = [item.item_id for item in gallery]
    excluded = {normalise(query.query) for path in options.without for query in read_valid(path)}
    answers = known_answers(options.items, item_ids, excluded)
    if not answers:
        raise FormatError(f"no field of {options.items} makes a query for an item of {options.gallery}")
    model = retriever.load(options.model)
    pictures = PictureFolder(options.images)
    paths = [pictures.find(item_id) for item_id in item_ids]
    cache = FeatureCache(options.features, model.model.vision, model.processor)
    cache.add([path for path in paths if path])
    collator = Collator(model.processor, cache)
    tokens = encode_items(model.model, collator, [item.text for item in gallery], paths)  # (N, Q, D)
    queries = list(answers)
    scores = maxsim(encode_queries(model.model, collator, queries), tokens)  # (M, N)
    return Shop(item_ids, queries, list(answers.values()), scores.argsort(dim=1, descending=True).numpy())


def sessions(shop: Shop, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """The log of so many searches: each search, followed by what its shopper did."""
    rng = np.random.default_rng(seed)
    popularity = 1.0 / np.arange(1, len(shop.queries) + 1) ** POPULARITY
    popularity = rng.permutation(popularity / popularity.sum())
    looked_at = (1.0 / np.arange(1, SHOWN + 1)) ** ETA
    for number in range(count):
        query = int(rng.choice(len(shop.queries), p=popularity))
        in_stock = rng.random(len(shop.item_ids)) >= OUT_OF_STOCK
        ranking = shop.ranking[query]
        shown = ranking[in_stock[ranking]][:SHOWN].tolist()
        search_id = f"{seed:08x}{number:024x}"
        items = [shop.item_ids[column] for column in shown]
        common = {"time": "2000-01-01T00:00:00.000+00:00", "search_id": search_id}
        facts = {"query": shop.queries[query], "model_id": "simulated", "offset": 0, "items": items}
        yield {**common, "kind": "search", **facts}
        looks = rng.random(len(shown)) < looked_at[: len(shown)]
        clicks, buys = rng.random(len(shown)), rng.random(len(shown))
        for place in np.flatnonzero(looks).tolist():
            right = shown[place] in shop.answers[query]
            if clicks[place] < (RIGHT if right else WRONG):
                event = {**common, "item_id": items[place], "position": place}
                yield {**event, "kind": "click"}
                if right and buys[place] < BOUGHT:
                    yield {**event, "kind": "purchase"}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.shoppers", description="Simulated shoppers' event log.")
    parser.add_argument("--model", default="compact", help="what ranks for them (compact)")
    parser.add_argument("--items", type=Path, required=True, help="items.jsonl, whose fields say what answers what")
    parser.add_argument("--gallery", type=Path, required=True, help="gallery file: the texts that items are found by")
    parser.add_argument("--images", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--without", type=Path, nargs="*", default=[], help="valid files whose queries nobody types")
    parser.add_argument("--sessions", type=count, default=20_000, help="searches (20000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True, help="folder of the log to write")
    parser.add_argument("--features", type=Path, default=Path("runs/features"), help="where picture features are kept")
    options = parser.parse_args(arguments)
    try:
        _run(options)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _run(options: argparse.Namespace) -> None:
    options.log.mkdir(parents=True, exist_ok=True)
    shop = open_shop(options)
    with (options.log / "simulated.jsonl").open("w", encoding="utf-8") as file:
        progress = tqdm(total=options.sessions, desc="sessions", unit="search")
        for record in sessions(shop, options.sessions, options.seed):
            progress.update(record["kind"] == "search")
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        progress.close()
    print(
        f"{options.log}: {options.sessions:,} searches of {len(shop.queries):,} queries, {len(shop.item_ids):,} items"
    )


if __name__ == "__main__":
    main()

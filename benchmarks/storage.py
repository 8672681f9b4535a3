"""`python -m benchmarks.storage items.jsonl`: what an item costs, on disk and in time, in the embedded engine.

Items are real (lines of `item_id`, `title`, `description`, `category`, `attributes`, `price`; without a file, the
demonstration catalogue over and over), and so are their payload, BM25 vector and field indexes. Their embeddings are
random: an embedding's bytes do not depend on what it says. Times are of the processor (all threads), so that other work
on the machine does not count. docs/scaling.md builds on the figures.
"""

import argparse
import asyncio
import itertools
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import retriever
from benchmarks.process import cpu_seconds, resident_bytes
from examples.demo_catalogue import products
from retriever import ItemInput
from retriever.index import ItemIndex, open_index
from service.catalogue_scan import CatalogueScan
from service.lexicon import Lexicon
from service.payload import indexed
from service.schemas import ItemFields

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0].partition(": ")[2])
    parser.add_argument("items", nargs="?", type=Path, help="JSON lines; without them the demonstration catalogue")
    parser.add_argument("--count", type=int, default=5000, help="items to store; a file's are repeated")
    parser.add_argument("--dim", type=int, default=384, help="D of the model (compact: 384)")
    parser.add_argument("--tokens", type=int, default=8, help="query tokens of the model, times pictures of an item")
    parser.add_argument("--encode", type=int, default=0, help="items to encode with the shipped model as well")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), args))


async def measure(folder: Path, args: argparse.Namespace) -> None:
    """Prints one line a part of the store, and the times."""
    source = list(from_file(args.items) if args.items else from_demo())
    random = np.random.default_rng(0)
    index = await open_index(data_dir=folder, dim=args.dim, model_id="benchmark")
    seconds, payload_bytes = 0.0, 0
    for start in tqdm(range(0, args.count, BATCH), unit="batch"):
        items = []
        for number in range(start, min(start + BATCH, args.count)):
            fields = source[number % len(source)]
            payload = {**fields.model_dump(), "id": f"item-{number}", **KEPT}
            payload_bytes += len(json.dumps(payload, ensure_ascii=False).encode())
            tokens = random.normal(size=(args.tokens, args.dim)).astype(np.float32)  # (T, D)
            items.append(indexed(payload, tokens))
        started = processor(index)
        await index.upsert(items)
        seconds += processor(index) - started
    queries = random.normal(size=(50, args.dim)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    started = processor(index)
    for query, fields in zip(queries, itertools.cycle(source), strict=False):
        await index.search(query, fields.title, limit=20)
    each = (processor(index) - started) / len(queries)

    lexicon, before = Lexicon(), resident_bytes(os.getpid(), "RssAnon")
    await CatalogueScan(lexicon).run(index, None)
    learned = resident_bytes(os.getpid(), "RssAnon") - before
    await index.close()

    print(f"{args.count} items, {args.tokens} tokens of {args.dim} numbers; bytes an item:")
    for part, size in sorted(parts(folder).items(), key=lambda one: -one[1]):
        print(f"  {part:32} {size / args.count:10,.0f}")
    print(f"  (payload as JSON                 {payload_bytes / args.count:10,.0f})")
    print(f"  (suggestions, in the service's own memory {learned / args.count:,.0f})")
    print(f"write {seconds / args.count * 1000:.2f} ms an item, {BATCH} at a time; search {each * 1000:.1f} ms, exact")
    if args.encode:
        print(f"encode {encoding(source, args.encode) * 1000:.0f} ms an item with one picture; on a GPU far less")


def encoding(source: list[ItemFields], count: int) -> float:
    """Seconds of one processor that the shipped model takes for an item with a picture."""
    model = retriever.load("compact", "cpu")
    picture = next(products()).picture()
    items = [ItemInput(picture, fields.text) for fields in itertools.islice(itertools.cycle(source), count)]
    model.encode_items(items[:1])  # the first run allocates
    started = time.process_time()
    for item in items:
        model.encode_items([item])
    return (time.process_time() - started) / count


# What the service adds to the payload of an item with one picture.
KEPT: dict[str, Any] = {
    "images": [{"file": "ab/" + "0" * 32 + "/" + "0" * 32 + ".jpg", "width": 768, "height": 1024, "sha256": "0" * 64}],
    "version": 1,
    "created_at": "2026-01-31T12:00:00.000+00:00",
    "updated_at": "2026-01-31T12:00:00.000+00:00",
}


def from_file(path: Path) -> Iterator[ItemFields]:
    for line in path.read_text().splitlines():
        item = json.loads(line)
        given = {name: item[name] for name in ItemFields.model_fields if item.get(name)}
        yield ItemFields.model_validate({**given, "id": str(item["item_id"])})


def from_demo() -> Iterator[ItemFields]:
    for product in products():
        yield ItemFields.model_validate(
            {name: getattr(product, name) for name in ItemFields.model_fields if name not in ("stock", "created_at")}
        )


def processor(index: ItemIndex) -> float:
    """Seconds of this process and the engine's so far."""
    return time.process_time() + (cpu_seconds(index.engine_pid) if index.engine_pid else 0)


def parts(folder: Path) -> dict[str, int]:
    """Bytes on disk by part of the store: blocks that are taken, since files are made larger than what they hold."""
    sizes: dict[str, int] = defaultdict(int)
    for path in folder.rglob("*"):
        if path.is_file():
            names = path.relative_to(folder).parts
            inside = names[names.index("segments") + 2] if "segments" in names else names[2]
            sizes[inside] += path.stat().st_blocks * 512
    return sizes


if __name__ == "__main__":
    main()

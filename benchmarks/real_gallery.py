"""A large gallery of real texts, to measure what the index loses at a catalogue's size:
`python -m benchmarks.real_gallery --data FOLDER --size 100000 gallery.jsonl`.

The answers of fashion/attributes and captions/dev come first, then other captions and products, and then the sentences
of the products' descriptions, one by one and in pairs, each as an item. No two of these others have the same text.
"""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from benchmarks.arguments import number
from training.formats import GalleryItem, gallery_of, read_gallery, read_valid

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\s*[;|•]\s*")
_SHORTEST = 20  # characters of a sentence that says something of a product


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_gallery", description=__doc__)
    parser.add_argument("output", type=Path, help="where the gallery goes")
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder of captions, fashion, household and grocery"
    )
    parser.add_argument("--size", type=number, default=100_000, help="items at most (default: 100000)")
    options = parser.parse_args(arguments)
    count = 0
    with options.output.open("w", encoding="utf-8") as file:
        for item in tqdm(islice(_items(options.data), options.size), total=options.size, unit="item"):
            file.write(json.dumps({"item_id": item.item_id, "text": item.text}, ensure_ascii=False) + "\n")
            count += 1
    print(f"{count} items in {options.output}")


def _items(data: Path) -> Iterator[GalleryItem]:
    answers = [
        *read_gallery(data / "fashion" / "attributes.gallery.jsonl"),
        *gallery_of(list(read_valid(data / "captions" / "dev.valid.jsonl"))),
    ]
    yield from answers
    seen = {_words(item.text) for item in answers}
    for item in _others(data):
        if (words := _words(item.text)) not in seen:
            seen.add(words)
            yield item


def _others(data: Path) -> Iterator[GalleryItem]:
    yield from gallery_of(list(read_valid(data / "captions" / "train.valid.jsonl")))
    files = [
        data / "fashion" / "items.train.jsonl",
        data / "household" / "items.jsonl",
        data / "grocery" / "items.jsonl",
    ]
    products = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    for product in products:
        yield GalleryItem(product["item_id"], product["title"])
    for length in (1, 2):
        for product in products:
            sentences = _SENTENCE.split(product.get("description") or "")
            for start in range(len(sentences) - length + 1):
                text = " ".join(sentences[start : start + length])
                if len(text) >= _SHORTEST:
                    yield GalleryItem(f"{product['item_id']}-{start}-{length}", text)


def _words(text: str) -> str:
    return " ".join(text.lower().split())


if __name__ == "__main__":
    main()

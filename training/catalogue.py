"""Training pairs from a catalogue: `python -m training.catalogue items.jsonl --output pairs.json`.

A catalogue says what its products are but not what shoppers type. This writes queries that its own fields answer:
the title, the kind of product, and kinds narrowed by colour, gender, pattern, material and other short attributes.
Every product with the same fields gets the same strings, so a string's positives are complete, and the texts beside
a query leave out what the query names where the picture shows it: that is what teaches the model to look.
"""

import argparse
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from tqdm import tqdm

from retriever import item_text
from retriever.files import whole
from retriever.index.fields import steps
from training.arguments import make_room
from training.formats import read_valid, write_train
from training.json_records import FormatError, json_lines, new_id
from training.picture_folder import PictureFolder

COLOURS = (
    "navy blue|turquoise blue|sea green|lime green|fluorescent green|off white|coffee brown|grey melange|black|blue|"
    "white|brown|grey|gray|red|green|navy|purple|pink|beige|yellow|maroon|silver|olive|golden|gold|orange|steel|"
    "multi|multicolou?red|multicolou?r|cream|tan|khaki|charcoal|magenta|lavender|peach|copper|mustard|teal|bronze|"
    "rust|turquoise|skin|metallic|burgundy|taupe|nude|violet|indigo|ivory|aqua|coral|lilac|mauve|crimson|scarlet"
)
_COLOUR = re.compile(rf"\b({COLOURS})\b", re.IGNORECASE)
_WORDS = re.compile(r"[a-z0-9'&-]+")
MOST_ANSWERS = 12  # of a query to measure by: what more products answer is found by chance
_NARROWING = ("pattern", "fabric", "material", "sleeve length", "neck", "design", "type", "ideal for", "shape")
_KEEP_PLURAL = ("shoes", "jeans", "trousers", "pants", "shorts", "glasses", "leggings", "capris", "scissors", "body")


def pairs(item: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Queries that find this item, each with the texts that the item may have while it is searched for.

    An empty list of texts means that the item is to be found by its picture alone.
    """
    title, description = (item.get("title") or "").strip(), item.get("description") or ""
    category = category_of(item.get("category"))
    attributes = _attributes(item)
    kind = _kind(category, title)
    openings = opening_texts(description, title)
    colourless = _colourless(title, openings)

    fields = item_text(None, None, category, attributes)
    yield title, [text for text in (*openings, fields) if text] if openings else []
    for caption in item.get("captions") or ():
        if isinstance(caption, str):
            yield caption, []
    if kind:
        yield kind, colourless if openings else []
        for query in _narrowed(kind, attributes):
            yield query, colourless or ([title] if title else [])


def _attributes(item: Mapping[str, Any]) -> dict[str, str]:
    return {k: v for k, v in (item.get("attributes") or {}).items() if isinstance(v, str) and v.strip()}


def _colourless(title: str, openings: Sequence[str]) -> list[str]:
    """Texts without the colours that they name: the title, and the description's opening."""
    return [text for text in (_without_colour(title), *(_without_colour(part) for part in openings[:1])) if text]


def _narrowed(kind: str, attributes: Mapping[str, str]) -> Iterator[str]:
    """The kind with up to three of its short attributes, in the order in which shoppers put them."""
    lower = {name.lower(): value.strip().lower() for name, value in attributes.items()}
    gender = {"men": "men's", "women": "women's", "girls": "girls", "boys": "boys"}.get(lower.get("gender", ""))
    colour = lower.get("colour") or lower.get("color") or ""
    colour = colour if _COLOUR.fullmatch(colour) else ""
    brand = lower.get("brand", "")
    kind_words = set(_WORDS.findall(kind))
    narrowing = []
    for name in _NARROWING:
        words = _WORDS.findall(lower.get(name, ""))
        if len(words) in (1, 2) and not kind_words & {form for word in words for form in (word, word.rstrip("s"))}:
            narrowing.append((name, " ".join(words)))
    for chosen in [(), *combinations(narrowing[:4], 1), *combinations(narrowing[:3], 2)]:
        before = [value for name, value in chosen if name not in ("neck", "sleeve length")]
        after = [value for name, value in chosen if name in ("neck", "sleeve length")]
        for front in ([gender, colour], [colour], [gender]) if len(chosen) < 2 else ([colour],):
            words = [*(part for part in front if part), *before, kind, *after]
            if len(words) > 1:
                yield " ".join(words)
    if brand and brand not in kind:
        yield f"{brand} {kind}"
        if colour:
            yield f"{brand} {colour} {kind}"


def _kind(category: Sequence[str], title: str) -> str:
    """The narrowest category as a shopper would type it: lower case, singular, without the brand."""
    leaf = (category[-1] if category else title).lower()
    leaf = leaf.replace("_", " ").replace("tshirts", "t-shirts")
    words, named = leaf.split(), title.lower().split()
    if category and len(words) > 1:  # some shops put the brand before their narrowest category
        while len(words) > 1 and named[:1] == words[:1]:
            words, named = words[1:], named[1:]
    if len(words) > 5:
        return ""
    return " ".join([*words[:-1], _singular(words[-1])]) if words else ""


def _singular(word: str) -> str:
    if word.endswith(("ss", *_KEEP_PLURAL)) or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes")) else word[:-1]


def opening_texts(description: str, title: str) -> list[str]:
    """The description's first one, two and four sentences, without the title that shops like to repeat in it."""
    if title:
        description = re.sub(re.escape(title), " ", description, flags=re.IGNORECASE)
    sentences = [part.strip() for part in re.split(r"(?<=[.!?])\s+", " ".join(description.split())) if part.strip()]
    openings = dict.fromkeys(" ".join(sentences[:count])[:300].strip() for count in (1, 2, 4))
    return [opening for opening in openings if len(opening) > 8]


def _without_colour(text: str) -> str:
    return " ".join(_COLOUR.sub(" ", text).split())


_FIELDS = (
    ("title", str, "a string"),
    ("description", str, "a string"),
    ("category", str | list, "a string, or a list of them"),
    ("captions", list, "a list of strings"),
    ("attributes", dict, "an object"),
)


def category_of(value: Any) -> list[str]:
    """A category as its steps, the widest first: of a path (`Home > Kitchen`), a list, or its narrowest name alone."""
    written = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [step for part in written if isinstance(part, str) for step in steps(part)]


def items(path: Path) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each item of an `items.jsonl`, its id a string, with the ids of its pictures; `photos.jsonl` beside it adds some.

    Raises:
        FormatError: a line is not an item, or not a photo, or has an item_id seen before, and the message names file
            and line; or there is no item.
    """
    photos: dict[str, list[str]] = {}
    beside = path.with_name("photos.jsonl")
    if beside.exists() and beside.stat().st_size:  # a shop may have none
        for _, where, photo in _lines(beside):
            if "photo_of" not in photo or not isinstance(photo.get("image"), str):
                raise FormatError(f"{where}: not a photo: photo_of or image is missing")
            photos.setdefault(str(photo["photo_of"]), []).append(Path(photo["image"]).stem)
    seen: dict[str, int] = {}
    for line, where, item in _lines(path):
        image_id = new_id(item, "item_id", seen, line, where)
        for name, kind, said in _FIELDS:
            if item.get(name) and not isinstance(item[name], kind):
                raise FormatError(f"{where}: {name} must be {said}")
        yield item | {"item_id": image_id}, [image_id, *photos.get(image_id, ())]


def _lines(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """`json_lines` with a progress bar."""
    yield from tqdm(json_lines(path), desc=str(path), unit="item")


def is_held_out(item: Mapping[str, Any], share: float) -> bool:
    """Decided by a digest of the title, so that products of one title stay together."""
    return zlib.crc32(str(item.get("title", "")).lower().encode()) % 1000 < 1000 * share


def item_rows(path: Path, hold_out: float) -> Iterator[dict[str, Any]]:
    """The seed's training rows of a catalogue, without what is held out."""
    for item, image_ids in items(path):
        if is_held_out(item, hold_out):
            continue
        # Fields that are missing or alike make the same pair again, and it would be drawn more often.
        written = dict.fromkeys((query.strip().lower(), tuple(texts)) for query, texts in pairs(item) if query.strip())
        for image_id in image_ids:
            for query, texts in written:
                yield {"query_text": query, "image_id": image_id, "text_input": texts}


def learnable(rows: Iterable[dict[str, Any]], images: Path) -> Iterator[dict[str, Any]]:
    """The rows that have a text, or a picture in this folder; prints how many others there were.

    Raises:
        FormatError: two pictures in the folder carry the same id.
    """
    pictures = PictureFolder(images) if images.is_dir() else ()
    bare = 0
    for row in rows:
        if row["text_input"] or row["image_id"] in pictures:
            yield row
        else:
            bare += 1
    if bare:
        print(f"{bare:,} pairs left out: they have no text, and their items no picture in {images}")


_HELD_OUT = (".valid.jsonl", ".gallery.jsonl", ".attributes.valid.jsonl", ".attributes.gallery.jsonl")


def write_held_out(path: Path, share: float, output: Path) -> int:
    """Two sets to measure on beside `X.json`, of what is held out; returns how many queries they have.

    `X.valid.jsonl` and `X.gallery.jsonl`: known-item search by title over the openings of the descriptions.
    `X.attributes.valid.jsonl` and `X.attributes.gallery.jsonl`, where the products have such fields: kinds narrowed by
    them ("women's red printed kurta") over titles that name no colour, so that the picture has to show it. A query
    that more than `MOST_ANSWERS` products answer is left out.
    """
    titles: dict[str, dict[str, str]] = {}
    narrowed: dict[str, dict[str, str]] = {}
    colourless: dict[str, str] = {}
    for item, image_ids in items(path):
        if not is_held_out(item, share):
            continue
        title = (item.get("title") or "").strip()
        openings = opening_texts(item.get("description") or "", title)
        colourless |= dict.fromkeys(image_ids, next(iter(_colourless(title, openings)), ""))
        if title:
            titles.setdefault(title.lower(), {}).update(dict.fromkeys(image_ids, next(iter(openings), "")))
        if kind := _kind(category_of(item.get("category")), title):
            for query in _narrowed(kind, _attributes(item)):
                narrowed.setdefault(query, {}).update((image_id, colourless[image_id]) for image_id in image_ids)
    known = {item_id: text for answers in titles.values() for item_id, text in answers.items()}
    few = {query: answers for query, answers in narrowed.items() if len(answers) <= MOST_ANSWERS}
    base = output.with_suffix("")
    _write_set(f"{base}", titles, known)
    if few:
        _write_set(f"{base}.attributes", few, colourless)
    return len(titles) + len(few)


def _write_set(base: str, queries: Mapping[str, Mapping[str, str]], gallery: Mapping[str, str]) -> None:
    """Queries with the texts of the items that answer each, by item id, and the gallery that they are asked over."""
    with whole(Path(f"{base}.valid.jsonl")) as file:
        for number, (query, answers) in enumerate(queries.items()):
            file.write(json.dumps({"query_id": number, "query_text": query, "item_ids": answers}) + "\n")
    with whole(Path(f"{base}.gallery.jsonl")) as file:
        for item_id, text in gallery.items():
            file.write(json.dumps({"item_id": item_id, "text": text}) + "\n")


def caption_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Training rows of a file in the seed's `valid` format: every caption beside every query that it answers.

    Raises:
        FormatError: as `training.formats.read_valid`.
    """
    for query in read_valid(path):
        for item_id, caption in query.items.items():
            texts = [caption] if caption.strip() else []
            yield {"query_text": query.query, "image_id": item_id, "text_input": texts}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.catalogue", description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="items.jsonl of a catalogue, or queries in the seed's valid format")
    parser.add_argument("--output", type=Path, required=True, help="the training file to write (a JSON list)")
    parser.add_argument("--hold-out", type=float, default=0.0, metavar="SHARE", help="keep this share to measure on")
    options = parser.parse_args(arguments)
    if not 0 <= options.hold_out <= 1:
        parser.error(f"--hold-out is a share, from 0 to 1, not {options.hold_out}")
    queries = options.source.name.endswith(".valid.jsonl")
    if queries and options.hold_out:
        parser.error(f"--hold-out needs a catalogue: {options.source} holds queries")
    base = options.output.with_suffix("")
    beside = [Path(f"{base}{name}") for name in _HELD_OUT] if options.hold_out else []
    if options.source.resolve() in [path.resolve() for path in (options.output, *beside)]:
        parser.error(f"--output {options.output} would replace {options.source} itself: name another file")
    rows = caption_rows(options.source) if queries else item_rows(options.source, options.hold_out)
    try:
        written = learnable(rows, options.source.parent / "images")
        make_room(options.output, "--output")
        with whole(options.output) as file:  # what an earlier run wrote stays where this one fails
            count = write_train(file, ({"query_id": number, **row} for number, row in enumerate(written, start=1)))
            held_out = write_held_out(options.source, options.hold_out, options.output) if options.hold_out else 0
            if not count + held_out:
                raise FormatError(f"{options.source}: no pairs to learn from, and none held out")
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(f"{options.output}: {count:,} pairs")


if __name__ == "__main__":
    main()

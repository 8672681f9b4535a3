"""Training pairs in the seed's format → batches, drawn so that any step can be drawn again.

A batch comes from one file (a source): negatives from the same shop are harder than a handbag beside a leek. Where
`training.mine` found harder ones, half of the batches are built around those. Items are drawn evenly, so that a
product with forty queries does not count forty times; of an item's pairs, those with a query that few items answer are
drawn more often, since they say more about it. Where a file weighs its pairs (clicks do), items and pairs are drawn by
weight as well.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.formats import read_negatives, read_train
from training.json_records import FormatError
from training.picture_folder import PictureFolder, without_picture

_MARKS = ("Mn", "Mc")  # Unicode's categories of accents and vowel signs


def normalise(query: str) -> str:
    """The form in which two shoppers' queries count as the same: lower case, words only.

    A query without words, an emoji for one, stays as it is: each such query asks for something of its own.
    """
    lower, words = query.lower().strip(), ""
    for char in lower:
        # A mark is part of the word before it: Hindi words may differ in their vowel signs alone.
        mark = unicodedata.category(char) in _MARKS and words[-1:].strip()
        words += char if char.isalnum() or char == "_" or mark else " "
    return " ".join(words.split()) or lower


RARITY = 0.6  # a pair's weight falls with the number of items that answer its query, to this power
MINED = 0.5  # share of batches in which pairs meet negatives that were mined for them, where there are any


@dataclass(frozen=True)
class Batch:
    """B training pairs. A picture is a path or None; a text may be empty, but an item has one of the two."""

    queries: list[str]
    clean_queries: list[str]  # the same before a word was lost or misspelt
    pictures: list[Path | None]
    texts: list[str]
    positives: np.ndarray  # (B, B) bool: item j answers query i
    pictured: bool  # whether any item of the source has a picture, if not one of these pairs


@dataclass(frozen=True)
class Augmentation:
    """How a pair is changed before it is learned from: how often, each a probability, and by which of its captions."""

    drop_picture: float = 0.05  # training sets both by --drop-picture and --drop-text
    drop_text: float = 0.1
    drop_word: float = 0.15  # one word of a long query
    typo: float = 0.08  # two neighbouring letters swapped, or one lost or doubled
    any_caption: bool = True  # one is drawn, where there are several, and not always the first


class Pair(NamedTuple):
    """A query that finds an item, and the item's texts for this query: training draws one of them."""

    query: str
    captions: tuple[str, ...]  # none: it is to be found by its picture alone


class Source:
    """The pairs of one training file, with the pictures of one folder (or none: captions without pictures).

    Raises:
        FormatError: the file is not in the training format, no item has a picture in `images`, or no pair of an item
            has a picture or a text.
    """

    def __init__(self, path: Path, images: Path | None = None) -> None:
        self.path = path
        folder = PictureFolder(images) if images else None
        self.pairs: list[list[Pair]] = []  # by item
        weights: list[list[float]] = []  # by item and pair
        self.pictures: list[Path | None] = []  # by item
        self.items_of: dict[str, set[int]] = {}  # normalised query → items
        self.typed: dict[str, str] = {}  # normalised query → as it was typed first
        rows: dict[str, int] = {}
        for record in read_train(path):
            item = rows.setdefault(record.image_id, len(rows))
            if item == len(self.pairs):
                self.pairs.append([])
                weights.append([])
                self.pictures.append(folder.find(record.image_id) if folder is not None else None)
            normal = normalise(record.query)
            self.items_of.setdefault(normal, set()).add(item)
            self.typed.setdefault(normal, record.query)
            if self.pictures[item] is None and not record.captions:
                continue  # it answers the query, but shows nothing of itself
            self.pairs[item].append(Pair(record.query, record.captions))
            weights[item].append(record.weight)
        if folder is not None and not any(self.pictures):
            raise FormatError(f"{images}: none of the {len(rows)} items of {path} has a picture here")
        if bare := [image_id for image_id, pairs in zip(rows, self.pairs, strict=True) if not pairs]:
            where = f"a picture in {images}" if images else "a picture (FILE:PICTURES names their folder)"
            raise FormatError(f"{path}: {len(bare)} items have neither {where} nor a text, {bare[0]} is one")

        self.ids = list(rows)  # by item
        self.pictured = any(self.pictures)
        self.notes = without_picture(path, self.pictures)
        self.negatives: dict[str, list[int]] = {}  # normalised query → items that do not answer it, but seem to
        self._chances = [self._rarity(*both) for both in zip(self.pairs, weights, strict=True)]
        self.weights = np.array([sum(of_item) for of_item in weights])  # by item
        self.weighted = any(weight != 1.0 for of_item in weights for weight in of_item)

    def __len__(self) -> int:
        return len(self.pairs)

    def use_negatives(self, path: Path) -> None:
        """Read what `training.mine` wrote for this source.

        Raises:
            FormatError: the file is not in its format, or speaks of queries or items that are not in this source.
        """
        rows = {image_id: item for item, image_id in enumerate(self.ids)}
        for query, image_ids in read_negatives(path):
            if unknown := [image_id for image_id in image_ids if image_id not in rows]:
                raise FormatError(f"{path}: item {unknown[0]} is not in {self.path}; was this mined for another file?")
            if normalise(query) not in self.items_of:
                raise FormatError(f"{path}: query {query!r} is not in {self.path}; was this mined for another file?")
            self.negatives[normalise(query)] = [rows[image_id] for image_id in image_ids]

    def first_texts(self) -> list[str]:
        """The first caption of each item; empty where it has none."""
        return [next((pair.captions[0] for pair in pairs if pair.captions), "") for pairs in self.pairs]

    def draw_hard(self, size: int, rng: np.random.Generator) -> dict[int, int | None]:
        """Up to `size` items for a batch with hard negatives: each drawn item, then one mined for its query.

        As `batch` takes them: item → the pair whose query that is, or None where any will do.
        """
        drawn: dict[int, int | None] = {}
        for item in self.draw(size, rng):  # enough: each of these is in the batch in the end, or it is full before
            if len(drawn) >= size:
                break
            if item in drawn:
                continue
            drawn[item] = pair = int(rng.choice(len(self.pairs[item]), p=self._chances[item]))
            mined = self.negatives.get(normalise(self.pairs[item][pair].query), [])
            mined = [other for other in mined if other not in drawn]
            if mined and len(drawn) < size:
                drawn[mined[rng.integers(len(mined))]] = None
        return drawn

    def draw(self, size: int, rng: np.random.Generator) -> list[int]:
        """Up to `size` items, none twice: evenly, or by the weights of their pairs if the file has some."""
        chances = self.weights / self.weights.sum() if self.weighted else None
        drawn = rng.choice(len(self), size=min(size, len(self)), replace=False, p=chances)
        return drawn.tolist()  # type: ignore[no-any-return]

    def _rarity(self, pairs: Sequence[Pair], weights: Sequence[float]) -> np.ndarray:
        answers = np.array([len(self.items_of[normalise(pair.query)]) for pair in pairs], dtype=np.float64)
        shares = np.array(weights) * answers**-RARITY
        chances: np.ndarray = shares / shares.sum()
        return chances

    def batch(self, chosen: Mapping[int, int | None], rng: np.random.Generator, augmentation: Augmentation) -> Batch:
        """A pair of each of these items, the one named or one drawn, with one of its captions, augmented."""
        queries, clean_queries, pictures, texts = [], [], [], []
        for item, pair in chosen.items():
            if pair is None:
                pair = rng.choice(len(self.pairs[item]), p=self._chances[item])
            query, captions = self.pairs[item][pair]
            picture = self.pictures[item]
            drawn = rng.integers(len(captions)) if captions else 0  # for the first as well: what else is drawn stays
            text = captions[drawn if augmentation.any_caption else 0] if captions else ""
            dice = rng.random()
            if picture is not None and text:
                if dice < augmentation.drop_picture:
                    picture = None
                elif dice < augmentation.drop_picture + augmentation.drop_text:
                    text = ""
            clean_queries.append(query)
            queries.append(_augment(query, rng, augmentation))
            pictures.append(picture)
            texts.append(text)
        positives = np.zeros((len(chosen), len(chosen)), dtype=bool)
        for i, query in enumerate(clean_queries):
            answers = self.items_of[normalise(query)]
            positives[i] = [item in answers for item in chosen]
        return Batch(queries, clean_queries, pictures, texts, positives, self.pictured)


class BatchSampler:
    """`sampler.batch(step)` is a pure function of the seed and the step, so a resumed run sees the same order.

    Each step takes one source, with a chance in proportion to its items, and draws items from it without replacement.
    """

    def __init__(self, sources: Sequence[Source], batch_size: int, seed: int, augmentation: Augmentation) -> None:
        too_small = [source.path for source in sources if len(source) < 2]
        if not sources or too_small:
            raise ValueError(f"a source needs at least two items to contrast: {too_small or 'no source given'}")
        self.sources, self.batch_size, self.seed, self.augmentation = list(sources), batch_size, seed, augmentation
        sizes = np.array([len(source) for source in sources], dtype=np.float64)
        self._chances = sizes / sizes.sum()

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        source = self.sources[rng.choice(len(self.sources), p=self._chances)]
        if source.negatives and rng.random() < MINED:
            chosen = source.draw_hard(self.batch_size, rng)
        else:
            chosen = dict.fromkeys(source.draw(self.batch_size, rng))
        return source.batch(chosen, rng, self.augmentation)


def _augment(query: str, rng: np.random.Generator, augmentation: Augmentation) -> str:
    words = query.split()
    if len(words) > 3 and rng.random() < augmentation.drop_word:
        del words[rng.integers(len(words))]
    if rng.random() < augmentation.typo:
        at = int(rng.integers(len(words)))
        words[at] = _typo(words[at], rng)
    return " ".join(words)


def _typo(word: str, rng: np.random.Generator) -> str:
    if len(word) < 4:
        return word
    at = int(rng.integers(1, len(word) - 1))
    kind = rng.integers(3)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + (word[at] * 2 if kind == 1 else "") + word[at + 1 :]

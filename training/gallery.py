"""A gallery encoded in every way that an evaluation compares, and the scores of queries over it.

The modes, in the order of the table:

    fused    picture and text together, as the service ranks
    text     the text alone
    image    the picture alone
    average  the mean of the text and image scores: fusion without a model trained for it
    bm25     words in common
    hybrid   fused, with BM25 added as the index adds it
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from retriever import ItemInput, Retriever
from retriever.arrays import Floats
from retriever.scoring import maxsim
from training.bm25 import BM25, Scores, hybrid
from training.formats import GalleryItem, in_digest_order
from training.json_records import FormatError
from training.picture_folder import PictureFolder

_BATCHES_AHEAD = 2  # pictures decoded while the model works on the batch before


@dataclass(frozen=True)
class View:
    """Item tokens of the items that have this view; several items may share a row."""

    tokens: Floats  # (M, Q, D)
    rows: npt.NDArray[np.int64]  # (N,), row in `tokens` of each item of the gallery, -1 where it has none

    @property
    def has(self) -> npt.NDArray[np.bool_]:
        """`(N,)`: the items that have this view."""
        return self.rows >= 0

    def scores(self, queries: Floats) -> Scores:
        """MaxSim of queries `(B, D)` with every item: `(B, N)`, -inf where an item has no such view."""
        scores = np.full((len(queries), len(self.rows)), -np.inf, dtype=np.float32)
        if len(self.tokens):
            own = maxsim(torch.from_numpy(queries), torch.from_numpy(self.tokens)).numpy()  # (B, M)
            scores[:, self.has] = own[:, self.rows[self.has]]
        return scores


class EncodedGallery:
    """Every candidate's item tokens under each view, ready to be scored.

    Attributes:
        items: the candidates, `in_digest_order`; column n of every score is `items[n]`.
        modes: names of what `scores` gives, in the order of the table.
        notes: sentences on what could not be measured, and why.
    """

    def __init__(
        self,
        retriever: Retriever,
        items: Sequence[GalleryItem],
        pictures: PictureFolder | None,
        *,
        batch_size: int = 32,
    ) -> None:
        """Encode the gallery, with a progress bar.

        Raises:
            FormatError: a picture cannot be decoded, or there is nothing that the model can encode.
        """
        self.retriever = retriever
        self.items = in_digest_order(items)
        self.columns = {item.item_id: column for column, item in enumerate(self.items)}
        self.pictures = pictures
        pictured = [n for n, item in enumerate(self.items) if pictures is not None and item.item_id in pictures]
        self.modes: tuple[str, ...] = ("fused", "text", "image", "average", "bm25", "hybrid")
        self.notes = self._limits(pictured)
        self._bm25 = BM25([item.text for item in self.items])
        if "text" in self.modes:
            self._text = self._encode_texts(batch_size)
        else:
            self._text = self._view([], [])
        self._image, self._both = self._encode_pictures(pictured, batch_size)

    def scores(self, queries: Sequence[str]) -> dict[str, Scores]:
        """Score of every item for every query under each mode: `(B, N)`, higher is better.

        An item without a picture (or without text) is scored in the fused and average modes by what it has.
        """
        embedded = self.retriever.encode_queries(queries)  # (B, D)
        text, image = self._text.scores(embedded), self._image.scores(embedded)
        only = np.maximum(text, image)  # for the items that have one of the two
        both = self._both.has
        fused = np.where(both, self._both.scores(embedded), only)
        average = np.where(both & self._text.has, (text + image) / 2, only)
        lexical, ideal = self._bm25.scores(queries)
        scores = {
            "fused": fused,
            "text": text,
            "image": image,
            "average": average,
            "bm25": np.where(self.findable & (lexical > 0), lexical, -np.inf),  # without a word in common: no hit
            "hybrid": hybrid(fused, lexical, ideal, queries),
        }
        return {mode: scores[mode] for mode in self.modes}

    @property
    def findable(self) -> npt.NDArray[np.bool_]:
        """`(N,)`: the items that have a view at all."""
        return self._both.has | self._text.has | self._image.has

    def tokens(self, column: int) -> Floats:
        """What the fused mode scores an item by, `(Q, D)`: both together, or the one that it has."""
        for view in (self._both, self._text, self._image):
            if view.has[column]:
                tokens: Floats = view.tokens[view.rows[column]]
                return tokens
        raise FormatError(f"{self.items[column].item_id} has neither a text nor a picture")

    def chunks(self, count: int) -> Iterator[slice]:
        """Slices of `count` queries, small enough that scoring one of them needs about 128 MB a view."""
        size = max(1, min(64, (1 << 25) // (len(self.items) * self.retriever.config.num_query_tokens)))
        for start in range(0, count, size):
            yield slice(start, min(start + size, count))

    def _limits(self, pictured: Sequence[int]) -> list[str]:
        """Drop the modes that cannot be measured, and say so."""
        notes = []
        count = len(self.items)
        if not pictured:
            self.modes = ("fused", "text", "bm25", "hybrid")
            notes.append("There are no pictures, so fused is the same as text.")
        elif len(pictured) < count:
            notes.append(
                f"{count - len(pictured)} of {count} items have no picture: they are ranked by their text in the "
                "fused, average and hybrid modes, and not found in image."
            )
        if not self.retriever.config.null_picture:
            if not pictured:
                raise FormatError("this model cannot encode an item without a picture: name the folder with --images")
            self.modes = ("fused", "image", "bm25", "hybrid")
            notes.append("This model has no feature for a missing picture, so text and average cannot be measured.")
        textless = sum(not item.text.strip() for item in self.items)
        if textless == count and not pictured:
            raise FormatError("no item of the gallery has a text or a picture: name the pictures' folder with --images")
        if textless:
            notes.append(f"{textless} of {count} items have no text.")
        return notes

    def _encode_texts(self, batch_size: int) -> View:
        """Each distinct text once: items with equal texts then tie exactly, whatever batch they would fall into."""
        texts = sorted({item.text for item in self.items if item.text.strip()}, key=lambda text: (len(text), text))
        row = {text: n for n, text in enumerate(texts)}
        tokens = []
        with tqdm(total=len(texts), desc="texts", unit="text") as bar:
            for start in range(0, len(texts), batch_size):
                batch = texts[start : start + batch_size]
                tokens.append(self.retriever.encode_items([ItemInput(text=text) for text in batch]))
                bar.update(len(batch))
        return self._view(tokens, [row.get(item.text, -1) for item in self.items])

    def _encode_pictures(self, pictured: Sequence[int], batch_size: int) -> tuple[View, View]:
        """The image view, and the fused one of the items that have text too. Each picture meets the backbone once."""
        model, processor = self.retriever.backend, self.retriever.processor
        # Those with text first: a batch then has text throughout or not at all.
        with_text = [n for n in pictured if self.items[n].text.strip()]
        without = [n for n in pictured if not self.items[n].text.strip()]
        batches = [
            group[start : start + batch_size]
            for group in (with_text, without)
            for start in range(0, len(group), batch_size)
        ]
        image, both = [], []
        with tqdm(total=len(pictured), desc="pictures", unit="picture", disable=not pictured) as bar:
            for batch, pixels in zip(batches, self._prepared(batches), strict=True):
                features = model.encode_pictures(pixels)
                image.append(model.encode_item(features, None, None))
                texts = [self.items[n].text for n in batch]
                if texts[0].strip():
                    both.append(model.encode_item(features, *processor.texts(texts)))
                bar.update(len(batch))
        order = {n: row for row, n in enumerate([*with_text, *without])}
        rows = [order.get(n, -1) for n in range(len(self.items))]
        return self._view(image, rows), self._view(both, [row if row < len(with_text) else -1 for row in rows])

    def _prepared(self, batches: Sequence[Sequence[int]]) -> Iterator[Floats]:
        """Pixels of each batch, `(B, 3, S, S)`, decoded in threads a little ahead of their use."""

        def prepare(n: int) -> Floats:
            assert self.pictures is not None
            return self.retriever.processor.image(self.pictures.load(self.items[n].item_id))

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            ahead: deque[list[Future[Floats]]] = deque()
            for batch in batches:
                ahead.append([pool.submit(prepare, n) for n in batch])
                if len(ahead) > _BATCHES_AHEAD:
                    yield np.stack([future.result() for future in ahead.popleft()])
            while ahead:
                yield np.stack([future.result() for future in ahead.popleft()])

    def _view(self, tokens: Sequence[Floats], rows: Sequence[int]) -> View:
        config = self.retriever.config
        joined = (
            np.concatenate(tokens) if tokens else np.empty((0, config.num_query_tokens, config.embed_dim), np.float32)
        )
        index = np.array(rows, dtype=np.int64) if len(rows) else np.full(len(self.items), -1)
        return View(joined, index)

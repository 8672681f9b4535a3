"""Pictures and strings → arrays. The same code runs in training, evaluation and service."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

from retriever.arrays import Floats, Ids
from retriever.config import RetrieverConfig
from retriever.pictures import upright_rgb


class Processor:
    """Resizes, normalises and tokenises as the model with this configuration expects.

    `image` and `texts` are free of shared state, so that many threads may call them at once.
    """

    def __init__(self, config: RetrieverConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer
        # Padding is ours (to the longest of a batch): the tokeniser's own would be shared between lengths.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._pad = tokenizer.token_to_id("[PAD]") or 0
        self._mean = np.asarray(config.image_mean, dtype=np.float32)
        self._std = np.asarray(config.image_std, dtype=np.float32)

    def image(self, picture: Image.Image) -> Floats:
        """One picture of any kind, as `upright_rgb` shows it, resized to a square (as BLIP-2 does) and normalised.

        `(3, S, S)` float32.
        """
        size = (self.config.image_size, self.config.image_size)
        resized = upright_rgb(picture).resize(size, Image.Resampling.BICUBIC)
        pixels: Floats = (np.asarray(resized, dtype=np.float32) / 255.0 - self._mean) / self._std  # (S, S, 3)
        return pixels.transpose(2, 0, 1)

    def queries(self, texts: Sequence[str]) -> tuple[Ids, Ids]:
        """Token ids and attention mask of shoppers' keywords, each `(B, T)` with T ≤ `max_query_length`."""
        return self._tokenise(texts, self.config.max_query_length)

    def texts(self, texts: Sequence[str]) -> tuple[Ids, Ids]:
        """Token ids and attention mask of items' texts, each `(B, T)` with T ≤ `max_text_length`."""
        return self._tokenise(texts, self.config.max_text_length)

    def pairs(self, queries: Sequence[str], texts: Sequence[str]) -> tuple[Ids, Ids]:
        """Each query followed by the text of the item beside it, for `FusedRetriever.match`: `(B, T)` each.

        `[CLS] query [SEP] text [SEP]`; without a text (an empty string) the query alone. Each part has its own limit,
        and the text gives way where both together would be longer than the model's `max_positions`.
        """
        rows = []
        asked = self._pieces(queries, self.config.max_query_length)
        answers = self._pieces(texts, self.config.max_text_length)
        for query, answer, text in zip(asked, answers, texts, strict=True):
            room = self.config.max_positions - len(query)
            both = [*query, *_cut(answer[1:], room)] if text.strip() and room > 1 else query
            rows.append(both)
        return self._pad_rows(rows)

    def _tokenise(self, texts: Sequence[str], max_length: int) -> tuple[Ids, Ids]:
        return self._pad_rows(self._pieces(texts, max_length))

    def _pieces(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        return [_cut(encoding.ids, max_length) for encoding in self.tokenizer.encode_batch(list(texts))]

    def _pad_rows(self, rows: Sequence[Sequence[int]]) -> tuple[Ids, Ids]:
        longest = max((len(row) for row in rows), default=0)
        input_ids = np.full((len(rows), longest), self._pad, dtype=np.int64)
        attention_mask = np.zeros((len(rows), longest), dtype=np.int64)
        for i, row in enumerate(rows):
            input_ids[i, : len(row)] = row
            attention_mask[i, : len(row)] = 1
        return input_ids, attention_mask


def _cut(row: list[int], length: int) -> list[int]:
    """The last word piece of a truncated row stays [SEP], as the encoder saw it in training."""
    return row if len(row) <= length else [*row[: length - 1], row[-1]]


def item_text(
    title: str | None = None,
    description: str | None = None,
    category: Sequence[str] = (),
    attributes: Mapping[str, Any] | None = None,
) -> str:
    """An item's fields as the one text that the model reads; empty when every field is.

    The most telling come first, since the text is cut at `max_text_length` word pieces: title, the narrowest
    category, attributes that are short words, and as much of the description as fits.
    """
    parts = [title or ""]
    if category and category[-1].lower() not in parts[0].lower():
        parts.append(category[-1])
    values = [f"{name} {value}" for name, value in (attributes or {}).items() if _describes(value)]
    if values:
        parts.append(", ".join(values))
    parts.append(description or "")
    return ". ".join(part.strip().rstrip(".") for part in parts if part.strip())


def _describes(value: Any) -> bool:
    """Whether an attribute's value is words: numbers and codes are for filters and BM25, not for an embedding."""
    return isinstance(value, str) and 0 < len(value) <= 40 and not any(char.isdigit() for char in value)

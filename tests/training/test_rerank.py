"""The second look reads no more than it must; in which order it puts items, `test_evaluate` says."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from retriever import Retriever
from training.features import FeatureCache
from training.formats import read_gallery, read_valid
from training.gallery import EncodedGallery
from training.picture_folder import PictureFolder
from training.rerank import rank_reranked


def test_only_pictures_that_are_matched_are_read(
    tiny_retriever: Retriever, toy_shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = list(read_gallery(toy_shop / "toy.gallery.jsonl"))
    gallery = EncodedGallery(tiny_retriever, items, PictureFolder(toy_shop / "images"))
    queries = list(read_valid(toy_shop / "toy.valid.jsonl"))[:3]
    read: set[Path] = set()
    original = FeatureCache.add

    def add(cache: FeatureCache, paths: Sequence[Path]) -> None:
        read.update(paths)
        original(cache, paths)

    monkeypatch.setattr(FeatureCache, "add", add)
    ranks = rank_reranked(gallery, queries, 2)["reranked"]
    assert len(ranks) == 3
    assert 1 <= len(read) <= 6 < len(items)

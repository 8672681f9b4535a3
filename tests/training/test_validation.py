"""Recall while training goes on: on sets as shops have them, and with errors that name the file."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from retriever import Retriever
from training import validation
from training.collate import Collator
from training.features import FeatureCache
from training.json_records import FormatError
from training.validation import Validation, open_validations


@pytest.fixture
def shop(toy_shop: Path, tmp_path: Path) -> Path:
    """A shop that a test may spoil."""
    return Path(shutil.copytree(toy_shop, tmp_path / "shop"))


@pytest.fixture
def collator(tiny_retriever: Retriever, tmp_path: Path) -> Collator:
    cache = FeatureCache(tmp_path / "features", tiny_retriever.model.vision, tiny_retriever.processor)
    return Collator(tiny_retriever.processor, cache)


def test_items_without_a_picture_are_ranked_by_their_text(
    shop: Path, collator: Collator, tiny_retriever: Retriever
) -> None:
    (shop / "images" / "mug-red.png").unlink()
    validation = Validation(collator, shop / "toy.valid.jsonl", shop / "images")
    assert sum(picture is None for picture in validation.pictures) == 1
    assert validation.notes == [f"{shop / 'toy.valid.jsonl'}: 1 of 12 items have no picture"]
    assert validation.measure(tiny_retriever.model)["hit@10"] > 0


def test_however_many_queries_are_scored_at_once(
    shop: Path, collator: Collator, tiny_retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Validation(collator, shop / "toy.valid.jsonl", shop / "images")
    whole = one.by_query(tiny_retriever.model)
    monkeypatch.setattr(validation, "queries_at_once", lambda items: 5)
    parts = one.by_query(tiny_retriever.model)
    assert len(one.queries) % 5
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name])


def test_an_item_without_picture_and_text_is_never_found(
    tmp_path: Path, collator: Collator, tiny_retriever: Retriever
) -> None:
    valid, gallery = tmp_path / "bare.valid.jsonl", tmp_path / "bare.gallery.jsonl"
    valid.write_text(json.dumps({"query_id": 1, "query_text": "mug", "item_ids": {"x": ""}}))
    with pytest.raises(FormatError, match="none of its 1 items has a picture or a text"):
        Validation(collator, valid)
    gallery.write_text(
        "".join(json.dumps({"item_id": id, "text": text}) + "\n" for id, text in (("x", ""), ("y", "mug")))
    )
    assert Validation(collator, valid).measure(tiny_retriever.model)["hit@10"] == 0


def test_pictures_beside_the_queries_are_found_as_evaluate_finds_them(
    shop: Path, collator: Collator, tiny_retriever: Retriever
) -> None:
    named = Validation(collator, shop / "toy.valid.jsonl", shop / "images")
    found = Validation(collator, shop / "toy.valid.jsonl")
    assert found.pictures == named.pictures
    assert not found.notes
    (shop / "images").rename(shop / "elsewhere")
    (note,) = Validation(collator, shop / "toy.valid.jsonl").notes
    assert "by text alone" in note


def test_of_what_is_measured_no_views_are_computed(shop: Path, tiny_retriever: Retriever, tmp_path: Path) -> None:
    caches = {
        views: FeatureCache(tmp_path / str(views), tiny_retriever.model.vision, tiny_retriever.processor, views)
        for views in (1, 3)
    }
    for cache in caches.values():
        validation = Validation(Collator(tiny_retriever.processor, cache), shop / "toy.valid.jsonl", shop / "images")
        assert validation.measure(tiny_retriever.model)["hit@10"] > 0
    one, three = ((cache.folder / "tokens.f16").stat().st_size for cache in caches.values())
    assert one == three > 0


def test_equal_texts_rank_in_no_order_of_a_file(shop: Path, collator: Collator, tiny_retriever: Retriever) -> None:
    (shop / "images").rename(shop / "elsewhere")
    gallery = shop / "toy.gallery.jsonl"
    one = Validation(collator, shop / "toy.valid.jsonl").by_query(tiny_retriever.model)
    gallery.write_text("\n".join(reversed(gallery.read_text().splitlines())))
    other = Validation(collator, shop / "toy.valid.jsonl").by_query(tiny_retriever.model)
    assert one["mrr"].tolist() == other["mrr"].tolist()


def test_a_folder_of_other_pictures_is_refused(shop: Path, collator: Collator, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="none of the 12 items"):
        Validation(collator, shop / "toy.valid.jsonl", tmp_path / "empty")


def test_an_answer_that_the_gallery_lacks_is_named(shop: Path, collator: Collator) -> None:
    lines = (shop / "toy.gallery.jsonl").read_text().splitlines()
    (shop / "toy.gallery.jsonl").write_text("\n".join(lines[1:]))
    with pytest.raises(FormatError, match=f"item {json.loads(lines[0])['item_id']} answers query"):
        Validation(collator, shop / "toy.valid.jsonl", shop / "images")


def test_sets_of_one_name_are_told_apart(shop: Path, toy_shop: Path, collator: Collator) -> None:
    """As `training.prepare` names every shop's."""
    sets = [[folder / "toy.valid.jsonl", folder / "images"] for folder in (toy_shop, shop)]
    assert list(open_validations(collator, sets)) == ["toy", "shop/toy"]
    with pytest.raises(FormatError, match="rename one"):
        open_validations(collator, [sets[0], sets[1], sets[1]])

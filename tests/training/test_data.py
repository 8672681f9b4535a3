import json
from pathlib import Path

import numpy as np
import pytest

from training.data import Augmentation, BatchSampler, Source, normalise
from training.formats import FormatError

AS_WRITTEN = Augmentation(drop_picture=0, drop_text=0, drop_word=0, typo=0)


def test_queries_count_as_the_same_without_case_and_punctuation() -> None:
    assert normalise("  Red MUG, (large)! ") == "red mug large"
    assert normalise("红色 杯子") == "红色 杯子"


def test_items_of_one_query_string_are_joint_positives(toy_shop: Path) -> None:
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    batch = source.batch(range(len(source)), np.random.default_rng(0), AS_WRITTEN)
    for i, query in enumerate(batch.queries):
        for j, picture in enumerate(batch.pictures):
            assert picture is not None
            kind, colour = picture.stem.split("-")
            assert batch.positives[i, j] == (query in (kind, f"{colour} {kind}"))


def test_a_batch_depends_on_seed_and_step_alone(toy_shop: Path) -> None:
    def sampler(seed: int) -> BatchSampler:
        return BatchSampler([Source(toy_shop / "pairs.json", toy_shop / "images")], 4, seed, Augmentation())

    first, again, other = sampler(0), sampler(0), sampler(1)
    again.batch(3)  # what was drawn before does not matter
    assert first.batch(7).queries == again.batch(7).queries
    assert first.batch(7).pictures == again.batch(7).pictures
    assert any(first.batch(step).pictures != other.batch(step).pictures for step in range(3))


def test_an_item_is_never_left_with_nothing(toy_shop: Path) -> None:
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    always = Augmentation(drop_picture=0.5, drop_text=0.5)
    for seed in range(20):
        batch = source.batch(range(len(source)), np.random.default_rng(seed), always)
        assert all(picture is not None or text for picture, text in zip(batch.pictures, batch.texts, strict=True))


def test_typos_change_a_word_and_keep_the_positives(toy_shop: Path) -> None:
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    rng = np.random.default_rng(0)
    misspelt = source.batch(range(len(source)), rng, Augmentation(drop_picture=0, drop_text=0, drop_word=0, typo=1))
    assert any(normalise(query) not in source.items_of for query in misspelt.queries)
    assert misspelt.positives.diagonal().all()


def test_queries_that_few_items_answer_are_drawn_more_often(toy_shop: Path) -> None:
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    rng = np.random.default_rng(0)
    drawn = [query for _ in range(50) for query in source.batch(range(len(source)), rng, AS_WRITTEN).queries]
    narrow = sum(" " in query for query in drawn)  # "red mug", answered by one; "mug" by six
    assert 0.55 < narrow / len(drawn) < 0.8


def test_pairs_without_picture_and_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps([{"query_id": 1, "query_text": "mug", "image_id": "a", "text_input": []}]))
    with pytest.raises(FormatError, match="neither a picture"):
        Source(path)


def test_a_pair_without_picture_and_text_is_left_out_where_its_item_has_another(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    pair = {"query_id": 1, "query_text": "stoneware mug", "image_id": "a", "text_input": []}
    path.write_text(json.dumps([pair, pair | {"query_text": "mug", "text_input": ["stoneware mug"]}]))
    assert Source(path).pairs == [[("mug", ("stoneware mug",))]]


def test_a_folder_of_other_pictures_is_refused(toy_shop: Path, tmp_path: Path) -> None:
    """It would be trained on the texts alone."""
    with pytest.raises(FormatError, match="none of the 12 items"):
        Source(toy_shop / "pairs.json", tmp_path)

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.data import Augmentation, BatchSampler, Pair, Source, normalise
from training.json_records import FormatError

AS_WRITTEN = Augmentation(drop_picture=0, drop_text=0, drop_word=0, typo=0)


def every_item(source: Source) -> dict[int, None]:
    return dict.fromkeys(range(len(source)))


def test_queries_count_as_the_same_without_case_and_punctuation() -> None:
    assert normalise("  Red MUG, (large)! ") == "red mug large"
    assert normalise("红色 杯子") == "红色 杯子"
    assert normalise("red mug ❤️!") == "red mug"


def test_words_that_differ_in_a_vowel_sign_or_an_accent_are_two() -> None:
    assert normalise("किताब") == "किताब"
    assert normalise("दिन") != normalise("दान")
    assert normalise("cafe\u0301") == "cafe\u0301"


def test_queries_without_words_are_each_their_own() -> None:
    assert normalise(" 🎁 ") == "🎁"
    assert normalise("❤️") != normalise("☀️")
    assert normalise("C++") == "c"  # there is a word


def test_items_of_one_query_string_are_joint_positives(toy_shop: Path) -> None:
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    batch = source.batch(every_item(source), np.random.default_rng(0), AS_WRITTEN)
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


def test_an_item_is_never_left_with_nothing(toy_shop: Path, tmp_path: Path) -> None:
    rows = json.loads((toy_shop / "pairs.json").read_text())
    without_text = [row | {"text_input": []} if row["image_id"] == "mug-red" else row for row in rows]
    (tmp_path / "pairs.json").write_text(json.dumps(without_text))
    source = Source(tmp_path / "pairs.json", toy_shop / "images")
    always = Augmentation(drop_picture=0.5, drop_text=0.5)
    for seed in range(20):
        batch = source.batch(every_item(source), np.random.default_rng(seed), always)
        assert all(picture is not None or text for picture, text in zip(batch.pictures, batch.texts, strict=True))


def test_another_of_an_items_texts_is_drawn_or_always_the_first(tmp_path: Path) -> None:
    pair = {"query_id": 1, "query_text": "blue mug", "image_id": "mug", "text_input": ["a mug", "blue", "of clay"]}
    (tmp_path / "pairs.json").write_text(json.dumps([pair]))
    source = Source(tmp_path / "pairs.json")

    def texts(augmentation: Augmentation) -> set[str]:
        rng = np.random.default_rng(0)
        return {text for _ in range(30) for text in source.batch({0: None}, rng, augmentation).texts}

    assert texts(AS_WRITTEN) == {"a mug", "blue", "of clay"}
    assert texts(replace(AS_WRITTEN, any_caption=False)) == {"a mug"}


def test_typos_change_a_word_and_keep_the_positives(toy_shop: Path) -> None:
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    rng = np.random.default_rng(0)
    misspelt = source.batch(every_item(source), rng, Augmentation(drop_picture=0, drop_text=0, drop_word=0, typo=1))
    assert any(normalise(query) not in source.items_of for query in misspelt.queries)
    assert misspelt.positives.diagonal().all()


def test_queries_that_few_items_answer_are_drawn_more_often(toy_shop: Path) -> None:
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    rng = np.random.default_rng(0)
    drawn = [query for _ in range(50) for query in source.batch(every_item(source), rng, AS_WRITTEN).queries]
    narrow = sum(" " in query for query in drawn)  # "red mug", answered by one; "mug" by six
    assert 0.55 < narrow / len(drawn) < 0.8


def test_items_are_drawn_evenly_however_many_pairs_they_have(tmp_path: Path) -> None:
    items = ["a"] * 40 + ["b", "c", "d"]
    pairs = [
        {"query_id": n, "query_text": f"mug {n}", "image_id": one, "text_input": ["a mug"]}
        for n, one in enumerate(items)
    ]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    source = Source(tmp_path / "pairs.json")
    rng = np.random.default_rng(0)
    drawn = [source.draw(1, rng)[0] for _ in range(2000)]
    assert drawn.count(0) / len(drawn) == pytest.approx(1 / 4, abs=0.04)


def test_a_source_is_drawn_from_as_often_as_it_has_items(toy_shop: Path, tmp_path: Path) -> None:
    pairs = [{"query_id": n, "query_text": "cup", "image_id": f"cup-{n}", "text_input": ["a cup"]} for n in range(4)]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    sampler = BatchSampler([Source(toy_shop / "pairs.json"), Source(tmp_path / "pairs.json")], 2, 0, AS_WRITTEN)
    batches = [sampler.batch(step).clean_queries for step in range(1000)]
    assert sum("cup" in asked for asked in batches) / len(batches) == pytest.approx(4 / 16, abs=0.05)


def test_any_pair_of_an_item_may_meet_what_was_mined_for_it(toy_shop: Path, tmp_path: Path) -> None:
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    (tmp_path / "negatives.jsonl").write_text(json.dumps({"query_text": "mug", "image_ids": ["lamp-red"]}) + "\n")
    source.use_negatives(tmp_path / "negatives.jsonl")
    rng = np.random.default_rng(0)
    batches = [source.draw_hard(4, rng) for _ in range(20)]
    assert {pair for batch in batches for pair in batch.values()} == {0, 1, None}
    assert {len(batch) for batch in batches} == {4}
    assert len(source.draw_hard(99, rng)) == len(source)


def test_of_an_items_pairs_the_weightier_are_drawn_more_often(tmp_path: Path) -> None:
    pair = {"image_id": "mug", "text_input": ["a mug"]}
    rows = [{"query_id": 0, "query_text": "cup", "weight": 1}, {"query_id": 1, "query_text": "mug", "weight": 99}]
    (tmp_path / "pairs.json").write_text(json.dumps([row | pair for row in rows]))
    source = Source(tmp_path / "pairs.json")
    rng = np.random.default_rng(0)
    drawn = [source.batch({0: None}, rng, AS_WRITTEN).queries[0] for _ in range(2000)]
    assert drawn.count("cup") / len(drawn) == pytest.approx(0.01, abs=0.01)
    assert "cup" in drawn


def test_there_may_be_no_negatives(toy_shop: Path, tmp_path: Path) -> None:
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    (tmp_path / "negatives.jsonl").touch()
    source.use_negatives(tmp_path / "negatives.jsonl")
    assert source.negatives == {}


def test_a_batch_with_mined_negatives_is_no_larger_than_asked_for(toy_shop: Path, tmp_path: Path) -> None:
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    lines = [{"query_text": query, "image_ids": source.ids} for query in source.items_of]
    (tmp_path / "negatives.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source.use_negatives(tmp_path / "negatives.jsonl")
    assert {len(source.draw_hard(3, np.random.default_rng(seed))) for seed in range(20)} == {3}


def test_pairs_without_picture_and_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps([{"query_id": 1, "query_text": "mug", "image_id": "a", "text_input": []}]))
    with pytest.raises(FormatError, match="neither a picture"):
        Source(path)


def test_a_pair_without_picture_and_text_is_left_out_where_its_item_has_another(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    pair = {"query_id": 1, "query_text": "stoneware mug", "image_id": "a", "text_input": []}
    path.write_text(json.dumps([pair, pair | {"query_text": "mug", "text_input": ["stoneware mug"]}]))
    assert Source(path).pairs == [[Pair("mug", ("stoneware mug",))]]


def test_a_folder_of_other_pictures_is_refused(toy_shop: Path, tmp_path: Path) -> None:
    """It would be trained on the texts alone."""
    with pytest.raises(FormatError, match="none of the 12 items"):
        Source(toy_shop / "pairs.json", tmp_path)

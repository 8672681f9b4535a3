"""The event log → pairs, negatives and a test; what the position-based model learns from clicks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.prepare.conftest import picture
from training import finetune
from training.data import Augmentation, BatchSampler, Source
from training.formats import read_gallery, read_negatives, read_train, read_valid
from training.json_records import FormatError
from training.prepare.__main__ import main
from training.prepare.job import Job
from training.prepare.propensity import estimate
from training.shoppers import Shop, known_answers, sessions

ITEMS = [f"item-{n}" for n in range(12)]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A job with twelve items, read and cleaned."""
    (tmp_path / "images").mkdir()
    for n, item_id in enumerate(ITEMS):
        (tmp_path / "images" / f"{item_id}.png").write_bytes(picture(n, file_format="PNG"))
    rows = [json.dumps({"item_id": item_id, "title": f"mug {item_id}"}) for item_id in ITEMS]
    (tmp_path / "items.jsonl").write_text("\n".join(rows))
    main(["read", "--job", str(tmp_path / "job"), "--source", str(tmp_path / "items.jsonl")])
    main(["clean", "--job", str(tmp_path / "job")])
    return tmp_path


def learn(folder: Path, records: list[Any], *flags: str) -> dict[str, Any]:
    log = folder / "events"
    log.mkdir(exist_ok=True)
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (log / "20260101.jsonl").write_text("\n".join(lines) + "\n")
    command = ["events", "--job", str(folder / "job"), "--log", str(log), "--output", str(folder / "out"), *flags]
    main(command)
    found: dict[str, Any] = json.loads((folder / "out" / "events.json").read_text())
    return found


def search(number: int, query: str = "red mug", items: list[str] = ITEMS, offset: int = 0) -> dict[str, Any]:
    return {"kind": "search", "search_id": f"{number:032x}", "query": query, "offset": offset, "items": items}


def event(number: int, position: int, kind: str = "click", item: str | None = None) -> dict[str, Any]:
    item_id = ITEMS[position] if item is None else item
    return {"kind": kind, "search_id": f"{number:032x}", "item_id": item_id, "position": position}


def test_clicks_become_pairs_and_what_was_passed_over_negatives(shop: Path) -> None:
    found = learn(
        shop,
        [
            *(search(1), event(1, 2), event(1, 2, "purchase")),
            *(search(2), event(2, 1), event(2, 3, "add_to_cart")),
            *(search(3, "lamp"), event(3, 0)),
            search(4, "nothing pleased"),
        ],
        "--hold-out",
        "0",
    )
    pairs = {(pair.query, pair.image_id): pair for pair in read_train(shop / "out" / "train.json")}
    assert set(pairs) == {("red mug", "item-1"), ("red mug", "item-2"), ("red mug", "item-3"), ("lamp", "item-0")}
    assert pairs["red mug", "item-2"].captions == ("mug item-2",)
    # Item 0 stood above clicks twice; items 1 to 3 too, but were chosen at other times; item 4 and on stood below.
    assert dict(read_negatives(shop / "out" / "negatives.jsonl")) == {"red mug": ["item-0"]}
    assert found["counts"]["searches"] == 4
    assert found["counts"]["purchase events"] == 1
    assert not list((shop / "out").glob("dev.*")), "no query was held out"
    assert len(Source(shop / "out" / "train.json", shop / "out" / "images")) == 4


def test_a_click_further_down_counts_more(shop: Path) -> None:
    records = [search(1), event(1, 0), event(1, 4)]
    learn(shop, records, "--hold-out", "0")
    weights = {pair.image_id: pair.weight for pair in read_train(shop / "out" / "train.json")}
    assert weights["item-4"] > 2 * weights["item-0"]
    learn(shop, records, "--hold-out", "0", "--uncorrected")
    assert {pair.weight for pair in read_train(shop / "out" / "train.json")} == {1.0}


def test_what_came_into_view_is_what_was_shown(shop: Path) -> None:
    seen = [event(1, place, "impression") for place in (1, 2)]
    learn(shop, [search(1), *seen, event(1, 3), search(2, "x"), event(2, 1), search(3, "y"), event(3, 2)])
    negatives = dict(read_negatives(shop / "out" / "negatives.jsonl"))
    assert negatives.get("red mug") == ["item-1", "item-2"], "item 0 stood above the click, but was never in view"


def test_searches_while_typing_count_only_with_a_choice(shop: Path) -> None:
    records = [search(1), event(1, 0), search(2) | {"complete": True}, event(2, 3)]
    unfinished = [search(n) | {"complete": True} for n in range(10, 60)]
    alone = learn(shop, records, "--hold-out", "0")
    pairs = list(read_train(shop / "out" / "train.json"))
    assert {pair.image_id for pair in pairs} == {"item-0", "item-3"}
    found = learn(shop, [*records, *unfinished, event(10, 1, "impression")], "--hold-out", "0")
    assert list(read_train(shop / "out" / "train.json")) == pairs, "they say nothing of what attracts"
    assert found["propensities"] == alone["propensities"]
    assert found["counts"]["searches while typing without a choice, left out"] == 50


def test_what_does_not_fit_together_is_counted(shop: Path) -> None:
    found = learn(
        shop,
        [
            *(search(1), event(1, 0)),
            event(9, 0),  # no such search
            event(1, 5, item="item-4"),  # stood elsewhere
            *(search(2, "gone", ["item-x"]), event(2, 0, item="item-x")),
            search(3) | {"query": 7},
            '{"kind": "click", "search_id": "000',
        ],
        "--hold-out",
        "0",
    )["counts"]
    assert found["events without their search"] == 1
    assert found["events on what was not shown there"] == 1
    assert found["chosen items that the catalogue no longer has"] == 1
    assert found["broken lines"] == 2
    assert found["pairs"] == 1


def test_searches_by_pictures_and_items_make_no_pairs(shop: Path) -> None:
    by_picture = search(1, "in red") | {"by": "picture"}
    by_item = search(2, "item-3") | {"by": "item"}
    by_words = search(3, "red mug") | {"by": "words"}
    events = [event(1, 0), event(2, 1), event(3, 2), event(4, 0)]
    found = learn(shop, [by_picture, by_item, by_words, *events], "--hold-out", "0")
    assert [(pair.query, pair.image_id) for pair in read_train(shop / "out" / "train.json")] == [("red mug", "item-2")]
    counts = found["counts"]
    assert (counts["searches"], counts["searches without words, left out"]) == (1, 2)
    assert counts["events without their search"] == 1


def test_searches_in_other_languages_count_by_their_translation(shop: Path) -> None:
    with Job(shop / "job") as job:
        job.write("INSERT INTO english VALUES ('红色杯子', 'red mug')")
        job.done("translate")
    records = [search(1, " 红色杯子"), event(1, 2), search(2, "蓝色杯子"), event(2, 3), search(3, "..."), event(3, 4)]
    counts = learn(shop, records, "--hold-out", "0")["counts"]
    assert [(pair.query, pair.image_id) for pair in read_train(shop / "out" / "train.json")] == [("red mug", "item-2")]
    assert counts["searches"] == 1
    assert counts["searches in other languages, left out"] == 1
    assert counts["searches without words, left out"] == 1


def test_a_log_in_another_language_says_so(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        learn(shop, [search(1, "红色杯子"), event(1, 2)])
    assert "1 searches in other languages, left out" in capsys.readouterr().err


def test_held_out_queries_are_never_trained_on(shop: Path) -> None:
    records: list[Any] = []
    for n in range(40):
        records += [search(n, f"query number {n}"), event(n, n % 12), event(n, (n + 1) % 12)]
    learn(shop, records, "--hold-out", "0.3")
    trained = {pair.query for pair in read_train(shop / "out" / "train.json")}
    held = list(read_valid(shop / "out" / "dev.valid.jsonl"))
    assert 4 < len(held) < 20
    assert not trained & {query.query for query in held}
    assert len(trained) + len(held) == 40
    assert all(len(query.items) == 2 for query in held)
    assert len(list(read_gallery(shop / "out" / "dev.gallery.jsonl"))) == 12


def test_a_log_without_a_click_says_so(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        learn(shop, [search(1)])
    assert stopped.value.code == 2
    assert "nothing to learn" in capsys.readouterr().err


def simulated(theta: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[int, int, bool]]:
    """Pair, place and click, of pairs that stand at several places each."""
    gamma = rng.uniform(0.1, 0.9, 300)
    for pair in range(300):
        for place in rng.choice(10, 4, replace=False):
            for _ in range(100):
                yield pair, int(place), bool(rng.random() < theta[place] * gamma[pair])


def test_examination_is_found_where_items_move() -> None:
    """Not where it begins, 1 / (position + 1), but what the shoppers did."""
    theta = np.linspace(1.0, 0.46, 10)
    rows = list(simulated(theta, np.random.default_rng(0)))
    pairs, places, clicks = (np.array(column) for column in zip(*rows, strict=True))
    found, _ = estimate(pairs, places, np.ones(len(rows), dtype=int), clicks.astype(int))
    assert np.abs(found[:10] - theta).max() < 0.12


def test_shoppers_know_items_whose_ids_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps({"item_id": 7, "title": "red mug"}) + "\n")
    assert known_answers(tmp_path / "items.jsonl", ["7"], set())["red mug"] == {0}


def test_simulated_shoppers_look_first_where_the_best_is() -> None:
    ranking = np.stack([np.arange(40)] * 5)
    shop = Shop([str(n) for n in range(40)], ["a", "b", "c", "d", "e"], [{0, 1, 2, 3}] * 5, ranking)
    records = list(sessions(shop, 2000, seed=1))
    assert records == list(sessions(shop, 2000, seed=1))
    assert records != list(sessions(shop, 2000, seed=2))
    clicks = np.bincount([one["position"] for one in records if one["kind"] == "click"], minlength=20)
    assert clicks[0] > clicks[2] > clicks[10]
    shown = {record["search_id"]: record["items"] for record in records if record["kind"] == "search"}
    assert all(shown[one["search_id"]][one["position"]] == one["item_id"] for one in records if "item_id" in one)


def pair(query: str, item: str, **more: Any) -> dict[str, Any]:
    return {"query_id": 1, "query_text": query, "image_id": item, "text_input": ["text"], **more}


def test_weights_decide_what_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    rows = [pair("a", "x", weight=9), pair("b", "x", weight=1), pair("c", "y", weight=10), pair("d", "z", weight=80)]
    path.write_text(json.dumps(rows))
    source = Source(path)
    sampler = BatchSampler([source], 2, 0, Augmentation(0, 0, 0, 0))
    drawn = [query for step in range(2000) for query in sampler.batch(step).queries[:1]]
    shares = {query: drawn.count(query) / len(drawn) for query in "abcd"}
    assert shares["d"] == pytest.approx(0.8, abs=0.05)
    assert shares["c"] == pytest.approx(0.1, abs=0.03)
    assert shares["a"] == pytest.approx(0.09, abs=0.03)
    assert shares["b"] < 0.03


@pytest.mark.parametrize("weight", [0, -1, "2", True, None])
def test_a_weight_is_a_number_above_zero(tmp_path: Path, weight: Any) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps([pair("a", "x", weight=weight)]))
    with pytest.raises(FormatError, match="weight"):
        list(read_train(path))


def test_finetune_takes_what_events_write(shop: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    records: list[Any] = []
    for n in range(30):
        records += [search(n, f"query {n}"), event(n, n % 12), event(n, (n + 3) % 12)]
    learn(shop, records, "--hold-out", "0.2")
    out = shop / "out"
    finetune.main(
        [
            *("--model", str(tiny_checkpoint), "--train", f"{out / 'train.json'}:{out / 'images'}"),
            *("--negatives", str(out / "negatives.jsonl"), "--valid", f"{out / 'dev.valid.jsonl'}:{out / 'images'}"),
            *("--output", str(tmp_path / "run"), "--features", str(tmp_path / "features")),
            *("--steps", "3", "--batch-size", "4", "--precision", "no"),
        ]
    )
    assert (tmp_path / "run" / "model.safetensors").exists()

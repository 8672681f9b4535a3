"""Hard negatives, from a file of pairs to a file that training reads."""

import json
from pathlib import Path

import pytest
import torch

from training import mine
from training.data import Source
from training.formats import read_negatives


def test_what_scores_nearly_as_well_as_an_answer_is_no_negative() -> None:
    scores = torch.tensor([0.8, 0.79, 0.5, 0.7])
    assert mine.negatives(scores, [0]) == [3, 2]
    assert mine.negatives(-scores, [0]) == [], "nothing is known of an answer that the model does not find"


def test_a_file_with_queries_without_words_is_mined_and_read(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shoppers search with emoji, too; each of these is a query of its own."""
    pairs = json.loads((toy_shop / "pairs.json").read_text())
    signs = dict(zip(("mug-red", "lamp-red", "mug-blue"), ("🎁", "!!", "?"), strict=True))
    asked = [{"query_id": sign, "query_text": sign, "text_input": ["x"], "image_id": id} for id, sign in signs.items()]
    train, output = tmp_path / "pairs.json", tmp_path / "negatives.jsonl"
    train.write_text(json.dumps(pairs + asked))
    # A model with random weights tells nothing apart: everything but the answers is a negative.
    monkeypatch.setattr(mine, "negatives", lambda scores, answers: [n for n in range(len(scores)) if n not in answers])
    files = ["--train", str(train), "--output", str(output), "--features", str(tmp_path / "features")]
    mine.main(["--model", str(tiny_checkpoint), *files])
    assert set(signs.values()) <= {query for query, _ in read_negatives(output)}
    source = Source(train)
    source.use_negatives(output)
    assert len(source.negatives["🎁"]) == len(source) - 1

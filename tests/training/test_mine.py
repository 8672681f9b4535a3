"""Hard negatives, from a file of pairs to a file that training reads."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import retriever
from retriever.model import FusedRetriever
from training import mine
from training.collate import Collator
from training.data import Source
from training.encode import encode_queries
from training.formats import read_negatives


def test_what_scores_nearly_as_well_as_an_answer_is_no_negative() -> None:
    scores = torch.tensor([0.8, 0.79, 0.5, 0.7])
    assert mine.negatives(scores, [0]) == [3, 2]
    assert mine.negatives(scores, [0], margin=0.8) == [2]
    assert mine.negatives(scores, [0], margin=float("inf")) == [1, 3, 2], "all but the answers themselves"
    assert mine.negatives(-scores, [0]) == [], "nothing is known of an answer that the model does not find"


def test_queries_are_mined_as_they_were_typed(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [
        {"query_id": query, "query_text": query, "image_id": query, "text_input": ["a mug"]}
        for query in ("Men's mug", "men's MUG", "red mug")
    ]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    encoded: list[str] = []

    def encode(model: FusedRetriever, collator: Collator, queries: Sequence[str]) -> torch.Tensor:
        encoded.extend(queries)
        return encode_queries(model, collator, queries)

    monkeypatch.setattr(mine, "encode_queries", encode)
    monkeypatch.setattr(
        mine, "negatives", lambda scores, answers, margin: [n for n in range(len(scores)) if n not in answers]
    )
    found = dict(mine.mine(retriever.load(tiny_checkpoint), Source(tmp_path / "pairs.json"), tmp_path / "features"))
    assert encoded == ["Men's mug", "red mug"]
    assert found == {"Men's mug": [2], "red mug": [0, 1]}


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
    monkeypatch.setattr(
        mine, "negatives", lambda scores, answers, margin: [n for n in range(len(scores)) if n not in answers]
    )
    files = ["--train", str(train), "--output", str(output), "--features", str(tmp_path / "features")]
    mine.main(["--model", str(tiny_checkpoint), *files])
    assert set(signs.values()) <= {query for query, _ in read_negatives(output)}
    source = Source(train)
    source.use_negatives(output)
    assert len(source.negatives["🎁"]) == len(source) - 1


def test_an_output_that_cannot_be_written_is_told_before_anything_is_mined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        mine.main(["--train", "none.json", "--output", str(tmp_path)])
    assert f"--output {tmp_path} is a folder" in capsys.readouterr().err

import json
from itertools import islice
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from tests.training.test_teacher import captions, encoder  # noqa: F401 — fixtures
from training import synthetic_queries
from training.data import Pair, Source, normalise
from training.teacher import TextTeacher


def test_questions_are_made_of_the_words_of_texts_and_of_queries() -> None:
    queries, texts = ["red clay mug", "tall lamp"], ["a green vase with two handles", "wooden bowl"]
    made = list(islice(synthetic_queries.questions(queries, texts, np.random.default_rng(0)), 300))
    words = {word for one in [*queries, *texts] for word in one.split()}
    assert {word for one in made for word in one.split()} <= words - {"a", "with"}
    assert "green vase" in made  # neighbours
    assert "red clay lamp" in made or "tall mug" in made  # halves of two queries
    assert len(set(made)) > 30


def test_a_query_of_commas_gives_no_words() -> None:
    made = synthetic_queries.questions(["mug", ", ,"], ["a mug"], np.random.default_rng(0))
    assert "mug" in set(islice(made, 200))
    with pytest.raises(ValueError, match="no query has a word"):
        next(synthetic_queries.questions([",,"], ["a mug"], np.random.default_rng(0)))


def test_no_question_is_asked_twice_or_known_already(captions: Path) -> None:  # noqa: F811
    source = Source(captions / "pairs.json")
    drawn = synthetic_queries.draw(source, 10, seed=1)
    normal = [normalise(query) for query in drawn]
    assert len(set(normal)) == 10
    assert not set(normal) & set(source.items_of)
    assert drawn == synthetic_queries.draw(source, 10, seed=1) != synthetic_queries.draw(source, 10, seed=2)


def test_no_question_is_a_sign_alone(tmp_path: Path) -> None:
    pairs = [
        {"query_id": i, "query_text": query, "image_id": str(i), "text_input": ["a red clay mug with a tall handle"]}
        for i, query in enumerate(("mug &", "handle +"))
    ]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    drawn = synthetic_queries.draw(Source(tmp_path / "pairs.json"), 20, seed=0)
    assert all(any(char.isalpha() for char in query) for query in drawn)


def test_a_source_whose_words_do_not_suffice_is_told(
    captions: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=r"pairs\.json: its words made .* queries; ask for fewer"):
        synthetic_queries.draw(Source(captions / "pairs.json"), 2000, seed=0)
    item = {"query_id": 0, "query_text": "red mug", "image_id": "0", "text_input": ["a mug"]}
    (tmp_path / "pairs.json").write_text(json.dumps([item]))
    source = Source(tmp_path / "pairs.json")
    source.pairs[0] = [Pair("red mug", ())]
    with pytest.raises(ValueError, match="every item needs a text"):
        synthetic_queries.draw(source, 1, seed=0)


def test_what_is_nearly_as_similar_as_an_answer_is_no_negative() -> None:
    similar = torch.tensor([[0.84, 0.9, 0.5, 0.83, 0.87, 0.7]])  # on average 0.87 for the best three
    teachers = [Mock(similar=Mock(return_value=one)) for one in (similar + 0.1, similar - 0.1)]
    assert list(synthetic_queries.answers(teachers, ["tulle"], [""] * 6)) == [([1, 4, 0], [5, 2])]


def test_teachers_answer_and_training_reads_what_they_said(
    encoder: Path,  # noqa: F811
    captions: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(synthetic_queries, "ANSWERS", 1)
    output = tmp_path / "questions.json"
    train = ("--train", str(captions / "pairs.json"), "--teacher", str(encoder))
    synthetic_queries.main([*train, "--output", str(output), "--count", "8"])

    written = Source(output)
    written.use_negatives(tmp_path / "questions.negatives.jsonl")
    texts = {record["image_id"]: record["text_input"] for record in json.loads(output.read_text())}
    assert len(json.loads(output.read_text())) == 8
    assert set(written.ids) <= {"0", "1", "2", "3"}
    for query, worse in written.negatives.items():
        best = TextTeacher(str(encoder)).similar([query], [texts[written.ids[i]][0] for i in written.items_of[query]])
        rest = [texts[written.ids[i]][0] for i in worse]
        assert best.item() >= TextTeacher(str(encoder)).similar([query], rest).max().item() - 0.02  # bfloat16


def test_no_questions_at_all_cannot_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        synthetic_queries.main(["--train", "x", "--teacher", "x", "--output", "x.json", "--count", "0"])
    assert "--count: must be a whole number, 1 or more, not '0'" in capsys.readouterr().err


@pytest.mark.parametrize("output", [".", "file/questions.json"])
def test_an_output_that_cannot_be_written_is_told_before_anything_is_asked(
    captions: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(SystemExit):
        synthetic_queries.main(["--train", str(captions / "pairs.json"), "--teacher", "none", "--output", output])
    error = capsys.readouterr().err
    assert error.startswith("python -m training.synthetic_queries: ")
    assert output.split("/")[0] in error


def test_a_disk_that_is_full_ends_in_one_line(
    encoder: Path,  # noqa: F811
    captions: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Path, "write_text", Mock(side_effect=OSError("No space left on device")))
    train = ["--train", str(captions / "pairs.json"), "--teacher", str(encoder), "--count", "2"]
    with pytest.raises(SystemExit):
        synthetic_queries.main([*train, "--output", str(tmp_path / "questions.json")])
    assert capsys.readouterr().err.splitlines()[-1] == "python -m training.synthetic_queries: No space left on device"

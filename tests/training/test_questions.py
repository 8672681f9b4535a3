import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.training.test_teacher import captions, encoder  # noqa: F401 — fixtures
from training import questions
from training.data import Source, normalise
from training.teacher import TextTeacher


def test_questions_are_made_of_the_words_of_texts_and_of_queries() -> None:
    queries, texts = ["red clay mug", "tall lamp"], ["a green vase with two handles", "wooden bowl"]
    made = list(islice(questions.questions(queries, texts, np.random.default_rng(0)), 300))
    words = {word for one in [*queries, *texts] for word in one.split()}
    assert {word for one in made for word in one.split()} <= words - {"a", "with"}
    assert "green vase" in made  # neighbours
    assert "red clay lamp" in made or "tall mug" in made  # halves of two queries
    assert len(set(made)) > 30


def test_no_question_is_asked_twice_or_known_already(captions: Path) -> None:  # noqa: F811
    source = Source(captions / "pairs.json")
    drawn = questions.draw(source, 10, seed=1)
    normal = [normalise(query) for query in drawn]
    assert len(set(normal)) == 10
    assert not set(normal) & set(source.items_of)
    assert drawn == questions.draw(source, 10, seed=1) != questions.draw(source, 10, seed=2)


def test_teachers_answer_and_training_reads_what_they_said(
    encoder: Path,  # noqa: F811
    captions: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(questions, "ANSWERS", 1)
    output = tmp_path / "questions.json"
    train = ("--train", str(captions / "pairs.json"), "--teacher", str(encoder))
    questions.main([*train, "--output", str(output), "--count", "8"])

    written = Source(output)
    written.use_negatives(tmp_path / "questions.negatives.jsonl")
    texts = {record["image_id"]: record["text_input"] for record in json.loads(output.read_text())}
    assert len(json.loads(output.read_text())) == 8
    assert set(written.ids) <= {"0", "1", "2", "3"}
    for query, worse in written.negatives.items():
        best = TextTeacher(str(encoder)).similar([query], [texts[written.ids[i]][0] for i in written.items_of[query]])
        rest = [texts[written.ids[i]][0] for i in worse]
        assert best.item() >= TextTeacher(str(encoder)).similar([query], rest).max().item() - 0.02  # bfloat16

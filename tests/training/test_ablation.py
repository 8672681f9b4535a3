import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training import ablation
from training.ablation import REFERENCE, ROWS, hn_nce, one_positive, sigmoid, table
from training.arguments import TrainArgs
from training.losses import itc

# Two queries of two dimensions, three items of one token; the first query is answered by two of them.
QUERIES = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
ITEMS = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
BOTH = torch.ones(2, 2, dtype=torch.bool)


def test_one_positive_pushes_away_what_answers_too() -> None:
    temperature = torch.tensor(0.1)
    assert one_positive(QUERIES, ITEMS, BOTH, temperature) < 0.01  # as if the others were wrong
    assert itc(QUERIES, ITEMS, BOTH, temperature) > 1  # they are right, and far away


def test_the_sigmoid_loss_tells_couples_apart_one_by_one() -> None:
    positives, temperature = torch.eye(2, dtype=torch.bool), torch.tensor(0.1)
    told_apart = sigmoid(QUERIES, ITEMS, positives, temperature)
    mixed_up = sigmoid(QUERIES, ITEMS.flip(0), positives, temperature)
    # Scores of 1 and 0 over a temperature of 0.1, half of all couples positive: logits of 10 and 0.
    expected = (2 * np.log1p(np.exp(-10)) + 2 * np.log(2)) / 2
    assert told_apart.item() == pytest.approx(expected, rel=1e-4)
    assert mixed_up > told_apart + 5


def test_the_sigmoid_loss_of_positives_alone_is_a_number() -> None:
    assert sigmoid(QUERIES, ITEMS, BOTH, torch.tensor(0.1)).isfinite()


def test_near_negatives_count_more_than_far_ones() -> None:
    positives, temperature = torch.eye(3, dtype=torch.bool), torch.tensor(0.1)
    queries = torch.eye(3)
    alike = torch.full((3, 3), 0.5) + 0.5 * torch.eye(3)  # every negative is as near as the others
    apart = alike.clone()
    apart[0, 1] = apart[1, 2] = apart[2, 0] = 0.0  # of two negatives one is far

    def losses(items: torch.Tensor) -> tuple[float, float]:
        tokens = items.unsqueeze(1)  # (3, 1, 3)
        return (
            hn_nce(queries, tokens, positives, temperature).item(),
            itc(queries, tokens, positives, temperature).item(),
        )

    assert losses(alike)[0] == pytest.approx(losses(alike)[1])
    # Logits of 10 (right), 5 and 0; the weights of 5 and 0 have the ratio exp(5 / 2), and the mean 1.
    near = 2 / (1 + np.exp(-2.5))
    expected = np.log(np.exp(10) + near * np.exp(5) + (2 - near)) - 10
    assert losses(apart)[0] == pytest.approx(expected, rel=1e-3)
    assert losses(apart)[0] > losses(apart)[1]


def test_a_difference_is_bold_where_it_is_more_than_chance() -> None:
    rng = np.random.default_rng(0)
    reference = rng.random(400)
    few = rng.random(9)  # sets differ in their number of queries
    values = {
        REFERENCE: {"dev": reference, "few": few},
        "sigmoid": {"dev": reference - 0.2, "few": few},
        "harder": {"dev": rng.permutation(reference), "few": few},
    }
    _, _, first, worse, same = (" ".join(line.split()) for line in table(values).splitlines())
    assert first == f"| {ROWS[REFERENCE].what} | {100 * reference.mean():.1f} | {100 * few.mean():.1f} |"
    assert worse.endswith(f"(**-20.0**) | {100 * few.mean():.1f} (+0.0) |")
    assert "**" not in same


@pytest.mark.slow
def test_rows_are_trained_measured_and_not_trained_twice(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, output = toy_shop / "images", tmp_path / "ablation"
    arguments = [
        *("--model", str(tiny_checkpoint), "--output", str(output), "--features", str(tmp_path / "features")),
        *("--train", f"{toy_shop / 'pairs.json'}:{images}", "--valid", f"{toy_shop / 'toy.valid.jsonl'}:{images}"),
        *("--batch-size", "4", "--precision", "no", "--steps", "4", "--rows"),
    ]
    ablation.main([*arguments, "sigmoid", "double-batch"])
    steps = {path.parent.name: json.loads(path.read_text())["steps"] for path in output.glob("*/args.json")}
    assert steps == {REFERENCE: 4, "sigmoid": 4, "double-batch": 2}
    models = {path: path.stat().st_mtime_ns for path in output.glob("*/model.safetensors")}
    capsys.readouterr()

    ablation.main([*arguments, "half-batch"])
    assert all(path.stat().st_mtime_ns == then for path, then in models.items())
    assert (output / "half-batch" / "model.safetensors").exists()
    printed = capsys.readouterr().out
    assert ROWS["half-batch"].what in printed
    assert ROWS["sigmoid"].what not in printed
    assert set(json.loads((output / "ablation.json").read_text())) == {REFERENCE, "half-batch"}


def test_an_ablation_without_a_development_set_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ablation.main(["--train", "pairs.json"])
    assert "--valid" in capsys.readouterr().err


def test_a_development_set_that_cannot_be_read_is_told_before_anything_is_trained(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--train", str(toy_shop / "pairs.json"), "--valid", str(tmp_path / "none.valid.jsonl")]
    with pytest.raises(SystemExit):
        ablation.main(["--model", str(tiny_checkpoint), *files, "--output", str(tmp_path / "out"), "--rows", "sigmoid"])
    assert "none.valid.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_row_that_cannot_be_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ablation.main(["--train", "a", "--valid", "b", "--batch-size", "3", "--rows", "half-batch"])
    assert "half-batch: --batch-size must be at least 2, not 1" in capsys.readouterr().err


def test_twice_the_batch_is_in_memory_by_the_chunks_that_were_asked_for() -> None:
    plain = TrainArgs(train=("pairs.json",), batch_size=96)
    assert ROWS["double-batch"].args(plain)["chunk"] == 96
    assert ROWS["double-batch"].args(replace(plain, chunk=24))["chunk"] == 24


def test_a_row_that_takes_away_what_is_not_there_is_left_out() -> None:
    plain = TrainArgs(train=("pairs.json",))
    assert not ROWS["no-teacher"].changes(plain)
    assert ROWS["no-teacher"].changes(replace(plain, teacher=("runs/teacher",)))
    assert not ROWS["one-view"].changes(plain)
    trained = replace(plain, unfreeze=1, views=3)  # its pictures are read whole, a new part of each every time
    assert not any(ROWS[name].changes(trained) for name in ("one-view", "all-patches"))
    assert all(ROWS[name].changes(plain) for name in ("sigmoid", "no-query-noise", "itm"))

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args
from unittest.mock import Mock

import pytest
import torch
from accelerate import Accelerator

import retriever
from retriever.model import FusedRetriever
from tests.conftest import TINY
from training import finetune
from training.arguments import TrainArgs
from training.finetune import learning_rate
from training.logbook import Logbook


def arguments(shop: Path, model: Path, output: Path, *more: str) -> list[str]:
    images = shop / "images"
    return [
        *("--model", str(model), "--output", str(output), "--features", str(output.parent / "features")),
        *("--train", f"{shop / 'pairs.json'}:{images}", "--valid", f"{shop / 'toy.valid.jsonl'}:{images}"),
        *("--batch-size", "8", "--precision", "no", *more),
    ]


def test_training_learns_and_leaves_everything_behind(toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    finetune.main(arguments(toy_shop, tiny_checkpoint, output, "--steps", "60", "--save-every", "30", "--lr", "0.003"))
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    assert losses[-1] < losses[0]
    assert records[-1]["toy/mean"] > 50  # twelve items: chance is about 45, an untrained model below it
    assert {path.name for path in output.iterdir()} >= {
        *("args.json", "config.json", "model.safetensors", "tokenizer.json", "loss.png", "recall.png", "tensorboard")
    }
    assert retriever.load(output).encode_queries(["red mug"]).shape == (1, 16)
    assert not retriever.load(output).config.matching
    noted = json.loads((output / "args.json").read_text())
    assert noted["model_id"] == retriever.load(output).model_id
    assert noted["models"] == {str(tiny_checkpoint): retriever.load(tiny_checkpoint).model_id}


def test_a_run_of_a_few_steps_shows_its_loss(toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    finetune.main(arguments(toy_shop, tiny_checkpoint, output, "--steps", "2"))
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "loss" in record] == [1]
    assert (output / "loss.png").exists()


def test_missing_pictures_are_told_once_a_file(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Path(shutil.copytree(toy_shop, tmp_path / "shop"))
    for colour in ("red", "blue"):
        (shop / "images" / f"mug-{colour}.png").unlink()
    texts = ("--train", f"{shop / 'pairs.json'}:{shop / 'images'}", f"{shop / 'pairs.json'}")  # none are asked for here
    finetune.main(arguments(shop, tiny_checkpoint, tmp_path / "run", "--steps", "1", *texts))
    told = [line for line in capsys.readouterr().out.splitlines() if "no picture" in line]
    assert told == [f"{shop / name}: 2 of 12 items have no picture" for name in ("pairs.json", "toy.valid.jsonl")]


def test_a_model_says_that_it_was_trained_to_match(toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    finetune.main(arguments(toy_shop, tiny_checkpoint, tmp_path / "run", "--steps", "2", "--itm", "1"))
    assert retriever.load(tmp_path / "run").config.matching


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    pairs = toy_shop / "pairs.json"
    train = ("--train", f"{pairs}:{toy_shop / 'images'}", str(pairs))  # without pictures too, as teachers ask for
    flags = ("--steps", "40", "--save-every", "5", *train, "--teacher", str(tiny_checkpoint))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def command(output: Path) -> list[str]:
        return [sys.executable, "-m", "training.finetune", *arguments(toy_shop, tiny_checkpoint, output, *flags)]

    subprocess.run(command(whole), check=True, env=environment, capture_output=True)
    process = subprocess.Popen(command(killed), env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not (killed / "state" / "progress.json").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model.safetensors").exists()
    subprocess.run(command(killed), check=True, env=environment, capture_output=True)

    assert retriever.load(killed).model_id == retriever.load(whole).model_id
    steps = [json.loads(line)["step"] for line in (killed / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_a_finished_run_is_not_trained_again(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is its log begun anew: whoever starts jobs may start one twice."""
    command = arguments(toy_shop, tiny_checkpoint, tmp_path / "run", "--steps", "10")
    finetune.main(command)
    log = (tmp_path / "run" / "log.jsonl").read_bytes()
    finetune.main(command)
    assert "finished" in capsys.readouterr().out
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == log


def test_a_line_of_the_log_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    Logbook(tmp_path, 5).close()
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 1, "loss": 2.0}\n'


@pytest.mark.parametrize("steps", ["4", "30"])
def test_a_loss_that_is_no_number_ends_the_run(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: str
) -> None:
    flags = ("--steps", steps, "--save-every", "3", "--lr", "1e30")
    with pytest.raises(SystemExit):
        finetune.main(arguments(toy_shop, tiny_checkpoint, tmp_path / "run", *flags))
    assert "lower --lr" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("state*"))
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_weights_that_are_no_numbers_are_not_saved(
    toy_shop: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The last step may be the one that breaks them, after its loss was right."""

    def broken(parameters: Iterable[torch.nn.Parameter]) -> None:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.fill_(torch.nan)

    monkeypatch.setattr(finetune, "average_gradients", broken)
    with pytest.raises(SystemExit):
        finetune.main(arguments(toy_shop, tiny_checkpoint, tmp_path / "run", "--steps", "1"))
    assert "no numbers any more" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("state*"))


class Killed(BaseException):
    """What no code catches, as nothing catches a kill."""


def killed_at(owner: type, name: str, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command that is killed when it first calls this."""
    monkeypatch.setattr(owner, name, Mock(side_effect=Killed))
    with pytest.raises(Killed):
        finetune.main(command)
    monkeypatch.undo()


def test_a_second_kill_does_not_lose_the_run(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first before the new state takes its name, the second in the save after."""
    output = tmp_path / "run"
    command = arguments(toy_shop, tiny_checkpoint, output, "--steps", "6", "--save-every", "2")
    killed_at(Path, "rename", command, monkeypatch)
    assert (output / "state.new" / "progress.json").exists()
    killed_at(Accelerator, "save_state", command, monkeypatch)
    assert json.loads((output / "state" / "progress.json").read_text())["done"] == 2
    finetune.main(command)
    assert (output / "model.safetensors").exists()


def test_a_run_that_was_killed_at_its_end_is_finished_by_the_next(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    command = arguments(toy_shop, tiny_checkpoint, output, "--steps", "2")
    finetune.main(command)
    for name in ("state", "state.new"):  # what a kill leaves of them once the model is written
        (output / name).mkdir()
    capsys.readouterr()
    finetune.main(command)
    assert "finished" in capsys.readouterr().out


def test_nothing_of_the_states_is_left_at_the_end(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "run"
    command = arguments(toy_shop, tiny_checkpoint, output, "--steps", "2")
    killed_at(Path, "rename", command, monkeypatch)
    finetune.main(command)
    assert not list(output.glob("state*"))


def test_another_runs_folder_is_not_overwritten(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    output.mkdir()
    (output / "args.json").write_text(json.dumps({"steps": 1}))
    finetune.main(arguments(toy_shop, tiny_checkpoint, output, "--steps", "2"))  # nothing was saved there yet
    with pytest.raises(SystemExit) as stopped:
        finetune.main(arguments(toy_shop, tiny_checkpoint, output, "--steps", "3"))
    assert stopped.value.code == 2
    assert "another --output" in capsys.readouterr().err


def test_a_model_that_was_not_trained_there_is_not_taken_for_a_finished_run(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    before = sorted(path.name for path in model.iterdir())
    with pytest.raises(SystemExit) as stopped:
        finetune.main(arguments(toy_shop, model, model, "--steps", "2"))
    assert stopped.value.code == 2
    assert "not trained there" in capsys.readouterr().err
    assert sorted(path.name for path in model.iterdir()) == before


def test_a_run_of_an_older_version_goes_on(toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Arguments that its version did not have yet count as their defaults."""
    command = arguments(toy_shop, tiny_checkpoint, tmp_path / "run", "--steps", "2")
    finetune.main(command)
    written = tmp_path / "run" / "args.json"
    older = json.loads(written.read_text())
    del older["chunk"], older["data"], older["models"]
    written.write_text(json.dumps(older))
    finetune.main(command)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--steps", "0"),
        ("--batch-size", "1"),
        ("--patches", "0"),
        ("--precision", "fp8"),
        ("--chunk", "-1"),
        ("--drop-text", "1.1"),
        ("--drop-text", "nan"),
        ("--lr", "nan"),
        ("--lr-new", "-1"),
        ("--weight-decay", "-1"),
        ("--itm", "nan"),
        ("--max-text-length", "0"),
    ],
)
def test_values_out_of_range_name_their_flag(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        finetune.main(["--train", "pairs.json", flag, value])
    assert flag in capsys.readouterr().err


def test_hidden_states_drop_what_the_option_says_and_attention_what_the_configuration_says() -> None:
    model = FusedRetriever(replace(TINY, dropout=0.25))
    finetune.set_dropout(model, 0.4)
    modules = list(model.qformer.modules())
    assert {module.p for module in modules if isinstance(module, torch.nn.Dropout)} == {0.4}
    assert {module.attention_dropout for module in modules if hasattr(module, "attention_dropout")} == {0.25}


def test_help_says_what_each_flag_is_for_and_its_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # no word is broken
    with pytest.raises(SystemExit):
        finetune.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for field in fields(TrainArgs):
        flag, (kind, meaning) = f"--{field.name.replace('_', '-')}", get_args(field.type)
        default = f" ({field.default})" if kind in (int, float, str) else ""
        assert re.search(rf" {flag}( [A-Z_ .\[\]]+)? {re.escape(meaning + default)}", shown), flag


def test_a_warm_up_that_takes_all_steps_is_told(
    toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(name: str, warmup: str) -> str:
        finetune.main(arguments(toy_shop, tiny_checkpoint, tmp_path / name, "--steps", "2", "--warmup", warmup))
        return capsys.readouterr().out

    assert "--warmup 2: the learning rate rises in all of the 2 steps" in printed("long", "2")
    assert "--warmup" not in printed("short", "1")


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    args = TrainArgs(train=("pairs.json",), steps=1000, warmup=100)
    rates = torch.tensor([learning_rate(step, args) for step in range(1001)])
    assert rates[0] == pytest.approx(0.01)
    assert rates[99] == pytest.approx(1.0)
    assert rates[1000] == pytest.approx(0.0, abs=1e-6)
    assert (rates[100:].diff() <= 0).all()

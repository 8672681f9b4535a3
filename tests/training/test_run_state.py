import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from training import run_state
from training.arguments import TrainArgs


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.json"
    path.write_text("[1]")
    return path


def test_a_run_does_not_go_on_with_other_pairs(tmp_path: Path, pairs: Path) -> None:
    negatives, output = tmp_path / "negatives.jsonl", tmp_path / "run"
    negatives.write_text("")
    args = TrainArgs(train=(f"{pairs}:images", str(pairs)), negatives=(str(negatives), "-"), output=str(output))
    assert not run_state.check_same_run(output, args, {})
    pairs.write_text("[2]")
    assert not run_state.check_same_run(output, args, {}), "nothing has been learned from them yet"
    (output / "state").mkdir()
    (output / "state" / "progress.json").write_text("{}")
    assert not run_state.check_same_run(output, args, {})
    for changed in (pairs, negatives):
        kept = changed.read_text()
        changed.write_text("[3]")
        with pytest.raises(ValueError, match=f"on what .*{changed.name} said before"):
            run_state.check_same_run(output, args, {})
        changed.write_text(kept)
    assert not run_state.check_same_run(output, args, {})


def test_a_run_does_not_go_on_with_other_weights(tmp_path: Path, pairs: Path) -> None:
    output = tmp_path / "run"
    args = TrainArgs(train=(str(pairs),), model="mine", teacher=("wise",), output=str(output))
    assert not run_state.check_same_run(output, args, {"mine": "a", "wise": "b"})
    assert json.loads((output / "args.json").read_text())["models"] == {"mine": "a", "wise": "b"}
    (output / "state").mkdir()
    (output / "state" / "progress.json").write_text("{}")
    assert not run_state.check_same_run(output, args, {"mine": "a", "wise": "b"})
    for models, name in (({"mine": "c", "wise": "b"}, "mine"), ({"mine": "a", "wise": "c"}, "wise")):
        with pytest.raises(ValueError, match=f"other weights of {name};"):
            run_state.check_same_run(output, args, models)


def test_a_run_goes_on_in_another_place(tmp_path: Path, pairs: Path) -> None:
    args = TrainArgs(train=(str(pairs),), output=str(tmp_path / "old"))
    assert not run_state.check_same_run(tmp_path / "old", args, {})
    (tmp_path / "old" / "state").mkdir()
    (tmp_path / "old" / "state" / "progress.json").write_text("{}")
    (tmp_path / "old").rename(tmp_path / "new")
    assert not run_state.check_same_run(tmp_path / "new", replace(args, output=str(tmp_path / "new")), {})
    with pytest.raises(ValueError, match="other arguments \\(lr\\)"):
        run_state.check_same_run(tmp_path / "new", replace(args, lr=1e-3), {})


def test_a_kill_while_the_old_state_is_removed(tmp_path: Path) -> None:
    """The new one stands beside what is left of it, and is whole."""
    for name, done in (("state", 5), ("state.new", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "progress.json").write_text(json.dumps({"done": done, "scheduler": {}}))
    accelerator, scheduler = Mock(), Mock()
    assert run_state.resume(tmp_path, accelerator, scheduler) == 10
    accelerator.load_state.assert_called_once_with(str(tmp_path / "state"))

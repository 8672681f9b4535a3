import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from training import run_state
from training.arguments import TrainArgs


def test_a_run_goes_on_in_another_place(tmp_path: Path) -> None:
    args = TrainArgs(train=("pairs.json",), output=str(tmp_path / "old"))
    assert not run_state.check_same_run(tmp_path / "old", args)
    (tmp_path / "old" / "state").mkdir()
    (tmp_path / "old" / "state" / "progress.json").write_text("{}")
    (tmp_path / "old").rename(tmp_path / "new")
    assert not run_state.check_same_run(tmp_path / "new", replace(args, output=str(tmp_path / "new")))
    with pytest.raises(ValueError, match="other arguments \\(lr\\)"):
        run_state.check_same_run(tmp_path / "new", replace(args, lr=1e-3))


def test_a_kill_while_the_old_state_is_removed(tmp_path: Path) -> None:
    """The new one stands beside what is left of it, and is whole."""
    for name, done in (("state", 5), ("state.new", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "progress.json").write_text(json.dumps({"done": done, "scheduler": {}}))
    accelerator, scheduler = Mock(), Mock()
    assert run_state.resume(tmp_path, accelerator, scheduler) == 10
    accelerator.load_state.assert_called_once_with(str(tmp_path / "state"))

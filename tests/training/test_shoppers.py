"""The command of the simulated shoppers; how they click is tested beside what learns from it, in `prepare`."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from training import shoppers
from training.shoppers import Shop

FILES = ["--items", "none.jsonl", "--gallery", "none.gallery.jsonl", "--images", "none"]


def test_a_log_that_cannot_be_written_is_told_before_the_catalogue_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        shoppers.main([*FILES, "--log", str(tmp_path / "file" / "log")])
    error = capsys.readouterr().err
    assert error.startswith("python -m training.shoppers: ")
    assert str(tmp_path / "file") in error


def test_a_disk_that_is_full_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Shop(["a"], ["mug"], [{0}], np.array([[0]]))
    monkeypatch.setattr(shoppers, "open_shop", lambda options: shop)
    monkeypatch.setattr(Path, "open", Mock(side_effect=OSError("No space left on device")))
    with pytest.raises(SystemExit):
        shoppers.main([*FILES, "--log", str(tmp_path / "log")])
    assert capsys.readouterr().err == "python -m training.shoppers: No space left on device\n"

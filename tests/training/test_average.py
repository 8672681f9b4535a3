from dataclasses import replace
from pathlib import Path

import pytest
import torch

import retriever
from retriever import checkpoint
from retriever.model import FusedRetriever
from tests.conftest import TINY, tiny_tokenizer
from training import average


@pytest.fixture
def other(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    checkpoint.save(FusedRetriever(TINY), tiny_tokenizer(), tmp_path / "other")
    return tmp_path / "other"


def test_weights_are_the_weighted_mean(tiny_checkpoint: Path, other: Path, tmp_path: Path) -> None:
    average.main([f"{tiny_checkpoint}:0.75", f"{other}:0.25", "--output", str(tmp_path / "mean")])
    one, two, mean = (retriever.load(path).model.state_dict() for path in (tiny_checkpoint, other, tmp_path / "mean"))
    for name, weight in mean.items():
        if weight.is_floating_point():
            torch.testing.assert_close(weight, 0.75 * one[name] + 0.25 * two[name])


def test_what_cannot_be_averaged_is_refused(
    tiny_checkpoint: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wider = tmp_path / "wider"
    checkpoint.save(FusedRetriever(replace(TINY, num_query_tokens=6)), tiny_tokenizer(), wider)
    broken, model = tmp_path / "broken", FusedRetriever(TINY)
    torch.nn.init.constant_(model.query_tokens, torch.nan)
    checkpoint.save(model, tiny_tokenizer(), broken)
    wordier, tokenizer = tmp_path / "wordier", tiny_tokenizer()
    tokenizer.add_tokens(["teapot"])
    checkpoint.save(FusedRetriever(TINY), tokenizer, wordier)
    for models, message in (
        ([f"{tiny_checkpoint}:0.75", f"{other}:0.5"], "add up to 1, not 1.25"),
        ([f"{tiny_checkpoint}:0.5", f"{wider}:0.5"], "(num_query_tokens)"),
        ([f"{tiny_checkpoint}:0.5", f"{wordier}:0.5"], "another vocabulary"),
        ([f"{tiny_checkpoint}:0.5", "nowhere/at/all:0.5"], "nowhere/at/all"),
        ([str(tiny_checkpoint)], "MODEL:SHARE"),
        (["compact:half"], "'compact:half' is not MODEL:SHARE"),
        ([f"{tiny_checkpoint}:0.5", f"{tiny_checkpoint}:0.5"], "named twice"),
        ([f"{tiny_checkpoint}:0.5", f"{broken}:0.5"], "no number"),
    ):
        with pytest.raises(SystemExit):
            average.main([*models, "--output", str(tmp_path / "mean")])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()

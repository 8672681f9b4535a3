"""The benchmark of GPUs runs, at a small size and on the CPU; graphs are left out there."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from benchmarks import gpu, gpu_encoding, gpu_service
from benchmarks.gpu import main
from benchmarks.gpu_measure import Gpu, Row
from tests.retriever.test_parity_blip2 import TINY


@pytest.fixture
def own_precision() -> Iterator[None]:
    """Accelerate has one precision a process, and other tests have chosen another."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.slow
@pytest.mark.usefixtures("own_precision", "tiny_exported")
def test_every_part_runs_at_a_small_size(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_encoding, "SIDE", 60)
    arguments = ["--device", "cpu", "--model", str(tiny_checkpoint), "--output", str(tmp_path), "--batches", "1,3"]
    arguments += ["--train-batches", "2,4", "--pictures", "5", "--side", "64", "--seconds", "0.01"]
    arguments += ["--size", "20", "--clients", "1,2", "--uploads", "3"]
    tables = main(arguments, TINY)
    assert json.loads((tmp_path / "gpu.json").read_text())["tables"] == tables
    assert not any("failed" in row for rows in tables.values() for row in rows)
    assert tables["peak"][0]["TFLOP/s"] > 0
    assert {row["way"] for row in tables["compact: items"]} == {"torch", "bf16"}
    assert {row["way"] for row in tables["blip2: items"]} == {"transformers", "bf16"}
    work = tables["blip2: work"][0]
    assert 0 < work["GFLOP a query"] < work["a picture"] < work["with text"]
    assert min(value for name, value in work.items() if "cosine" in name) > 0.99  # one model, one input
    frozen = {row["batch"]: row for row in tables["train: blip2"] if row["step"] == "frozen tower, pixels"}
    assert frozen[4]["samples/s"] > 0
    assert [row["clients"] for row in tables["service: searches"]] == [1, 2]
    assert not any(row["failed %"] for row in tables["service: constant arrival"])
    assert min(row["items/s"] for row in tables["service: ingest"]) > 0
    learning = next(row for row in tables["train: blip2"] if "learn too" in row["step"])
    assert learning["GFLOP a sample"] > frozen[4]["GFLOP a sample"]


def test_a_gpu_is_compared_with_the_cpu_at_the_same_load() -> None:
    rates = [10.0, 20.0, 30.0, 80.0]
    rows: list[Row] = [{"clients": n, "requests/s": rate} for n, rate in zip([1, 2] * 2, rates, strict=True)]
    gpu_service._compare(rows, "requests/s", devices=2)
    assert [row["÷ cpu"] for row in rows] == [1, 1, 3, 4]


def test_vectors_that_are_off_end_it_with_a_failure(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gpu.LEAST_MEAN, "bf16", 1.1)
    arguments = ["--device", "cpu", "--model", str(tiny_checkpoint), "--output", str(tmp_path), "--parts", "check"]
    with pytest.raises(SystemExit, match="vectors are off: bf16, query: "):
        main(arguments, TINY)


def test_a_failure_becomes_a_row_and_is_remembered() -> None:
    measured = Gpu(device=gpu.torch.device("cpu"), seconds=0.0, batches=[1])

    def fail() -> dict[str, float]:
        raise ValueError("no kernel")

    assert measured.cell({"batch": 1}, fail) == {"batch": 1, "failed": "ValueError: no kernel"}
    assert measured.failures == ["{'batch': 1}: ValueError"]

"""Two processes that talk over gloo on this machine, against one that has the joint batch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, distributed, multiprocessing

from retriever import checkpoint
from training import finetune
from training.gradcache import contrast
from training.losses import itc
from training.pairs import Pairs
from training.processes import average_gradients, gather

BATCH = 6


def gradients(model: Path, process: int, processes: int, chunk: int) -> dict[str, Tensor]:
    """Of one process's share of a batch that all of them draw alike."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 100, (BATCH, 5), generator=generator)
    texts = torch.randint(4, 100, (BATCH, 5), generator=generator)
    positives = torch.eye(BATCH, dtype=torch.bool)
    positives[0, 4] = positives[4, 0] = True  # across the processes
    pairs = Pairs(checkpoint.load_folder(model)[0])
    share = BATCH // processes

    def encode(part: slice) -> tuple[Tensor, Tensor]:
        rows = slice(process * share + part.start, process * share + part.stop)
        queries = pairs.model.encode_query(ids[rows], torch.ones_like(ids[rows]))
        return queries, pairs.model.encode_item(None, texts[rows], torch.ones_like(texts[rows]))

    def loss(queries: Tensor, items: Tensor) -> Tensor:
        return itc(gather(queries), gather(items), positives, pairs.temperature())

    contrast(encode, loss, share, chunk)
    if process == 1:
        pairs.model.null_picture.grad = None  # as where all of a process's items have pictures
    average_gradients(pairs.parameters())
    return {name: weight.grad for name, weight in pairs.named_parameters() if weight.grad is not None}


def work(process: int, model: Path, folder: Path, chunk: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder / 'rendezvous'}", rank=process, world_size=2)
    torch.save(gradients(model, process, 2, chunk), folder / f"{process}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [0, 2])
def test_gathered_contrast_gives_the_gradients_of_the_joint_batch(
    tiny_checkpoint: Path, tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    multiprocessing.spawn(work, (tiny_checkpoint, tmp_path, chunk), nprocs=2)
    joint = gradients(tiny_checkpoint, 0, 1, 0)
    for process in (0, 1):
        own = torch.load(tmp_path / f"{process}.pt", weights_only=True)
        assert own.keys() == joint.keys()
        halved = own.pop("model.null_picture")  # one of the two had none, and it counts as zero
        assert halved.abs().max() > 0
        torch.testing.assert_close(own, {name: joint[name] for name in own}, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_two_processes_train_to_the_weights_of_one(toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The whole command, as two processes."""
    model = tmp_path / "model"
    shutil.copytree(tiny_checkpoint, model)
    config = json.loads((model / "config.json").read_text()) | {"dropout": 0}  # each process draws its own
    (model / "config.json").write_text(json.dumps(config))

    def command(output: Path, *more: str) -> list[str]:
        return [
            *("--model", str(model), "--train", f"{toy_shop / 'pairs.json'}:{toy_shop / 'images'}"),
            *("--features", str(tmp_path / "features"), "--output", str(output), "--lr", "0.001", "--patches", "1"),
            *("--steps", "6", "--save-every", "3", "--batch-size", "6", "--precision", "no", "--warmup", "0", *more),
        ]

    # `accelerate launch` runs many GPUs through this; on a CPU it would want MPI.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    launch += ["--nproc-per-node", "2", "-m", "training.finetune"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run([*launch, *command(tmp_path / "two")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    finetune.main(command(tmp_path / "one"))
    two, one = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    start = load_file(tiny_checkpoint / "model.safetensors")
    assert max((one[name] - start[name]).abs().max() for name in one) > 1e-3  # it did learn
    torch.testing.assert_close(two, one, atol=1e-5, rtol=0)


def test_alone_nothing_is_gathered_or_averaged() -> None:
    rows = torch.ones(2, 3, requires_grad=True)
    assert gather(rows) is rows
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    average_gradients([weight])
    assert weight.grad.tolist() == [1, 1]

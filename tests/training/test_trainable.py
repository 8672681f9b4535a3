import copy
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import retriever
from retriever import Retriever
from retriever.model import FusedRetriever
from tests.conftest import TINY
from training import finetune
from training.arguments import TrainArgs
from training.trainable import freeze


def learning(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def chosen(model: FusedRetriever, **options: object) -> set[str]:
    freeze(model, TrainArgs(train=("x",), **options))  # type: ignore[arg-type]
    return learning(model)


def test_the_tower_and_the_vocabulary_are_frozen_by_default(tiny_retriever: Retriever) -> None:
    names = chosen(copy.deepcopy(tiny_retriever.model))
    assert "query_tokens" in names
    assert not [name for name in names if name.startswith("vision.") or "word_embeddings" in name or "itm" in name]


def test_unfreezing_frees_the_last_blocks_alone(tiny_retriever: Retriever) -> None:
    model = copy.deepcopy(tiny_retriever.model)
    last = len(model.vision.backbone.blocks) - 1
    tower = {name for name in chosen(model, unfreeze=1) if name.startswith("vision.")}
    assert any(f".blocks.{last}." in name for name in tower)
    assert not any(f".blocks.{last - 1}." in name or ".classifier." in name or "conv_stem" in name for name in tower)
    with pytest.raises(ValueError, match=r"--unfreeze 99: test_efficientnet has \d blocks"):
        chosen(model, unfreeze=99)


def test_batch_norm_keeps_its_statistics(tiny_retriever: Retriever) -> None:
    model = copy.deepcopy(tiny_retriever.model).train()
    before = {name: buffer.clone() for name, buffer in model.vision.named_buffers()}
    model.encode_pictures(torch.randn(4, 3, 64, 64))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.vision.named_buffers())


def test_low_rank_updates_leave_the_weights_under_them_alone(tiny_retriever: Retriever) -> None:
    model = copy.deepcopy(tiny_retriever.model).eval()
    ids, mask = map(torch.from_numpy, tiny_retriever.processor.queries(["red mug", "a shirt"]))
    before, names = model.encode_query(ids, mask), set(model.state_dict())
    lora = freeze(model, TrainArgs(train=("x",), lora=2))
    assert lora is not None
    assert torch.allclose(model.encode_query(ids, mask), before, atol=1e-6), "at first they change nothing"
    names_learning = learning(model)
    assert not [name for name in names_learning if name.startswith("qformer.") and "lora_" not in name]
    assert "vision_projection.weight" in names_learning
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    changed = model.encode_query(ids, mask)
    assert not torch.allclose(changed, before, atol=1e-3)
    lora.merge_and_unload()
    assert set(model.state_dict()) == names
    assert torch.allclose(model.encode_query(ids, mask), changed, atol=1e-5)


def test_low_rank_updates_reach_a_transformer_tower_and_no_other(tiny_retriever: Retriever) -> None:
    convolutional = copy.deepcopy(tiny_retriever.model)
    with pytest.raises(ValueError, match="transformer blocks"):
        chosen(convolutional, lora=2, unfreeze=1)
    eva = replace(TINY, vision_backbone="eva_giant_patch14_clip_224", vision_width=48, num_concepts=0)
    eva = replace(eva, vision_pyramid=False, image_size=28)
    sizes = {"depth": 3, "embed_dim": 48, "num_heads": 4, "mlp_ratio": 2, "img_size": 28, "patch_size": 14}
    model = FusedRetriever(replace(eva, vision_args=sizes))
    names = chosen(model, lora=2, unfreeze=1)
    tower = {name for name in names if name.startswith("vision.")}
    assert tower
    assert all(".blocks.2." in name and "lora_" in name for name in tower)
    features = model.encode_pictures(torch.randn(2, 3, 28, 28))
    model.encode_item(features, None, None).sum().backward()
    without = [
        name for name, one in model.named_parameters() if name in tower and "lora_B" in name and one.grad is None
    ]
    assert not without, "an update that the forward passes by"


def test_with_gradient_checkpointing_words_learn_and_nothing_says_otherwise(
    tiny_retriever: Retriever, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.Logger, "warning_once", logging.Logger.warning)  # another test may have heard it
    logger = logging.getLogger("transformers.modeling_utils")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    model = copy.deepcopy(tiny_retriever.model).train()
    freeze(model, TrainArgs(train=("x",), gradient_checkpointing=True, train_vocabulary=True))
    model.encode_query(*map(torch.from_numpy, tiny_retriever.processor.queries(["red mug"]))).sum().backward()
    gradient = model.embeddings.word_embeddings.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0
    assert "Gradients cannot flow back" not in caplog.text
    logger.warning("something else")
    assert "something else" in caplog.text


@pytest.mark.parametrize(
    "options", [("--unfreeze", "1"), ("--lora", "4"), ("--unfreeze", "1", "--gradient-checkpointing", "--chunk", "4")]
)
def test_each_way_trains_and_saves_a_plain_checkpoint(
    options: tuple[str, ...], toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    pairs = f"{toy_shop / 'pairs.json'}:{toy_shop / 'images'}"
    valid = f"{toy_shop / 'toy.valid.jsonl'}:{toy_shop / 'images'}"
    flags = ["--model", str(tiny_checkpoint), "--train", pairs, "--valid", valid, "--output", str(output)]
    flags += ["--features", str(tmp_path / "features"), "--batch-size", "8", "--steps", "10", "--lr", "0.003"]
    finetune.main([*flags, "--precision", "no", *options])
    assert retriever.load(output).config == TINY
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert "toy/mean" in records[-1]
    before, after = (retriever.load(folder).model.state_dict() for folder in (tiny_checkpoint, output))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("vision.backbone.") for name in changed) == ("--unfreeze" in options)
    assert not [name for name in changed if name.startswith("vision.backbone.blocks.0.") or "running_" in name]

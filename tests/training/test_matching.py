"""Matching in training: which couples are drawn, that chunks change nothing, and that it learns."""

import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

import retriever
from retriever import ItemInput, Retriever, checkpoint
from training import finetune
from training.arguments import TrainArgs
from training.collate import Collator
from training.data import Augmentation, BatchSampler, Source
from training.features import FeatureCache
from training.gradcache import Contrasted
from training.loader import PairTensors, batches
from training.matching import draw_itm_pairs
from training.pairs import Pairs
from training.picture_folder import PictureFolder


def test_couples_are_the_pairs_and_two_negatives_of_each() -> None:
    torch.manual_seed(0)
    queries = nn.functional.normalize(torch.randn(5, 8), dim=-1)
    items = nn.functional.normalize(torch.randn(5, 3, 8), dim=-1)
    positives = torch.eye(5, dtype=torch.bool)
    positives[0, 1] = positives[1, 0] = True
    positives[2] = True  # this query is answered by all: it has no negative
    for _ in range(20):
        couples = draw_itm_pairs(Contrasted(torch.zeros(()), queries, items), positives, torch.tensor(0.5))
        assert len(couples) == 14
        assert torch.equal(couples.queries[couples.matches], torch.arange(5))
        assert torch.equal(couples.items[couples.matches], torch.arange(5))
        assert not positives[couples.queries[~couples.matches], couples.items[~couples.matches]].any()


def test_chunks_give_the_gradients_of_the_whole_batch(
    tiny_retriever: Retriever, tiny_checkpoint: Path, toy_shop: Path, tmp_path: Path
) -> None:
    source = Source(toy_shop / "pairs.json", toy_shop / "images")
    cache = FeatureCache(tmp_path, tiny_retriever.model.vision, tiny_retriever.processor)
    cache.add([picture for picture in source.pictures if picture])
    sampler = BatchSampler([source], 8, 3, Augmentation(drop_picture=0.3, drop_text=0.3))
    collator = Collator(tiny_retriever.processor, cache)

    def gradients(chunk: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        args = TrainArgs(train=("pairs.json",), steps=1, itm=0.5, chunk=chunk, precision="no")
        pairs = Pairs(checkpoint.load_folder(tiny_checkpoint)[0])
        batch: PairTensors = next(batches(sampler, collator, args, 0))
        torch.manual_seed(0)
        losses = finetune.backward(pairs, batch, tiny_retriever.processor, Accelerator(), args)
        return losses, {name: weight.grad for name, weight in pairs.named_parameters() if weight.grad is not None}

    whole, chunked = gradients(0), gradients(3)
    assert whole[1]["model.itm_head.weight"].abs().max() > 1e-3
    torch.testing.assert_close(chunked, whole, atol=1e-5, rtol=1e-5)
    losses = whole[0]
    torch.testing.assert_close(losses["loss"], losses["itc"] + 0.5 * losses["itm"])


@pytest.mark.slow
def test_a_model_learns_to_match(toy_shop: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    command = ["--model", str(tiny_checkpoint), "--train", f"{toy_shop / 'pairs.json'}:{toy_shop / 'images'}"]
    command += ["--features", str(tmp_path / "features"), "--output", str(output), "--precision", "no"]
    finetune.main([*command, "--batch-size", "8", "--steps", "600", "--lr", "0.005", "--itm", "1", "--patches", "1"])
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    losses = [record["itm"] for record in records if "itm" in record]
    assert sum(losses[-5:]) / 5 < 0.45 < losses[0]  # 0.64: it knows that one in three belongs, and nothing else
    trained = retriever.load(output)
    lamp, mug = (PictureFolder(toy_shop / "images").load(f"{kind}-red") for kind in ("lamp", "mug"))
    items = [ItemInput(lamp, "lamp"), ItemInput(mug, "mug")]
    right, wrong = trained.match(["lamp", "mug"], items), trained.match(["mug", "lamp"], items)
    assert right.mean() > wrong.mean()

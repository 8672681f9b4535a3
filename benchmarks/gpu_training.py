"""Training steps on a GPU: samples a second, memory and share of the peak, against transformers' plain code."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from tokenizers import Tokenizer, models
from torch import Tensor, nn
from torch.nn import functional as F

import retriever
from benchmarks.gpu_encoding import QUERY_LENGTH, TEXT_LENGTH, random_blip2
from benchmarks.gpu_measure import Gpu, Row, flops_of
from retriever import Processor, RetrieverConfig
from retriever.model import FusedRetriever
from retriever.vision import PictureFeatures
from training.arguments import TrainArgs
from training.collate import ItemTensors
from training.finetune import CLIP_NORM, backward, make_optimiser, set_dropout
from training.loader import PairTensors
from training.pairs import Pairs
from training.trainable import freeze

ARGS = TrainArgs(train=("random",), output="", steps=1)
UNFROZEN = 4  # last blocks, where the tower learns too
COMPACT_BATCHES = 4  # times blip2's

Step = Callable[[], Any]


def measure(gpu: Gpu, model: str, config: RetrieverConfig, batches: Sequence[int]) -> dict[str, list[Row]]:
    """Steps as `training.finetune` makes them, with everything of them but reading files.

    Ours contrasts queries with items of picture and text; transformers' queries with pictures, as its forward does.
    """
    rows = _blip2(gpu, config, batches)
    small = _ours(gpu, lambda: retriever.load(model).model.to(gpu.device), [COMPACT_BATCHES * b for b in batches])
    return {"train: blip2": rows, "train: compact": small}


def _blip2(gpu: Gpu, config: RetrieverConfig, batches: Sequence[int]) -> list[Row]:
    ours, theirs = random_blip2(gpu, config)
    plain = _plain(gpu, theirs, batches)
    del theirs
    rows = _ours(gpu, lambda: ours, batches)
    for row in rows:
        own = [other for other in plain if other["batch"] == row["batch"] and "samples/s" in other]
        if own and "samples/s" in row and row["chunk"] == 0:
            row["÷ transformers"] = row["samples/s"] / own[0]["samples/s"]
    return plain + rows


def _ours(gpu: Gpu, build: Callable[[], FusedRetriever], batches: Sequence[int]) -> list[Row]:
    """Frozen tower on pixels, features that were computed before, GradCache, and last blocks that learn too."""
    accelerator = Accelerator(mixed_precision="bf16", cpu=gpu.device.type == "cpu")
    model = build()
    has_blocks = hasattr(model.vision.backbone, "blocks")
    middle, largest = batches[len(batches) // 2], batches[-1]
    cells = [("frozen tower, pixels", "pixels", 0, batch, 0) for batch in batches]
    cells += [("frozen tower, features kept", "features", 0, batch, 0) for batch in batches]
    cells += [("frozen tower, pixels, GradCache", "pixels", 0, 2 * largest, largest // 2)]
    if has_blocks:
        cells += [(f"last {UNFROZEN} blocks learn too, pixels", "pixels", UNFROZEN, middle, 0)]
    rows: list[Row] = []
    work: dict[tuple[str, int], float] = {}  # FLOP a sample; 0: not known
    for name, kind, unfreeze, batch, chunk in cells:
        args = replace(ARGS, batch_size=batch, chunk=chunk, unfreeze=min(unfreeze, _blocks(model)))

        def cell(args: TrainArgs = args, kind: str = kind) -> Row:
            pairs, optimiser = _prepared(model, args, accelerator)
            tensors = _pairs(gpu, model, kind, args.batch_size)
            processor = _processor(model.config)

            def step() -> None:
                optimiser.zero_grad()
                backward(pairs, tensors, processor, accelerator, args)
                accelerator.clip_grad_norm_(pairs.parameters(), CLIP_NORM)
                optimiser.step()

            if args.unfreeze and model.config.vision_pyramid:
                # torch counts the backward pass of grouped convolutions as if they were not grouped.
                work[kind, args.unfreeze] = 0.0
            if (kind, args.unfreeze) not in work:
                few = _pairs(gpu, model, kind, 4)
                counted = flops_of(lambda: backward(pairs, few, processor, accelerator, replace(args, chunk=0)))
                work[kind, args.unfreeze] = counted / 4
            return _timed(gpu, step, args.batch_size, work[kind, args.unfreeze])

        gpu.clear()
        rows.append(gpu.cell({"step": name, "batch": batch, "chunk": chunk}, cell))
        model.zero_grad(set_to_none=True)
    return rows


def _plain(gpu: Gpu, model: Any, batches: Sequence[int]) -> list[Row]:
    """transformers' own forward with contrast over its logits, the same frozen parts and optimiser."""
    set_dropout(model, 0.0)
    model.vision_model.requires_grad_(False)
    model.embeddings.word_embeddings.requires_grad_(False)
    model.itm_head.requires_grad_(False)
    model.train()
    size = model.config.vision_config.image_size
    rows: list[Row] = []

    def cell(batch: int) -> Row:
        optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=ARGS.lr, fused=True)
        images = torch.randn(batch, 3, size, size)
        ids, mask = _words(batch, QUERY_LENGTH, model.config.qformer_config.vocab_size)

        def forward_backward() -> None:
            with torch.autocast(gpu.device.type, torch.bfloat16):
                logits = model(
                    pixel_values=images.to(gpu.device), input_ids=ids.to(gpu.device), attention_mask=mask.to(gpu.device)
                ).logits_per_image
            logits = logits.float() / 0.05
            own = torch.arange(batch, device=gpu.device)
            loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
            loss.backward()  # type: ignore[no-untyped-call]

        def step() -> None:
            optimiser.zero_grad()
            forward_backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
            optimiser.step()

        return _timed(gpu, step, batch, flops_of(forward_backward) / batch)

    for batch in batches:
        about = {"step": "transformers: frozen tower, pixels", "batch": batch, "chunk": 0}
        gpu.clear()
        rows.append(gpu.cell(about, lambda batch=batch: cell(batch)))  # type: ignore[misc]
        model.zero_grad(set_to_none=True)
    return rows


def _timed(gpu: Gpu, step: Step, batch: int, flops: float) -> Row:
    """The host copies pictures anew in each step, as training does."""
    one = gpu.timed(step)
    return {
        "median ms": one.median,
        "samples/s": 1000 * batch / one.median,
        "GFLOP a sample": flops / 1e9 or "",
        "% of peak": gpu.share(batch * flops, one.median),
    }


def _prepared(model: FusedRetriever, args: TrainArgs, accelerator: Accelerator) -> tuple[Pairs, torch.optim.Optimizer]:
    """As `training.finetune.train` does."""
    set_dropout(model, args.dropout)
    freeze(model, args)
    pairs = Pairs(model).to(accelerator.device)
    pairs.train()
    return pairs, make_optimiser(pairs, args)


def _pairs(gpu: Gpu, model: FusedRetriever, kind: str, batch: int) -> PairTensors:
    """Random pairs on the host. Every query has one item."""
    config = model.config
    pictures: Tensor | PictureFeatures = torch.randn(batch, 3, config.image_size, config.image_size)
    if kind == "features":
        with torch.no_grad():
            one = model.encode_pictures(torch.randn(2, 3, config.image_size, config.image_size, device=gpu.device))
        shape = (batch, *one.tokens.shape[1:])
        pictures = PictureFeatures(torch.randn(shape), torch.rand(batch, one.concepts.shape[1]).softmax(dim=1))
    ids, mask = _words(batch, QUERY_LENGTH, config.vocab_size)
    text_ids, text_mask = _words(batch, TEXT_LENGTH, config.vocab_size)
    items = ItemTensors(pictures=pictures, input_ids=text_ids, attention_mask=text_mask, has_picture=None)
    nothing = [""] * batch
    return PairTensors(ids, mask, items, nothing, nothing, torch.eye(batch, dtype=torch.bool), slice(0, batch))


def _words(batch: int, length: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    lengths = torch.randint(length // 2, length + 1, (batch, 1))
    return torch.randint(1, vocabulary, (batch, length)), (torch.arange(length) < lengths).long()


def _processor(config: RetrieverConfig) -> Processor:
    """`backward` asks for one, but contrast alone never uses it."""
    return Processor(config, Tokenizer(models.WordPiece({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]")))


def _blocks(model: FusedRetriever) -> int:
    return len(getattr(model.vision.backbone, "blocks", ()))

"""Train a fused retriever: `python -m training.finetune --model compact --train pairs.json --output runs/mine`.

One loop on Accelerate that reads top to bottom: pairs → features → both sides of the model → contrast → optimiser.
The same command runs on one CPU, one GPU, or many with `accelerate launch`. Killed at any moment, the same command
goes on from the last checkpoint with the same order of data.
"""

import argparse
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from tqdm import tqdm

import retriever
from retriever import PRESETS, FusedRetriever, Processor, checkpoint
from training import backbones
from training.collate import Collator, ItemTensors, to_device
from training.data import Augmentation, Batch, BatchSampler, Source
from training.features import FeatureCache
from training.logbook import Logbook
from training.losses import itc
from training.validation import Validation

NEW_PARTS = ("crossattention", "query_tokens", "vision_norm", "null_picture", "concept_weight", "log_temperature")
TEMPERATURE = (0.01, 0.2)  # the learned temperature is kept within these
CLIP_NORM = 1.0
LOG_EVERY = 10


@dataclass(frozen=True)
class TrainArgs:
    """Everything that decides a run; saved beside its weights.

    Raises:
        ValueError: a value is out of range; the message names the flag.
    """

    train: tuple[str, ...]  # training files, each FILE or FILE:FOLDER_OF_PICTURES
    model: str = "compact"  # what to go on from: a shipped name, a checkpoint folder or a hub name
    from_backbones: bool = False  # start the preset called `model` from its pretrained backbones instead
    output: str = "runs/compact"
    valid: tuple[str, ...] = ()  # FILE or FILE:PICTURES in the seed's valid format, measured during training
    steps: int = 2000
    batch_size: int = 96  # pairs a step, over all processes
    lr: float = 5e-5  # of weights that were pretrained
    lr_new: float = 4e-4  # of weights that start at random (with --from-backbones)
    warmup: int = 100  # steps
    weight_decay: float = 0.05
    dropout: float = 0.0  # patch and modality dropout do its work, at no cost
    patches: float = 0.5  # share of a picture's patch tokens that a step sees
    max_query_length: int = 16  # word pieces in training; what the model serves with is in its configuration
    max_text_length: int = 32
    train_vocabulary: bool = False  # frozen by default: words that this shop never uses keep their meaning
    precision: str = "bf16"  # or "no" for float32
    storage: str = "full"  # or "int8", a quarter of the size
    features: str = "runs/features"  # where frozen picture features are kept between runs
    save_every: int = 200  # steps
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 2), ("save_every", 1), ("warmup", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, not {getattr(self, name)}")
        if not 0 < self.patches <= 1:
            raise ValueError(f"--patches is a share, above 0 and at most 1, not {self.patches}")
        for name, allowed in (("precision", ("bf16", "no")), ("storage", ("full", "int8"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"--{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")


class Pairs(nn.Module):
    """Both sides of a batch in one `forward`, which is what data-parallel wrappers need, and the temperature."""

    def __init__(self, model: FusedRetriever) -> None:
        super().__init__()
        self.model = model
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.05)))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, items: ItemTensors) -> tuple[Tensor, Tensor, Tensor]:
        """→ queries `(B, D)`, item tokens `(B, Q, D)`, temperature `()`; float32."""
        queries = self.model.encode_query(input_ids, attention_mask)
        tokens = self.model.encode_item(**items)
        low, high = (math.log(bound) for bound in TEMPERATURE)
        return queries.float(), tokens.float(), self.log_temperature.clamp(low, high).exp()


def build(args: TrainArgs) -> tuple[FusedRetriever, Processor]:
    """The model to start from: a checkpoint, or a preset on its backbones.

    Raises:
        ValueError: --from-backbones is given with something that is no preset.
        FileNotFoundError, ModuleNotFoundError: the checkpoint or the backbones' packages are missing.
    """
    if not args.from_backbones:
        loaded = retriever.load(args.model)
        return loaded.model, loaded.processor
    if args.model != "compact":
        raise ValueError(f"--from-backbones knows the backbones of 'compact', not of {args.model!r}")
    weights, tokenizer = backbones.load_minilm()
    config = PRESETS[args.model]
    model, processor = FusedRetriever(config), Processor(config, tokenizer)
    backbones.load_vision_backbone(model.vision)
    backbones.start_from_bert(model, weights)
    backbones.name_concepts(model.eval(), processor)
    return model, processor


def parameter_groups(pairs: Pairs, args: TrainArgs) -> list[dict[str, Any]]:
    """Two learning rates, weight decay on matrices only. The vision tower is frozen: its features are cached."""
    pairs.model.vision.requires_grad_(False)
    pairs.model.itm_head.requires_grad_(False)
    pairs.model.embeddings.word_embeddings.requires_grad_(args.train_vocabulary)
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in pairs.named_parameters():
        if parameter.requires_grad:
            new = args.from_backbones and any(part in name for part in NEW_PARTS)
            groups.setdefault((new, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": params, "lr": args.lr_new if new else args.lr, "weight_decay": args.weight_decay * matrix}
        for (new, matrix), params in groups.items()
    ]


def learning_rate(step: int, args: TrainArgs) -> float:
    """Share of the peak rate: a linear warm-up, then half a cosine to zero."""
    if step < args.warmup:
        return (step + 1) / args.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - args.warmup) / max(1, args.steps - args.warmup)))


def batches(sampler: BatchSampler, collator: Collator, args: TrainArgs, first: int) -> Iterator[dict[str, Any]]:
    """Tensors of each step from `first` on, prepared one step ahead in a thread."""

    def prepare(step: int) -> dict[str, Any]:
        batch: Batch = sampler.batch(step)
        rng = np.random.default_rng([args.seed, step, 1])
        input_ids, attention_mask = collator.processor.queries(batch.queries)
        items = collator.items(batch.texts, batch.pictures, rng, args.patches)
        positives = torch.from_numpy(batch.positives)
        return {"input_ids": input_ids, "attention_mask": attention_mask, "items": items, "positives": positives}

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(prepare, first)
        for step in range(first, args.steps):
            tensors = ahead.result()
            if step + 1 < args.steps:
                ahead = pool.submit(prepare, step + 1)
            yield tensors


def train(args: TrainArgs) -> dict[str, float]:
    """Run or resume a training run; returns the last validation, empty without --valid.

    Raises:
        ValueError: the output folder holds a run with other arguments.
    """
    accelerator = Accelerator(mixed_precision=args.precision)
    set_seed(args.seed)
    output = Path(args.output)
    _check_same_run(output, args)

    model, processor = build(args)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = args.dropout
    if accelerator.device.type == "cpu":
        # The backward pass of torch's fused attention is slow on CPUs: half of a step's time.
        model.qformer.set_attn_implementation("eager")
    cache = FeatureCache(Path(args.features), model.vision.to(accelerator.device), processor)
    served = processor.config
    short = replace(served, max_query_length=args.max_query_length, max_text_length=args.max_text_length)
    collator = Collator(Processor(short, processor.tokenizer), cache)
    validations = [Validation(Collator(processor, cache), *_paths(path)) for path in args.valid]
    sources = [Source(*_paths(path)) for path in args.train]
    for source in sources:
        cache.add([picture for picture in source.pictures if picture])
    sampler = BatchSampler(sources, args.batch_size, args.seed, Augmentation())

    pairs = Pairs(model)
    groups = parameter_groups(pairs, args)
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate(step, args))
    pairs, optimiser = accelerator.prepare(pairs, optimiser)
    first = _resume(output, accelerator, scheduler)
    logbook = Logbook(output, first)
    last: dict[str, float] = {}

    pairs.train()
    steps = tqdm(range(first, args.steps), initial=first, total=args.steps, desc="training", unit="step")
    for step, tensors in zip(steps, batches(sampler, collator, args, first), strict=True):
        with accelerator.autocast():
            queries, items, temperature = pairs(
                tensors["input_ids"].to(accelerator.device),
                tensors["attention_mask"].to(accelerator.device),
                to_device(tensors["items"], accelerator.device),
            )
        loss = itc(queries, items, tensors["positives"].to(accelerator.device), temperature)
        optimiser.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(pairs.parameters(), CLIP_NORM)
        optimiser.step()
        scheduler.step()

        done = step + 1
        if done % LOG_EVERY == 0:
            logbook.add(step, {"loss": loss.item(), "temperature": temperature.item()})
            steps.set_postfix({"loss": f"{loss.item():.3f}"} | {name: f"{value:.1f}" for name, value in last.items()})
        if done % args.save_every == 0 or done == args.steps:
            measured = {v.name: v.measure(accelerator.unwrap_model(pairs).model) for v in validations}
            logbook.add(step, {f"{name}/{k}": x for name, values in measured.items() for k, x in values.items()})
            last = {name: values["mean"] for name, values in measured.items()}
            _save(output, accelerator, scheduler, done)

    logbook.close()
    model_id = checkpoint.save(accelerator.unwrap_model(pairs).model, processor.tokenizer, output, args.storage)  # type: ignore[arg-type]
    plots = logbook.plot()
    shutil.rmtree(output / "state", ignore_errors=True)
    print(f"{output}: model {model_id}; {', '.join(path.name for path in plots)}")
    return last


def _paths(argument: str) -> list[Path]:
    """FILE or FILE:PICTURES."""
    return [Path(part) for part in argument.split(":", maxsplit=1)]


def _check_same_run(output: Path, args: TrainArgs) -> None:
    path = output / "args.json"
    ours = json.loads(json.dumps(asdict(args)))
    if path.exists() and (theirs := json.loads(path.read_text())) != ours:
        changed = sorted(name for name in ours if ours[name] != theirs.get(name))
        raise ValueError(f"{output} holds a run with other arguments ({', '.join(changed)}); choose another --output")
    output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ours, indent=2) + "\n")


def _save(output: Path, accelerator: Accelerator, scheduler: Any, done: int) -> None:
    """Weights, optimiser, generators and the count of steps; the old state goes when the new one is whole."""
    new, current = output / "state.new", output / "state"
    shutil.rmtree(new, ignore_errors=True)
    accelerator.save_state(str(new))
    (new / "progress.json").write_text(json.dumps({"done": done, "scheduler": scheduler.state_dict()}))
    shutil.rmtree(current, ignore_errors=True)
    new.rename(current)


def _resume(output: Path, accelerator: Accelerator, scheduler: Any) -> int:
    """The step to go on from: 0, or where the newest whole state stands."""
    for state in (output / "state", output / "state.new"):
        if (state / "progress.json").exists():
            progress = json.loads((state / "progress.json").read_text())
            accelerator.load_state(str(state))
            scheduler.load_state_dict(progress["scheduler"])
            return int(progress["done"])
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.finetune",
        description="Train a fused retriever on pairs in the seed's format (see python -m training.catalogue).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--train", nargs="+", required=True, help="FILE or FILE:PICTURES")
    parser.add_argument("--valid", nargs="+", default=(), help="X.valid.jsonl or X.valid.jsonl:PICTURES to measure")
    for name, field in TrainArgs.__dataclass_fields__.items():
        if name in ("train", "valid"):
            continue
        flag = f"--{name.replace('_', '-')}"
        if field.type is bool:
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=field.type, default=field.default)
    values = vars(parser.parse_args(arguments))
    try:
        train(TrainArgs(**values | {"train": tuple(values["train"]), "valid": tuple(values["valid"])}))
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()

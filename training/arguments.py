"""What decides a training run, and the command line that sets it."""

import argparse
import math
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, get_args

LISTS = ("train", "valid", "negatives", "teacher")  # flags that take several values


@dataclass(frozen=True)
class TrainArgs:
    """Everything that decides a run; saved beside its weights. Each field is a flag, and says what it is for.

    Raises:
        ValueError: a value is out of range; the message names the flag.
    """

    train: Annotated[tuple[str, ...], "training files, each FILE or FILE:PICTURES, the folder of its pictures"]
    model: Annotated[str, "what to go on from: a shipped name, a checkpoint folder or a hub name"] = "compact"
    from_backbones: Annotated[bool, "start from pretrained backbones instead, which `compact` alone has"] = False
    output: Annotated[str, "folder of the run and of what it trains"] = "runs/compact"
    negatives: Annotated[tuple[str, ...], "of training.mine, one for each --train file in their order, or -"] = ()
    teacher: Annotated[tuple[str, ...], "text encoders (training.teacher), asked where items have no pictures"] = ()
    valid: Annotated[tuple[str, ...], "to measure in training, each FILE or FILE:PICTURES (images/ beside it)"] = ()
    steps: Annotated[int, "batches to learn from"] = 2000
    batch_size: Annotated[int, "pairs a step, over all processes"] = 96
    chunk: Annotated[int, "pairs in memory at once, a process (see training.gradcache); 0: all of the batch"] = 0
    itm: Annotated[float, "weight of image-text matching, which trains the re-ranker; 0: none"] = 0.0
    lr: Annotated[float, "learning rate of weights that were pretrained"] = 5e-5
    lr_new: Annotated[float, "of new parts, as cross-attention; 0: 4e-4 from backbones or with --lora, else --lr"] = 0.0
    warmup: Annotated[int, "steps in which the learning rate rises to its peak"] = 100
    weight_decay: Annotated[float, "of matrices"] = 0.05
    # None by default: patch and modality dropout do its work, at no cost.
    dropout: Annotated[float, "of hidden states; attention keeps the dropout of config.json, 0.1 in the presets"] = 0.0
    patches: Annotated[float, "share of a picture's patch tokens that a step sees; all with --unfreeze"] = 0.5
    max_query_length: Annotated[int, "word pieces of a query in training (in service: see config.json)"] = 16
    max_text_length: Annotated[int, "word pieces of a text in training (in service: see config.json)"] = 32
    # Modality dropout: items with only one of the two are found then, and the model learns to look.
    drop_picture: Annotated[float, "share of pairs that are learned from by their text alone"] = 0.05
    drop_text: Annotated[float, "share of pairs that are learned from by their picture alone"] = 0.1
    views: Annotated[int, "of each picture: whole, and as random parts of it; with --unfreeze a new one each step"] = 1
    unfreeze: Annotated[int, "last blocks of the picture tower that learn too, from pictures read at each step"] = 0
    lora: Annotated[int, "rank of updates to attention in the place of full training; 0: full"] = 0
    gradient_checkpointing: Annotated[bool, "less memory for a second forward"] = False
    # Frozen by default: words that this shop never uses keep their meaning.
    train_vocabulary: Annotated[bool, "the embeddings of words learn too"] = False
    precision: Annotated[str, "bf16, or no for float32; auto: bf16 where the hardware computes in it"] = "auto"
    storage: Annotated[str, "of the weights: full, or int8, a quarter of the size"] = "full"
    features: Annotated[str, "folder where frozen picture features are kept between runs"] = "runs/features"
    save_every: Annotated[int, "steps until the run is saved, and measured with --valid, again"] = 200
    seed: Annotated[int, "of the order of data, and of all that is drawn"] = 0

    def __post_init__(self) -> None:
        counts = {
            "steps": 1,
            "batch_size": 2,
            "save_every": 1,
            "warmup": 0,
            "chunk": 0,
            "views": 1,
            "unfreeze": 0,
            "lora": 0,
            "max_query_length": 3,  # a word between [CLS] and [SEP]
            "max_text_length": 3,
            "seed": 0,
        }
        for name, least in counts.items():
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, not {getattr(self, name)}")
        for name in ("itm", "lr", "lr_new", "weight_decay", "dropout"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} must be 0 or above, not {getattr(self, name)}")
        if self.negatives and len(self.negatives) != len(self.train):
            raise ValueError(f"--negatives has {len(self.negatives)} files for the {len(self.train)} of --train")
        if not 0 < self.patches <= 1:
            raise ValueError(f"--patches is a share, above 0 and at most 1, not {self.patches}")
        if not (self.drop_picture >= 0 and self.drop_text >= 0 and self.drop_picture + self.drop_text <= 1):
            raise ValueError("--drop-picture and --drop-text are shares, together at most 1")
        for name, allowed in (("precision", ("auto", "bf16", "no")), ("storage", ("full", "int8"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"--{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")


def count(text: str) -> int:
    """The value of a flag that is a count, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return int(text)


def paths(argument: str) -> list[Path]:
    """FILE or FILE:PICTURES."""
    return [Path(part) for part in argument.split(":", maxsplit=1)]


def make_room(file: Path, flag: str) -> None:
    """Makes the folder of a file that long work writes at its end. Raises ValueError, OSError if it cannot be."""
    if file.is_dir():
        raise ValueError(f"{flag} {file} is a folder: name a file in it")
    file.parent.mkdir(parents=True, exist_ok=True)


def command_line() -> argparse.ArgumentParser:
    """Every field of `TrainArgs` as a flag with the same default."""
    parser = argparse.ArgumentParser(
        prog="python -m training.finetune",
        description="Train a fused retriever on pairs in the seed's format (see python -m training.catalogue).",
    )
    for field in fields(TrainArgs):
        flag, (kind, meaning) = f"--{field.name.replace('_', '-')}", get_args(field.type)
        if field.name in LISTS:
            required = field.default is MISSING
            parser.add_argument(flag, nargs="+", default=(), required=required, help=meaning)
        elif kind is bool:
            parser.add_argument(flag, action="store_true", help=meaning)
        else:
            parser.add_argument(flag, type=kind, default=field.default, help=f"{meaning} ({field.default})")
    return parser

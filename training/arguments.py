"""What decides a training run, and the command line that sets it."""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

LISTS = ("train", "valid", "negatives", "teacher")  # flags that take several values


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
    negatives: tuple[str, ...] = ()  # what `training.mine` wrote for each training file, in their order; - for none
    teacher: tuple[str, ...] = ()  # text encoders that `training.teacher` tuned, asked where items have no pictures
    valid: tuple[str, ...] = ()  # as `train`, in the seed's valid format, measured in training; or images/ beside FILE
    steps: int = 2000
    batch_size: int = 96  # pairs a step, over all processes
    chunk: int = 0  # pairs in memory at once, a process (see `training.gradcache`); 0: all of the batch
    itm: float = 0.0  # weight of image–text matching, which trains the re-ranker (see `training.matching`); 0: none
    lr: float = 5e-5  # of weights that were pretrained
    lr_new: float = 0.0  # of weights that start at random with --from-backbones; 0: 4e-4 with it, --lr without
    warmup: int = 100  # steps
    weight_decay: float = 0.05
    dropout: float = 0.0  # patch and modality dropout do its work, at no cost
    patches: float = 0.5  # share of a picture's patch tokens that a step sees
    max_query_length: int = 16  # word pieces in training; what the model serves with is in its configuration
    max_text_length: int = 32
    drop_picture: float = 0.05  # modality dropout: share of pairs that are learned from by their text alone …
    drop_text: float = 0.1  # … and by their picture alone, so that such items are found and the model learns to look
    views: int = 1  # of each picture: whole, and as random parts of it (see `training.features`)
    unfreeze: int = 0  # last blocks of the picture tower that learn too, from pictures read and cropped at each step
    lora: int = 0  # rank of updates to attention in the place of full training (see `training.trainable`); 0: full
    gradient_checkpointing: bool = False  # less memory for a second forward
    train_vocabulary: bool = False  # frozen by default: words that this shop never uses keep their meaning
    precision: str = "bf16"  # or "no" for float32
    storage: str = "full"  # or "int8", a quarter of the size
    features: str = "runs/features"  # where frozen picture features are kept between runs
    save_every: int = 200  # steps
    seed: int = 0

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
        for name, allowed in (("precision", ("bf16", "no")), ("storage", ("full", "int8"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"--{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")


def count(text: str) -> int:
    """A flag's value that says how many: 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return int(text)


def paths(argument: str) -> list[Path]:
    """FILE or FILE:PICTURES."""
    return [Path(part) for part in argument.split(":", maxsplit=1)]


def command_line() -> argparse.ArgumentParser:
    """Every field of `TrainArgs` as a flag with the same default."""
    parser = argparse.ArgumentParser(
        prog="python -m training.finetune",
        description="Train a fused retriever on pairs in the seed's format (see python -m training.catalogue).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--train", nargs="+", required=True, help="FILE or FILE:PICTURES")
    parser.add_argument("--valid", nargs="+", default=(), help="FILE or FILE:PICTURES (images/ beside it) to measure")
    parser.add_argument(
        "--negatives", nargs="+", default=(), help="of each --train FILE, what training.mine wrote, or -"
    )
    parser.add_argument(
        "--teacher", nargs="+", default=(), help="folders or hub names of text encoders (training.teacher)"
    )
    for name, field in TrainArgs.__dataclass_fields__.items():
        if name in LISTS:
            continue
        flag = f"--{name.replace('_', '-')}"
        if field.type is bool:
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=field.type, default=field.default)
    return parser

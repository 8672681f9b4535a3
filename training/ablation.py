"""What each part of the recipe is worth: `python -m training.ablation --train … --valid … --output runs/ablation`.

Every row trains from the same weights, on the same pairs in the same order, with one thing changed, and is then
measured against the reference on the same queries. It takes the arguments of `training.finetune`; a row that was
finished before is not trained again, and one that was killed goes on.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import retriever
from retriever.scoring import maxsim
from training.arguments import LISTS, TrainArgs, command_line, paths
from training.collate import Collator
from training.data import Augmentation
from training.features import FeatureCache
from training.finetune import ContrastiveLoss, build, train
from training.losses import itc, symmetric
from training.markdown import markdown_table
from training.metrics import Floats, paired_difference
from training.pictures import PictureReader
from training.validation import open_validations

REFERENCE = "reference"


def one_positive(queries: Tensor, items: Tensor, positives: Tensor, temperature: Tensor) -> Tensor:
    """ITC as CLIP has it (arXiv 2103.00020): whatever else in the batch answers the query counts as wrong."""
    return itc(queries, items, torch.eye(len(queries), dtype=torch.bool, device=queries.device), temperature)


def sigmoid(queries: Tensor, items: Tensor, positives: Tensor, temperature: Tensor) -> Tensor:
    """SigLIP's loss (Zhai et al., arXiv 2303.15343): every couple of a batch is told apart by itself.

    The bias, which the paper learns, is the log odds of a positive, where it would start out right on average.
    """
    odds = positives.sum() / (~positives).sum().clamp(min=1)  # of a batch may be none but positives
    logits = maxsim(queries, items) / temperature + odds.log()  # (B, N)
    return F.binary_cross_entropy_with_logits(logits, positives.to(logits.dtype), reduction="sum") / len(queries)


def hn_nce(queries: Tensor, items: Tensor, positives: Tensor, temperature: Tensor) -> Tensor:
    """ITC in which a negative counts by a weight in proportion to the square root of its exponential.

    Source: Robinson et al., "Contrastive Learning with Hard Negative Samples", arXiv 2010.04592, with the weights'
    place in the softmax from Radenovic et al., arXiv 2301.02280 (HN-NCE with alpha 1 and beta 0.5).
    """

    def weighed(logits: Tensor, positives: Tensor) -> Tensor:
        # A row's weights have the mean 1, and no gradient: they say how often a negative would be drawn.
        shares = (0.5 * logits.detach()).masked_fill(positives, -torch.inf).log_softmax(dim=1)
        weights = shares + (~positives).sum(dim=1, keepdim=True).log()  # (B, N), logarithms
        return torch.where(positives, logits, logits + weights)

    logits = maxsim(queries, items) / temperature  # (B, N)
    return symmetric(weighed(logits, positives), weighed(logits.T, positives.T), positives)


@dataclass(frozen=True)
class Row:
    """One change to the reference."""

    what: str
    loss: ContrastiveLoss = itc
    augmentation: Augmentation = field(default_factory=Augmentation)
    args: Callable[[TrainArgs], dict[str, Any]] = lambda args: {}

    def changes(self, args: TrainArgs) -> bool:
        """Whether this differs from a reference with these arguments: `no-teacher` does not if they name no teacher."""
        return self.loss is not itc or self.augmentation != Augmentation() or replace(args, **self.args(args)) != args


def _if_frozen(args: TrainArgs, change: dict[str, Any]) -> dict[str, Any]:
    """The change, or none with `--unfreeze`: a trained tower ignores `--views` and `--patches`."""
    return {} if args.unfreeze else change


ROWS = {
    REFERENCE: Row("the recipe"),
    "one-positive": Row("a pair's own item is its only positive", loss=one_positive),
    "sigmoid": Row("SigLIP's loss in the place of multi-positive ITC", loss=sigmoid),
    "no-mined-negatives": Row("no mined negatives: without `--negatives`", args=lambda args: {"negatives": ()}),
    "no-teacher": Row("no teacher: without `--teacher`", args=lambda args: {"teacher": ()}),
    "one-view": Row("one view of each picture: without `--views`", args=lambda args: _if_frozen(args, {"views": 1})),
    "harder": Row("similar negatives count more", loss=hn_nce),
    "no-modality-dropout": Row(
        "pictures and texts are never dropped", args=lambda args: {"drop_picture": 0.0, "drop_text": 0.0}
    ),
    "first-caption": Row(
        "always an item's first text, where one of its texts is drawn", augmentation=Augmentation(any_caption=False)
    ),
    "no-query-noise": Row("queries lose no words and have no typos", augmentation=Augmentation(drop_word=0, typo=0)),
    "all-patches": Row("every step sees all of the patches", args=lambda args: _if_frozen(args, {"patches": 1.0})),
    "dropout": Row(
        "dropout of 0.1 in the Q-Former's hidden states (its attention always has 0.1)",
        args=lambda args: {"dropout": 0.1},
    ),
    "half-batch": Row(
        "half the batch, twice the steps",
        args=lambda args: {"batch_size": args.batch_size // 2, "steps": 2 * args.steps},
    ),
    "double-batch": Row(
        "twice the batch, half the steps",
        args=lambda args: {
            "batch_size": 2 * args.batch_size,
            "steps": args.steps // 2,
            "chunk": args.chunk or args.batch_size,
        },
    ),
    "itm": Row("matching is trained beside: `--itm 1`", args=lambda args: {"itm": 1.0}),
}


def run(args: TrainArgs, names: Sequence[str]) -> dict[str, dict[str, Floats]]:
    """Train what is missing; mean of hit@1, 5, 10 by query `(queries,)`, by row and development set.

    Raises:
        ValueError: as `training.finetune.train`.
    """
    # A development set that cannot be read is found now, not when the first row has been trained.
    _, processor = build(args)
    open_validations(Collator(processor, PictureReader(processor)), [paths(path) for path in args.valid])
    output = Path(args.output)
    values: dict[str, dict[str, Floats]] = {}
    for name in names:
        row, folder = ROWS[name], output / name
        print(f"{name}: {row.what}", flush=True)
        train(replace(args, output=str(folder), valid=(), **row.args(args)), row.loss, row.augmentation)
        values[name] = measure(args, folder)
    return values


def measure(args: TrainArgs, folder: Path) -> dict[str, Floats]:
    loaded = retriever.load(folder)
    cache = FeatureCache(Path(args.features), loaded.model.vision, loaded.processor)
    sets = open_validations(Collator(loaded.processor, cache), [paths(path) for path in args.valid])
    for note in (note for one in sets.values() for note in one.notes):
        print(note, flush=True)
    return {name: one.by_query(loaded.model)["mean"] for name, one in sets.items()}


def table(values: dict[str, dict[str, Floats]]) -> str:
    """Markdown: the mean of hit@1, 5, 10 in per cent, and how it differs from the reference's.

    A difference in bold is one whose 95 % interval, by a paired bootstrap over the queries, leaves out zero.
    """
    reference = values[REFERENCE]
    rows = [["what", *reference]]
    for name, sets in values.items():
        cells = [f"{100 * float(one.mean()):.1f}" for one in sets.values()]
        if name != REFERENCE:
            for column, each in enumerate(reference):  # apart: sets differ in their number of queries
                one = paired_difference({each: sets[each]}, {each: reference[each]})[each]
                change = f"{100 * one.difference:+.1f}"
                cells[column] += f" ({f'**{change}**' if one.significant else change})"
        rows.append([ROWS[name].what, *cells])
    return markdown_table(rows)


def _changes(name: str, args: TrainArgs) -> bool:
    """As `Row.changes`. Raises ValueError, which names the row, where its arguments are out of range."""
    try:
        return ROWS[name].changes(args)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line()
    parser.prog, parser.description = "python -m training.ablation", "Train variants of a recipe and compare them."
    parser.set_defaults(output="runs/ablation")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), help="which of them")
    parsed = vars(parser.parse_args(arguments))
    names = [REFERENCE, *(name for name in parsed.pop("rows") if name != REFERENCE)]
    try:
        args = TrainArgs(**parsed | {name: tuple(parsed[name]) for name in LISTS})
        if not args.valid:
            raise ValueError("--valid: an ablation needs a development set to measure on")
        for name in names[1:]:
            if not _changes(name, args):
                print(f"{name}: left out, the reference is without it as well", flush=True)
                names.remove(name)
        values = run(args, names)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    means = {name: {one: float(value.mean()) for one, value in sets.items()} for name, sets in values.items()}
    output = Path(args.output)
    (output / "ablation.json").write_text(json.dumps(means, indent=2) + "\n")
    (output / "ablation.md").write_text(table(values) + "\n")
    print(table(values))


if __name__ == "__main__":
    main()

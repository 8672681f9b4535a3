"""Average the weights of models of one shape: `python -m training.average A:0.7 B:0.3 --output runs/averaged`.

What was fine-tuned from one model can be averaged with it and with its other descendants: the mean often keeps what
each learned, and costs nothing to serve. Sources: Wortsman et al., "Model soups", arXiv 2203.05482, and "Robust
fine-tuning of zero-shot models", arXiv 2109.01903.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

import retriever
from retriever import Retriever, checkpoint
from training.weights import broken_weights


@torch.no_grad()
def average(models: Mapping[str, float], output: Path, storage: str = "full") -> str:
    """Write the checkpoint whose weights are the weighted mean of these models'; returns its `model_id`.

    Raises:
        FileNotFoundError, ValueError: as `retriever.load`; the shares do not add up to 1, or the shapes or vocabularies
            differ.
    """
    if not math.isclose(sum(models.values()), 1, abs_tol=1e-6):
        raise ValueError(f"the shares must add up to 1, not {sum(models.values()):g}")
    first, *others = [(retriever.load(name), share) for name, share in models.items()]
    if odd := [one for one, _ in others if one.config != first[0].config]:
        fields = _differing(odd[0], first[0])
        raise ValueError(f"model {odd[0].model_id} has another configuration than {first[0].model_id} ({fields})")
    if odd := [one for one, _ in others if _vocabulary(one) != _vocabulary(first[0])]:
        raise ValueError(f"model {odd[0].model_id} has another vocabulary than {first[0].model_id}")
    weights = {name: first[1] * weight for name, weight in _floats(first[0]).items()}
    for model, share in others:
        for name, weight in _floats(model).items():
            weights[name] += share * weight
    if broken := broken_weights(weights):
        raise ValueError(f"{broken[0]} holds what is no number: one of the models is broken")
    first[0].model.load_state_dict(weights, strict=False)  # whole numbers stay the first's
    return checkpoint.save(first[0].model, first[0].processor.tokenizer, output, storage)  # type: ignore[arg-type]


def _floats(model: Retriever) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in model.model.state_dict().items() if weight.is_floating_point()}


def _differing(one: Retriever, other: Retriever) -> str:
    theirs = other.config.to_dict()
    return ", ".join(name for name, value in one.config.to_dict().items() if value != theirs[name])


def _vocabulary(model: Retriever) -> str:
    return model.processor.tokenizer.to_str()


def _share(argument: str) -> tuple[str, float]:
    try:
        name, share = argument.rsplit(":", maxsplit=1)
        return name, float(share)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{argument!r} is not MODEL:SHARE, whose share is a number") from error


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.average", description="Average models' weights.")
    parser.add_argument("models", nargs="+", type=_share, metavar="MODEL:SHARE", help="the shares add up to 1")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="checkpoint folder to write")
    parser.add_argument(
        "--storage", choices=("full", "int8"), default="full", help="int8: a quarter of the size (full)"
    )
    options = parser.parse_args(arguments)
    try:
        if len(dict(options.models)) < len(options.models):
            raise ValueError("a model is named twice: add its shares up")
        model_id = average(dict(options.models), options.output, options.storage)
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(f"{options.output}: model {model_id}")


if __name__ == "__main__":
    main()

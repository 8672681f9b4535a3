"""Checkpoint folders: `config.json`, `model.safetensors`, `tokenizer.json` and a card. Never a pickle.

Weights may be stored in full or as int8: every matrix of the Q-Former and the vocabulary as int8 rows with one
scale each, every other floating tensor in half precision. They are brought back to float32 on loading, so storage
is a matter of size alone.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from retriever.config import RetrieverConfig
from retriever.model import FusedRetriever

FILES = ("config.json", "model.safetensors", "tokenizer.json")
_SCALE = ".int8_scale"


def save(model: FusedRetriever, tokenizer: Tokenizer, folder: Path, storage: Literal["full", "int8"] = "full") -> str:
    """Write a checkpoint folder (made if absent) and return its `model_id`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if storage == "int8":
        tensors = _compress(tensors)
    (folder / "config.json").write_text(json.dumps(model.config.to_dict(), indent=2) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    temporary = folder / "model.safetensors.tmp"
    save_file(tensors, temporary)
    temporary.replace(folder / "model.safetensors")
    return model_id(folder)


def load_folder(folder: Path) -> tuple[FusedRetriever, Tokenizer]:
    """Read a checkpoint folder.

    Raises:
        FileNotFoundError: one of its files is missing; the message names all that are.
        ValueError: the configuration or the weights do not fit this version of the model.
    """
    config = load_config(folder)
    model = FusedRetriever(config)
    try:
        model.load_state_dict(_expand(load_file(folder / "model.safetensors")))
    except RuntimeError as error:
        raise ValueError(f"{folder}: the weights do not fit config.json: {error}") from error
    return model.eval(), load_tokenizer(folder)


def load_config(folder: Path) -> RetrieverConfig:
    """Raises FileNotFoundError and ValueError, as `load_folder`."""
    check_folder(folder)
    return RetrieverConfig.from_dict(json.loads((folder / "config.json").read_text()))


def load_tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def load_tensor(folder: Path, name: str) -> Tensor:
    """One tensor of a checkpoint that is no matrix, in float32."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor.float()


def check_folder(folder: Path) -> None:
    """Raises FileNotFoundError if one of a checkpoint's files is missing; the message names all that are."""
    missing = [name for name in FILES if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(f"{folder} is not a checkpoint folder: {', '.join(missing)} missing")


def model_id(folder: Path) -> str:
    """Twelve hexadecimal digits that change whenever the configuration, a weight or the vocabulary does."""
    digest = hashlib.sha256()
    for name in FILES:
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def _compress(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        # The vision tower is a tenth of the weights, and its depthwise filters have too few values a row for int8.
        if tensor.ndim == 2 and tensor.numel() >= 4096 and not name.startswith("vision."):
            scale = tensor.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
            stored[name] = (tensor / scale).round().to(torch.int8)
            stored[name + _SCALE] = scale
        elif tensor.is_floating_point() and tensor.ndim > 1:
            stored[name] = tensor.half()
        else:
            stored[name] = tensor
    return stored


def _expand(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors = {}
    for name, tensor in stored.items():
        if name.endswith(_SCALE):
            continue
        if name + _SCALE in stored:
            tensor = tensor.float() * stored[name + _SCALE]
        tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    return tensors

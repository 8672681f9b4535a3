"""A checkpoint's weights, between its folder (`retriever.checkpoint_folder`) and torch.

They may be stored in full or as int8: every matrix of the Q-Former and the vocabulary as int8 rows with one
scale each, every other floating tensor in half precision. They are brought back to float32 on loading, so storage
is a matter of size alone.
"""

import json
import shutil
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from retriever.checkpoint_folder import FILES, load_config, load_tokenizer, model_id
from retriever.files import sync
from retriever.model import FusedRetriever

_SCALE = ".int8_scale"


def save(model: FusedRetriever, tokenizer: Tokenizer, folder: Path, storage: Literal["full", "int8"] = "full") -> str:
    """Write a checkpoint folder (made if absent) and return its `model_id`.

    A disk that is full leaves the folder's older checkpoint as it is. A crash does too, but for the moment in which
    the files get their names: then the weights are missing, and the new ones are in `.new`.

    Raises:
        OSError, SafetensorError: the folder cannot be written.
    """
    beside = folder / ".new"
    beside.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if storage == "int8":
        tensors = _compress(tensors)
    try:
        (beside / "config.json").write_text(json.dumps(model.config.to_dict(), indent=2) + "\n")
        tokenizer.save(str(beside / "tokenizer.json"), pretty=False)
        save_file(tensors, beside / "model.safetensors")
        for name in FILES:
            sync(beside / name)
    except BaseException:
        shutil.rmtree(beside)
        raise
    # Files of two checkpoints may fit together: without weights such a mixture is refused.
    (folder / "model.safetensors").unlink(missing_ok=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (beside / name).replace(folder / name)
    beside.rmdir()
    sync(folder)
    return model_id(folder)


def load_folder(folder: Path) -> tuple[FusedRetriever, Tokenizer]:
    """Read a checkpoint folder.

    Raises:
        FileNotFoundError: one of its files is missing; the message names all that are.
        ValueError: the configuration or the weights do not fit this version of the model, or a file is damaged.
    """
    config = load_config(folder)
    try:
        model = FusedRetriever(config)
    except Exception as error:  # timm's, transformers' and torch's have nothing narrower in common
        raise ValueError(f"{folder / 'config.json'}: no model can be built from it: {error}") from error
    path = folder / "model.safetensors"
    try:
        model.load_state_dict(_expand(load_file(path)))
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    except RuntimeError as error:
        raise ValueError(f"{folder}: the weights do not fit config.json: {error}") from error
    return model.eval(), load_tokenizer(folder, config)


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

"""What a checkpoint folder holds besides weights for torch: read without importing it.

`config.json`, `model.safetensors`, `tokenizer.json` and a card. Never a pickle.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from retriever.arrays import Floats
from retriever.config import RetrieverConfig

FILES = ("config.json", "model.safetensors", "tokenizer.json")


def download(name: str, patterns: Sequence[str], problem: str) -> Path:
    """The folder of what the model hub has under a name, of the files that the patterns match.

    Raises:
        FileNotFoundError: the hub did not give it. The message is `problem`, and the kind of error in brackets.
    """
    from huggingface_hub import snapshot_download  # only where a hub name is asked for: it is slow to import

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except Exception as error:  # a name that is none, no access, no network: each has its own error
        raise FileNotFoundError(f"{problem} ({type(error).__name__})") from error


def check(folder: Path) -> None:
    """Raises FileNotFoundError if one of a checkpoint's files is missing; the message names all that are."""
    missing = [name for name in FILES if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(f"{folder} is not a checkpoint folder: {', '.join(missing)} missing")


def load_config(folder: Path) -> RetrieverConfig:
    """Raises FileNotFoundError as `check`, and ValueError for a configuration that this version does not know."""
    check(folder)
    path = folder / "config.json"
    try:
        return RetrieverConfig.from_dict(json.loads(path.read_text()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def load_tokenizer(folder: Path, config: RetrieverConfig) -> Tokenizer:
    """Raises ValueError for a file that holds none, or one with more tokens than the model has.

    Special tokens may be more: they serve other uses of a model, as `<image>` does where BLIP-2 writes text.
    """
    path = folder / "tokenizer.json"
    tokenizer = read_tokenizer(path)
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    last = max(set(tokenizer.get_vocab().values()) - special, default=-1)
    if last >= config.vocab_size:
        raise ValueError(f"{path} has a token {last}, and the model {config.vocab_size} (vocab_size), counted from 0")
    return tokenizer


def read_tokenizer(path: Path) -> Tokenizer:
    """Raises ValueError for a file that holds none."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library has no narrower one
        raise ValueError(f"{path} cannot be read: {error}") from error


def load_array(folder: Path, name: str) -> Floats:
    """One tensor of a checkpoint that is no matrix, in float32. Raises ValueError for a damaged file."""
    path = folder / "model.safetensors"
    try:
        with safe_open(path, "np") as file:
            array: Floats = file.get_tensor(name).astype(np.float32)
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return array


def model_id(folder: Path) -> str:
    """Twelve hexadecimal digits that change whenever the configuration, a weight or the vocabulary does."""
    digest = hashlib.sha256()
    for name in FILES:
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]

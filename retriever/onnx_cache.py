"""Where the graphs that `retriever.onnx_export` makes of a checkpoint are kept: the user's cache."""

import os
from pathlib import Path
from typing import Literal

from retriever.config import RetrieverConfig

Precision = Literal["fp32", "int8"]

_FORMAT = 2  # raised when graphs of older exports no longer fit the code


def cache_folder(model_id: str, precision: Precision) -> Path:
    """The folder of one checkpoint's graphs, under its `model_id`, so that they can never be those of other weights.

    `XDG_CACHE_HOME` moves it.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "fused-product-search" / f"{model_id}-{precision}-{_FORMAT}"


def graph_names(config: RetrieverConfig) -> tuple[str, ...]:
    """Of a model's graphs: `{name}.onnx` each."""
    return ("query", "pictures", "item", "match") if config.matching else ("query", "pictures", "item")


def is_complete(folder: Path, config: RetrieverConfig) -> bool:
    """Whether a folder of the cache holds all of a model's graphs."""
    return all((folder / f"{name}.onnx").is_file() for name in graph_names(config))

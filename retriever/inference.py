"""How a checkpoint is run: in torch at full precision (the reference), in bfloat16, or by ONNX Runtime.

All give vectors of one space, close enough to be mixed in one index: the figures are in docs/performance.md.
"""

from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from retriever import checkpoint, onnx_export
from retriever.vision import PictureFeatures

Inference = Literal["auto", "torch", "bf16", "onnx", "int8"]


class Model(Protocol):
    """What `FusedRetriever` and `OnnxModel` have in common; shapes as in `FusedRetriever`."""

    @property
    def device(self) -> torch.device: ...

    def encode_query(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor: ...

    def encode_pictures(self, images: Tensor) -> PictureFeatures: ...

    def encode_item(
        self, pictures: PictureFeatures | None, input_ids: Tensor | None, attention_mask: Tensor | None
    ) -> Tensor: ...

    def match(self, pictures: PictureFeatures | None, input_ids: Tensor, attention_mask: Tensor) -> Tensor: ...


def choose(asked: Inference, folder: Path, device: torch.device) -> Inference:
    """What `auto` means for a checkpoint folder here: bfloat16 on a GPU; on a CPU int8, if it has been exported.

    Raises:
        ValueError: ONNX Runtime is asked for on a GPU.
    """
    if device.type != "cpu":
        if asked in ("onnx", "int8"):
            raise ValueError(f"inference by ONNX Runtime ({asked!r}) runs on the CPU, not on {device}")
        return "bf16" if asked == "auto" else asked
    if asked == "auto":
        return "int8" if onnx_export.is_exported(folder, "int8") else "torch"
    return asked


def open_model(folder: Path, inference: Inference, device: torch.device) -> Model:
    """A checkpoint's model, to be run as `choose` has decided.

    Raises:
        FileNotFoundError, ValueError: as `checkpoint.load_folder`.
        OSError: `onnx_export.export` could not write its graphs.
    """
    if inference in ("onnx", "int8"):
        from retriever.onnx_model import OnnxModel  # torch alone serves without it

        graphs = onnx_export.export(folder, "int8" if inference == "int8" else "fp32")
        config = checkpoint.load_config(folder)
        null_picture = checkpoint.load_tensor(folder, "null_picture") if config.null_picture else None
        return OnnxModel(graphs, null_picture, config.num_concepts)
    model = checkpoint.load_folder(folder)[0]
    return model.to(device, torch.bfloat16 if inference == "bf16" else torch.float32)

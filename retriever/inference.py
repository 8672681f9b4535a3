"""How a checkpoint is run: in torch at full precision (the reference) or in bfloat16, as CUDA graphs, by ONNX Runtime.

All give vectors of one space, close enough to be mixed in one index: the figures are in docs/performance.md. Arrays
go in and come out, so that a process whose model ONNX Runtime runs never imports torch: 480 MB of memory.
"""

from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from retriever import checkpoint_folder, cpu, onnx_cache
from retriever.arrays import Floats, Ids
from retriever.config import RetrieverConfig

Inference = Literal["auto", "torch", "bf16", "graphs", "onnx", "int8"]
Features: TypeAlias = Any  # of pictures, wherever the model keeps them: for the same model's own calls alone


class Backend(Protocol):
    """What runs a checkpoint; shapes as in `FusedRetriever`, but that `match` gives the second logit alone, `(B,)`.

    Raises:
        ValueError: (every call) ONNX Runtime cannot open the call's graph, as is found when it is first needed.
    """

    def encode_query(self, input_ids: Ids, attention_mask: Ids) -> Floats: ...

    def encode_pictures(self, images: Floats) -> Features: ...

    def encode_item(self, pictures: Features | None, input_ids: Ids | None, attention_mask: Ids | None) -> Floats: ...

    def match(self, pictures: Features | None, input_ids: Ids, attention_mask: Ids) -> Floats: ...


def resolve(asked: Inference, config: RetrieverConfig, model_id: str, device: str) -> Inference:
    """What `auto` means for a checkpoint here: graphs on CUDA; on a CPU what it is quickest at and was exported.

    Raises:
        ValueError: ONNX Runtime is asked for on a GPU, or CUDA graphs where there is no CUDA.
    """
    cuda = device.startswith("cuda")
    if asked == "graphs" and not cuda:
        raise ValueError(f"inference by CUDA graphs ('graphs') runs on cuda, not on {device}")
    if device != "cpu":
        if asked in ("onnx", "int8"):
            raise ValueError(f"inference by ONNX Runtime ({asked!r}) runs on the CPU, not on {device}")
        return ("graphs" if cuda else "bf16") if asked == "auto" else asked
    if asked != "auto":
        return asked
    for precision in cpu.quickest():
        if onnx_cache.is_complete(onnx_cache.cache_folder(model_id, precision), config):
            return "int8" if precision == "int8" else "onnx"
    return "torch"


def open_backend(folder: Path, config: RetrieverConfig, model_id: str, inference: Inference, device: str) -> Backend:
    """The model of a checkpoint with this configuration and id, to be run as `resolve` has decided.

    Raises:
        FileNotFoundError, ValueError: as `checkpoint.load_folder`.
        OSError: `onnx_export.export` could not write its graphs.
        RuntimeError: the GPU's memory is too small, or a CUDA graph could not be captured.
    """
    if inference in ("onnx", "int8"):
        return _open_onnx(folder, config, model_id, "int8" if inference == "int8" else "fp32")
    import torch

    from retriever.checkpoint import load_folder
    from retriever.torch_model import TorchModel

    precision = torch.float32 if inference == "torch" else torch.bfloat16
    model = load_folder(folder)[0].to(torch.device(device), precision)
    if inference != "graphs":
        return TorchModel(model)
    from retriever.cuda_graphs import GraphModel

    captured = GraphModel(model)
    captured.capture_queries()
    return captured


def _open_onnx(folder: Path, config: RetrieverConfig, model_id: str, precision: onnx_cache.Precision) -> Backend:
    from retriever.onnx_model import OnnxModel  # torch alone serves without it

    graphs = onnx_cache.cache_folder(model_id, precision)
    if not onnx_cache.is_complete(graphs, config):
        from retriever.onnx_export import export

        export(folder, precision)
    null_picture = checkpoint_folder.load_array(folder, "null_picture") if config.null_picture else None
    return OnnxModel(graphs, null_picture, config.num_concepts)

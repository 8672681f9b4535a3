"""A checkpoint as graphs for ONNX Runtime.

A CPU runs the exported graphs several times faster than torch (see docs/performance.md). The graphs:

    query     keywords → their vector
    pictures  pixels → normalised patch tokens, and probabilities of the backbone's classes
    item      patches and text → item tokens; a missing picture is one learned patch, a missing text is masked out
    match     patches, query and text → the logit that they belong together; of a model that was trained to match

`int8` stores the Q-Former's matrices in eight bits, a scale for every 16 weights, and multiplies them with activations
rounded in the same blocks (ONNX Runtime's MatMulNBits). One scale a tensor, as dynamic quantisation has it, would be
faster for long texts, but turns the vectors by eight degrees, and makes an item's vector depend on its neighbours in
the batch. The picture encoder stays in full precision: depthwise filters have too few values for a scale.
"""

import contextlib
import logging
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from retriever.arrays import Floats
from retriever.checkpoint import load_folder
from retriever.checkpoint_folder import load_config, model_id
from retriever.config import RetrieverConfig
from retriever.files import sync
from retriever.model import FusedRetriever
from retriever.onnx_cache import Precision, cache_folder, graph_names, is_complete
from retriever.onnx_model import open_graph
from retriever.vision import PictureFeatures

_UNFINISHED = ".new-"
_DAY = 24 * 60 * 60  # seconds
_BLOCK = 16  # weights that share one scale: 32 lost 0.8 points of hit@10 in hybrid search, 16 lose 0.4


def export(source: Path, precision: Precision) -> Path:
    """The folder with a checkpoint's graphs, made if they are not there yet: with a progress bar, in a minute.

    Raises:
        FileNotFoundError, ValueError: as `checkpoint.load_folder`.
        ValueError: `int8` is made of graphs in the cache that are damaged.
        OSError: the cache cannot be written.
    """
    config, checkpoint = load_config(source), model_id(source)
    target, ready = cache_folder(checkpoint, precision), cache_folder(checkpoint, "fp32")
    if is_complete(target, config):
        return target
    model, _ = load_folder(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(target.parent)
    beside = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=target.parent))
    beside.chmod(0o755)  # exported by one user, as where an image is built, and served by another
    try:
        names = graph_names(config)
        with torch.inference_mode(), tqdm(names, desc=f"ONNX, {precision}", unit="graph", delay=1) as bar:
            for name in bar:
                if is_complete(ready, config):
                    open_graph(ready / f"{name}.onnx")  # what is damaged there is named, and not copied
                    for file in ready.glob(f"{name}.onnx*"):
                        shutil.copy(file, beside)
                else:
                    _export(model, name, beside / f"{name}.onnx")
                if precision == "int8" and name != "pictures":
                    _quantise(beside / f"{name}.onnx")
        for file in beside.iterdir():
            sync(file)
        sync(beside)
        _publish(beside, target, config)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def _publish(beside: Path, target: Path, config: RetrieverConfig) -> None:
    """Gives a folder its name, unless another process was quicker."""
    if not is_complete(target, config):
        shutil.rmtree(target, ignore_errors=True)  # what was left of an older one
        try:
            beside.rename(target)
        except OSError:
            if not is_complete(target, config):
                raise
    sync(target.parent)


def _remove_unfinished(cache: Path) -> None:
    """What exports left that were killed: of more than a day ago, since others may be at work."""
    for folder in cache.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):  # done by now, or another user's
            if time.time() - folder.stat().st_mtime > _DAY:
                shutil.rmtree(folder)


class _Query(nn.Module):
    def __init__(self, model: FusedRetriever) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model.encode_query(input_ids, attention_mask)


class _Pictures(nn.Module):
    """The norm goes with the picture: what `_Item` takes may then be the learned patch of a missing picture."""

    def __init__(self, model: FusedRetriever) -> None:
        super().__init__()
        self.vision, self.norm = model.vision, model.vision_norm

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        tokens, concepts = self.vision(images)
        return self.norm(tokens), concepts


class _Item(nn.Module):
    def __init__(self, model: FusedRetriever) -> None:
        super().__init__()
        self.model = model

    def forward(self, patches: Tensor, concepts: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model.encode_item(PictureFeatures(patches, concepts), input_ids, attention_mask)


class _Match(nn.Module):
    def __init__(self, model: FusedRetriever) -> None:
        super().__init__()
        self.model = model

    def forward(self, patches: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model.match(PictureFeatures(patches, patches[:, 0]), input_ids, attention_mask)[:, 1]


def _export(model: FusedRetriever, name: str, path: Path) -> None:
    config = model.config
    # Any numbers do, as long as no dimension that may vary is 0 or 1.
    ids, mask = torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.long)
    patches, concepts = torch.rand(2, 4, config.vision_width), torch.rand(2, config.num_concepts)
    images = torch.rand(2, 3, config.image_size, config.image_size)
    text = {"input_ids": ids, "attention_mask": mask}
    inputs: dict[str, Tensor]
    graph: nn.Module
    if name == "query":
        graph, inputs, outputs = _Query(model), text, ["vectors"]
    elif name == "pictures":
        graph, inputs, outputs = _Pictures(model), {"images": images}, ["patches", "concepts"]
    elif name == "item":
        graph, inputs, outputs = _Item(model), {"patches": patches, "concepts": concepts, **text}, ["tokens"]
    else:
        graph, inputs, outputs = _Match(model), {"patches": patches, **text}, ["logits"]
    batch, length, patch = torch.export.Dim("batch"), torch.export.Dim("length"), torch.export.Dim("patches")
    dynamic: dict[str, dict[int, Any]] = {
        "input_ids": {0: batch, 1: length},
        "attention_mask": {0: batch, 1: length},
        "images": {0: batch},
        "patches": {0: batch, 1: patch},
        "concepts": {0: batch},
    }
    norm = model.vision_norm
    try:
        if name in ("item", "match"):
            model.vision_norm = nn.Identity()  # type: ignore[assignment]  # done by `_Pictures` already
        with _quiet():
            torch.onnx.export(
                graph.eval(),
                tuple(inputs.values()),
                path,
                dynamo=True,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=tuple(dynamic[one] for one in inputs),
                custom_translation_table=_translations(),
                # One file cannot hold more than 2 GB: the `blip2` preset needs a second one beside it.
                external_data=sum(p.numel() for p in graph.parameters()) > 400_000_000,
                verbose=False,
            )
    finally:
        model.vision_norm = norm


def _translations() -> dict[Any, Any]:
    """Adaptive average pooling as two products with constant matrices; the exporter's own is one node a cell."""
    import onnx_ir
    from onnxscript import opset18 as op

    def pool(images: Any, size: Sequence[int]) -> Any:
        height, width = int(images.shape[-2]), int(images.shape[-1])
        rows = op.Constant(value=onnx_ir.tensor(_averages(height, size[0])))
        columns = op.Constant(value=onnx_ir.tensor(_averages(width, size[1]).T.copy()))
        return op.MatMul(rows, op.MatMul(images, columns))

    aten = torch.ops.aten
    return {aten._adaptive_avg_pool2d.default: pool, aten.adaptive_avg_pool2d.default: pool}


def _averages(length: int, cells: int) -> Floats:
    """`(cells, length)`: row i holds the weights of cell i, over the same pixels as torch's adaptive pooling."""
    weights = np.zeros((cells, length), dtype=np.float32)
    for cell in range(cells):
        begin, end = cell * length // cells, -(-(cell + 1) * length // cells)
        weights[cell, begin:end] = 1 / (end - begin)
    return weights


def _quantise(path: Path) -> None:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    with _quiet():
        graph = onnx.load(path)
        external = path.with_name(f"{path.name}.data")
        two_files = external.exists()
        external.unlink(missing_ok=True)  # read by now; onnx would write behind what is there
        quantiser = MatMulNBitsQuantizer(graph, bits=8, block_size=_BLOCK, is_symmetric=True, accuracy_level=4)
        quantiser.process()
        quantiser.model.save_model_to_file(str(path), two_files)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters report on every step to the root logger and as warnings; their errors still pass."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)

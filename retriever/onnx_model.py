"""A checkpoint's ONNX graphs behind the calls of `FusedRetriever`: tensors in, tensors out, on the CPU."""

from functools import cached_property
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from retriever.vision import PictureFeatures


class OnnxModel:
    """What `retriever.export` wrote, run by ONNX Runtime.

    Each graph is loaded when it is first needed: a process that only searches never loads the picture encoder.

    Args:
        folder: the four graphs.
        null_picture: `(1, 1, E)`, the learned patch of a missing picture; None in a model without one.
        num_concepts: C, classes of the picture encoder.
    """

    device = torch.device("cpu")

    def __init__(self, folder: Path, null_picture: Tensor | None, num_concepts: int) -> None:
        self._folder, self._null_picture, self._num_concepts = folder, null_picture, num_concepts

    def encode_query(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """As `FusedRetriever.encode_query`: `(B, T)` each → `(B, D)`."""
        return _run(self._query, input_ids=input_ids, attention_mask=attention_mask)[0]

    def encode_pictures(self, images: Tensor) -> PictureFeatures:
        """`(B, 3, S, S)` → features for this model's own `encode_item` and `match`: its patches are normalised."""
        patches, concepts = _run(self._pictures, images=images)
        return PictureFeatures(patches, concepts)

    def encode_item(
        self, pictures: PictureFeatures | None, input_ids: Tensor | None, attention_mask: Tensor | None
    ) -> Tensor:
        """As `FusedRetriever.encode_item`, for rows that all have the same of picture and text: `(B, Q, D)`.

        Raises:
            ValueError: as `FusedRetriever.encode_item`.
        """
        if input_ids is None or attention_mask is None:
            if pictures is None:
                raise ValueError("an item needs a picture or some text")
            # One masked word stands for no text: the engine's attention takes no empty sequence.
            input_ids = attention_mask = torch.zeros(len(pictures.tokens), 1, dtype=torch.long)
        patches, concepts = pictures or self._no_pictures(len(input_ids))
        return _run(self._item, patches=patches, concepts=concepts, input_ids=input_ids, attention_mask=attention_mask)[
            0
        ]

    def match(self, pictures: PictureFeatures | None, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """As `FusedRetriever.match`: `(B,)`."""
        patches, _ = pictures or self._no_pictures(len(input_ids))
        return _run(self._match, patches=patches, input_ids=input_ids, attention_mask=attention_mask)[0]

    def _no_pictures(self, batch: int) -> PictureFeatures:
        if self._null_picture is None:
            raise ValueError("this model was built without null_picture: every item needs a picture")
        return PictureFeatures(self._null_picture.expand(batch, -1, -1), torch.zeros(batch, self._num_concepts))

    def _open(self, name: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # OMP_NUM_THREADS holds for both engines
        # Idle threads that spin for the next call take the core that decodes pictures and searches the index.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(self._folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])

    @cached_property
    def _query(self) -> onnxruntime.InferenceSession:
        return self._open("query")

    @cached_property
    def _pictures(self) -> onnxruntime.InferenceSession:
        return self._open("pictures")

    @cached_property
    def _item(self) -> onnxruntime.InferenceSession:
        return self._open("item")

    @cached_property
    def _match(self) -> onnxruntime.InferenceSession:
        return self._open("match")


def _run(session: onnxruntime.InferenceSession, **inputs: Tensor) -> list[Tensor]:
    feeds = {name: tensor.contiguous().numpy() for name, tensor in inputs.items()}
    return [torch.from_numpy(output) for output in session.run(None, feeds)]

"""A checkpoint's ONNX graphs behind the calls that every way of running it has: arrays in and out, on the CPU."""

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

from retriever.arrays import Floats, Ids

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # microseconds of processor time, and the microseconds in which


class OnnxFeatures(NamedTuple):
    """Of B pictures. patches: `(B, P, E)`, normalised. concepts: `(B, C)`, as in `PictureFeatures`."""

    patches: Floats
    concepts: Floats


class OnnxModel:
    """What `retriever.onnx_export` wrote, run by ONNX Runtime; see `retriever.inference.Backend`.

    Each graph is loaded when it is first needed: a process that only searches never loads the picture encoder.

    Args:
        folder: the graphs.
        null_picture: `(1, 1, E)`, the learned patch of a missing picture; None in a model without one.
        num_concepts: C, classes of the picture encoder.

    Raises:
        ValueError: (every call) its graph is damaged; the message says what to do.
    """

    def __init__(self, folder: Path, null_picture: Floats | None, num_concepts: int) -> None:
        self._folder, self._null_picture, self._num_concepts = folder, null_picture, num_concepts
        self._graphs: dict[str, onnxruntime.InferenceSession] = {}

    def encode_query(self, input_ids: Ids, attention_mask: Ids) -> Floats:
        return self._run("query", input_ids=input_ids, attention_mask=attention_mask)[0]

    def encode_pictures(self, images: Floats) -> OnnxFeatures:
        return OnnxFeatures(*self._run("pictures", images=images))

    def encode_item(self, pictures: OnnxFeatures | None, input_ids: Ids | None, attention_mask: Ids | None) -> Floats:
        """For rows that all have the same of picture and text.

        Raises:
            ValueError: as `FusedRetriever.encode_item`.
        """
        if input_ids is None or attention_mask is None:
            if pictures is None:
                raise ValueError("an item needs a picture or some text")
            # One masked word stands for no text: the engine's attention takes no empty sequence.
            input_ids = attention_mask = np.zeros((len(pictures.patches), 1), dtype=np.int64)
        patches, concepts = pictures or self._no_pictures(len(input_ids))
        text = {"input_ids": input_ids, "attention_mask": attention_mask}
        return self._run("item", patches=patches, concepts=concepts, **text)[0]

    def match(self, pictures: OnnxFeatures | None, input_ids: Ids, attention_mask: Ids) -> Floats:
        """Raises ValueError, if the model was not trained to match: it has no graph for it."""
        if not (self._folder / "match.onnx").exists():
            raise ValueError("this model was not trained to match (training.finetune --itm)")
        patches, _ = pictures or self._no_pictures(len(input_ids))
        return self._run("match", patches=patches, input_ids=input_ids, attention_mask=attention_mask)[0]

    def _no_pictures(self, batch: int) -> OnnxFeatures:
        if self._null_picture is None:
            raise ValueError("this model was built without null_picture: every item needs a picture")
        patches = np.repeat(self._null_picture, batch, axis=0)  # (B, 1, E)
        return OnnxFeatures(patches, np.zeros((batch, self._num_concepts), dtype=np.float32))

    def _run(self, name: str, **inputs: Floats | Ids) -> list[Floats]:
        if name not in self._graphs:
            self._graphs[name] = open_graph(self._folder / f"{name}.onnx")
        return self._graphs[name].run(None, inputs)  # type: ignore[no-any-return]


def open_graph(path: Path) -> onnxruntime.InferenceSession:
    """One graph, ready to run. Raises ValueError, if it cannot be read; the message says what to do."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    # Idle threads that spin for the next call take the core that decodes pictures and searches the index.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the engine's have nothing narrower in common
        raise ValueError(
            f"{path.name} cannot be opened: remove {path.parent}, and run `python -m retriever.export` again ({error})"
        ) from error


def _threads() -> int:
    """What OMP_NUM_THREADS says, or the cores that this process may use.

    ONNX Runtime's own choice is all cores of the machine, each thread bound to one: in a container that has two of
    sixty-four, they would wait for each other.
    """
    if asked := os.environ.get("OMP_NUM_THREADS", "").split(",")[0]:
        return int(asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:  # `docker run --cpus 2` leaves all cores to be seen, and stops whoever takes more than two cores' time
        quota, period = map(int, _CPU_MAX.read_text().split())
    except (OSError, ValueError):  # there is no such file, or it says "max"
        return cores
    return min(cores, max(1, math.ceil(quota / period)))

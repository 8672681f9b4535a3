"""bfloat16 on CUDA with captured graphs: a call is one launch, in the place of hundreds.

A GPU works through a query faster than Python asks for it, kernel by kernel; a graph that was captured once is asked
for as a whole. It knows one shape of input, so batches are rounded up to powers of two, queries to multiples of eight
word pieces and texts to multiples of 32. Queries' shapes are captured when the model is opened, since shoppers wait
for them; an item's when it first comes.

Source: the CUDA programming guide on graphs, and the notes on CUDA of torch's documentation.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from retriever.arrays import Floats, Ids
from retriever.model import FusedRetriever
from retriever.torch_model import TorchModel
from retriever.vision import PictureFeatures

MOST_ROWS = 64  # a larger batch is cut: there the arithmetic takes longer than its launches
MANY_QUERIES = 512  # from here on launching kernels one by one costs less than cutting queries into graphs' batches
LENGTH_STEP = 8  # word pieces of a query; attention with a mask likes multiples of eight
TEXT_STEP = 32  # of an item: its picture is most of the work, and each shape costs a capture while others wait
MOST_GRAPHS = 128  # kept, each with a few hundred kernels' arguments; the one that was not used for longest goes

_CAPTURING = threading.Lock()  # torch captures one graph at a time, whichever model it is of

Outputs: TypeAlias = tuple[Tensor, ...]
Call: TypeAlias = Callable[..., Outputs]  # of tensors on the device, with equally many rows
Capture: TypeAlias = Callable[[Callable[[], None]], Callable[[], None]]  # runs it, and gives what runs it again


class GraphModel(TorchModel):
    """`TorchModel`'s calls with the same results, whatever they are padded to. Threads take turns.

    Matching is not captured: it reads many items at once, and few ask for it.

    Args:
        capture: what makes a graph of a call; by default CUDA's.

    Raises:
        RuntimeError: (every call) a shape could not be captured; the message says which.
    """

    def __init__(self, model: FusedRetriever, capture: Capture | None = None) -> None:
        super().__init__(model)
        # Tensor cores convolve with channels last; in any other order cuDNN would turn each stage's input around.
        model.vision.to(memory_format=torch.channels_last)
        self._capture = capture or _CudaCapture(model.device)
        self._lock = threading.Lock()
        self._steps: OrderedDict[tuple[object, ...], _Step] = OrderedDict()
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def capture_queries(self) -> None:
        """Captures every shape that queries may have."""
        for rows in (2**power for power in range(MOST_ROWS.bit_length())):
            for length in range(LENGTH_STEP, self.model.config.max_query_length + LENGTH_STEP, LENGTH_STEP):
                words = np.ones((rows, min(length, self.model.config.max_positions)), dtype=np.int64)
                self.encode_query(words, words)

    @torch.inference_mode()
    def encode_query(self, input_ids: Ids, attention_mask: Ids) -> Floats:
        if len(input_ids) >= MANY_QUERIES:
            return super().encode_query(input_ids, attention_mask)
        return self._vectors(self._query, input_ids, attention_mask, LENGTH_STEP)

    @torch.inference_mode()
    def encode_pictures(self, images: Floats) -> PictureFeatures:
        pixels = torch.from_numpy(images)
        if self.model.device.type == "cuda":
            pixels = pixels.pin_memory()  # several threads copy it there, and the rest of the way runs by itself
        parts = [self._run(self._pictures, len(part), [part], Tensor.clone) for part in torch.split(pixels, MOST_ROWS)]
        return PictureFeatures(*map(torch.cat, zip(*parts, strict=True)))

    @torch.inference_mode()
    def encode_item(
        self, pictures: PictureFeatures | None, input_ids: Ids | None, attention_mask: Ids | None
    ) -> Floats:
        if input_ids is None or attention_mask is None:
            if pictures is None:
                raise ValueError("an item needs a picture or some text")
            # Words that nothing attends to stand for no text: a shape less to capture.
            input_ids = attention_mask = np.zeros((len(pictures.tokens), TEXT_STEP), dtype=np.int64)
        return self._vectors(self._item, input_ids, attention_mask, TEXT_STEP, pictures or ())

    # What is captured: FusedRetriever's calls, with tensors alone as arguments.

    def _query(self, text: Tensor) -> Outputs:
        return (self.model.encode_query(*text),)

    def _pictures(self, images: Tensor) -> Outputs:
        return tuple(self.model.encode_pictures(images))

    def _item(self, text: Tensor, *pictures: Tensor) -> Outputs:
        return (self.model.encode_item(PictureFeatures(*pictures) if pictures else None, *text),)

    def _vectors(
        self, call: Call, input_ids: Ids, attention_mask: Ids, step: int, pictures: Sequence[Tensor] = ()
    ) -> Floats:
        parts = []
        for start in range(0, max(len(input_ids), 1), MOST_ROWS):
            part = slice(start, start + MOST_ROWS)
            text = padded_text(input_ids[part], attention_mask[part], step, self.model.config.max_positions)
            inputs = [torch.from_numpy(text), *(tensor[part] for tensor in pictures)]
            (vectors,) = self._run(call, len(input_ids[part]), inputs, Tensor.cpu)
            parts.append(vectors.numpy())
        array: Floats = np.concatenate(parts)
        return array

    def _run(self, call: Call, count: int, inputs: Sequence[Tensor], keep: Callable[[Tensor], Tensor]) -> Outputs:
        """The call's outputs for `count` rows, MOST_ROWS at most; `keep` takes them out of the graph's own memory."""
        rows = padded_rows(count)
        # Texts have their padding already.
        shapes = [tuple(one.shape) if one.dtype == torch.long else (rows, *one.shape[1:]) for one in inputs]
        with self._lock:
            return tuple(keep(output[:count]) for output in self._step(call, inputs, shapes)(inputs))

    def _step(self, call: Call, inputs: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> "_Step":
        key = (call.__name__, *shapes)
        if key in self._steps:
            self._steps.move_to_end(key)
            return self._steps[key]
        buffers = [self._buffer(tensor, shape) for tensor, shape in zip(inputs, shapes, strict=True)]
        try:
            step = self._steps[key] = _Step(call, buffers, self._capture)
        except RuntimeError as error:
            raise RuntimeError(
                f"{call.__name__.strip('_')} with inputs of {', '.join(map(str, shapes))} could not be captured as a "
                f"CUDA graph ({error}); inference='bf16' runs without graphs"
            ) from error
        if len(self._steps) > MOST_GRAPHS:
            self._steps.popitem(last=False)
        return step

    def _buffer(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Pictures' are large, and so the same for all graphs: one runs at a time."""
        largest = shape if like.dtype == torch.long else (MOST_ROWS, *shape[1:])
        key = (like.dtype, *largest)
        if key not in self._buffers:
            self._buffers[key] = torch.zeros(largest, dtype=like.dtype, device=self.model.device)
        return self._buffers[key][: shape[0]]


class _Step:
    """A call on inputs of one shape, in buffers that stay where they are."""

    def __init__(self, call: Call, buffers: Sequence[Tensor], capture: Capture) -> None:
        self._call, self._buffers = call, buffers
        self._outputs: Outputs = ()
        self._replay = capture(self._once)

    def _once(self) -> None:
        self._outputs = self._call(*self._buffers)

    def __call__(self, inputs: Sequence[Tensor]) -> Outputs:
        """Outputs of all rows, to be taken away before anything else runs. Rows beyond the inputs' are as they were."""
        for buffer, values in zip(self._buffers, inputs, strict=True):
            buffer[: len(values)].copy_(values, non_blocking=True)
        self._replay()
        return self._outputs


class _CudaCapture:
    """Graphs that share one pool of memory: only one of them runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        with torch.cuda.device(self._device):
            # Not yet recorded: libraries load kernels and take their working memory, which a capture must not.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(2):
                    run()
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            mode = "thread_local"  # by itself a capture forbids every other thread of the process to allocate
            with _CAPTURING, torch.cuda.graph(graph, self._pool, self._stream, mode):
                run()
        return graph.replay


def padded_rows(count: int) -> int:
    """The power of two that a batch is rounded up to."""
    return 1 << (max(count, 1) - 1).bit_length()


def padded_text(input_ids: Ids, attention_mask: Ids, step: int, most: int) -> Ids:
    """Word pieces and mask `(b, t)` → both, padded: `(2, padded_rows(b), T)`, T a multiple of `step` or `most`."""
    count, length = input_ids.shape
    rounded = max(1, math.ceil(length / step)) * step
    text = np.zeros((2, padded_rows(count), min(rounded, most)), dtype=np.int64)
    text[0, :count, :length] = input_ids
    text[1, :count, :length] = attention_mask
    text[1, count:, 0] = 1  # rows of padding: attention over nothing is not a number
    return text

"""`load` a checkpoint and embed strings and pictures with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from retriever import checkpoint_folder
from retriever.arrays import Floats
from retriever.config import PRESETS
from retriever.inference import Backend, Features, Inference, open_backend, resolve
from retriever.processor import Processor

if TYPE_CHECKING:
    from retriever.model import FusedRetriever

SHIPPED = Path(str(files("retriever") / "weights"))


@dataclass(frozen=True)
class ItemInput:
    """What the model sees of an item: one picture, one text, or both.

    Raises:
        ValueError: both are missing.
    """

    image: Image.Image | Floats | None = None  # an array is a picture that `Processor.image` has prepared
    text: str | None = None

    def __post_init__(self) -> None:
        if self.image is None and not self.has_text:
            raise ValueError("an item needs a picture or some text")

    @property
    def has_text(self) -> bool:
        return bool((self.text or "").strip())


class Retriever:
    """A loaded checkpoint: what runs it, its processor, and the `model_id` that its vectors are labelled with."""

    def __init__(self, backend: Backend, processor: Processor, model_id: str, inference: Inference = "torch") -> None:
        self.backend = backend
        self.processor = processor
        self.model_id = model_id
        self.inference = inference
        self.config = processor.config

    @property
    def model(self) -> "FusedRetriever":
        """The torch model. Raises TypeError where ONNX Runtime runs, and there is none."""
        from retriever.torch_model import TorchModel

        if not isinstance(self.backend, TorchModel):
            raise TypeError(f"inference by {self.inference} has no torch model")
        return self.backend.model

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Keywords → unit vectors `(B, D)`."""
        return self.backend.encode_query(*self.processor.queries(texts))

    def encode_items(self, items: Sequence[ItemInput]) -> Floats:
        """Items, in any mixture of picture and text, → item tokens `(B, Q, D)`."""
        # Rows of one kind go together: no row pays for a modality that it does not have.
        kinds: dict[tuple[bool, bool], list[int]] = {}
        for i, item in enumerate(items):
            kinds.setdefault((item.image is not None, item.has_text), []).append(i)
        tokens = np.empty((len(items), self.config.num_query_tokens, self.config.embed_dim), dtype=np.float32)
        for rows in kinds.values():
            tokens[rows] = self._encode([items[i] for i in rows])
        return tokens

    def match(self, queries: Sequence[str], items: Sequence[ItemInput]) -> Floats:
        """The logit that each query belongs to the item beside it, `(B,)`: the re-ranker.

        It reads query and item together, so it costs as much as encoding the item, for every query anew. It means
        something only in a model that was trained to match (`training.finetune --itm`, or BLIP-2's own weights).

        Raises:
            ValueError: there are not as many queries as items; or ONNX Runtime runs a model that was not trained to.
        """
        if len(queries) != len(items):
            raise ValueError(f"{len(queries)} queries for {len(items)} items: one for each is needed")
        logits = np.empty(len(items), dtype=np.float32)
        with_picture = [i for i, item in enumerate(items) if item.image is not None]
        without = [i for i, item in enumerate(items) if item.image is None]
        for rows in (with_picture, without):
            if rows:
                ids, mask = self.processor.pairs([queries[i] for i in rows], [items[i].text or "" for i in rows])
                pictures = self._pictures([items[i] for i in rows])
                logits[rows] = self.backend.match(pictures, ids, mask)
        return logits

    def _pictures(self, items: Sequence[ItemInput]) -> Features | None:
        """Features of the pictures of items that all have one, or None of items that have none."""
        if items[0].image is None:
            return None
        prepared = [
            item.image if isinstance(item.image, np.ndarray) else self.processor.image(item.image)  # type: ignore[arg-type]
            for item in items
        ]
        return self.backend.encode_pictures(np.stack(prepared))

    def _encode(self, items: Sequence[ItemInput]) -> Floats:
        pictures = self._pictures(items)
        ids = mask = None
        if items[0].has_text:
            ids, mask = self.processor.texts([item.text or "" for item in items])
        return self.backend.encode_item(pictures, ids, mask)


def load(name: str | Path = "compact", device: str = "cpu", inference: Inference = "torch") -> Retriever:
    """The one way to a retriever: a shipped name (`compact`), a checkpoint folder, or a name on the model hub.

    Args:
        inference: how it is run, see `retriever.inference`; what is not exported yet for `onnx` or `int8` is now.

    Raises:
        FileNotFoundError: there is no such shipped model or folder, and the hub does not give it either.
        ValueError: the folder holds a model that this version cannot build, a file that is damaged or does not fit the
            others, or the device cannot run it so.
        OSError: the exported graphs cannot be written.
    """
    folder = find(str(name))
    config = checkpoint_folder.load_config(folder)
    model_id = checkpoint_folder.model_id(folder)  # once: it reads every byte, and weights may be gigabytes
    resolved = resolve(inference, config, model_id, device)
    backend = open_backend(folder, config, model_id, resolved, device)
    processor = Processor(config, checkpoint_folder.load_tokenizer(folder, config))
    return Retriever(backend, processor, model_id, resolved)


def identify(name: str | Path) -> str:
    """The `model_id` of what `load` would load, without loading it. Raises FileNotFoundError, as `load`."""
    folder = find(str(name))
    checkpoint_folder.check(folder)
    return checkpoint_folder.model_id(folder)


def find(name: str) -> Path:
    """The checkpoint folder of a name. Raises FileNotFoundError, as `load`."""
    if (SHIPPED / name / "config.json").exists():
        return SHIPPED / name
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    shipped = sorted(path.name for path in SHIPPED.glob("*") if (path / "config.json").exists())
    known = f"shipped models: {', '.join(shipped) or 'none'}"
    if name in PRESETS:
        known += f"; `python -m retriever.blip2_weights` makes a folder of {name}'s published weights"
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(f"no shipped model and no folder is called {name!r} ({known})")
    problem = f"{name!r} is neither a shipped model nor a folder, and the model hub did not give it; {known}"
    return checkpoint_folder.download(name, [*checkpoint_folder.FILES, "MODEL_CARD.md"], problem)

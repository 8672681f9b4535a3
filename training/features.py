"""Frozen picture features, computed once and kept on disk.

The vision tower is frozen by default, so what it says of a picture never changes: an epoch then costs the Q-Former
only. The cache is a folder named by all that its values depend on (the tower and its weights, how pictures reach it,
the precision), holding rows of float16 that only ever grow; it is resumed after a kill where its index ends.
"""

import fcntl
import hashlib
import json
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from retriever.files import sync, write_whole
from retriever.processor import Processor
from retriever.vision import PictureFeatures, VisionEncoder
from training.picture_folder import open_picture
from training.pictures import crop
from training.precision import computes_bf16

BLOCK = 256  # pictures encoded before their rows are written
# Share of new rows at which the index, one file, is written again: at every block, that would come to outweigh encoding
# a large catalogue on a GPU. A kill costs as much of the work.
UNCOMMITTED = 1 / 32


class FeatureCache:
    """Features of pictures by path: `cache.add(paths)` computes what is missing, `cache.read(paths)` reads.

    Args:
        views: how often each picture is kept: whole, and then as a random part of it, mirrored or not, which is the
            same in every run. Training draws one of them, so that it sees more than one of each product.

    Raises:
        FormatError: a picture cannot be decoded; the message names it.
    """

    def __init__(self, folder: Path, encoder: VisionEncoder, processor: Processor, views: int = 1) -> None:
        self.encoder = encoder.eval()
        self.processor = processor
        self.views = views
        self.folder = folder / _fingerprint(encoder, processor)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._index_path = self.folder / "index.json"
        self._rows: dict[str, int] = {}
        self._committed = 0  # of these, rows that the index on the disk names
        self._shape: list[int] | None = None  # [P, E, C]
        self._open()

    def add(self, paths: Sequence[Path], whole: bool = False) -> None:
        """Computes what is missing. Another run that adds to the same folder is waited for.

        Of pictures that are only read `whole`, that is without a generator, the other views are not.
        """
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            self._open()
            try:
                self._add(paths, 1 if whole else self.views)
            finally:  # a picture that cannot be decoded does not cost those before it
                self._commit()

    def _add(self, paths: Sequence[Path], views: int) -> None:
        every = [(path, view) for path in dict.fromkeys(paths) for view in range(views)]
        missing = [shown for shown in every if _key(*shown) not in self._rows]
        if not missing:
            return
        device = next(self.encoder.parameters()).device
        with ThreadPoolExecutor(4) as pool, tqdm(total=len(missing), desc="picture features", unit="picture") as bar:
            for start in range(0, len(missing), BLOCK):
                block = missing[start : start + BLOCK]
                features = [
                    _encode(self.encoder, torch.stack(list(pool.map(self._load, part))).to(device))
                    for part in (block[i : i + 32] for i in range(0, len(block), 32))
                ]
                self._append(block, features)
                if len(self._rows) - self._committed >= UNCOMMITTED * self._committed:
                    self._commit()
                bar.update(len(block))

    def read(
        self, paths: Sequence[Path], rng: np.random.Generator | None = None, share: float = 1.0
    ) -> PictureFeatures:
        """Features of pictures that were added, in float32.

        With a generator, of one of the views of each, and only this share of the patches, drawn at random and the same
        for all of them: it saves work in training and is an augmentation at once (FLIP, Li et al., arXiv 2212.00794).

        Raises:
            KeyError: a picture was not added before.
        """
        views = [0] * len(paths)
        if rng is not None and self.views > 1:
            views = rng.integers(self.views, size=len(paths)).tolist()
        rows = np.array([self._rows[_key(*shown)] for shown in zip(paths, views, strict=True)], dtype=np.int64)
        tokens, concepts = self._arrays
        if rng is not None and share < 1:
            count = max(1, round(tokens.shape[1] * share))
            keep = np.sort(rng.permutation(tokens.shape[1])[:count])
            drawn = tokens[rows[:, None], keep[None]]
        else:
            drawn = tokens[rows]
        return PictureFeatures(torch.from_numpy(drawn).float(), torch.from_numpy(concepts[rows]).float())

    def _load(self, shown: tuple[Path, int]) -> Tensor:
        path, view = shown
        picture = open_picture(path)
        if view:
            picture = crop(picture, np.random.default_rng([view, zlib.crc32(path.name.encode())]))
        return torch.from_numpy(self.processor.image(picture))

    def _append(self, shown: Sequence[tuple[Path, int]], features: Sequence[PictureFeatures]) -> None:
        tokens = torch.cat([part.tokens for part in features]).half().cpu().numpy()
        concepts = torch.cat([part.concepts for part in features]).half().cpu().numpy()
        self._shape = [tokens.shape[1], tokens.shape[2], concepts.shape[1]]
        first = len(self._rows)
        for name, array in (("tokens", tokens), ("concepts", concepts)):
            path = self.folder / f"{name}.f16"
            with path.open("ab") as file:
                # What a killed run wrote beyond the index is cut off first.
                file.truncate(first * array[0].nbytes)
                file.write(array.tobytes())
            sync(path)  # before the index, which names these rows
        self._rows.update({_key(*one): first + i for i, one in enumerate(shown)})

    def _commit(self) -> None:
        """Writes the index, if it lacks rows, and opens what it names by now."""
        if len(self._rows) > self._committed:
            write_whole(self._index_path, json.dumps({"rows": self._rows, "shape": self._shape}).encode())
            self._open()

    def _open(self) -> None:
        """Reads what there is by now."""
        if not self._index_path.exists():
            return
        index = json.loads(self._index_path.read_text())
        self._rows, self._shape = index["rows"], index["shape"]
        self._committed = count = len(self._rows)
        patches, width, classes = self._shape
        self._arrays = (
            np.memmap(self.folder / "tokens.f16", np.float16, "r", shape=(count, patches, width)),
            np.memmap(self.folder / "concepts.f16", np.float16, "r", shape=(count, classes))
            if classes
            else np.zeros((count, 0), np.float16),
        )


@torch.inference_mode()
def _encode(encoder: VisionEncoder, images: Tensor) -> PictureFeatures:
    images = images.to(next(encoder.parameters()).dtype, memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=_autocasts(encoder)):
        return encoder(images)  # type: ignore[no-any-return]


def _autocasts(encoder: VisionEncoder) -> bool:
    """Whether weights in full precision are computed with in bfloat16."""
    weight = next(encoder.parameters())
    return weight.dtype == torch.float32 and computes_bf16(weight.device)


def _key(path: Path, view: int) -> str:
    status = path.stat()
    of_view = f"|{view}" if view else ""
    return f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}{of_view}"


def _fingerprint(encoder: VisionEncoder, processor: Processor) -> str:
    config = processor.config
    # Neither what a backbone does with its weights nor the precision shows in them.
    tower = (config.vision_backbone, sorted(config.vision_args.items()), config.vision_pyramid)
    computed = (next(encoder.parameters()).dtype, _autocasts(encoder))
    seen = (*tower, *computed, config.image_size, config.image_mean, config.image_std, "upright")
    digest = hashlib.sha256(repr(seen).encode())
    for name, tensor in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]

"""A larger text encoder that teaches: `python -m training.teacher --train captions.json --output runs/teacher`.

Shoppers choose some of the items that answer a query, and a small model soon knows those by heart. A larger encoder,
tuned here on the same pairs, also says how well every other item of a batch answers: `training.finetune --teacher`
learns from both. It reads texts alone, so it is asked only about items that are known by nothing else. Several teachers
know more than each of them, and a fused retriever from an earlier training may be one.

Source: targets that a larger model softened, Hinton et al., arXiv 1503.02531; beside the true ones in contrast, as in
ALBEF, Li et al., arXiv 2107.07651.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import batch_to_device
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

import retriever
from retriever import ItemInput
from retriever.arrays import Floats
from retriever.files import write_whole
from retriever.retriever import SHIPPED
from retriever.scoring import maxsim
from training.arguments import count
from training.data import Augmentation, BatchSampler, Source
from training.formats import ValidQuery, gallery_of, in_digest_order, read_valid
from training.losses import Likelihoods, itc
from training.metrics import SHOWN, positive_ranks, query_metrics
from training.precision import autocast, computes_bf16
from training.weights import broken_weights

TEMPERATURE = 0.05  # of the contrast that tunes a teacher, and so of the likelihoods that it gives
MAX_LENGTH = 64  # word pieces that are read of a text
CLIP_NORM = 1.0
BATCH = 64  # strings that a fused teacher encodes at once: it may be asked about a whole catalogue; more have a bar
STRINGS, EMBEDDINGS = "strings.json", "embeddings.safetensors"


class Teacher(Protocol):
    @property
    def model_id(self) -> str:
        """Changes whenever a weight does: a run that was killed goes on with the same teachers alone."""

    def encode(self, queries: Sequence[str], texts: Sequence[str]) -> None:
        """Keep what it makes of these, for `similar`. Rounding differs a little with what is encoded together, so that
        a run which is to be repeated encodes everything before its first step.
        """

    def similar(self, queries: Sequence[str], texts: Sequence[str]) -> Tensor:
        """Cosines of M queries and N texts, `(M, N)`; on the CPU."""


class TextTeacher:
    """A sentence encoder: a folder or a hub name.

    What it says of a string never changes, so every string is encoded once. `save` keeps the embeddings in the folder,
    and only a string that is not among them makes the encoder load.

    Raises:
        OSError: there is no such folder or name, or it holds no encoder.
        ValueError: what `save` kept is damaged.
    """

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        self.name, self.device = name, str(device)
        self._known: dict[str, Tensor] = {}
        if (Path(name) / STRINGS).exists():
            self._known = _kept(Path(name))
        else:
            self.encoder  # noqa: B018 — so that a name that is none fails here, not in the middle of a training

    @cached_property
    def encoder(self) -> SentenceTransformer:
        encoder = SentenceTransformer(self.name, device=self.device)
        encoder.max_seq_length = MAX_LENGTH
        return encoder

    @property
    def model_id(self) -> str:
        """As `Teacher`; of a folder without an encoder it changes with what was kept there."""
        digest = hashlib.sha256()
        folder = Path(self.name)
        if not folder.is_dir():  # a name on the hub, whose files lie in some cache
            for name, weight in self.encoder.state_dict().items():
                digest.update(name.encode() + weight.cpu().flatten().view(torch.uint8).numpy().tobytes())
        # What is kept grows when the teacher is asked elsewhere, and says nothing else by that.
        weights = {*folder.rglob("*.safetensors"), *folder.rglob("*.bin")} - {folder / EMBEDDINGS}
        for path in sorted(weights) or folder.glob(EMBEDDINGS):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:12]

    def encode(self, queries: Sequence[str], texts: Sequence[str]) -> None:
        if new := [string for string in dict.fromkeys([*queries, *texts]) if string not in self._known]:
            with autocast(self.encoder.device):
                vectors = self.encoder.encode(new, convert_to_tensor=True, show_progress_bar=len(new) > BATCH)
            self._known.update(zip(new, F.normalize(vectors.float(), dim=-1).cpu(), strict=True))

    def similar(self, queries: Sequence[str], texts: Sequence[str]) -> Tensor:
        return self.embed(queries) @ self.embed(texts).T

    def embed(self, strings: Sequence[str]) -> Tensor:
        """Unit vectors `(N, E)`; on the CPU."""
        self.encode(strings, [])
        return torch.stack([self._known[string] for string in strings])

    def save(self, folder: Path) -> None:
        """Keep what was encoded so far in the teacher's folder."""
        write_whole(folder / EMBEDDINGS, save({"embeddings": torch.stack(list(self._known.values())).half()}))
        write_whole(folder / STRINGS, json.dumps(list(self._known), ensure_ascii=False).encode())


def _kept(folder: Path) -> dict[str, Tensor]:
    """What `TextTeacher.save` kept. Raises ValueError for files that do not belong together, or are cut short."""
    try:
        rows = load_file(folder / EMBEDDINGS)["embeddings"].float()
        return dict(zip(json.loads((folder / STRINGS).read_text(encoding="utf-8")), rows, strict=True))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ValueError(
            f"{folder}: {STRINGS} and {EMBEDDINGS} are damaged ({error}); remove both: the texts are encoded again"
        ) from error


class FusedTeacher:
    """A fused retriever, by MaxSim. Every string is encoded once in a run.

    Raises:
        FileNotFoundError, ValueError: as `retriever.load`.
    """

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        quick = computes_bf16(torch.device(device))
        self.model = retriever.load(name, str(device), "bf16" if quick else "torch")
        self.model_id = self.model.model_id
        self._queries: dict[str, Floats] = {}
        self._texts: dict[str, Floats] = {}

    def encode(self, queries: Sequence[str], texts: Sequence[str]) -> None:
        _remember(self._queries, queries, self.model.encode_queries)
        _remember(self._texts, texts, lambda new: self.model.encode_items([ItemInput(text=text) for text in new]))

    def similar(self, queries: Sequence[str], texts: Sequence[str]) -> Tensor:
        self.encode(queries, texts)
        asked = np.stack([self._queries[query] for query in queries])  # (M, D)
        items = np.stack([self._texts[text] for text in texts])  # (N, Q, D)
        return maxsim(torch.from_numpy(asked), torch.from_numpy(items))


def open_teacher(name: str, device: torch.device | str = "cpu") -> TextTeacher | FusedTeacher:
    """A fused retriever, by its folder or shipped name, or a sentence encoder, by its folder or its name on the hub.

    Raises:
        OSError, ValueError: as the two.
    """
    shipped = SHIPPED / name / "config.json"
    config = shipped if shipped.exists() else Path(name) / "config.json"
    fused = config.exists() and "vision_backbone" in json.loads(config.read_text())
    return FusedTeacher(name, device) if fused else TextTeacher(name, device)


def encode_sources(teachers: Iterable[Teacher], sources: Iterable[Source]) -> None:
    """All strings that training asks these teachers about: those of the sources without pictures."""
    pairs = [pair for source in sources if not source.pictured for of_item in source.pairs for pair in of_item]
    queries, texts = [pair.query for pair in pairs], [text for pair in pairs for text in pair.captions]
    for teacher in teachers:
        teacher.encode(queries, texts)


def _remember(known: dict[str, Floats], strings: Sequence[str], encode: Callable[[Sequence[str]], Floats]) -> None:
    new = [string for string in dict.fromkeys(strings) if string not in known]
    starts = tqdm(range(0, len(new), BATCH), desc="teacher", unit=f"{BATCH} texts", disable=len(new) <= BATCH)
    for part in (new[start : start + BATCH] for start in starts):
        known.update(zip(part, encode(part), strict=True))


def likelihoods(teachers: Iterable[Teacher], queries: Sequence[str], texts: Sequence[str]) -> Likelihoods:
    """How likely each of N texts answers each of M queries, and the other way round, by the mean of the teachers'
    similarities; on the CPU.
    """
    similar = torch.stack([teacher.similar(queries, texts) for teacher in teachers]).mean(dim=0) / TEMPERATURE
    return similar.softmax(dim=1), similar.T.softmax(dim=1)


def tune(encoder: SentenceTransformer, source: Source, steps: int, batch_size: int, lr: float, seed: int) -> None:
    """Contrast the source's queries with its texts, as `training.finetune` does. Its vocabulary stays as it is.

    Raises:
        ValueError: the source has fewer than two items, or the loss or a weight is no number any more.
    """
    torch.manual_seed(seed)
    if encoder.transformers_model is not None:
        encoder.transformers_model.get_input_embeddings().requires_grad_(False)
    trained = [weight for weight in encoder.parameters() if weight.requires_grad]
    matrices, others = [w for w in trained if w.ndim > 1], [w for w in trained if w.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)
    scheduler = get_cosine_schedule_with_warmup(optimiser, min(50, steps // 4), steps)
    sampler = BatchSampler([source], batch_size, seed, Augmentation(0, 0, 0, 0))

    encoder.train()
    with tqdm(range(steps), desc="teacher", unit="step") as bar:
        for step in bar:
            batch = sampler.batch(step)
            queries, texts = _forward(encoder, batch.queries), _forward(encoder, batch.texts)  # (B, E)
            positives = torch.from_numpy(batch.positives).to(queries.device)
            loss = itc(queries, texts.unsqueeze(1), positives, TEMPERATURE)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, CLIP_NORM)
            optimiser.step()
            scheduler.step()
            value = loss.item()
            if not math.isfinite(value):
                raise ValueError(f"the loss of step {step} is {value}: try a lower --lr")
            bar.set_postfix(loss=f"{value:.3f}")
    if broken_weights(encoder.state_dict()):  # the last step may have broken them
        raise ValueError("the weights are no numbers any more: try a lower --lr")
    encoder.eval()


def measure(teacher: Teacher, queries: list[ValidQuery]) -> dict[str, float]:
    """hit@1, 5, 10 and their mean, in per cent, on a set in the `valid` format by its texts alone."""
    items = in_digest_order(gallery_of(queries))
    column = {item.item_id: i for i, item in enumerate(items)}
    scores = teacher.similar([query.query for query in queries], [item.text for item in items])  # (M, N)
    values = query_metrics(positive_ranks(scores.numpy(), [[column[one] for one in query.items] for query in queries]))
    return {name: 100 * float(values[name].mean()) for name in SHOWN}


def _forward(encoder: SentenceTransformer, strings: Sequence[str]) -> Tensor:
    features = batch_to_device(encoder.preprocess(list(strings)), encoder.device)
    with autocast(encoder.device):
        embedded = encoder(features)["sentence_embedding"]
    return F.normalize(embedded.float(), dim=-1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.teacher",
        description="Tune a larger text encoder on pairs without pictures, for training.finetune --teacher.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", default="sentence-transformers/all-mpnet-base-v2", help="folder or hub name")
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help="a training file with texts")
    parser.add_argument("--valid", type=Path, nargs="*", default=[], metavar="FILE", help="to measure at the end")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--steps", type=count, default=200)
    parser.add_argument("--batch-size", type=count, default=96, help="pairs a step")
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.batch_size < 2:
        parser.error("--batch-size must be at least 2: pairs are contrasted with each other")
    try:
        _run(options)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(f"{options.output}: a teacher for training.finetune --teacher")


def _run(options: argparse.Namespace) -> None:
    # Whatever is wrong with the files is found before the tuning.
    source = Source(options.train)
    sets = {path: list(read_valid(path)) for path in options.valid}
    options.output.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        encoder = TextTeacher(options.model, device).encoder
    except (ValueError, OSError) as error:
        raise ValueError(f"{error}\n--model takes a folder too: see docs/training.md") from error
    tune(encoder, source, options.steps, options.batch_size, options.lr, options.seed)
    encoder.save(str(options.output))
    (options.output / STRINGS).unlink(missing_ok=True)  # what another tuning may have left there
    teacher = TextTeacher(str(options.output), device)
    encode_sources([teacher], [source])
    teacher.save(options.output)
    for path, queries in sets.items():
        print(path.name, {name: round(value, 1) for name, value in measure(teacher, queries).items()})


if __name__ == "__main__":
    main()

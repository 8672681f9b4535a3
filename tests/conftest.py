"""Fixtures that several packages' tests share: a tiny retriever, built from scratch in milliseconds."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from retriever import Processor, Retriever, RetrieverConfig, checkpoint, onnx_export
from retriever.checkpoint_folder import model_id
from retriever.index import edge_process
from retriever.model import FusedRetriever
from retriever.torch_model import TorchModel
from tests import forks
from tests.end_to_end.serving import Running, running

torch.set_num_threads(1)

TINY = RetrieverConfig(
    vision_backbone="test_efficientnet",
    vision_width=256 + 16 + 24 + 32 + 48 + 3,
    vision_pyramid=True,
    num_concepts=5,
    image_size=64,
    hidden_size=32,
    num_layers=2,
    num_heads=4,
    intermediate_size=64,
    embed_dim=16,
    vocab_size=200,
    max_positions=64,
    num_query_tokens=4,
    query_pooling="mean",
    text_residual=True,
)


def tiny_tokenizer() -> Tokenizer:
    """Word pieces of single characters and a few words: every string can be written with them."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "blue", "mug", "shirt", "shoe", "lamp", "the", "a"]
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = dict.fromkeys(words + characters + [f"##{char}" for char in characters])
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


@pytest.fixture(scope="session", autouse=True)
def forked_engines() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge_process, "launch", forks.launch)
        yield
    forks.end()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with random weights, for whatever wants to load a model by path."""
    return _checkpoint(tmp_path_factory.mktemp("tiny-checkpoint"), seed=0)


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model: other random weights."""
    return _checkpoint(tmp_path_factory.mktemp("other-checkpoint"), seed=1)


def _checkpoint(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    model = FusedRetriever(TINY)
    torch.nn.init.normal_(model.concept_embeddings, std=0.1)
    checkpoint.save(model, tiny_tokenizer(), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_retriever(tiny_checkpoint: Path) -> Retriever:
    model, tokenizer = checkpoint.load_folder(tiny_checkpoint)
    return Retriever(TorchModel(model), Processor(TINY, tokenizer), model_id(tiny_checkpoint))


@pytest.fixture(scope="session")
def tiny_cache(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder (`XDG_CACHE_HOME`) with the tiny checkpoint's graphs for ONNX Runtime, in both precisions."""
    folder = tmp_path_factory.getbasetemp()
    # An export takes most of a minute: xdist's processes have one together, whose folders lie beside each other.
    cache = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        for precision in ("fp32", "int8"):
            onnx_export.export(tiny_checkpoint, precision)
    return cache


@pytest.fixture
def tiny_exported(tiny_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` runs the tiny model in ONNX Runtime."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny_cache))


@pytest.fixture(scope="session")
def running_tiny(tiny_checkpoint: Path, tiny_cache: Path) -> Running:
    """A service in a process of its own, with the tiny model's graphs: to import torch would take most of its start."""
    return partial(running, model=tiny_checkpoint, XDG_CACHE_HOME=str(tiny_cache))

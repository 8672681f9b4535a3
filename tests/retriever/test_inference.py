"""Every way of running a checkpoint gives the vectors of the reference, torch at full precision."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import retriever
from retriever import FusedRetriever, ItemInput, Retriever, checkpoint, onnx_export
from retriever.inference import Inference, choose
from tests.conftest import TINY, tiny_tokenizer

QUERIES = ["red mug", "a", "the blue shirt and a lamp that is red"]
LEAST_COSINE = {"bf16": 0.995, "onnx": 0.99999, "int8": 0.995}


def picture(colour: str) -> Image.Image:
    return Image.new("RGB", (50, 40), colour)


def items() -> list[ItemInput]:
    """Every mixture, not in runs of one kind."""
    return [
        ItemInput(picture("red"), "red mug"),
        ItemInput(None, "the lamp"),
        ItemInput(picture("blue")),
        ItemInput(picture("green"), "a shoe with a much longer text than the others"),
        ItemInput(None, "a"),
    ]


@pytest.fixture(params=["bf16", "onnx", "int8"])
def other(
    request: pytest.FixtureRequest, tiny_checkpoint: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Retriever:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny_cache))
    return retriever.load(tiny_checkpoint, inference=request.param)


def test_queries_are_the_references(tiny_retriever: Retriever, other: Retriever) -> None:
    ours, reference = other.encode_queries(QUERIES), tiny_retriever.encode_queries(QUERIES)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.norm(dim=-1), torch.ones(len(QUERIES)), atol=1e-5, rtol=0)
    assert F.cosine_similarity(ours, reference).min() > LEAST_COSINE[other.inference]


def test_items_are_the_references_in_any_mixture(tiny_retriever: Retriever, other: Retriever) -> None:
    ours, reference = other.encode_items(items()), tiny_retriever.encode_items(items())
    assert ours.shape == reference.shape
    assert F.cosine_similarity(ours, reference, dim=-1).min() > LEAST_COSINE[other.inference]


def test_matching_is_the_references(tiny_retriever: Retriever, other: Retriever) -> None:
    queries = ["red mug", "lamp", "blue shoe", "shoe", "a"]
    ours, reference = other.match(queries, items()), tiny_retriever.match(queries, items())
    torch.testing.assert_close(ours, reference, atol=1e-4 if other.inference == "onnx" else 0.02, rtol=0)


def test_a_vector_does_not_depend_on_its_batch(other: Retriever) -> None:
    together = other.encode_queries(["red mug", "the blue shirt and a lamp that is red"])
    alone = other.encode_queries(["red mug"])
    assert F.cosine_similarity(together[:1], alone).item() > (0.999 if other.inference == "bf16" else 0.999999)


def test_the_same_checkpoint_keeps_its_model_id(tiny_retriever: Retriever, other: Retriever) -> None:
    assert other.model_id == tiny_retriever.model_id


def test_auto_takes_int8_once_it_is_exported_and_bfloat16_on_a_gpu(
    tiny_checkpoint: Path, tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert choose("auto", tiny_checkpoint, torch.device("cpu")) == "torch"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny_cache))
    assert choose("auto", tiny_checkpoint, torch.device("cpu")) == "int8"
    assert choose("auto", tiny_checkpoint, torch.device("cuda")) == "bf16"


@pytest.mark.parametrize("asked", ["onnx", "int8"])
def test_onnx_runtime_is_refused_on_a_gpu(tiny_checkpoint: Path, asked: Inference) -> None:
    with pytest.raises(ValueError, match="runs on the CPU, not on cuda"):
        retriever.load(tiny_checkpoint, "cuda", asked)


def test_there_is_no_torch_model_beside_the_graphs(
    tiny_checkpoint: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny_cache))
    with pytest.raises(TypeError, match="int8 has no torch model"):
        _ = retriever.load(tiny_checkpoint, inference="int8").model


def test_an_export_that_fails_leaves_nothing(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        assert path.exists()
        raise OSError("the disk is full")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(onnx_export, "_quantise", full)
    with pytest.raises(OSError, match="the disk is full"):
        onnx_export.export(tiny_checkpoint, "int8")
    assert not onnx_export.is_exported(tiny_checkpoint, "int8")
    assert list((tmp_path / "fused-product-search").iterdir()) == []


def test_a_model_without_null_picture_and_concepts_is_exported_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As BLIP-2 itself: the first state is a text's vector, and every item needs a picture."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    torch.manual_seed(1)
    config = replace(
        TINY,
        vision_pyramid=False,
        vision_width=256,
        num_concepts=0,
        null_picture=False,
        text_residual=False,
        query_pooling="cls",
    )
    folder = tmp_path / "checkpoint"
    checkpoint.save(FusedRetriever(config), tiny_tokenizer(), folder)
    reference, ours = retriever.load(folder), retriever.load(folder, inference="onnx")
    given = [ItemInput(picture("red"), "red mug"), ItemInput(picture("blue"))]
    torch.testing.assert_close(ours.encode_items(given), reference.encode_items(given), atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.encode_queries(QUERIES), reference.encode_queries(QUERIES), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="every item needs a picture"):
        ours.encode_items([ItemInput(None, "mug")])

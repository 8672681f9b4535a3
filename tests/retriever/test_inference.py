"""Every way of running a checkpoint gives the vectors of the reference, torch at full precision."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import retriever
from retriever import ItemInput, Retriever, checkpoint, cpu, onnx_cache, onnx_export, onnx_model
from retriever.arrays import Floats
from retriever.inference import Inference, resolve
from retriever.model import FusedRetriever
from tests.conftest import TINY, tiny_tokenizer

QUERIES = ["red mug", "a", "the blue shirt and a lamp that is red"]
LEAST_COSINE = {"bf16": 0.995, "onnx": 0.99999, "int8": 0.995}


def cosines(ours: Floats, reference: Floats) -> Floats:
    lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(reference, axis=-1)
    found: Floats = (ours * reference).sum(axis=-1) / lengths
    return found


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
    assert ours.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(ours, axis=-1), np.ones(len(QUERIES)), atol=1e-5, rtol=0)
    assert cosines(ours, reference).min() > LEAST_COSINE[other.inference]


def test_items_are_the_references_in_any_mixture(tiny_retriever: Retriever, other: Retriever) -> None:
    ours, reference = other.encode_items(items()), tiny_retriever.encode_items(items())
    assert ours.shape == reference.shape
    assert cosines(ours, reference).min() > LEAST_COSINE[other.inference]


def test_matching_in_half_precision_is_the_references(tiny_retriever: Retriever, tiny_checkpoint: Path) -> None:
    queries = ["red mug", "lamp", "blue shoe", "shoe", "a"]
    ours = retriever.load(tiny_checkpoint, inference="bf16").match(queries, items())
    np.testing.assert_allclose(ours, tiny_retriever.match(queries, items()), atol=0.02, rtol=0)


def test_a_model_that_was_not_trained_to_match_has_no_graph_for_it(
    tiny_checkpoint: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny_cache))
    with pytest.raises(ValueError, match="not trained to match"):
        retriever.load(tiny_checkpoint, inference="onnx").match(["mug"], items()[:1])


def test_a_vector_does_not_depend_on_its_batch(other: Retriever) -> None:
    together = other.encode_queries(["red mug", "the blue shirt and a lamp that is red"])
    alone = other.encode_queries(["red mug"])
    assert cosines(together[:1], alone)[0] > (0.999 if other.inference == "bf16" else 0.999999)


def test_the_same_checkpoint_keeps_its_model_id(tiny_retriever: Retriever, other: Retriever) -> None:
    assert other.model_id == tiny_retriever.model_id


def test_auto_takes_graphs_on_cuda() -> None:
    assert resolve("auto", TINY, "any", "cuda:1") == "graphs"
    assert resolve("auto", TINY, "any", "mps") == "bf16"


@pytest.mark.parametrize(
    ("flags", "first", "second"),
    [
        ("fpu avx2 avx512f avx512_vnni", "int8", "onnx"),
        ("fpu avx2 avx_vnni", "int8", "onnx"),
        ("fp asimd asimddp", "int8", "onnx"),
        ("fpu avx2 avx512f", "onnx", "int8"),
        (None, "int8", "onnx"),  # no Linux
    ],
)
def test_auto_takes_what_the_processor_is_quickest_at_of_what_is_exported(
    flags: str | None,
    first: Inference,
    second: Inference,
    tiny_checkpoint: Path,
    tiny_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpuinfo, model_id = tmp_path / "cpuinfo", retriever.identify(tiny_checkpoint)
    if flags is not None:
        cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(cpu, "_CPUINFO", cpuinfo)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert resolve("auto", TINY, model_id, "cpu") == "torch"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny_cache))
    assert resolve("auto", TINY, model_id, "cpu") == first
    graphs = onnx_cache.cache_folder(model_id, "int8" if first == "int8" else "fp32")
    cache = shutil.copytree(tiny_cache, tmp_path / "cache")
    shutil.rmtree(cache / graphs.relative_to(tiny_cache))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert resolve("auto", TINY, model_id, "cpu") == second


def test_cuda_graphs_are_refused_without_cuda(tiny_checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="runs on cuda, not on cpu"):
        retriever.load(tiny_checkpoint, "cpu", "graphs")


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


def test_a_service_on_the_graphs_never_imports_torch(
    tiny_checkpoint: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take more memory than all else that serves."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny_cache))
    served = f"""
import sys
import retriever, service.app, service.services
from PIL import Image
model = retriever.load({str(tiny_checkpoint)!r}, "cpu", "int8")
model.encode_queries(["red mug"])
model.encode_items([retriever.ItemInput(Image.new("RGB", (9, 9)), "mug"), retriever.ItemInput(text="lamp")])
print(sorted({{"torch", "timm", "transformers"}} & sys.modules.keys()))
"""
    answer = subprocess.run([sys.executable, "-c", served], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_onnx_runtime_takes_the_cores_that_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    monkeypatch.setattr(onnx_model, "_CPU_MAX", Path("/nowhere"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert onnx_model._threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")  # by level of nesting
    assert onnx_model._threads() == 4


@pytest.mark.parametrize(
    ("quota", "threads"), [("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1), ("max 100000", 8), ("", 8)]
)
def test_onnx_runtime_takes_no_more_cores_than_a_container_has_time_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, threads: int
) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(onnx_model, "_CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert onnx_model._threads() == threads


def test_onnx_runtime_tells_nobody_what_it_runs(tiny_checkpoint: Path, tiny_cache: Path, tmp_path: Path) -> None:
    """It would queue what it sends in the user's cache, beside an id of the machine."""
    served = f"import retriever; retriever.load({str(tiny_checkpoint)!r}, 'cpu', 'int8').encode_queries(['mug'])"
    shutil.copytree(tiny_cache, tmp_path / "cache")
    # Neither under pytest nor in CI does it send anything of its own accord.
    quiet = {"CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}
    outside = {name: value for name, value in os.environ.items() if name not in quiet}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", served], env=outside | home, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["fused-product-search"]


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
    assert list((tmp_path / "fused-product-search").iterdir()) == []


@pytest.fixture
def own_cache(tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with the tiny checkpoint's graphs that a test may damage."""
    cache = Path(shutil.copytree(tiny_cache, tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache / "fused-product-search"


@pytest.mark.parametrize("graph", ["query", "pictures", "item"])
def test_a_graph_that_is_missing_is_exported_anew(tiny_checkpoint: Path, own_cache: Path, graph: str) -> None:
    folder = onnx_cache.cache_folder(retriever.identify(tiny_checkpoint), "int8")
    (folder / f"{graph}.onnx").unlink()
    assert not onnx_cache.is_complete(folder, TINY)
    retriever.load(tiny_checkpoint, inference="int8").encode_items(items())
    assert onnx_cache.is_complete(folder, TINY)
    assert len(list(own_cache.iterdir())) == 2


def test_a_damaged_graph_is_named_and_not_copied(tiny_checkpoint: Path, own_cache: Path) -> None:
    full, int8 = (onnx_cache.cache_folder(retriever.identify(tiny_checkpoint), name) for name in ("fp32", "int8"))
    graph = (full / "query.onnx").read_bytes()
    (full / "query.onnx").write_bytes(graph[: len(graph) // 2])
    message = rf"query\.onnx cannot be opened: remove {full}, and run `python -m retriever\.export` again"
    with pytest.raises(ValueError, match=message):
        retriever.load(tiny_checkpoint, inference="onnx").encode_queries(["mug"])
    shutil.rmtree(int8)
    with pytest.raises(ValueError, match=message):
        onnx_export.export(tiny_checkpoint, "int8")
    assert list(own_cache.iterdir()) == [full]


def test_a_graph_in_two_files_keeps_none_of_its_weights_in_full(tiny_checkpoint: Path, own_cache: Path) -> None:
    path = onnx_cache.cache_folder(retriever.identify(tiny_checkpoint), "fp32") / "query.onnx"
    data = path.with_name("query.onnx.data")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location=data.name, size_threshold=0)
    full = data.stat().st_size
    onnx_export._quantise(path)
    assert data.stat().st_size < full
    assert onnx_model.OnnxModel(path.parent, None, 0).encode_query(np.ones((1, 3), int), np.ones((1, 3), int)).any()


def test_of_two_exports_at_once_both_succeed(
    tiny_checkpoint: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = onnx_cache.cache_folder(retriever.identify(tiny_checkpoint), "int8")
    shutil.move(folder, tmp_path / "others")
    rename = Path.rename

    def too_late(path: Path, target: Path) -> Path:
        shutil.copytree(tmp_path / "others", target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", too_late)
    assert onnx_export.export(tiny_checkpoint, "int8") == folder
    assert onnx_cache.is_complete(folder, TINY)
    assert len(list(own_cache.iterdir())) == 2


def test_what_a_killed_export_left_is_removed_a_day_later(tiny_checkpoint: Path, own_cache: Path) -> None:
    old, young = own_cache / ".new-old", own_cache / ".new-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "query.onnx").touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    shutil.rmtree(onnx_cache.cache_folder(retriever.identify(tiny_checkpoint), "int8"))
    onnx_export.export(tiny_checkpoint, "int8")
    assert not old.exists()
    assert young.exists()


def test_a_model_that_matches_and_has_neither_null_picture_nor_concepts_is_exported_too(
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
        num_layers=1,
        matching=True,
    )
    folder = tmp_path / "checkpoint"
    checkpoint.save(FusedRetriever(config), tiny_tokenizer(), folder)
    reference, ours = retriever.load(folder), retriever.load(folder, inference="onnx")
    given = [ItemInput(picture("red"), "red mug"), ItemInput(picture("blue"))]
    np.testing.assert_allclose(ours.encode_items(given), reference.encode_items(given), atol=1e-4, rtol=0)
    np.testing.assert_allclose(ours.encode_queries(QUERIES), reference.encode_queries(QUERIES), atol=1e-4, rtol=0)
    couples = [ItemInput(one.image, "shoe") for one in given]
    logits = reference.match(["red mug", "lamp"], couples)
    for inference, off in (("onnx", 1e-4), ("int8", 0.02)):
        matched = retriever.load(folder, inference=inference).match(["red mug", "lamp"], couples)
        np.testing.assert_allclose(matched, logits, atol=off, rtol=0)
    with pytest.raises(ValueError, match="every item needs a picture"):
        ours.encode_items([ItemInput(None, "mug")])

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import retriever
from retriever import ItemInput, Retriever, checkpoint
from retriever.checkpoint_folder import FILES, model_id
from retriever.inference import Inference
from retriever.model import FusedRetriever
from tests.conftest import TINY, tiny_tokenizer


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


def test_a_saved_model_is_loaded_as_it_was(tiny_retriever: Retriever, tmp_path: Path) -> None:
    saved = checkpoint.save(tiny_retriever.model, tiny_retriever.processor.tokenizer, tmp_path)
    loaded = retriever.load(tmp_path)
    assert loaded.model_id == saved
    np.testing.assert_allclose(loaded.encode_queries(["red mug"]), tiny_retriever.encode_queries(["red mug"]))


def test_int8_is_smaller_and_says_nearly_the_same(tiny_retriever: Retriever, tmp_path: Path) -> None:
    full, int8 = tmp_path / "full", tmp_path / "int8"
    tokenizer = tiny_retriever.processor.tokenizer
    checkpoint.save(tiny_retriever.model, tokenizer, full)
    checkpoint.save(tiny_retriever.model, tokenizer, int8, storage="int8")
    sizes = [(path / "model.safetensors").stat().st_size for path in (full, int8)]
    assert sizes[1] < 0.6 * sizes[0]
    items = [ItemInput(text="a red mug"), ItemInput(text="blue shirt")]
    ours, theirs = tiny_retriever.encode_items(items), retriever.load(int8).encode_items(items)
    assert (ours * theirs).sum(axis=-1).min() > 0.995  # cosines: both have length 1


def test_int8_rows_keep_their_own_scale(tmp_path: Path) -> None:
    weights = torch.randn(64, 64) * torch.logspace(-4, 2, 64).unsqueeze(1)
    restored = checkpoint._expand(checkpoint._compress({"dense.weight": weights}))["dense.weight"]
    assert ((weights - restored).abs() <= weights.abs().amax(dim=1, keepdim=True) / 127).all()


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_a_save_that_ends_halfway_leaves_no_mixture(
    folder: Path, tiny_retriever: Retriever, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """The two checkpoints fit each other's files."""
    old, replace, calls = model_id(folder), Path.replace, iter(range(written))

    def killed(path: Path, target: Path) -> Path:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return replace(path, target)

    other = FusedRetriever(dataclasses.replace(TINY, max_query_length=TINY.max_query_length - 1))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt) if written < 3 else contextlib.nullcontext():
            checkpoint.save(other, tiny_retriever.processor.tokenizer, folder)
    if written < 3:
        with pytest.raises(FileNotFoundError, match=r"model\.safetensors missing"):
            retriever.load(folder)
    new = checkpoint.save(other, tiny_retriever.processor.tokenizer, folder)
    assert retriever.load(folder).model_id == new != old
    assert {path.name for path in folder.iterdir()} == set(FILES)


def test_a_save_that_finds_the_disk_full_leaves_the_old_checkpoint(
    folder: Path, tiny_retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("the disk is full")

    old = model_id(folder)
    monkeypatch.setattr(checkpoint, "save_file", full)
    other = FusedRetriever(dataclasses.replace(TINY, max_query_length=TINY.max_query_length - 1))
    with pytest.raises(OSError, match="the disk is full"):
        checkpoint.save(other, tiny_retriever.processor.tokenizer, folder)
    assert retriever.load(folder).model_id == old
    assert {path.name for path in folder.iterdir()} == set(FILES)


@pytest.mark.parametrize("inference", ["torch", "onnx"])
def test_a_vocabulary_that_is_larger_than_the_models_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inference: Inference
) -> None:
    config = dataclasses.replace(TINY, vocab_size=tiny_tokenizer().get_vocab_size())
    checkpoint.save(FusedRetriever(config), tiny_tokenizer(), tmp_path)
    assert retriever.load(tmp_path).encode_queries(["mug ~"]).shape == (1, TINY.embed_dim)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["teapot"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    if inference == "onnx":  # whose export would load the folder in torch, and find it there
        monkeypatch.setattr("retriever.retriever.open_backend", lambda *of: None)
    with pytest.raises(ValueError, match=rf"tokenizer\.json has a token {config.vocab_size}, and the model"):
        retriever.load(tmp_path, inference=inference)


@pytest.mark.parametrize("file", FILES)
def test_the_id_changes_with_everything_that_decides_a_vector(folder: Path, file: str) -> None:
    before = model_id(folder)
    if file == "model.safetensors":
        tensors = load_file(folder / file)
        tensors["query_tokens"][0, 0, 0] += 1e-3
        save_file(tensors, folder / file)
    else:
        content = json.loads((folder / file).read_text())
        content["x"] = 1
        (folder / file).write_text(json.dumps(content))
    assert model_id(folder) != before


def test_the_id_does_not_change_with_the_card(folder: Path) -> None:
    before = model_id(folder)
    (folder / "MODEL_CARD.md").write_text("# Card")
    assert model_id(folder) == before


def test_missing_files_are_all_named(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json, tokenizer\.json missing"):
        retriever.load(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_query_tokens": 9}))
    with pytest.raises(ValueError, match=r"do not fit config\.json"):
        retriever.load(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_named(folder: Path, file: str) -> None:
    """As a copy leaves it that was cut short."""
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=file):
        retriever.load(folder)


def test_a_field_that_is_missing_is_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["embed_dim"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="lacks embed_dim"):
        retriever.load(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": "384"}, "hidden_size must be a whole number of at least 1, not '384'"),
        ({"num_query_tokens": 0}, "num_query_tokens must be a whole number of at least 1, not 0"),
        ({"intermediate_size": None}, "intermediate_size must be"),
        ({"cross_attention_frequency": 0}, "cross_attention_frequency must be"),
        ({"num_layers": 2.0}, "num_layers must be"),
        ({"image_mean": 0.5}, "image_mean must be three numbers, not 0.5"),
        ({"image_std": [0.5, 0.5]}, "image_std must be three numbers"),
        ({"image_std": [0.5, 0.5, "0.5"]}, "image_std must be three numbers"),
        ({"num_concepts": -1}, "num_concepts must be a whole number of at least 0"),
        ({"dropout": "0.1"}, "no model can be built from it"),
        ({"vision_backbone": "no_such_backbone"}, "no_such_backbone"),
        ({"vision_args": {"no_such": 1}}, "no_such"),
    ],
)
def test_a_value_that_no_model_can_have_is_named(folder: Path, values: dict[str, object], message: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
    with pytest.raises(ValueError, match=rf"config\.json: .*{message}"):
        retriever.load(folder)


@pytest.mark.parametrize("content", ["[]", '["hidden_size"]', '[{"hidden_size": 384}]', "3", "null"])
def test_a_configuration_that_is_no_object_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json: .*must be a JSON object"):
        retriever.load(folder)


def test_a_field_of_a_newer_version_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"telepathy": True}))
    with pytest.raises(ValueError, match="telepathy"):
        retriever.load(folder)


def test_no_pickle_is_ever_written(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", ["nonesuch", "./no/such/folder", "some-team/some-model"])
def test_an_unknown_name_says_what_there_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="shipped models"):
        retriever.load(name)

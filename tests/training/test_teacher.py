import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch.nn import functional as F
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import retriever
from retriever import ItemInput
from retriever.arrays import Floats
from retriever.scoring import maxsim
from tests.conftest import tiny_tokenizer
from training import finetune, run_state, teacher
from training.data import Source
from training.teacher import TEMPERATURE, FusedTeacher, TextTeacher, likelihoods, open_teacher

QUERIES = ("red mug", "blue lamp", "green mug", "black lamp")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as sentence-transformers keeps them, with random weights."""
    torch.manual_seed(0)
    tokenizer, bert, folder = tiny_tokenizer(), tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("encoder")
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=tokenizer.get_vocab_size(), **size)).save_pretrained(bert)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(bert)
    SentenceTransformer(modules=[Transformer(str(bert)), Pooling(32)], device="cpu").save(str(folder))
    return folder


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pairs.json` and `words.valid.jsonl`: each query is answered by the words that it has backwards."""
    folder = tmp_path_factory.mktemp("captions")
    texts = {query: " ".join(reversed(query.split())) for query in QUERIES}
    pairs = [
        {"query_id": i, "query_text": query, "image_id": str(i), "text_input": [text]}
        for i, (query, text) in enumerate(texts.items())
    ]
    valid = [
        {"query_id": i, "query_text": query, "item_ids": {i: text}} for i, (query, text) in enumerate(texts.items())
    ]
    (folder / "pairs.json").write_text(json.dumps(pairs))
    (folder / "words.valid.jsonl").write_text("".join(json.dumps(query) + "\n" for query in valid))
    return folder


def test_likelihoods_are_those_of_the_encoders_own_similarities(encoder: Path) -> None:
    texts = ["mug", "a blue lamp"]
    to_texts, to_queries = likelihoods([TextTeacher(str(encoder))], QUERIES, texts)
    own = SentenceTransformer(str(encoder), device="cpu")
    queries, items = (F.normalize(own.encode(list(all), convert_to_tensor=True), dim=-1) for all in (QUERIES, texts))
    similar = queries @ items.T / TEMPERATURE  # (4, 2)
    # bfloat16 moves a similarity by less than 0.01.
    torch.testing.assert_close(to_texts, similar.softmax(dim=1), atol=0.05, rtol=0)
    torch.testing.assert_close(to_queries, similar.T.softmax(dim=1), atol=0.05, rtol=0)
    assert to_texts.shape == (4, 2)
    assert to_queries.shape == (2, 4)


def test_a_string_means_the_same_in_every_batch(encoder: Path) -> None:
    one = TextTeacher(str(encoder))
    first, _ = likelihoods([one], ["red mug"], ["mug", "lamp"])
    likelihoods([one], ["a long query beside it"], ["red mug", "lamp"])
    again, _ = likelihoods([one], ["red mug"], ["mug", "lamp"])
    assert torch.equal(first, again)


def test_what_was_encoded_is_kept_and_needs_no_encoder(encoder: Path, tmp_path: Path) -> None:
    one = TextTeacher(str(encoder))
    first = one.similar(["red mug"], ["mug", "lamp"])
    one.save(tmp_path)
    kept = TextTeacher(str(tmp_path))  # a folder without an encoder
    torch.testing.assert_close(kept.similar(["red mug"], ["lamp", "mug"]), first[:, [1, 0]], atol=2e-3, rtol=0)
    with pytest.raises((OSError, ValueError)):
        kept.similar(["red mug"], ["something else"])


@pytest.mark.parametrize(
    ("name", "content"), [("strings.json", b'["red'), ("strings.json", b'["red"]'), ("embeddings.safetensors", b"\x00")]
)
def test_a_folder_that_was_cut_short_says_what_to_remove(
    encoder: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    one = TextTeacher(str(encoder))
    one.embed(["red mug", "lamp"])
    one.save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="remove both"):
        TextTeacher(str(tmp_path))


def test_a_kill_while_embeddings_are_saved_leaves_what_was_there(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = TextTeacher(str(encoder))
    one.embed(["red mug"])
    one.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    one.embed(["lamp"])
    monkeypatch.setattr(os, "replace", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        one.save(tmp_path)
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())


def test_of_two_teachers_the_mean_counts(encoder: Path) -> None:
    one, other = TextTeacher(str(encoder)), TextTeacher(str(encoder))
    other.embed = lambda strings: -one.embed(strings)[:, [1, 0, *range(2, one.embed(["x"]).shape[1])]]  # type: ignore[method-assign]
    similar = (one.similar(QUERIES, ["mug", "lamp"]) + other.similar(QUERIES, ["mug", "lamp"])) / 2
    to_texts, _ = likelihoods([one, other], QUERIES, ["mug", "lamp"])
    torch.testing.assert_close(to_texts, (similar / TEMPERATURE).softmax(dim=1))


def test_a_fused_retriever_teaches_as_it_scores(tiny_checkpoint: Path) -> None:
    one = open_teacher(str(tiny_checkpoint))
    assert isinstance(one, FusedTeacher)
    own = retriever.load(tiny_checkpoint)
    queries = torch.from_numpy(own.encode_queries(QUERIES))
    items = torch.from_numpy(own.encode_items([ItemInput(text="mug"), ItemInput(text="a blue lamp")]))
    for _ in range(2):  # encoded, then remembered
        torch.testing.assert_close(
            one.similar(QUERIES, ["mug", "a blue lamp"]), maxsim(queries, items), atol=0.02, rtol=0
        )
    assert one.similar(QUERIES[:1], ["lamp", "mug", "mug"]).shape == (1, 3)


def test_a_fused_teacher_encodes_a_catalogue_in_batches(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = FusedTeacher(str(tiny_checkpoint))
    encode, sizes = one.model.encode_items, list[int]()

    def counted(items: Sequence[ItemInput]) -> Floats:
        sizes.append(len(items))
        return encode(items)

    monkeypatch.setattr(one.model, "encode_items", counted)
    assert one.similar(["mug"], [f"mug {n}" for n in range(150)]).shape == (1, 150)
    assert sizes == [64, 64, 22]
    assert "3/3" in capsys.readouterr().err


def test_tuning_teaches_the_teacher_and_leaves_its_vocabulary(encoder: Path, captions: Path) -> None:
    one = TextTeacher(str(encoder))
    words = one.encoder.transformers_model.get_input_embeddings().weight.clone()  # type: ignore[union-attr]
    queries, texts = list(QUERIES), [" ".join(reversed(query.split())) for query in QUERIES]
    before = likelihoods([TextTeacher(str(encoder))], queries, texts)[0].diagonal().mean()
    teacher.tune(one.encoder, Source(captions / "pairs.json"), steps=40, batch_size=4, lr=3e-3, seed=0)
    assert likelihoods([one], queries, texts)[0].diagonal().mean() > before + 0.2
    assert torch.equal(words, one.encoder.transformers_model.get_input_embeddings().weight)  # type: ignore[union-attr]


def test_a_tuned_teacher_is_a_folder_that_training_takes(
    encoder: Path,
    captions: Path,
    toy_shop: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What it thinks changes what is learned of texts, and nothing that is learned of pictures."""
    tuned = tmp_path / "teacher"
    teacher.main(
        [
            *("--model", str(encoder), "--train", str(captions / "pairs.json"), "--output", str(tuned)),
            *("--valid", str(captions / "words.valid.jsonl"), "--steps", "2", "--batch-size", "4"),
        ]
    )
    assert "words.valid.jsonl {'hit@1': " in capsys.readouterr().out

    def weights(name: str, train: str, *more: str) -> bytes:
        output = tmp_path / name
        paths = ("--model", str(tiny_checkpoint), "--output", str(output), "--features", str(tmp_path / "features"))
        numbers = ("--batch-size", "4", "--steps", "2", "--precision", "no")
        finetune.main([*paths, "--train", train, *numbers, *more])
        return (output / "model.safetensors").read_bytes()

    pictures, texts = f"{toy_shop / 'pairs.json'}:{toy_shop / 'images'}", str(captions / "pairs.json")
    assert weights("texts", texts) != weights("texts-taught", texts, "--teacher", str(tuned))
    assert "--teacher" not in capsys.readouterr().out
    assert weights("pictures", pictures) == weights("pictures-taught", pictures, "--teacher", str(tuned))
    assert "--teacher: " in capsys.readouterr().out


def test_a_teacher_is_told_by_its_weights_from_another(encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "encoder"))
    one = TextTeacher(str(folder))
    before = one.model_id
    one.embed(["red mug"])
    one.save(folder)
    assert TextTeacher(str(folder)).model_id == before, "it says of every string what it said before"
    weights = folder / "model.safetensors"
    save_file({name: weight + 1 for name, weight in load_file(weights).items()}, weights)
    assert TextTeacher(str(folder)).model_id != before


def test_a_teacher_of_the_hub_or_without_its_encoder_is_told_from_another_too(encoder: Path, tmp_path: Path) -> None:
    of_hub = TextTeacher(str(encoder))
    of_hub.name = "hub/name"
    before = of_hub.model_id
    next(of_hub.encoder.parameters()).data += 1
    assert of_hub.model_id != before

    def kept(string: str) -> str:
        of_hub.embed([string])
        of_hub.save(tmp_path)
        return TextTeacher(str(tmp_path)).model_id

    assert kept("red mug") != kept("lamp")


@pytest.mark.parametrize("fused", [False, True])
def test_a_killed_run_goes_on_with_what_its_teacher_said(
    encoder: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fused: bool
) -> None:
    """A teacher makes a little less or more of a string beside longer ones, and a new one meets others."""
    texts = [" ".join(["mug", *["blue lamp"] * n]) for n in range(12)]
    rows = [
        {"query_id": n, "query_text": f"red {text}", "image_id": str(n), "text_input": [text]}
        for n, text in enumerate(texts)
    ]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    monkeypatch.setattr("training.loader.AHEAD", 3)
    teacher = str(tiny_checkpoint if fused else encoder)

    def command(name: str) -> list[str]:
        paths = ("--model", str(tiny_checkpoint), "--train", str(tmp_path / "pairs.json"), "--teacher", teacher)
        numbers = ("--batch-size", "4", "--steps", "8", "--save-every", "2", "--precision", "no", "--lr", "0.003")
        return [*paths, *numbers, "--output", str(tmp_path / name), "--features", str(tmp_path / "features")]

    def save_then_kill(*args: Any) -> None:
        save(*args)
        raise KeyboardInterrupt

    finetune.main(command("whole"))
    save = run_state.save
    with monkeypatch.context() as killing:
        killing.setattr(run_state, "save", Mock(side_effect=save_then_kill))
        with pytest.raises(KeyboardInterrupt):
            finetune.main(command("killed"))
    finetune.main(command("killed"))
    models = json.loads((tmp_path / "killed" / "args.json").read_text())["models"]
    assert models[teacher] == open_teacher(teacher).model_id
    whole, killed = (retriever.load(tmp_path / name).model_id for name in ("whole", "killed"))
    assert killed == whole


def test_a_missing_teacher_is_named(
    captions: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ("--train", str(captions / "pairs.json"), "--output", str(tmp_path / "x"))
    with pytest.raises(SystemExit):
        teacher.main(["--model", "./nowhere", *train])
    assert "nowhere" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        finetune.main(["--model", str(tiny_checkpoint), *train, "--precision", "no", "--teacher", "./nowhere"])
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--valid", "nope.valid.jsonl"), "nope.valid.jsonl"),
        (("--train", "one.json"), "at least two items"),
        (("--output", "one.json"), "one.json"),
        (("--steps", "0"), "--steps: must be a whole number, 1 or more"),
        (("--batch-size", "1"), "--batch-size must be at least 2"),
        (("--lr", "nan"), "learning rate"),
    ],
)
def test_what_is_wrong_is_said_before_the_tuning(
    encoder: Path,
    captions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.json").write_text(json.dumps(json.loads((captions / "pairs.json").read_text())[:1]))
    monkeypatch.setattr(teacher, "itc", Mock(side_effect=AssertionError("a step was taken")))
    with pytest.raises(SystemExit):
        teacher.main(["--model", str(encoder), "--train", str(captions / "pairs.json"), "--output", "tuned", *more])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("steps", ["1", "6"])
def test_a_teacher_that_is_no_numbers_any_more_is_not_saved(
    encoder: Path, captions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: str
) -> None:
    """The last step may be the one that breaks it."""
    train = ("--train", str(captions / "pairs.json"), "--lr", "1e39", "--steps", steps)
    with pytest.raises(SystemExit):
        teacher.main(["--model", str(encoder), "--output", str(tmp_path / "tuned"), *train])
    assert "try a lower --lr" in capsys.readouterr().err
    assert not list((tmp_path / "tuned").iterdir())

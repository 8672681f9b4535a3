"""LAVIS naming → ours → transformers on generated weights: the same scores at each end."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Blip2ForImageTextRetrieval

import retriever
from retriever import blip2_weights
from retriever.blip2_weights import build, from_huggingface, from_lavis, to_huggingface, to_lavis
from retriever.model import FusedRetriever
from retriever.scoring import maxsim
from tests.conftest import tiny_tokenizer
from tests.retriever.test_parity_blip2 import TINY, huggingface_config

WIDTH, HIDDEN, INNER, DIM, QUERIES = 16, 24, 48, 8, 5


def lavis_state(blocks: int) -> dict[str, torch.Tensor]:
    """Random weights under the names, and in the shapes, that LAVIS saves them with."""
    shapes: dict[str, tuple[int, ...]] = {
        "temp": (),
        "query_tokens": (1, QUERIES, HIDDEN),
        "visual_encoder.cls_token": (1, 1, WIDTH),
        "visual_encoder.pos_embed": (1, 5, WIDTH),
        "visual_encoder.patch_embed.proj.weight": (WIDTH, 3, 14, 14),
        "visual_encoder.patch_embed.proj.bias": (WIDTH,),
        "ln_vision.weight": (WIDTH,),
        "ln_vision.bias": (WIDTH,),
        "Qformer.bert.embeddings.position_ids": (1, 64),
        "Qformer.bert.embeddings.word_embeddings.weight": (60, HIDDEN),
        "Qformer.bert.embeddings.position_embeddings.weight": (64, HIDDEN),
        "Qformer.bert.embeddings.LayerNorm.weight": (HIDDEN,),
        "Qformer.bert.embeddings.LayerNorm.bias": (HIDDEN,),
        "Qformer.cls.predictions.bias": (60,),
        "vision_proj.weight": (DIM, HIDDEN),
        "vision_proj.bias": (DIM,),
        "text_proj.weight": (DIM, HIDDEN),
        "text_proj.bias": (DIM,),
        "itm_head.weight": (2, HIDDEN),
        "itm_head.bias": (2,),
    }
    for i in range(blocks):
        block = f"visual_encoder.blocks.{i}"
        shapes |= {
            **{f"{block}.norm{n}.{part}": (WIDTH,) for n in (1, 2) for part in ("weight", "bias")},
            f"{block}.attn.qkv.weight": (3 * WIDTH, WIDTH),
            f"{block}.attn.q_bias": (WIDTH,),
            f"{block}.attn.v_bias": (WIDTH,),
            **linear(f"{block}.attn.proj", WIDTH, WIDTH),
            **linear(f"{block}.mlp.fc1", 2 * WIDTH, WIDTH),
            **linear(f"{block}.mlp.fc2", WIDTH, 2 * WIDTH),
        }
    for i in range(3):
        layer = f"Qformer.bert.encoder.layer.{i}"
        for attention, width in (("attention", HIDDEN), ("crossattention", WIDTH)):
            if attention == "crossattention" and i % 2:
                continue
            shapes |= linear(f"{layer}.{attention}.self.query", HIDDEN, HIDDEN)
            shapes |= linear(f"{layer}.{attention}.self.key", HIDDEN, width)
            shapes |= linear(f"{layer}.{attention}.self.value", HIDDEN, width)
            shapes |= linear(f"{layer}.{attention}.output.dense", HIDDEN, HIDDEN)
            shapes |= {f"{layer}.{attention}.output.LayerNorm.{part}": (HIDDEN,) for part in ("weight", "bias")}
        for suffix in ("", "_query"):
            shapes |= linear(f"{layer}.intermediate{suffix}.dense", INNER, HIDDEN)
            shapes |= linear(f"{layer}.output{suffix}.dense", HIDDEN, INNER)
            shapes |= {f"{layer}.output{suffix}.LayerNorm.{part}": (HIDDEN,) for part in ("weight", "bias")}
    generator = torch.Generator().manual_seed(0)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 3, 28, 28), torch.randint(1, 60, (2, 6)), torch.ones(2, 6, dtype=torch.long)


@torch.inference_mode()
def scores(model: FusedRetriever, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> list[torch.Tensor]:
    images, ids, mask = batch
    pictures = model.encode_pictures(images)
    itc = maxsim(model.encode_query(ids, mask), model.encode_item(pictures, None, None))
    return [itc.T, model.match(pictures, ids, mask)[:, 1]]


@torch.inference_mode()
def test_lavis_to_ours_to_transformers(batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    ours = build(from_lavis(lavis_state(blocks=2)), TINY)
    theirs = Blip2ForImageTextRetrieval(huggingface_config(TINY)).eval()
    left = theirs.load_state_dict(to_huggingface(ours.state_dict()))
    assert not left.missing_keys
    assert not left.unexpected_keys
    theirs.vision_model.post_layernorm.eps = TINY.vision_norm_eps  # LAVIS has 1e-5 there, the conversion 1e-6
    itc, itm = scores(ours, batch)
    torch.testing.assert_close(itc, theirs(*batch).logits_per_image, atol=1e-5, rtol=0)
    matched = theirs(*batch, use_image_text_matching_head=True).logits_per_image
    torch.testing.assert_close(itm, matched[:, 1], atol=1e-5, rtol=0)


def test_transformers_to_ours_and_back() -> None:
    theirs = Blip2ForImageTextRetrieval(huggingface_config(TINY)).state_dict()
    for name, tensor in theirs.items():
        if name.endswith("qkv.bias"):  # no BLIP-2 has a bias on the keys
            tensor[WIDTH : 2 * WIDTH] = 0
    back = to_huggingface(build(from_huggingface(theirs), TINY).state_dict())
    assert back.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(back[name], tensor)


def test_lavis_to_ours_and_back() -> None:
    theirs = lavis_state(blocks=2)
    back = to_lavis(build(from_lavis(theirs), TINY).state_dict())
    assert theirs.keys() - back.keys() == {
        "temp",
        "Qformer.cls.predictions.bias",
        "Qformer.bert.embeddings.position_ids",
    }
    for name, tensor in back.items():
        torch.testing.assert_close(tensor, theirs[name])


def test_the_tower_may_come_in_a_file_of_its_own(batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    """blip2_pretrained.pth has no tower; eva_vit_g.pth has one block too many, final norms and a head."""
    whole, longer = lavis_state(blocks=2), lavis_state(blocks=3)
    rest = {name: tensor for name, tensor in whole.items() if not name.startswith("visual_encoder.")}
    tower = {
        name.removeprefix("visual_encoder."): t for name, t in longer.items() if name.startswith("visual_encoder.")
    }
    tower |= {
        name.removeprefix("visual_encoder."): t for name, t in whole.items() if name.startswith("visual_encoder.")
    }
    tower |= {f"{norm}.{name}": torch.ones(WIDTH) for norm in ("norm", "fc_norm") for name in ("weight", "bias")}
    tower |= {"head.weight": torch.ones(4, WIDTH)}
    apart = scores(build(from_lavis(rest, tower), TINY), batch)
    for ours, theirs in zip(apart, scores(build(from_lavis(whole), TINY), batch), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_weights_that_do_not_fit_are_named() -> None:
    state = from_lavis(lavis_state(blocks=1))
    with pytest.raises(ValueError, match=r"missing: vision\.backbone\.blocks\.1[^:]*\)$"):
        build(state, TINY)


def test_what_a_newcomer_forgets_is_said() -> None:
    whole = lavis_state(blocks=2)
    without = {name: tensor for name, tensor in whole.items() if not name.startswith("visual_encoder.")}
    with pytest.raises(ValueError, match=r"--vision eva_vit_g\.pth"):
        build(from_lavis(without), TINY)
    with pytest.raises(ValueError, match="--image-size"):
        build(from_lavis(whole | {"visual_encoder.pos_embed": torch.ones(1, 17, WIDTH)}), TINY)
    with pytest.raises(FileNotFoundError, match=r"retriever\.blip2_weights"):
        retriever.load("blip2")


def test_a_folder_of_either_kind_becomes_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blip2_weights.PRESETS, "blip2", TINY)
    pieces = json.loads(tiny_tokenizer().to_str())
    pieces["model"]["vocab"] = {piece: n for piece, n in pieces["model"]["vocab"].items() if n < TINY.vocab_size}
    tokenizer = Tokenizer.from_str(json.dumps(pieces))
    tokenizer.add_special_tokens(["<image>"])  # of BLIP-2 where it writes text, beyond what the Q-Former knows
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    torch.save({"model": lavis_state(blocks=2)}, tmp_path / "blip2.pth")
    common = ["--tokenizer", str(tmp_path / "tokenizer.json"), "--image-size", "28"]
    blip2_weights.main(["--lavis", str(tmp_path / "blip2.pth"), "--output", str(tmp_path / "a"), *common])
    converted = tmp_path / "converted"
    converted.mkdir()
    save_file(to_huggingface(from_lavis(lavis_state(blocks=2))), converted / "model.safetensors")
    blip2_weights.main(["--huggingface", str(converted), "--output", str(tmp_path / "b"), *common])
    a, b = (retriever.load(tmp_path / name) for name in "ab")
    assert a.config.vision_norm_eps == 1e-5
    assert b.config.vision_norm_eps == 1e-6
    torch.testing.assert_close(a.encode_queries(["red"]), b.encode_queries(["red"]))
    assert np.isfinite(a.encode_items([retriever.ItemInput(text="red")])).all()  # served without a picture


def test_weights_in_the_format_of_before_are_read(tmp_path: Path) -> None:
    state = {"query_tokens": torch.ones(1, 2)}
    torch.save({"model": state}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.testing.assert_close(blip2_weights.read_lavis(tmp_path / "old.pth"), state)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("blip2.pth", b"PK\x03\x04 cut short", "is damaged"),
        ("blip2.pth", b"", "is damaged"),
        ("blip2.pth", [torch.ones(1)], "no weights by name"),
        ("blip2.pth", {"model": {"epoch": 3}}, "no weights by name"),
        ("tokenizer.json", b"{", "tokenizer.json cannot be read"),
        ("tokenizer.json", None, "tokenizer.json cannot be read"),
        ("converted/model.safetensors", b"\x00", "is damaged"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: object, message: str
) -> None:
    (tmp_path / "converted").mkdir()
    torch.save({"model": {"query_tokens": torch.ones(1)}}, tmp_path / "blip2.pth")
    tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    if content is None:
        (tmp_path / name).unlink()
    elif isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        torch.save(content, tmp_path / name)
    hub = name.startswith("converted")
    source = ["--huggingface", str(tmp_path / "converted")] if hub else ["--lavis", str(tmp_path / "blip2.pth")]
    with pytest.raises(SystemExit):
        blip2_weights.main([*source, "--tokenizer", str(tmp_path / "tokenizer.json"), "--output", str(tmp_path / "a")])
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "source", [["--lavis", "none.pth", "--tokenizer", "t.json"], ["--huggingface", "Salesforce/blip2-itm-vit-g"]]
)
def test_weights_that_are_not_to_be_had_say_where_they_are(
    source: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SystemExit) as stopped:
        blip2_weights.main([*source, "--output", "out"])
    assert stopped.value.code == 2
    assert "on a machine that may" in capsys.readouterr().err

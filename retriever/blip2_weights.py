"""BLIP-2's published weights as a checkpoint folder of ours.

    python -m retriever.blip2_weights --lavis blip2_pretrained.pth --vision eva_vit_g.pth \
        --tokenizer tokenizer.json --output blip2
    python -m retriever.blip2_weights --lavis blip2_finetune_coco.pth --image-size 364 \
        --tokenizer tokenizer.json --output blip2-coco
    python -m retriever.blip2_weights --huggingface Salesforce/blip2-itm-vit-g --output blip2

LAVIS publishes `blip2_pretrained.pth` without the frozen tower (`eva_vit_g.pth` holds it) and
`blip2_finetune_coco.pth` with it. Their names differ from ours in the Q-Former only: the tower is named as timm names
it. transformers' conversions rename both. The maps below are plain tables, read in either direction.

What has no counterpart: LAVIS's captioning head (`Qformer.cls`) and temperature are dropped. Our null picture, which
stands for a missing one, is unknown to BLIP-2 and starts at zero: text-only items are served, but only training gives
that feature a meaning.
"""

import argparse
import pickle
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from retriever import checkpoint
from retriever.checkpoint_folder import download, read_tokenizer
from retriever.config import PRESETS, RetrieverConfig
from retriever.model import FusedRetriever

State = dict[str, Tensor]

# Pairs of (theirs, ours), each applied to what those above it have made of a name: where it begins the name or, with a
# dot in front, is part of it.
_LAVIS = (
    ("visual_encoder.", "vision.backbone."),
    ("ln_vision.", "vision_norm."),
    ("Qformer.bert.embeddings.LayerNorm.", "qformer.layernorm."),
    ("Qformer.bert.embeddings.", "embeddings."),
    ("Qformer.bert.", "qformer."),
    ("vision_proj.", "vision_projection."),
    ("text_proj.", "text_projection."),
    (".attention.self.", ".attention.attention."),
    (".crossattention.self.", ".crossattention.attention."),
)
_HUGGINGFACE = (
    ("vision_model.embeddings.class_embedding", "vision.backbone.cls_token"),
    ("vision_model.embeddings.position_embedding", "vision.backbone.pos_embed"),
    ("vision_model.embeddings.patch_embedding.", "vision.backbone.patch_embed.proj."),
    ("vision_model.encoder.layers.", "vision.backbone.blocks."),
    ("vision_model.post_layernorm.", "vision_norm."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
    (".self_attn.projection.", ".attn.proj."),
    (".self_attn.qkv.", ".attn.qkv."),
)
_TOWERS_END = ("vision.backbone.head.", "vision.backbone.norm.", "vision.backbone.fc_norm.")
_DROPPED = ("Qformer.cls.", "temp", "position_ids", *_TOWERS_END)


def from_lavis(state: Mapping[str, Tensor], vision: Mapping[str, Tensor] | None = None) -> State:
    """LAVIS's names → ours. `vision` is `eva_vit_g.pth`, where `state` comes without its tower."""
    named = {f"visual_encoder.{name}": tensor for name, tensor in (vision or {}).items()}
    return _rename({**named, **state}, _LAVIS)


def from_huggingface(state: Mapping[str, Tensor]) -> State:
    """transformers' names → ours. Its tower has one bias for q, k and v; timm's has none for k."""
    ours: State = {}
    for name, tensor in _rename(state, _HUGGINGFACE).items():
        if name.endswith(".attn.qkv.bias"):
            ours[name.replace("qkv.bias", "q_bias")], _, ours[name.replace("qkv.bias", "v_bias")] = tensor.chunk(3)
        else:
            ours[name] = tensor
    return ours


def to_lavis(state: Mapping[str, Tensor]) -> State:
    """Our names → LAVIS's, for whatever is a BLIP-2: all that its `Blip2ITM` reads, the tower included."""
    state = {name: tensor for name, tensor in state.items() if name != "null_picture"}
    return _rename(state, [(ours, theirs) for theirs, ours in _LAVIS])


def to_huggingface(state: Mapping[str, Tensor]) -> State:
    """Our names → transformers', for whatever is a BLIP-2 (no null picture, no concepts)."""
    theirs: State = {}
    for name, tensor in state.items():
        if name.endswith(".attn.q_bias"):
            v_bias = state[name.replace("q_bias", "v_bias")]
            theirs[name.replace("q_bias", "qkv.bias")] = torch.cat([tensor, torch.zeros_like(tensor), v_bias])
        elif not name.endswith((".attn.v_bias", "null_picture")):
            theirs[name] = tensor
    return _rename(theirs, [(ours, theirs) for theirs, ours in _HUGGINGFACE])


def build(state: State, config: RetrieverConfig) -> FusedRetriever:
    """A model of this configuration with these weights, cut to the blocks that it has.

    Raises:
        ValueError: a weight is missing, unknown, or of another shape; the message names some.
    """
    # LAVIS's tower file has one block more than BLIP-2 reads.
    depth = config.vision_args.get("depth")
    beyond = f"vision.backbone.blocks.{depth}."
    state = {name: tensor.float() for name, tensor in state.items() if not name.startswith(beyond)}
    model = FusedRetriever(config)
    if config.null_picture:
        state.setdefault("null_picture", torch.zeros_like(model.null_picture))
    expected = model.state_dict()
    wrong = {name for name in expected.keys() & state.keys() if expected[name].shape != state[name].shape}
    problems = {
        "missing": expected.keys() - state.keys(),
        "unknown": state.keys() - expected.keys(),
        "misshapen": wrong,
    }
    if any(problems.values()):
        said = "; ".join(f"{kind}: {', '.join(sorted(names)[:4])}" for kind, names in problems.items() if names)
        raise ValueError(f"these are not the weights of this model ({said}){_remedy(problems)}")
    model.load_state_dict(state)
    return model.eval()


def _remedy(problems: Mapping[str, set[str]]) -> str:
    if "vision.backbone.patch_embed.proj.weight" in problems["missing"]:
        return ": LAVIS keeps this tower in a file of its own, give it as --vision eva_vit_g.pth"
    if "vision.backbone.pos_embed" in problems["misshapen"]:
        return ": its pictures have another size, give it as --image-size (364 for the COCO weights, else 224)"
    return ""


def read_lavis(path: Path) -> State:
    """The state dict of a LAVIS `.pth`, unpickled with weights only.

    Raises:
        FileNotFoundError: it is not there; the message says where it is published.
        ValueError: it is damaged, or holds something else.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not here. LAVIS publishes blip2_pretrained.pth, blip2_finetune_coco.pth and eva_vit_g.pth in "
            "its model zoo; fetch it on a machine that may, and give its path"
        )
    try:
        # Files of before PyTorch 1.6 are no archives, and only an archive can be mapped.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or holds more than weights: fetch it again ({_line(error)})") from error
    state = loaded.get("model", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ValueError(f"{path} holds no weights by name: it is not a checkpoint of LAVIS")
    return state


def read_huggingface(name: str) -> tuple[State, Path]:
    """State dict and folder of a transformers conversion: a folder, or a name on the model hub.

    Raises:
        FileNotFoundError: the hub does not give it, or the folder holds no safetensors.
        ValueError: a file is damaged.
    """
    folder = Path(name)
    if not folder.is_dir():
        problem = (
            f"{name!r} is no folder, and the model hub did not give it: fetch Salesforce/blip2-itm-vit-g or -coco on a "
            "machine that may, and give the folder"
        )
        folder = download(name, ["*.safetensors", "tokenizer.json"], problem)
    parts = sorted(folder.glob("*.safetensors"))
    if not parts:
        raise FileNotFoundError(f"{folder} holds no .safetensors file")
    state: State = {}
    for part in parts:
        try:
            state |= load_file(part)
        except SafetensorError as error:
            raise ValueError(f"{part} is damaged: fetch it again ({error})") from error
    return state, folder


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _rename(state: Mapping[str, Tensor], table: Iterable[tuple[str, str]]) -> State:
    renamed: State = {}
    rules = list(table)
    for name, tensor in state.items():
        new = name
        for old, ours in rules:
            if new.startswith(old) or (old.startswith(".") and old in new):
                new = new.replace(old, ours, 1)
        if not any(new.startswith(part) or name.startswith(part) or new.endswith(part) for part in _DROPPED):
            renamed[new] = tensor
    return renamed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m retriever.blip2_weights", description="BLIP-2's published weights as a checkpoint folder."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--lavis", type=Path, help="blip2_pretrained.pth or blip2_finetune_coco.pth")
    source.add_argument("--huggingface", help="Salesforce/blip2-itm-vit-g[-coco], or a folder that holds it")
    parser.add_argument("--vision", type=Path, help="eva_vit_g.pth, for blip2_pretrained.pth")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json of bert-base-uncased (with --lavis)")
    parser.add_argument("--image-size", type=int, default=224, help="364 for blip2_finetune_coco.pth and -coco")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    config = replace(PRESETS["blip2"], image_size=options.image_size)
    config = replace(config, vision_args=config.vision_args | {"img_size": options.image_size})
    try:
        if options.lavis:
            if options.tokenizer is None:
                parser.error("--lavis needs --tokenizer")
            vision = read_lavis(options.vision) if options.vision else None
            state, tokenizer_file = from_lavis(read_lavis(options.lavis), vision), options.tokenizer
        else:
            theirs, folder = read_huggingface(options.huggingface)
            config = replace(config, vision_norm_eps=1e-6)  # what the conversion's LayerNorm has
            state, tokenizer_file = from_huggingface(theirs), options.tokenizer or folder / "tokenizer.json"
        tokenizer = read_tokenizer(tokenizer_file)
        tokenizer.add_special_tokens(["[DEC]"])
        model_id = checkpoint.save(build(state, config), tokenizer, options.output)
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(f"{options.output}: model {model_id}")


if __name__ == "__main__":
    main()

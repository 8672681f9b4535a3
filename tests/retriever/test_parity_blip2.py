"""Our model against transformers' own BLIP-2 on equal weights: the same numbers, or it is another model.

Once in miniature, and once with the real structure: 12 layers, cross-attention in every second, 32 query tokens, 257
patches, the full vocabulary; only widths are small, so that it takes seconds.
"""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from transformers import Blip2Config, Blip2ForImageTextRetrieval

from retriever import PRESETS, RetrieverConfig
from retriever.blip2_weights import build, from_huggingface
from retriever.model import FusedRetriever
from retriever.scoring import maxsim

TOLERANCE = {"atol": 1e-5, "rtol": 0}

TINY = RetrieverConfig(
    vision_backbone="eva_giant_patch14_clip_224",
    vision_args={"depth": 2, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 2, "img_size": 28},
    vision_final_norm=False,
    vision_width=16,
    image_size=28,
    hidden_size=24,
    num_layers=3,
    num_heads=4,
    intermediate_size=48,
    embed_dim=8,
    vocab_size=60,
    max_positions=64,
    num_query_tokens=5,
)
REAL = replace(
    PRESETS["blip2"],
    vision_args={"depth": 39, "embed_dim": 32, "num_heads": 16, "mlp_ratio": 2},
    vision_width=32,
    hidden_size=48,
    intermediate_size=96,
    embed_dim=16,
)


@dataclass
class Pair:
    """The two models on equal weights, and one batch for both."""

    theirs: Blip2ForImageTextRetrieval
    ours: FusedRetriever
    images: Tensor  # (B, 3, S, S)
    input_ids: Tensor  # (B, T)
    attention_mask: Tensor  # (B, T)


@pytest.fixture(scope="module", params=[TINY, REAL], ids=["tiny", "real structure"])
def pair(request: pytest.FixtureRequest) -> Pair:
    config: RetrieverConfig = request.param
    torch.manual_seed(0)
    theirs = Blip2ForImageTextRetrieval(huggingface_config(config)).eval()
    for name, parameter in theirs.named_parameters():
        # From-config weights are degenerate (query tokens of zero, vision weights of 1e-10): equal zeros prove little.
        scales = "norm" in name.lower() and name.endswith("weight")
        torch.nn.init.normal_(parameter, mean=1.0 if scales else 0.0, std=0.15)
    ours = build(from_huggingface(theirs.state_dict()), config)
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 4:] = 0
    return Pair(
        theirs,
        ours,
        images=torch.randn(3, 3, config.image_size, config.image_size),
        input_ids=torch.randint(1, config.vocab_size, (3, 7)),
        attention_mask=mask,
    )


def huggingface_config(config: RetrieverConfig) -> Blip2Config:
    width, ratio = config.vision_width, config.vision_args["mlp_ratio"]
    return Blip2Config(
        vision_config={
            "hidden_size": width,
            "intermediate_size": int(width * ratio),
            "num_hidden_layers": config.vision_args["depth"],
            "num_attention_heads": config.vision_args["num_heads"],
            "image_size": config.image_size,
            "layer_norm_eps": 1e-6,
        },
        qformer_config={
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_heads,
            "intermediate_size": config.intermediate_size,
            "max_position_embeddings": config.max_positions,
            "use_qformer_text_input": True,
        },
        text_config={
            "model_type": "opt",
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "ffn_dim": 8,
        },
        num_query_tokens=config.num_query_tokens,
        image_text_hidden_size=config.embed_dim,
    )


@torch.inference_mode()
def test_text_embedding(pair: Pair) -> None:
    theirs = pair.theirs(pair.images, pair.input_ids, pair.attention_mask).text_embeds
    torch.testing.assert_close(pair.ours.encode_query(pair.input_ids, pair.attention_mask), theirs, **TOLERANCE)


@torch.inference_mode()
def test_picture_embedding(pair: Pair) -> None:
    theirs = pair.theirs(pair.images, pair.input_ids, pair.attention_mask).image_embeds
    ours = pair.ours.encode_item(pair.ours.encode_pictures(pair.images), None, None)
    assert theirs.std(dim=1).max() > 1e-3  # query tokens that differ: the comparison means something
    torch.testing.assert_close(ours, theirs, **TOLERANCE)


@torch.inference_mode()
def test_itc_score(pair: Pair) -> None:
    theirs = pair.theirs(pair.images, pair.input_ids, pair.attention_mask).logits_per_image  # (images, texts)
    items = pair.ours.encode_item(pair.ours.encode_pictures(pair.images), None, None)
    ours = maxsim(pair.ours.encode_query(pair.input_ids, pair.attention_mask), items)  # (texts, images)
    torch.testing.assert_close(ours.T, theirs, **TOLERANCE)


@torch.inference_mode()
def test_itm_logit(pair: Pair) -> None:
    theirs = pair.theirs(pair.images, pair.input_ids, pair.attention_mask, use_image_text_matching_head=True)
    ours = pair.ours.match(pair.ours.encode_pictures(pair.images), pair.input_ids, pair.attention_mask)
    torch.testing.assert_close(ours, theirs.logits_per_image, **TOLERANCE)


@torch.inference_mode()
def test_fused_tokens_are_their_parts_put_together(pair: Pair) -> None:
    """transformers has no public method for picture and text at once; its parts can be composed."""
    model = pair.theirs
    patches = model.vision_model(pair.images).last_hidden_state
    queries = model.query_tokens.expand(3, -1, -1)
    states = model.qformer(
        query_embeds=model.embeddings(input_ids=pair.input_ids, query_embeds=queries),
        query_length=queries.shape[1],
        attention_mask=torch.cat([torch.ones(queries.shape[:2], dtype=torch.long), pair.attention_mask], dim=1),
        encoder_hidden_states=patches,
    ).last_hidden_state[:, : queries.shape[1]]
    theirs = torch.nn.functional.normalize(model.vision_projection(states), dim=-1)
    ours = pair.ours.encode_item(pair.ours.encode_pictures(pair.images), pair.input_ids, pair.attention_mask)
    torch.testing.assert_close(ours, theirs, **TOLERANCE)


def test_trap_query_tokens_of_zero() -> None:
    """transformers starts every query token at zero: all give one output, whatever the picture. Ours must not."""
    torch.manual_seed(0)
    assert not Blip2ForImageTextRetrieval(huggingface_config(TINY)).query_tokens.any(), (
        "the trap is gone: drop this test"
    )
    ours = FusedRetriever(TINY).eval()
    with torch.inference_mode():
        tokens = ours.encode_item(ours.encode_pictures(torch.randn(2, 3, 28, 28)), None, None)
    assert tokens.std(dim=1).max() > 1e-3


def test_trap_vision_weights_of_nothing() -> None:
    """transformers draws the tower's weights with a deviation of 1e-10: it sees nothing. Ours must not."""
    torch.manual_seed(0)
    theirs = Blip2ForImageTextRetrieval(huggingface_config(TINY)).vision_model.encoder.layers[0].mlp.fc1.weight
    assert theirs.std() < 1e-8, "the trap is gone: drop this test"
    ours = FusedRetriever(TINY).eval()
    assert ours.vision.backbone.blocks[0].mlp.fc1.weight.std() > 1e-3
    with torch.inference_mode():
        dark, light = ours.encode_pictures(torch.stack([-torch.ones(3, 28, 28), torch.ones(3, 28, 28)])).tokens
    assert (dark - light).abs().max() > 1e-3

"""Which weights learn, and how fast."""

import logging
from typing import Any

from peft import LoraConfig
from peft.tuners.lora import LoraModel
from torch import Tensor, nn

from retriever.model import FusedRetriever
from training.arguments import TrainArgs
from training.pairs import Pairs

# What no published text encoder has: it starts at random with --from-backbones, and low-rank updates always do.
NEW_PARTS = (
    *("crossattention", "query_tokens", "vision_norm", "null_picture", "concept_weight", "log_temperature"),
    *("itm_head", "lora_"),
)
LR_NEW = 4e-4


def last_blocks(model: FusedRetriever, count: int) -> list[nn.Module]:
    """The last `count` blocks of the picture tower, and what comes after them but its classifier.

    Raises:
        ValueError: the tower has no blocks, or fewer.
    """
    backbone = model.vision.backbone
    blocks = getattr(backbone, "blocks", None)
    if blocks is None or count > len(blocks):
        has = "no blocks" if blocks is None else f"{len(blocks)} blocks"
        raise ValueError(f"--unfreeze {count}: {model.config.vision_backbone} has {has}")
    after = [getattr(backbone, name, None) for name in ("norm", "conv_head", "bn2")]
    return [*blocks[len(blocks) - count :], *(module for module in after if module is not None)]


def freeze(model: FusedRetriever, args: TrainArgs) -> LoraModel | None:
    """Set which weights of the model learn. With --lora it is changed in place; `merge_and_unload` undoes that.

    Without options: everything but the picture tower, whose features are then computed once, and the vocabulary.
    With --unfreeze N: its last N blocks too. With --lora R: of the Q-Former's attention and of the tower's unfrozen
    blocks only updates of rank R (Hu et al., arXiv 2106.09685), with the parts around them in full.

    Raises:
        ValueError: --unfreeze does not fit the tower, or --lora is to update blocks that are convolutions.
    """
    unfrozen = last_blocks(model, args.unfreeze) if args.unfreeze else []
    lora = _low_rank(model, args) if args.lora else None  # freezes everything else
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            continue
        tower, qformer = name.startswith("vision.backbone."), name.startswith("qformer.")
        parameter.requires_grad_(not (tower or (qformer and args.lora)))
    if not args.lora:
        for module in unfrozen:
            module.requires_grad_(True)
    model.itm_head.requires_grad_(args.itm > 0)
    model.embeddings.word_embeddings.requires_grad_(args.train_vocabulary)
    if args.gradient_checkpointing:
        logging.getLogger("transformers.modeling_utils").addFilter(_holds_here)
        model.qformer.activation_checkpointing_enable({"use_reentrant": False})
        if args.unfreeze:
            model.vision.backbone.set_grad_checkpointing(True)
    return lora


def parameter_groups(pairs: Pairs, args: TrainArgs) -> list[dict[str, Any]]:
    """Two learning rates, and weight decay on matrices only."""
    lr_new = args.lr_new or (LR_NEW if args.from_backbones or args.lora else args.lr)
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in pairs.named_parameters():
        if parameter.requires_grad:
            new = any(part in name for part in NEW_PARTS)
            groups.setdefault((new, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": params, "lr": lr_new if new else args.lr, "weight_decay": args.weight_decay * matrix}
        for (new, matrix), params in groups.items()
    ]


def _holds_here(record: logging.LogRecord) -> bool:
    """transformers warns that gradients cannot flow back to the tokens: they do, since ours come as embeddings."""
    return "does not expose input embeddings" not in record.getMessage()


def _low_rank(model: FusedRetriever, args: TrainArgs) -> LoraModel:
    targets = [r"qformer\..*\.(query|key|value)"]
    if args.unfreeze:
        blocks = model.vision.backbone.blocks
        if not hasattr(blocks[-1], "attn"):
            raise ValueError("--lora with --unfreeze needs a picture tower of transformer blocks")
        numbers = "|".join(str(number) for number in range(len(blocks) - args.unfreeze, len(blocks)))
        # Not qkv: timm's EVA multiplies by its weight directly, past any module put in its place.
        targets.append(rf"vision\.backbone\.blocks\.({numbers})\.(attn\.proj|mlp\.fc[12])")
    config = LoraConfig(r=args.lora, lora_alpha=2 * args.lora, target_modules="|".join(f"({t})" for t in targets))
    return LoraModel(model, config, "default")

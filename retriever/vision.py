"""The picture encoder: a timm backbone whose output is read as patch tokens."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retriever.config import RetrieverConfig


class PictureFeatures(NamedTuple):
    """What the backbone says of a batch of pictures. Frozen features can be computed once and kept.

    tokens: `(B, P, E)` patch tokens. concepts: `(B, C)` probabilities of the backbone's own classes, C may be 0.
    """

    tokens: Tensor
    concepts: Tensor


class VisionEncoder(nn.Module):
    """Any timm backbone, transformer or convolutional, as `(B, 3, S, S)` pictures → `PictureFeatures`.

    With `vision_pyramid`, a convolutional backbone's tokens also carry the earlier stages and the mean colour of
    their cell: classes are told apart without them, but "red" and "striped" live there. With `num_concepts`, the
    classifier that came with the backbone is kept, because its classes have names.

    Raises:
        ValueError: `vision_width` is not what the backbone gives (found when the first picture is encoded).
    """

    def __init__(self, config: RetrieverConfig) -> None:
        import timm  # here, not above: it takes two seconds and 200 MB to import, and ONNX Runtime does without

        super().__init__()
        self.width = config.vision_width
        self.pyramid = config.vision_pyramid
        self.num_concepts = config.num_concepts
        self.backbone = timm.create_model(
            config.vision_backbone, pretrained=False, num_classes=config.num_concepts, **config.vision_args
        )
        if not config.vision_final_norm:
            self.backbone.norm = nn.Identity()

    def train(self, mode: bool = True) -> "VisionEncoder":
        """Stays in evaluation mode: batch norm keeps its pretrained statistics, whatever is trained."""
        return super().train(False)

    def forward(self, images: Tensor) -> PictureFeatures:
        if self.pyramid:
            final, stages = self.backbone.forward_intermediates(images)  # (B, 1280, h, w), [(B, c, H, W), …]
            tokens = _merge_stages(final, stages[:-1], images)
        else:
            final = self.backbone.forward_features(images)
            tokens = final.flatten(2).transpose(1, 2) if final.ndim == 4 else final  # (B, P, E)
        if tokens.shape[-1] != self.width:
            raise ValueError(f"the backbone's tokens are {tokens.shape[-1]} wide: set vision_width to that")
        if not self.num_concepts:
            return PictureFeatures(tokens, tokens.new_zeros(tokens.shape[0], 0))
        return PictureFeatures(tokens, self.backbone.forward_head(final).softmax(dim=-1))


def _merge_stages(final: Tensor, stages: list[Tensor], images: Tensor) -> Tensor:
    """Concatenate every stage, averaged over the last stage's cells, and the mean colour: `(B, P, E)`.

    Each stage is brought to unit variance first, so that no stage drowns another in the LayerNorm that follows.
    """
    grid = (final.shape[-2], final.shape[-1])
    parts = [F.adaptive_avg_pool2d(stage, grid).movedim(1, -1) for stage in [final, *stages]]  # (B, h, w, c)
    parts = [F.layer_norm(part, part.shape[-1:]) for part in parts]
    parts.append(F.adaptive_avg_pool2d(images, grid).movedim(1, -1))
    return torch.cat(parts, dim=-1).flatten(1, 2)

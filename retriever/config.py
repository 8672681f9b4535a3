"""What a retriever is made of: one frozen dataclass, and the presets that ship with the project."""

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal


@dataclass(frozen=True)
class RetrieverConfig:
    """Shape of a `FusedRetriever`. Saved as `config.json` in the checkpoint folder.

    Raises:
        ValueError: a count is below its minimum, `image_mean` or `image_std` are not three numbers, or fields
            contradict each other; the message names the field. Other fields are checked only when the model is built.
    """

    vision_backbone: str  # any timm model whose `forward_features` gives a token sequence or a feature map
    vision_width: int  # E, channels of one patch token
    image_size: int  # pictures are resized to this many pixels a side
    hidden_size: int  # H, width of the Q-Former
    num_layers: int
    num_heads: int
    intermediate_size: int
    embed_dim: int  # D, width of the shared embedding space

    vision_args: dict[str, Any] = field(default_factory=dict)  # passed to timm.create_model
    vision_final_norm: bool = True  # BLIP-2 reads the last block itself, before the backbone's own norm
    vision_norm_eps: float = 1e-5  # of the LayerNorm between backbone and Q-Former
    vision_pyramid: bool = False  # patch tokens also carry mean colour and early stages: fine detail that classes drop
    num_concepts: int = 0  # classes of the backbone's own head, whose names' embeddings join the picture's (ConSE)
    image_mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    image_std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    vocab_size: int = 30522
    max_positions: int = 512
    num_query_tokens: int = 32  # Q
    cross_attention_frequency: int = 2
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1  # training sets that of hidden states by --dropout; attention always has this one

    query_pooling: Literal["cls", "mean"] = "cls"  # how the states of a text become one vector
    text_residual: bool = False  # every item token also carries the pooled contextual text states
    null_picture: bool = True  # a learned feature stands for a missing picture
    matching: bool = False  # the matching head was trained, so `match` means something
    max_query_length: int = 32  # in word pieces
    max_text_length: int = 64

    def __post_init__(self) -> None:
        for one in fields(self):
            value, least = getattr(self, one.name), 0 if one.name == "num_concepts" else 1
            if one.type is int and (not isinstance(value, int) or value < least):
                raise ValueError(f"{one.name} must be a whole number of at least {least}, not {value!r}")
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}")
        if self.query_pooling not in ("cls", "mean"):
            raise ValueError(f"query_pooling must be 'cls' or 'mean', not {self.query_pooling!r}")
        if max(self.max_query_length, self.max_text_length) > self.max_positions:
            raise ValueError("max_query_length and max_text_length must not exceed max_positions")
        for name in ("image_mean", "image_std"):
            value = getattr(self, name)
            numbers = isinstance(value, (list, tuple)) and all(isinstance(number, (int, float)) for number in value)
            if not numbers or len(value) != 3:
                raise ValueError(f"{name} must be three numbers, not {value!r}")
            # JSON has lists only; the dataclass stays hashable in these fields.
            object.__setattr__(self, name, tuple(value))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "RetrieverConfig":
        """What JSON gives. Raises ValueError for anything but an object of the fields of this version, none missing."""
        if not isinstance(values, dict):
            raise ValueError(f"the retriever's configuration must be a JSON object, not {values!r:.100}")
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown fields in the retriever's configuration: {', '.join(sorted(unknown))}")
        needed = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
        if missing := needed - set(values):
            raise ValueError(f"the retriever's configuration lacks {', '.join(sorted(missing))}")
        return cls(**values)


PRESETS: dict[str, RetrieverConfig] = {
    # For one CPU core: EfficientNet-Lite2 pictures, a Q-Former shaped like (and started from) MiniLM-L6.
    "compact": RetrieverConfig(
        vision_backbone="tf_efficientnet_lite2",
        vision_width=1280 + 16 + 24 + 48 + 120 + 3,
        image_size=260,
        vision_pyramid=True,
        num_concepts=1000,
        image_mean=(0.5, 0.5, 0.5),
        image_std=(0.5, 0.5, 0.5),
        hidden_size=384,
        num_layers=6,
        num_heads=12,
        intermediate_size=1536,
        embed_dim=384,
        num_query_tokens=8,
        query_pooling="mean",
        text_residual=True,
    ),
    # BLIP-2's first stage: EVA ViT-g/14 without its last block and norm, and a BERT-base Q-Former.
    # The 30,523rd word is LAVIS's [DEC].
    "blip2": RetrieverConfig(
        vision_backbone="eva_giant_patch14_clip_224",
        vision_args={"depth": 39},
        vision_final_norm=False,
        vision_width=1408,
        image_size=224,
        hidden_size=768,
        num_layers=12,
        num_heads=12,
        intermediate_size=3072,
        embed_dim=256,
        vocab_size=30523,
        matching=True,
    ),
}

"""The fused retriever: BLIP-2's Q-Former, turned from image–text retrieval to text → (image + text) retrieval.

The item side runs the Q-Former over its learned query tokens *and* the item's text while the query tokens
cross-attend to the picture's patches, so one set of item tokens carries both. The query side runs the same Q-Former
over the keywords alone. Vision is timm's, Q-Former and embeddings are transformers'; what is new here is how they
are put together.

Source: Li et al., "BLIP-2", arXiv 2301.12597; the concept residual follows Norouzi et al., "Zero-Shot Learning by
Convex Combination of Semantic Embeddings", arXiv 1312.5650.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retriever.config import RetrieverConfig
from retriever.vision import PictureFeatures, VisionEncoder


class FusedRetriever(nn.Module):
    """Embeds keywords and items into one space, where `max_k ⟨query, item token k⟩` is their similarity."""

    concept_embeddings: Tensor  # (C, D), of the names of the backbone's classes; a buffer: names are not learned

    def __init__(self, config: RetrieverConfig) -> None:
        # Here, not above: it takes a second and 100 MB to import, and ONNX Runtime does without.
        from transformers import Blip2QFormerConfig, Blip2QFormerModel
        from transformers.models.blip_2.modeling_blip_2 import Blip2TextEmbeddings

        super().__init__()
        self.config = config
        hidden, dim = config.hidden_size, config.embed_dim
        qformer_config = Blip2QFormerConfig(
            vocab_size=config.vocab_size,
            hidden_size=hidden,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            intermediate_size=config.intermediate_size,
            max_position_embeddings=config.max_positions,
            layer_norm_eps=config.layer_norm_eps,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            cross_attention_frequency=config.cross_attention_frequency,
            encoder_hidden_size=config.vision_width,
            use_qformer_text_input=True,
            attn_implementation="sdpa",
        )
        self.vision = VisionEncoder(config)
        self.vision_norm = nn.LayerNorm(config.vision_width, eps=config.vision_norm_eps)
        self.embeddings = Blip2TextEmbeddings(qformer_config)
        self.qformer = Blip2QFormerModel(qformer_config)
        self.query_tokens = nn.Parameter(torch.empty(1, config.num_query_tokens, hidden))
        self.vision_projection = nn.Linear(hidden, dim)
        self.text_projection = nn.Linear(hidden, dim)
        self.itm_head = nn.Linear(hidden, 2)
        if config.null_picture:
            self.null_picture = nn.Parameter(torch.empty(1, 1, config.vision_width))
        if config.num_concepts:
            self.register_buffer("concept_embeddings", torch.zeros(config.num_concepts, dim))
            self.concept_weight = nn.Parameter(torch.ones(()))
        self._initialise()

    def _initialise(self) -> None:
        # transformers builds a BLIP-2 from its configuration with query tokens of zero and vision weights of
        # 1e-10: every query token then gives the same output, and goes on doing so under training.
        nn.init.normal_(self.query_tokens, std=0.02)
        nn.init.normal_(self.embeddings.word_embeddings.weight, std=0.02)
        nn.init.normal_(self.embeddings.position_embeddings.weight, std=0.02)
        for projection in (self.vision_projection, self.text_projection, self.itm_head):
            nn.init.normal_(projection.weight, std=0.02)
            nn.init.zeros_(projection.bias)
        if self.config.null_picture:
            nn.init.normal_(self.null_picture, std=0.02)

    @property
    def device(self) -> torch.device:
        return self.query_tokens.device

    def encode_query(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Keywords, `(B, T)` each, → unit vectors `(B, D)`."""
        states = self._text_states(input_ids, attention_mask)  # (B, T, H)
        # Lengths are made 1 in full precision: in bfloat16 they would be off by half a per cent.
        return F.normalize(self.text_projection(self._pool(states, attention_mask)).float(), dim=-1)

    def encode_pictures(self, images: Tensor) -> PictureFeatures:
        """`(B, 3, S, S)` → frozen features, which `encode_item` takes in the place of pictures."""
        return self.vision(images.to(self.query_tokens.dtype))  # type: ignore[no-any-return]

    def encode_item(
        self,
        pictures: PictureFeatures | None,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        has_picture: Tensor | None = None,
    ) -> Tensor:
        """Items with picture and text, only a picture, or only text → unit item tokens `(B, Q, D)`.

        Args:
            pictures: features of B pictures, or None where no item has one.
            input_ids, attention_mask: `(B, T)`, or None where no item has text. In a mixed batch a row without text
                is a row whose mask is all zero.
            has_picture: `(B,)` bool, False where the row of `pictures` is to be ignored; all True by default.

        Raises:
            ValueError: neither pictures nor text are given, or a picture is missing and the configuration has no
                `null_picture` to stand for it.
        """
        queries, texts = self._item_states(pictures, input_ids, attention_mask, has_picture)
        tokens = self.vision_projection(queries)  # (B, Q, D)
        if self.config.text_residual and texts is not None and attention_mask is not None:
            has_text = attention_mask.any(dim=1, keepdim=True)  # (B, 1)
            pooled = self.text_projection(self._pool(texts, attention_mask)) * has_text  # (B, D)
            tokens = tokens + pooled.unsqueeze(1)
        if self.config.num_concepts and pictures is not None:
            named = pictures.concepts.to(tokens.dtype) @ self.concept_embeddings
            concepts = F.normalize(named, dim=-1)  # (B, D)
            if has_picture is not None:
                concepts = concepts * has_picture.unsqueeze(1)
            tokens = tokens + self.concept_weight * concepts.unsqueeze(1)
        return F.normalize(tokens.float(), dim=-1)

    def match(
        self,
        pictures: PictureFeatures | None,
        input_ids: Tensor,
        attention_mask: Tensor,
        has_picture: Tensor | None = None,
    ) -> Tensor:
        """ITM: the logits that a query does not belong to an item, and that it does, `(B, 2)`; the optional re-ranker.

        The text is the query followed by the item's text in one sequence (see `Processor.pairs`), read together
        with the picture. With the query alone as text this is BLIP-2's own image–text matching.

        Raises:
            ValueError: as `encode_item`.
        """
        queries, _ = self._item_states(pictures, input_ids, attention_mask, has_picture)  # (B, Q, H)
        return self.itm_head(queries).mean(dim=1)  # type: ignore[no-any-return]

    def _text_states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        embedded = self.embeddings(input_ids=input_ids)
        output = self.qformer(query_embeds=embedded, query_length=0, attention_mask=attention_mask)
        return output.last_hidden_state  # type: ignore[no-any-return]

    def _item_states(
        self,
        pictures: PictureFeatures | None,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        has_picture: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """States of the query tokens `(B, Q, H)` and of the text `(B, T, H)`, or None without text."""
        if pictures is None and input_ids is None:
            raise ValueError("an item needs a picture or some text")
        # By `shape`, not `len`: an exporter traces the one and freezes the other.
        batch = pictures.tokens.shape[0] if pictures is not None else input_ids.shape[0]  # type: ignore[union-attr]
        patches = self._patches(pictures, batch, has_picture)
        queries = self.query_tokens.expand(batch, -1, -1)
        mask = torch.ones(queries.shape[:2], dtype=torch.long, device=queries.device)
        if input_ids is not None:
            assert attention_mask is not None
            mask = torch.cat([mask, attention_mask], dim=1)
        # No mask over the patches: with text present transformers builds it for queries and text together, while
        # only the queries attend to them. A missing picture is therefore a learned feature.
        states = self.qformer(
            query_embeds=self.embeddings(input_ids=input_ids, query_embeds=queries),
            query_length=queries.shape[1],
            attention_mask=mask,
            encoder_hidden_states=patches,
        ).last_hidden_state  # (B, Q + T, H)
        count = queries.shape[1]
        return states[:, :count], states[:, count:] if input_ids is not None else None

    def _patches(self, pictures: PictureFeatures | None, batch: int, has_picture: Tensor | None) -> Tensor:
        missing = pictures is None or (has_picture is not None and not bool(has_picture.all()))
        if missing and not self.config.null_picture:
            raise ValueError("this model was built without null_picture: every item needs a picture")
        if pictures is None:
            return self.null_picture.expand(batch, -1, -1)  # (B, 1, E)
        patches = self.vision_norm(pictures.tokens)  # (B, P, E)
        if missing and has_picture is not None:
            patches = torch.where(has_picture[:, None, None], patches, self.null_picture)
        return patches  # type: ignore[no-any-return]

    def _pool(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """One vector for a text: its first state, or the mean over its word pieces. `(B, T, H)` → `(B, H)`."""
        if self.config.query_pooling == "cls":
            return states[:, 0]
        weights = attention_mask.to(states.dtype).unsqueeze(-1)  # (B, T, 1)
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)

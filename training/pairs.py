"""Both sides of training pairs, and the temperature of their contrast, as one module."""

import math

import torch
from torch import Tensor, nn

from retriever.model import FusedRetriever
from training.collate import ItemTensors, with_features

TEMPERATURE = (0.01, 0.2)  # the learned temperature is kept within these


class Pairs(nn.Module):
    """What is trained: the model and the temperature, which is not served."""

    def __init__(self, model: FusedRetriever) -> None:
        super().__init__()
        self.model = model
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.05)))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, items: ItemTensors) -> tuple[Tensor, Tensor]:
        """→ queries `(B, D)`, item tokens `(B, Q, D)`; float32."""
        queries = self.model.encode_query(input_ids, attention_mask)
        tokens = self.model.encode_item(**with_features(self.model, items))  # type: ignore[arg-type]
        return queries.float(), tokens.float()

    def match(self, input_ids: Tensor, attention_mask: Tensor, items: ItemTensors) -> Tensor:
        """Items and, in the place of their own texts, queries followed by those (`Processor.pairs`) → `(B, 2)`."""
        items = {**with_features(self.model, items), "input_ids": input_ids, "attention_mask": attention_mask}
        return self.model.match(**items).float()  # type: ignore[arg-type]

    def temperature(self) -> Tensor:
        low, high = (math.log(bound) for bound in TEMPERATURE)
        return self.log_temperature.clamp(low, high).exp()  # ()

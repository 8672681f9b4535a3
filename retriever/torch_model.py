"""`FusedRetriever` behind the calls that every way of running a checkpoint has: NumPy arrays in and out."""

import torch
from torch import Tensor

from retriever.arrays import Floats, Ids
from retriever.model import FusedRetriever
from retriever.vision import PictureFeatures


class TorchModel:
    """The model on its device, in its own precision; see `retriever.inference.Backend`."""

    def __init__(self, model: FusedRetriever) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def encode_query(self, input_ids: Ids, attention_mask: Ids) -> Floats:
        return to_array(self.model.encode_query(self._tensor(input_ids), self._tensor(attention_mask)))

    @torch.inference_mode()
    def encode_pictures(self, images: Floats) -> PictureFeatures:
        return self.model.encode_pictures(self._tensor(images))

    @torch.inference_mode()
    def encode_item(
        self, pictures: PictureFeatures | None, input_ids: Ids | None, attention_mask: Ids | None
    ) -> Floats:
        if input_ids is None or attention_mask is None:
            return to_array(self.model.encode_item(pictures, None, None))
        return to_array(self.model.encode_item(pictures, self._tensor(input_ids), self._tensor(attention_mask)))

    @torch.inference_mode()
    def match(self, pictures: PictureFeatures | None, input_ids: Ids, attention_mask: Ids) -> Floats:
        return to_array(self.model.match(pictures, self._tensor(input_ids), self._tensor(attention_mask))[:, 1])

    def _tensor(self, array: Floats | Ids) -> Tensor:
        return torch.from_numpy(array).to(self.model.device)


def to_array(tensor: Tensor) -> Floats:
    """From wherever the tensor is, in whatever precision."""
    array: Floats = tensor.float().cpu().numpy()
    return array

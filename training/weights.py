"""Whether a model's weights are sound: training may break them, and figures of a broken model can look sound."""

from collections.abc import Mapping

from torch import Tensor


def broken_weights(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors of a state dict that hold NaN or infinity."""
    return [name for name, weight in state.items() if not weight.isfinite().all()]

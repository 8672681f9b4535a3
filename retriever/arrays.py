"""Names for the arrays that cross between the model and everything else."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Ids: TypeAlias = npt.NDArray[np.int64]  # token ids, and attention masks of 0 and 1

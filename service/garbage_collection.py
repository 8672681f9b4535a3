"""Keeps the garbage collector off what lives as long as the process.

A full collection visits every object there is, and nobody is answered meanwhile: 0.1 to 0.2 s with the words and
phrases of 20,000 items (docs/performance.md). Those go nowhere: once learned, they are frozen, and no longer visited.
"""

import asyncio
import gc
from collections.abc import Sequence
from typing import Any

from service.lexicon import Lexicon

_EVERY = 60.0  # seconds


async def freeze_learned(lexicon: Lexicon, after: Sequence[asyncio.Task[Any]]) -> None:
    """Freezes once `after` is done, and again whenever the lexicon has doubled. Runs until it is cancelled."""
    if after:
        await asyncio.wait(after)
    frozen = 0
    while True:
        if (size := len(lexicon)) >= 2 * frozen:
            gc.unfreeze()
            gc.collect()  # what is garbage by now would stay for ever
            gc.freeze()
            frozen = max(size, 1)
        await asyncio.sleep(_EVERY)

"""A picture with words beside it, "this, but in red", as one question to an index.

Such words say what is to be different, and little of what is wanted: a brand called "Red Tape" holds all of "in red".
So words in common count for less than in a search by words alone, but for article numbers. `python -m
training.composed` measures what both constants are worth.
"""

import re

import numpy as np

from retriever.arrays import Floats
from retriever.index.fusion import CODE_WEIGHT
from retriever.index.lexical import has_code

# How much words count beside a picture, and what a perfect match of words then adds to MaxSim, before that share.
WORDS = 0.6
LEXICAL_WEIGHT = 0.14

# The picture says what "this" is: left in, such words draw the query away from what follows them.
_THIS = re.compile(
    r"^(?:like )?(?:this(?: one)?|(?:the )?same(?: one)?)(?:,? (?:but|only|just),?|,?(?= in\b)) (?=\S)", re.IGNORECASE
)


def change(text: str) -> str:
    """What is to be different: "in red" of "this, but in red". A text of its own, "this is it", stays as it is."""
    return _THIS.sub("", text)


def query_vectors(picture: Floats, words: Floats | None = None, share: float = WORDS) -> Floats:
    """Vectors whose MaxSim add up: of the item tokens of a picture `(Q, D)` and the query vector `(D,)` of its words.

    Args:
        share: 0 is the picture alone, 1 the words alone.
    """
    alike = picture / np.float32(len(picture))  # (Q, D)
    if words is None:
        return alike
    return np.concatenate([np.float32(1 - share) * alike, np.float32(share) * words[None]])  # (Q + 1, D)


def lexical_weight(text: str, share: float = WORDS) -> float:
    """What words in common are worth beside a picture; nothing without any."""
    return share * (CODE_WEIGHT if has_code(text) else LEXICAL_WEIGHT) if text else 0.0

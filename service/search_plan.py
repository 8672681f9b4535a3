"""What a search looks for, whatever it was asked by: words, a picture, or other items."""

from collections.abc import Sequence
from dataclasses import dataclass

from retriever.arrays import Floats
from retriever.index import Boost
from retriever.index.filters import Condition
from service.encoder import EncodedQuery


@dataclass(frozen=True)
class SearchPlan:
    """What is looked for, rows `(M, D)` whose MaxSim add up and words for BM25, and what is to be done with it."""

    rows: Floats | None
    text: str
    lexical_weight: float
    condition: Condition | None = None
    named: Condition | None = None  # what the few items have that are asked for by their number
    pin: Sequence[str] = ()  # ids of items that come before all others
    boosts: Sequence[Boost] = ()  # beside those that the request itself asks for
    encoded: EncodedQuery | None = None  # its words, where the model read some
    picture: str = ""  # the SHA-256 of one to search with
    rerank: int = 0
    explain: bool = False
    highlight: bool = False

    @property
    def everything(self) -> bool:
        """All that the filter lets through: nothing says what is more like what is looked for."""
        return self.rows is None and not self.lexical_weight

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells it from all else that may be looked for."""
        return self.text, repr(self.condition), self.picture, repr(self.boosts)


EVERYTHING = SearchPlan(None, "", 0.0)

"""What the catalogue's words are good for beside ranking: correcting queries, and suggestions."""

import logging
import re
from collections.abc import Mapping
from typing import Any

from retriever.index import ItemIndex
from service.suggest import Suggester, Suggestion
from service.vocabulary import Vocabulary

log = logging.getLogger(__name__)

_PAGE = 100  # items read at a time: a few milliseconds of the event loop
_CODE = re.compile(r"\d")  # article numbers and sizes are values too, and no suggestions
_LONGEST_VALUE = 40


class Lexicon:
    """Kept in memory, for the event loop alone: learned from the index at the start, and from every write after."""

    def __init__(self) -> None:
        self.words = Vocabulary()
        self.suggester = Suggester()

    async def read(self, index: ItemIndex) -> None:
        """Learns every item that is stored, in the background of a service that already answers."""
        cursor, count = None, 0
        while True:
            page, cursor = await index.scroll(cursor, _PAGE)
            for _, payload in page:
                self.learn(payload)
            count += len(page)
            if cursor is None:
                log.info("suggestions and spelling: learned from %d items", count)
                return

    def learn(self, payload: Mapping[str, Any]) -> None:
        """Takes in a stored item."""
        self.suggester.add(_phrases(payload))
        for text in (payload["title"], payload["description"], *payload["category"], *_values(payload)):
            self.words.learn(text)

    def forget(self, payload: Mapping[str, Any]) -> None:
        """Takes an item out of the suggestions. Its words stay known: they are no mistakes."""
        self.suggester.remove(_phrases(payload))


def _values(payload: Mapping[str, Any]) -> list[str]:
    values = []
    for value in payload["attributes"].values():
        values += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
    return values


def _phrases(payload: Mapping[str, Any]) -> list[Suggestion]:
    values = {one for one in _values(payload) if len(one) <= _LONGEST_VALUE and not _CODE.search(one)}
    return [
        *([Suggestion(payload["title"], "title")] if payload["title"] else []),
        *(Suggestion(step, "category") for step in payload["category"]),
        *(Suggestion(value, "attribute") for value in values),
    ]

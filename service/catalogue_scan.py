"""What a service does with every stored item once, in the background, while it already answers."""

import asyncio
import logging

from retriever.index import IndexUnavailable, ItemIndex, Payload
from service.lexicon import Lexicon
from service.media import MediaStore
from service.payload import picture_files

log = logging.getLogger(__name__)

_AGAIN = 10.0  # seconds


class CatalogueScan:
    """Learns the words of every stored item once: as it comes by, or as somebody is about to write it."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._met: set[str] | None = set()  # ids; None: it is over
        self._replaced: set[str] = set()  # pictures that writes may have removed meanwhile

    def before_write(self, item_id: str, stored: Payload | None) -> None:
        """Learns an item as it is stored, if at all, unless it was met before.

        Whoever writes it takes care of its words from then on, and what comes by later may be what was written.
        """
        if self._met is None:
            return
        if stored is not None:
            self._replaced.update(picture_files(stored))
        self._learn(item_id, stored)

    def _learn(self, item_id: str, stored: Payload | None) -> None:
        if self._met is None or item_id in self._met:
            return
        self._met.add(item_id)
        if stored is not None:
            self._lexicon.learn(stored)

    async def run(self, index: ItemIndex, media: MediaStore | None) -> None:
        """Meets every item, counts the pictures that are gone, and removes those that a crash left without an item.

        Until it has met all of them: what one failure of the index left out would be misspelt until the next start.
        """
        try:
            while True:
                try:
                    return await self._pass(index, media)
                except IndexUnavailable as error:
                    log.error("suggestions and spelling lack items until the index answers: %s", error)
                await asyncio.sleep(_AGAIN)
        except (OSError, ValueError) as error:
            log.warning("pictures without an item stay where they are: %s", error)
        finally:
            self._met = None
            self._replaced.clear()

    async def _pass(self, index: ItemIndex, media: MediaStore | None) -> None:
        named: set[str] = set()
        count = 0
        begun = await asyncio.to_thread(media.now) if media else 0.0
        async for payload in index.every_item():
            self._learn(payload["id"], payload)
            count += 1
            if media:
                named.update(picture_files(payload))
        log.info("suggestions and spelling: learned from %d items", count)
        if media and named:  # an empty index says nothing of whose the pictures are
            there = await asyncio.to_thread(media.names)
            lost = await asyncio.to_thread(media.missing, named)
            if gone := len(lost - self._replaced):
                log.error(
                    "%d of %d pictures are not in %s: mount or restore that folder. Until then an item whose words "
                    "change is found by its words alone, and stays so",
                    gone,
                    len(named),
                    media.folder,
                )
            removed = await asyncio.to_thread(media.sweep, there, named, begun)
            log.info("pictures that a crash left without an item: %d, removed", removed)

"""What a service does with every stored item once, in the background, while it already answers."""

import asyncio
import logging

from retriever.index import IndexUnavailable, ItemIndex
from service.lexicon import Lexicon
from service.media import MediaStore

log = logging.getLogger(__name__)


async def take_stock(index: ItemIndex, lexicon: Lexicon, media: MediaStore | None) -> None:
    """Learns the catalogue's words, and removes the pictures in `media` that a crash left without an item."""
    named: set[str] = set()
    count = 0
    try:
        begun = await asyncio.to_thread(media.now) if media else 0.0
        async for payload in index.every_item():
            lexicon.learn(payload)
            count += 1
            if media:
                named.update(image["file"] for image in payload["images"])
        log.info("suggestions and spelling: learned from %d items", count)
        if media and named:  # an empty index says nothing of whose the pictures are
            removed = await asyncio.to_thread(media.sweep, named, begun)
            log.info("pictures that a crash left without an item: %d, removed", removed)
    except IndexUnavailable as error:
        log.error("suggestions and spelling know only what is written from now on: %s", error)
    except (OSError, ValueError) as error:
        log.warning("pictures without an item stay where they are: %s", error)

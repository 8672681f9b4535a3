"""The demonstration catalogue: fills an empty catalogue in the background, while the service already answers."""

import asyncio
import io
import logging
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from examples.demo_catalogue import DemoProduct, products
from retriever.index.base import ItemIndex
from service.catalogue import Catalogue
from service.encoder import when_free
from service.schemas import ItemFields

log = logging.getLogger(__name__)

_AT_ONCE = 4  # enough to keep the model busy, few enough to leave the queue to visitors


async def fill(catalogue: Catalogue, index: ItemIndex, data_dir: Path) -> None:
    """Stores every demonstration product that is not there yet.

    Only an empty catalogue is filled, or one whose filling was interrupted: a file in the data folder says that it is
    under way, so a product that somebody deletes later does not come back.
    """
    under_way = data_dir / "demo-catalogue.under-way"
    try:
        if await index.count() and not under_way.exists():
            return
        under_way.touch()
        all_products = list(products())
        with (
            tqdm(total=len(all_products), desc="demonstration catalogue", unit=" items") as progress,
            logging_redirect_tqdm(),
        ):
            for begin in range(0, len(all_products), _AT_ONCE):
                some = all_products[begin : begin + _AT_ONCE]
                there = await index.get([product.id for product in some])
                await asyncio.gather(*(_store(catalogue, product) for product in some if product.id not in there))
                progress.update(len(some))
        under_way.unlink()
        log.info("demonstration catalogue: %d items", len(all_products))
    except Exception:
        # The service is useful without it, and the next start goes on from here.
        log.exception("the demonstration catalogue was left unfinished")


async def _store(catalogue: Catalogue, product: DemoProduct) -> None:
    fields = ItemFields(
        id=product.id,
        title=product.title,
        description=product.description,
        category=product.category,
        price=product.price,
        attributes=dict(product.attributes),
    )
    file = await asyncio.to_thread(_png, product)
    await catalogue.store(await when_free(lambda: catalogue.prepare(fields, [file]), [file]))


def _png(product: DemoProduct) -> io.BytesIO:
    buffer = io.BytesIO()
    product.picture().save(buffer, "PNG", compress_level=1)
    buffer.seek(0)
    return buffer

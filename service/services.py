"""What the application works with while it runs: opened at its start, closed at its end."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated

import torch
from fastapi import Depends, Request

import retriever
from retriever.index import open_index
from retriever.index.base import IndexUnavailable, ItemIndex, ModelMismatch
from service import demo
from service.catalogue import Catalogue
from service.encoder import Encoder
from service.lexicon import Lexicon
from service.logs import StartupFailed
from service.media import MediaStore
from service.metrics import Metrics
from service.searcher import Searcher
from service.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Services:
    """What routes work with, while the application runs."""

    settings: Settings
    metrics: Metrics
    encoder: Encoder
    index: ItemIndex
    catalogue: Catalogue
    lexicon: Lexicon
    searcher: Searcher


def services(request: Request) -> Services:
    """The dependency that gives a route its `Services`."""
    opened: Services = request.app.state.services
    return opened


ServicesDep = Annotated[Services, Depends(services)]


@contextlib.asynccontextmanager
async def open_services(settings: Settings, metrics: Metrics) -> AsyncIterator[Services]:
    """Loads the model, opens the index and starts the encoder; closes all in reverse.

    Raises:
        StartupFailed: the reason was logged.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        device = _device(settings.device)
        started = perf_counter()
        model = await asyncio.to_thread(retriever.load, settings.model, device, settings.inference)
        # The first run is slow (allocations, kernels); no shopper should meet it, nor a model that cannot run at all.
        await asyncio.to_thread(model.encode_queries, ["ready?"])
        seconds = perf_counter() - started
        index = await open_index(
            data_dir=settings.data_dir,
            dim=model.config.embed_dim,
            model_id=model.model_id,
            url=settings.qdrant_url,
            api_key=settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None,
        )
        items = await index.count()
    except (OSError, ValueError, RuntimeError, IndexUnavailable, ModelMismatch) as error:
        log.critical("cannot start: %s", error)
        raise StartupFailed(str(error)) from error
    how = f"{model.inference} on {device}"
    log.info("model %s (%s) loaded in %.1f s, runs in %s", settings.model, model.model_id, seconds, how)
    if settings.inference == "auto" and how == "torch on cpu":
        log.info("`python -m retriever.export --model %s` makes it several times faster here", settings.model)
    log.info("index %s: %d items", settings.qdrant_url or f"embedded in {settings.data_dir.resolve()}", items)
    metrics.model.info(
        {"model": settings.model, "model_id": model.model_id, "device": device, "inference": model.inference}
    )

    encoder = Encoder(
        model,
        metrics,
        max_batch=settings.max_batch or (4 if device == "cpu" else 32),
        max_queue=settings.max_queue,
        query_cache=settings.query_cache,
    )
    lexicon = Lexicon()
    catalogue = Catalogue(
        index,
        encoder,
        MediaStore(settings.data_dir / "media"),
        metrics,
        lexicon,
        max_pixels=settings.max_pixels,
        picture_side=settings.stored_picture_side,
    )
    encoder.start()
    background = [asyncio.create_task(_learn(lexicon, index), name="suggestions and spelling")]
    if settings.demo_catalogue:
        filling = demo.fill(catalogue, index, settings.data_dir)
        background.append(asyncio.create_task(filling, name="demonstration catalogue"))
    log.info("open %s", _address(settings))
    try:
        searcher = Searcher(index, encoder, lexicon, catalogue, metrics)
        yield Services(settings, metrics, encoder, index, catalogue, lexicon, searcher)
    finally:
        for task in background:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await encoder.close()
        catalogue.close()
        await index.close()
        log.info("closed")


async def _learn(lexicon: Lexicon, index: ItemIndex) -> None:
    try:
        await lexicon.read(index)
    except IndexUnavailable as error:
        log.error("suggestions and spelling know only what is written from now on: %s", error)


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def _address(settings: Settings) -> str:
    host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0", "::", "::1") else settings.host
    return f"http://{host}:{settings.port}/"

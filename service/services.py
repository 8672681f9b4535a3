"""What the application works with while it runs: opened at its start, closed at its end."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Annotated

from fastapi import Depends, Request

import retriever
from retriever import Retriever
from retriever.index import IndexUnavailable, ItemIndex, ModelMismatch
from retriever.index.generations import Generation, Generations
from service import demo
from service.catalogue import Catalogue
from service.catalogue_scan import CatalogueScan
from service.data_folder import UnusableDataFolder, open_data_folder
from service.encoder import Encoder
from service.events import EventLog
from service.from_settings import (
    device_of,
    disk_of,
    generations_of,
    lasting_name,
    load_model,
    media_of,
    picture_limits_of,
)
from service.garbage_collection import freeze_learned
from service.lexicon import Lexicon
from service.logs import StartupFailed
from service.media import MediaStore
from service.metrics import Metrics
from service.rules import RuleBook
from service.searcher import Searcher
from service.settings import Settings
from service.shared_lock import SharedLock
from service.takeover import Takeover

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Services:
    """What routes work with: one model, its index, and what goes with them.

    When another model takes over, it comes with `Services` of its own; requests under way finish on theirs.
    """

    settings: Settings
    metrics: Metrics
    encoder: Encoder
    index: ItemIndex
    catalogue: Catalogue
    lexicon: Lexicon
    searcher: Searcher
    rules: RuleBook
    events: EventLog | None  # None: switched off
    in_use: SharedLock = field(default_factory=SharedLock)  # each request shares it

    async def close(self) -> None:
        await self.encoder.close()
        self.catalogue.close()
        await self.index.close()


async def get_services(request: Request) -> AsyncIterator[Services]:
    """The dependency that gives a route its `Services`, the same to the end of its answer."""
    opened: Services = request.app.state.services
    async with opened.in_use.shared():
        yield opened


ServicesDep = Annotated[Services, Depends(get_services)]


@contextlib.asynccontextmanager
async def open_services(
    settings: Settings, metrics: Metrics, publish: Callable[[Services], None]
) -> AsyncIterator[None]:
    """Loads the model, opens the index and starts the encoder; closes all in reverse, also where a start fails halfway.

    Args:
        publish: Is given what requests are to work with from now on: at the start, and when another model takes over.

    Raises:
        StartupFailed: the reason was logged.
    """
    async with contextlib.AsyncExitStack() as opened:
        try:
            await _open(settings, metrics, publish, opened)
        except (OSError, ValueError, RuntimeError, IndexUnavailable, ModelMismatch, UnusableDataFolder) as error:
            log.critical("cannot start: %s", error)
            raise StartupFailed(str(error)) from error
        log.info("open %s", _address(settings))
        yield
    log.info("closed")


async def _open(
    settings: Settings, metrics: Metrics, publish: Callable[[Services], None], opened: contextlib.AsyncExitStack
) -> None:
    """Opens all, and leaves to `opened` how each part is closed.

    A function of its own, for its locals end with it: they would keep a model that another has taken over from.
    """
    await asyncio.to_thread(open_data_folder, settings.data_dir)
    device = device_of(settings.device)
    rules = await asyncio.to_thread(RuleBook, settings.data_dir)
    media = media_of(settings)
    events: EventLog | None = None
    if settings.events:
        events = EventLog(settings.data_dir / "events", disk_of(settings), max_bytes=settings.events_max_bytes)
        opened.push_async_callback(events.close)
    generations = generations_of(settings)
    opened.push_async_callback(generations.close)
    serving = await generations.current()
    name = _model_to_serve(settings.model, serving)
    model = await _load(name, device, settings)
    index = await generations.open(model.model_id, model.config.embed_dim, beside=False)
    factory = _Factory(settings, metrics, media, Lexicon(), rules, events, device, publish)
    first = factory.assemble(model, index)
    takeover = Takeover(generations, first, factory.assemble, factory.serve, device, settings.inference)
    opened.push_async_callback(takeover.close)  # which closes what serves by then
    await _describe(generations, serving, Generation(model.model_id, lasting_name(name), model.config.embed_dim))
    where = settings.qdrant_url or f"embedded in {settings.data_dir.resolve()}"
    log.info("index %s: %d items", where, await index.count())
    factory.serve(name, first)
    opened.push_async_callback(_cancel, _start_background(settings, first, takeover))


async def _load(name: str, device: str, settings: Settings) -> Retriever:
    started = perf_counter()
    model = await load_model(name, device, settings.inference)
    how = f"{model.inference} on {device}"
    log.info("model %s (%s) loaded in %.1f s, runs in %s", name, model.model_id, perf_counter() - started, how)
    if settings.inference == "auto" and how == "torch on cpu":
        log.info("`python -m retriever.export --model %s` makes it several times faster here", name)
    return model


async def _describe(generations: Generations, serving: Generation | None, described: Generation) -> None:
    """Writes down whose the index is: it is new, from before this was written down, or the model has moved."""
    if serving is not None:
        described = replace(described, previous_id=serving.previous_id, previous_model=serving.previous_model)
    if described != serving:
        await generations.describe(described)


def _start_background(settings: Settings, first: Services, takeover: Takeover) -> list[asyncio.Task[None]]:
    catalogue = first.catalogue
    catalogue.scan = CatalogueScan(first.lexicon)
    # On a server, other processes and other indexes may have pictures in the folder.
    own_media = None if settings.qdrant_url else catalogue.media
    once = [asyncio.create_task(catalogue.scan.run(first.index, own_media), name="catalogue scan")]
    if settings.demo_catalogue:
        filling = demo.fill(catalogue, first.index, settings.data_dir)
        once.append(asyncio.create_task(filling, name="demonstration catalogue"))
    return [
        *once,
        asyncio.create_task(first.rules.follow(), name="rules"),
        asyncio.create_task(takeover.run(after=once), name="takeover"),
        asyncio.create_task(freeze_learned(first.lexicon, after=once), name="garbage collector"),
    ]


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        except Exception:  # the others, and what is open, are closed all the same
            log.exception("%s had failed", task.get_name())


@dataclass(frozen=True)
class _Factory:
    """Makes the `Services` of a model and its index, of these parts that all models share."""

    settings: Settings
    metrics: Metrics
    media: MediaStore
    lexicon: Lexicon
    rules: RuleBook
    events: EventLog | None
    device: str
    publish: Callable[[Services], None]

    def assemble(self, model: Retriever, index: ItemIndex) -> Services:
        settings, metrics, lexicon = self.settings, self.metrics, self.lexicon
        encoder = Encoder(
            model,
            metrics,
            max_batch=settings.max_batch or (4 if self.device == "cpu" else 32),
            max_queue=settings.max_queue,
            query_cache=settings.query_cache,
        )
        encoder.start()
        catalogue = Catalogue(
            index,
            encoder,
            self.media,
            metrics,
            lexicon,
            disk_of(settings),
            picture_limits_of(settings),
        )
        searcher = Searcher(index, encoder, lexicon, catalogue, self.rules, metrics)
        return Services(settings, metrics, encoder, index, catalogue, lexicon, searcher, self.rules, self.events)

    def serve(self, name: str, opened: Services) -> None:
        """Has requests work with these from now on."""
        served = opened.encoder.retriever
        described = {"model": name, "model_id": served.model_id, "device": self.device, "inference": served.inference}
        self.metrics.model.info(described)
        self.metrics.engine_pid = lambda: opened.index.engine_pid
        self.publish(opened)


def _model_to_serve(name: str, serving: Generation | None) -> str:
    """The model that SEARCH_MODEL names, or the one that took over its index since."""
    if serving is None or not serving.model or serving.previous_id is None:
        return name
    asked = retriever.identify(name)
    if asked != serving.previous_id:
        return name
    log.warning(
        "SEARCH_MODEL=%s, whose index was moved to the model %s (%s): that one serves. Set SEARCH_MODEL to it.",
        name,
        serving.model,
        serving.model_id,
    )
    return serving.model


def _address(settings: Settings) -> str:
    host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0", "::", "::1") else settings.host
    return f"http://{host}:{settings.port}/"

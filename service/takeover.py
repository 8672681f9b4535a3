"""Another model's index takes over while the service answers: searches never stop, and no write is lost.

`python -m service.reindex` fills the new index beside the one that serves. The rest is done here, by the process that
serves: the new model is loaded beside the old one, and requests that begin from then on get the new pair; those under
way finish on the old.

- Embedded: the command leaves a note. The service opens the new index, catches up with what was written since, holds
  writes back for the last few items, and names the new index in `current.json`.
- On a server: the command moves the alias, and every process follows it here; writes wait while it loads the new model.
  One that cannot load it goes on answering searches, and refuses writes: they would go to an index that nobody reads.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from retriever import Retriever
from retriever.index import IndexUnavailable, ItemIndex
from retriever.index.generations import EdgeGenerations, Generation, Generations
from retriever.inference import Inference
from service.from_settings import load_model
from service.index_copy import IndexCopy

if TYPE_CHECKING:
    from service.services import Services

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
_AGAIN_SECONDS = 60  # before a model that could not be loaded is tried again


class Takeover:
    """Watches for another generation, and moves to it."""

    def __init__(
        self,
        generations: Generations,
        serving: "Services",
        assemble: Callable[[Retriever, ItemIndex], "Services"],
        serve: Callable[[str, "Services"], None],
        device: str,
        inference: Inference,
    ) -> None:
        self._generations, self._serving, self._assemble = generations, serving, assemble
        self._serve, self._device, self._inference = serve, device, inference
        self._failed: Generation | None = None
        self._again_at = 0.0
        self._retiring: dict[asyncio.Task[None], Services] = {}

    async def run(self, after: Sequence[asyncio.Task[None]]) -> None:
        """Watches until it is cancelled, once those tasks are done."""
        await asyncio.wait(after)
        away = False
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                if isinstance(self._generations, EdgeGenerations):
                    await self._follow_note(self._generations)
                else:
                    await self._follow_alias()
                away = False
            except IndexUnavailable as error:
                if not away:  # not every second
                    log.warning("whether another model is to take over is not known: %s", error)
                away = True
            except Exception:
                log.exception("another model could not take over; it is tried again")

    async def close(self) -> None:
        """Closes what serves, and what still finishes."""
        for task, retired in list(self._retiring.items()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await retired.close()
        await self._serving.close()

    async def _follow_note(self, generations: EdgeGenerations) -> None:
        note = await generations.asked()
        if note is None or note[1] is not None:
            return
        generation, _ = note
        if generation.model_id == self._model_id:  # a crash came between the move and the end of the note
            await generations.answer()
            return
        try:
            new = await self._prepare(generation)
        except Exception as error:  # whatever it is, the old model goes on
            log.error("the model %s cannot take over: %r", generation.model, error)
            await generations.answer(str(error))
            return
        old = self._serving
        try:
            copy = IndexCopy(new.index, old.catalogue.media, old.catalogue.disk, new.encoder.retriever)
            await copy.begin()
            touched = await old.catalogue.watch()
            await copy.run(old.index.every_item())
            async with old.catalogue.handing_over() as hand_over:
                await copy.follow(touched, old.index)
                await generations.promote(generation)
                hand_over(new.catalogue)
        except BaseException as error:
            await new.close()
            if not isinstance(error, Exception):
                raise
            log.exception("the model %s could not take over", generation.model)
            await generations.answer(str(error))
            return
        self._move(generation, new)
        await generations.answer()

    async def _follow_alias(self) -> None:
        generation = await self._generations.current()
        catalogue = self._serving.catalogue
        if generation is None or generation.model_id == self._model_id:
            catalogue.refusal = None
            return
        if generation == self._failed and monotonic() < self._again_at:
            return
        async with catalogue.handing_over() as hand_over:
            try:
                new = await self._prepare(generation)
            except Exception as error:  # whatever it is, writes must not go to an index that nobody reads
                log.error("the model %s cannot take over: %r; searches go on, writes are refused", generation, error)
                catalogue.refusal = f"The index was moved to the model {generation.model_id}, which is not here yet."
                self._failed, self._again_at = generation, monotonic() + _AGAIN_SECONDS
                return
            hand_over(new.catalogue)
        self._move(generation, new)

    @property
    def _model_id(self) -> str:
        return self._serving.encoder.retriever.model_id

    async def _prepare(self, generation: Generation) -> "Services":
        model = await load_model(generation.model, self._device, self._inference)
        if model.model_id != generation.model_id:
            raise ValueError(
                f"{generation.model} is the model {model.model_id} by now, and the index is of {generation.model_id}"
            )
        index = await self._generations.open(model.model_id, model.config.embed_dim)
        return self._assemble(model, index)

    def _move(self, generation: Generation, new: "Services") -> None:
        old, self._serving = self._serving, new
        self._serve(generation.model, new)
        log.info("model %s took over from %s", generation.model_id, old.encoder.retriever.model_id)
        task = asyncio.create_task(self._retire(old), name="retiring model")
        self._retiring[task] = old

    async def _retire(self, old: "Services") -> None:
        async with old.in_use.exclusive():
            await old.close()
        del self._retiring[asyncio.current_task()]  # type: ignore[arg-type]
        log.info("model %s is closed", old.encoder.retriever.model_id)

"""Indexes of several models side by side, and the one among them that serves.

A generation is the index that one model wrote. A new model's is filled beside the one that serves, then takes over in
one step; the one before is kept, so that the way back is as short. Embedded, `index/current.json` names the one that
serves; on a server, the alias does (`retriever.index.server_generations`).
"""

import asyncio
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retriever.files import write_whole
from retriever.index import pointer
from retriever.index.base import ItemIndex
from retriever.index.edge import EdgeIndex
from retriever.index.pointer import CURRENT
from retriever.index.results import IndexUnavailable

NEXT = "next.json"  # what the process that owns the embedded index is asked to move to


@dataclass(frozen=True)
class Generation:
    """A model, and the one whose index it took over from."""

    model_id: str
    model: str  # what `retriever.load` takes
    dim: int  # D, the width of its vectors
    previous_id: str | None = None
    previous_model: str | None = None

    def followed_by(self, model_id: str, model: str, dim: int) -> "Generation":
        return Generation(model_id, model, dim, self.model_id, self.model)


class Generations(ABC):
    """The indexes of one catalogue. Every method raises `IndexUnavailable` when the engine does not do as asked."""

    @abstractmethod
    async def current(self) -> Generation | None:
        """The one that serves; None where there is no index, or an old one of which no model was ever written down."""

    @abstractmethod
    async def open(self, model_id: str, dim: int, *, beside: bool = True) -> ItemIndex:
        """A model's index, made where it is not there yet.

        Args:
            beside: Open it though another model's serves, as while that is replaced.

        Raises:
            ModelMismatch: another model's serves, and this one is not to be beside it.
        """

    @abstractmethod
    async def describe(self, generation: Generation) -> None:
        """Writes down which model's the one that serves is."""

    @abstractmethod
    async def promote(self, generation: Generation) -> None:
        """Makes one serve from now on, in one step."""

    @abstractmethod
    async def close(self) -> None:
        """Lets go of the engine."""


class EdgeGenerations(Generations):
    """Folders of one folder. A process that holds one open is asked by a note to move to another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def current(self) -> Generation | None:
        found = await asyncio.to_thread(_read, self._folder / CURRENT)
        return None if found is None else generation_of(found)

    async def open(self, model_id: str, dim: int, *, beside: bool = True) -> ItemIndex:
        return await EdgeIndex.open(self._folder, dim, model_id, beside=beside)

    async def describe(self, generation: Generation) -> None:
        await asyncio.to_thread(_write, self._folder / CURRENT, asdict(generation))

    async def promote(self, generation: Generation) -> None:
        await self.describe(generation)  # the file says both

    async def close(self) -> None:
        pass  # nothing is held open

    async def ask(self, generation: Generation) -> None:
        """Leaves the note."""
        await asyncio.to_thread(_write, self._folder / NEXT, asdict(generation))

    async def asked(self) -> tuple[Generation, str | None] | None:
        """The note, and why it could not be followed, if it was tried; None without a note."""
        found = await asyncio.to_thread(_read, self._folder / NEXT)
        return None if found is None else (generation_of(found), found.get("error"))

    async def answer(self, error: str | None = None) -> None:
        """Takes the note away, or writes on it why it cannot be followed."""
        note = self._folder / NEXT
        if error is None:
            await asyncio.to_thread(note.unlink, missing_ok=True)
        elif (found := await asyncio.to_thread(_read, note)) is not None:
            await asyncio.to_thread(_write, note, {**found, "error": error})


def generation_of(found: dict[str, Any]) -> Generation:
    """What was written down of one. Raises IndexUnavailable."""
    try:
        previous_id, previous_model = found.get("previous_id"), found.get("previous_model")
        return Generation(found["model_id"], found["model"], found["dim"], previous_id, previous_model)
    except KeyError as error:
        raise IndexUnavailable(f"what says which model's index serves lacks {error}: {found}") from error


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it holds no JSON object")
        generation_of(found)
        return found
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IndexUnavailable(f"{path} cannot be read: {error}") from error
    except (ValueError, IndexUnavailable) as error:
        raise pointer.damaged(path, error) from error


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        write_whole(path, json.dumps(content).encode() + b"\n")
    except OSError as error:
        raise IndexUnavailable(f"{path} cannot be written: {error}") from error

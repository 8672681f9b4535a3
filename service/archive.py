"""A backup: one tar file that no engine is needed to read, with a checksum for every file in it.

    items-00000.jsonl            what is said about each item, one a line, as the index keeps it
    vectors-00000.safetensors    `tokens` (rows, D) of the same items in a row, `lengths` (items,): rows of each
    media/<2 hex>/<item>/<file>.jpg
    rules.json                   synonyms, curations and boosts, if the shop has any
    manifest.json                the last: model, counts, and the SHA-256 of every other file

Without its manifest a file is not a backup, so one that was cut off cannot pass for whole.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from retriever.files import sync
from service.export import Exported
from service.rules import Rules

FORMAT = 1
_MANIFEST = "manifest.json"
_RULES = "rules.json"
_UNFINISHED = ".unfinished"  # at the end of its name, until a backup is whole
_PART = 1000  # items of one items- and vectors-file
_BLOCK = 2**20  # bytes hashed at a time


class DamagedBackup(Exception):
    """The file is no whole backup, or of a format that this version does not know; the message says which and where."""


@dataclass
class Manifest:
    """What is in a backup."""

    model_id: str
    model: str  # what `retriever.load` took
    dim: int  # D
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    items: int = 0
    pictures: int = 0
    lost_pictures: int = 0  # named by items, and not there when the backup was made
    files: dict[str, str] = field(default_factory=dict)  # name → SHA-256
    format: int = FORMAT


class Writer:
    """Writes a backup item by item; `finish` makes it whole. Blocking.

    Raises:
        OSError: the file cannot be written, or another backup is writing it.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self._path = path
        self._unfinished = path.with_name(path.name + _UNFINISHED)
        self._file = self._unfinished.open("ab")
        try:
            _lock(self._file)
        except BlockingIOError as error:
            self._file.close()
            raise OSError(f"another backup is writing {self._unfinished}: wait for it") from error
        except OSError:  # a disk that knows no locks
            pass
        self._file.seek(0)
        self._file.truncate()  # what a backup that was killed had written
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - until `finish`
        self._part: list[Exported] = []

    def add(self, item: Exported) -> None:
        """Takes a whole export of an item. Raises OSError."""
        for image, picture in zip(item.payload["images"], item.pictures or (), strict=True):
            if picture is None:
                self.manifest.lost_pictures += 1
            else:
                self.manifest.pictures += 1
                self._write(f"media/{image['file']}", picture)
        self.manifest.items += 1
        self._part.append(Exported(item.payload, item.tokens))
        if len(self._part) == _PART:
            self._write_part()

    def add_rules(self, rules: Rules) -> None:
        """Takes the search rules. Raises OSError."""
        self._write(_RULES, rules.model_dump_json(indent=1).encode())

    def finish(self) -> None:
        """Writes what is left, and puts the file in place. Raises OSError."""
        if self._part:
            self._write_part()
        self._write(_MANIFEST, json.dumps(asdict(self.manifest), indent=1).encode())
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())  # before it takes the place of an older one
        self._unfinished.replace(self._path)
        self._file.close()
        sync(self._path.parent)

    def abandon(self) -> None:
        """Removes what was written, if it was not finished."""
        if not self._file.closed:
            self._unfinished.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # a full disk does not take what is left to write, either
                self._file.close()

    def _write_part(self) -> None:
        number = f"{(self.manifest.items - 1) // _PART:05d}"
        lines = [json.dumps(item.payload, ensure_ascii=False) + "\n" for item in self._part]
        tokens = [np.asarray(item.tokens, dtype=np.float32) for item in self._part]
        vectors = {"tokens": np.concatenate(tokens), "lengths": np.asarray([len(one) for one in tokens])}
        self._write(f"items-{number}.jsonl", "".join(lines).encode())
        self._write(f"vectors-{number}.safetensors", save(vectors))
        self._part = []

    def _write(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self._tar.addfile(info, io.BytesIO(content))
        if name != _MANIFEST:
            self.manifest.files[name] = hashlib.sha256(content).hexdigest()


def remove_unfinished(folder: Path) -> None:
    """Removes what backups that were killed have left in a folder, and nothing that one is writing. Blocking."""
    for path in folder.glob(f"backup-*.tar{_UNFINISHED}"):
        with contextlib.suppress(OSError), path.open("r+b") as file:
            _lock(file)
            path.unlink()


def _lock(file: IO[bytes]) -> None:
    """Marks a file as being written, until it is closed or the process ends.

    Raises:
        BlockingIOError: another process is writing it, or was until now: the file has another name by then, or none.
        OSError: the disk knows no locks.
    """
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samefile(file.fileno(), file.name):
            return
    raise BlockingIOError(f"{file.name} was finished or removed meanwhile")


class Reader:
    """A backup that was read once and found whole. Blocking.

    Raises:
        DamagedBackup: it is not.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._tar = tarfile.open(path, "r:")  # noqa: SIM115 - until `close`
            self._members = {member.name: member for member in self._tar if member.isfile()}
            if _MANIFEST not in self._members:
                raise DamagedBackup(f"{path} has no {_MANIFEST}: it was cut off, or is no backup")
            self.manifest = self._read_manifest()
            found = {name: self._sha256(member) for name, member in self._members.items()}
        except (tarfile.TarError, EOFError) as error:
            raise DamagedBackup(f"{path} is no backup, or damaged: {error}") from error
        for name, checksum in self.manifest.files.items():
            if name not in found:
                raise DamagedBackup(f"{path} is damaged: {name} is missing")
            if found[name] != checksum:
                raise DamagedBackup(f"{path} is damaged: {name} is not what was written (its SHA-256 differs)")

    def parts(self) -> Iterator[list[Exported]]:
        """The items with their vectors, some at a time. Raises DamagedBackup."""
        names = sorted(name for name in self.manifest.files if name.startswith("items-"))
        for name in names:
            payloads = [json.loads(line) for line in self._content(name).splitlines()]
            try:
                vectors = load(self._content(name.replace("items-", "vectors-").replace(".jsonl", ".safetensors")))
            except SafetensorError as error:
                raise DamagedBackup(f"{self._path}: the vectors of {name} cannot be read: {error}") from error
            tokens = np.split(vectors["tokens"], np.cumsum(vectors["lengths"])[:-1])
            yield [Exported(payload, own) for payload, own in zip(payloads, tokens, strict=True)]

    def picture(self, name: str) -> bytes | None:
        """A picture's file, by the name that its item gives it; None if it was lost already."""
        return self._content(f"media/{name}") if f"media/{name}" in self.manifest.files else None

    def rules(self) -> Rules | None:
        """The search rules; None if the shop had none. Raises DamagedBackup."""
        if _RULES not in self.manifest.files:
            return None
        try:
            return Rules.model_validate_json(self._content(_RULES))
        except ValueError as error:
            raise DamagedBackup(f"{self._path}: its {_RULES} cannot be read: {error}") from error

    def close(self) -> None:
        self._tar.close()

    def _read_manifest(self) -> Manifest:
        try:
            content: dict[str, Any] = json.loads(self._content(_MANIFEST))
            if content["format"] > FORMAT:
                raise DamagedBackup(
                    f"{self._path} has format {content['format']}, and this version reads formats up to {FORMAT}: use "
                    "a newer version of the service"
                )
            return Manifest(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedBackup(f"{self._path}: its {_MANIFEST} cannot be read: {error}") from error

    def _content(self, name: str) -> bytes:
        file = self._tar.extractfile(self._members[name])
        assert file is not None
        return file.read()

    def _sha256(self, member: tarfile.TarInfo) -> str:
        digest = hashlib.sha256()
        file = self._tar.extractfile(member)
        assert file is not None
        left = member.size
        while left:
            block = file.read(min(_BLOCK, left))
            if not block:
                raise DamagedBackup(f"{self._path} is cut off in the middle of {member.name}")
            digest.update(block)
            left -= len(block)
        return digest.hexdigest()

"""Search rules: what the shop's own people say about certain queries, whatever the model thinks of them.

Three kinds, as search engines for shops have them: synonyms (what shoppers call it, and what the catalogue does),
curations (items that come first or never for a query, always or for a season) and boosts (what comes first of hits that
are about as relevant). They lie in one small file of the data folder, which service processes that share the folder
share too.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from retriever.files import write_whole
from retriever.index.fields import fold
from retriever.index.lexical import stemmed
from service.field_types import ItemId, Text
from service.problems import Problem, message_of
from service.query import TYPED
from service.schemas import Strict
from service.search_schemas import BoostBy

log = logging.getLogger(__name__)

FILE = "rules.json"
_LOOK_EVERY = 1.0  # seconds; another process may have written the file

_Phrase = Annotated[Text, StringConstraints(min_length=1, max_length=200)]


class Synonym(Strict):
    words: list[_Phrase] = Field(
        min_length=1, max_length=50, description="What shoppers type, in any form: `jumper` is `jumpers`, too."
    )
    means: _Phrase = Field(description="What the catalogue calls it; searched for in place of each of `words`.")


class Curation(Strict):
    query: _Phrase = Field(
        description="The whole query, or a part; letter case, marks at the ends of words and their forms do not count."
    )
    match: Literal["exact", "contains"] = Field(
        default="exact",
        description=(
            "`contains`: the words, one after another, anywhere in what is searched for. One curation holds for a "
            "search: one of the whole query if there is any, or else the one that has most of its words."
        ),
    )
    pin: list[ItemId] = Field(default_factory=list, max_length=50, description="Items that come first, in this order.")
    hide: list[ItemId] = Field(default_factory=list, max_length=500, description="Items that are not shown.")
    starts_at: AwareDatetime | None = Field(
        default=None, description="Before it, this does nothing: an ISO date with a time zone."
    )
    ends_at: AwareDatetime | None = Field(default=None, description="From it on, this does nothing.")

    @model_validator(mode="after")
    def _does_something(self) -> "Curation":
        if not self.pin and not self.hide:
            raise ValueError("says nothing: name items to pin or to hide")
        if both := set(self.pin) & set(self.hide):
            raise ValueError(f"pins and hides {min(both)!r}")
        if len(set(self.pin)) < len(self.pin):
            raise ValueError("pins an item twice")
        if self.start >= self.end:
            raise ValueError("ends_at is not after starts_at")
        return self

    @property
    def start(self) -> datetime:
        return self.starts_at or datetime.min.replace(tzinfo=UTC)

    @property
    def end(self) -> datetime:
        return self.ends_at or datetime.max.replace(tzinfo=UTC)


class Rules(Strict):
    """All rules of a shop."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "synonyms": [{"words": ["tv", "telly"], "means": "television"}],
                    "curations": [
                        {"query": "gift", "pin": ["mug-17", "candle-3"], "hide": ["card-1"]},
                        {"query": "gift", "match": "contains", "pin": ["bow-1"], "ends_at": "2026-12-25T00:00:00Z"},
                    ],
                    "boost": [{"field": "price", "weight": 0.1}],
                }
            ]
        },
    )

    synonyms: list[Synonym] = Field(default_factory=list, max_length=1000)
    curations: list[Curation] = Field(default_factory=list, max_length=1000)
    boost: list[BoostBy] = Field(
        default_factory=list,
        max_length=10,
        description="For each search by words or a picture without a `boost` of its own, a `sort` or a `rerank`.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> "Rules":
        # Told apart by their quotes still: files have the same word with ' and with ’ from when each held for itself.
        if twice := _first_repeated([_case_folded(word) for synonym in self.synonyms for word in synonym.words]):
            raise ValueError(f"synonyms name {twice!r} twice")
        for (_, query), same in _by(_case_folded, self.curations).items():
            if any(earlier.end > later.start for earlier, later in pairwise(sorted(same, key=lambda one: one.start))):
                raise ValueError(f"curations name {query!r} twice for the same time")
        return self

    def meaning(self, text: str) -> str:
        """A query in the catalogue's words: each synonym replaced once, the longest first."""
        words, meant = text.split(), list[str]()
        while words:
            lengths = range(min(len(words), self._longest), 0, -1)
            forms = ((n, form) for n in lengths for form in _forms(" ".join(words[:n])))
            said, means = next(((n, self._means[form]) for n, form in forms if form in self._means), (1, words[0]))
            meant.append(means)
            del words[:said]
        return " ".join(meant)

    @cached_property
    def tag(self) -> str:
        """An ETag: the same for the same rules, whichever process read them."""
        return f'"{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]}"'

    def curation(self, forms: Sequence[str], now: datetime) -> Curation | None:
        """What is said about a query, given in all forms that it has: as it was typed, corrected, and meant."""
        folded = [*dict.fromkeys(map(_folded, forms))]
        parts = sorted({part for form in folded for part in _parts(form, self._longest_part)}, key=_by_length)
        texts = [*(("exact", text) for text in folded), *(("contains", part) for part in parts)]
        said = (one for how, text in texts for form in _forms(text) for one in self._curations.get((how, form), ()))
        return next((one for one in said if one.start <= now < one.end), None)

    @cached_property
    def words(self) -> str:
        """What shoppers may type though no item says it."""
        return " ".join(word for synonym in self.synonyms for word in synonym.words)

    @cached_property
    def _means(self) -> dict[str, str]:
        words = [
            (word, synonym.means.translate(TYPED))
            for synonym in reversed(self.synonyms)
            for word in reversed(synonym.words)
        ]
        return {_stemmed(word): means for word, means in words} | {_folded(word): means for word, means in words}

    @cached_property
    def _longest(self) -> int:
        return max((len(word.split()) for word in self._means), default=0)

    @cached_property
    def _curations(self) -> dict[tuple[str, str], list[Curation]]:
        """By how they match, and their words: as they are written, and in any form."""
        return _by(_stemmed, self.curations) | _by(_folded, self.curations)

    @cached_property
    def _longest_part(self) -> int:
        return max((len(query.split()) for match, query in self._curations if match == "contains"), default=0)


class RuleBook:
    """The rules in force: read from their file, and again when it has changed."""

    def __init__(self, data_dir: Path) -> None:
        """Blocking.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds no rules; the message says where.
        """
        self._path = data_dir / FILE
        self._stamp = self._stamp_now()
        self._rules = read_rules(data_dir)
        self._failure: str | None = None  # why the file could not be read when it was last looked at
        self._writing = asyncio.Lock()

    def current(self) -> Rules:
        return self._rules

    async def follow(self) -> None:
        """Reads what another process writes, a second later, until it is cancelled.

        Apart from the searches: none waits for a disk, least of all for one that does not answer.
        """
        while True:
            async with self._writing:
                await self._look()
            await asyncio.sleep(_LOOK_EVERY)

    async def replace(self, rules: Rules, tags: Collection[str] | None = None) -> None:
        """Puts these in the place of all rules, durably; with tags, only of rules that have one of them.

        Raises:
            Problem: 412 `version_mismatch`, the rules have been changed; 507 `storage_failed`, the disk is full or
                broken. The rules are as they were.
        """
        async with self._writing:
            await self._look()
            if tags is not None and self._rules.tag not in tags:
                detail = f"The rules have been changed: their ETag is {self._rules.tag} now. Read them again."
                raise Problem(412, "version_mismatch", detail)
            try:
                await asyncio.to_thread(write_rules, self._path.parent, rules)
            except OSError as error:
                raise Problem(507, "storage_failed", f"The rules could not be stored: {error.strerror}.") from error
            self._rules, self._stamp = rules, None  # read again: another process may have written right after

    async def _look(self) -> None:
        try:
            await asyncio.to_thread(self._read_if_changed)
            self._failure = None
        except Exception as error:  # whatever it is, searches go on by the rules that are known
            if str(error) != self._failure:  # not every second
                log.error("the rules stay as they were: %s", error)
            self._failure = str(error)

    def _read_if_changed(self) -> None:
        if (stamp := self._stamp_now()) != self._stamp:
            self._rules = read_rules(self._path.parent)
            self._stamp = stamp

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns


def read_rules(data_dir: Path) -> Rules:
    """The rules of a data folder; none without a file. Blocking.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no rules.
    """
    path = data_dir / FILE
    try:
        return Rules.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Rules()
    except ValidationError as error:
        first = error.errors()[0]
        reason = " ".join(filter(None, (".".join(map(str, first["loc"])), message_of(first))))
        raise ValueError(f"{path} holds no rules: repair it, or move it away to start without. {reason}") from error


def write_rules(data_dir: Path, rules: Rules) -> None:
    """Puts rules in the place of those that a data folder has, durably. Blocking. Raises OSError."""
    write_whole(data_dir / FILE, rules.model_dump_json(indent=1).encode() + b"\n")


def _folded(text: str) -> str:
    """The form in which two queries are the same: however their quotes are typed, too."""
    return _case_folded(text.translate(TYPED))


def _case_folded(text: str) -> str:
    """Without marks at the ends of words, and without letter case."""
    return " ".join(word.rstrip(",.;:!?") or word for word in fold(text).split())


def _stemmed(text: str) -> str:
    return stemmed(_folded(text))


def _forms(text: str) -> Iterator[str]:
    """What a text is looked up by: first as it is written, and then in any form of its words."""
    yield _folded(text)
    yield _stemmed(text)


def _by(form: Callable[[str], str], curations: Sequence[Curation]) -> dict[tuple[str, str], list[Curation]]:
    """By how they match, and their words in this form."""
    found: dict[tuple[str, str], list[Curation]] = {}
    for one in curations:
        found.setdefault((one.match, form(one.query)), []).append(one)
    return found


def _parts(text: str, longest: int) -> Iterator[str]:
    """All that stands together in a text, of up to so many words."""
    words = text.split()
    for start in range(len(words)):
        for end in range(start + 1, min(start + longest, len(words)) + 1):
            yield " ".join(words[start:end])


def _by_length(part: str) -> tuple[int, int, str]:
    """For sorting: most words first, and of as many, most letters."""
    return -len(part.split()), -len(part), part


def _first_repeated(values: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None

"""What shoppers search for, and what they do not find: `python -m service.search_report`.

Reads the event log (`SEARCH_EVENTS=true`), beside a running service or without one, and prints four lists of queries:
the most frequent, those that found nothing, those whose best hit scores least, which may be for what the shop does not
have, and those of whose hits none was chosen. Each asks for something else: a curation, a synonym or a product that is
missing, a better picture or text. `--csv` writes all queries with all numbers.

Queries are what was searched for by words, corrected, without letter case. Searches while one types (`complete`) count
only if something was chosen of them. A choice is a click, or what came of it. Exit status: 0, or 2 where there is no
log, or no room for the file.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from tqdm import tqdm

from retriever.index.fields import fold_phrase
from service.settings import from_environment

_CHOICES = frozenset({"click", "add_to_cart", "purchase"})
_WIDEST = 50  # letters of a query in a list


@dataclass(slots=True)
class Query:
    """What became of all searches for the same."""

    text: str
    searches: int = 0
    found_nothing: int = 0
    hits: int = 0  # of the latest search
    score: float | None = None  # of its best hit
    latest: str = ""  # the time of that search
    chosen: int = 0  # searches of which something was
    bought: int = 0
    choices: int = 0
    places: int = 0  # of the choices, each counted from 1, together

    @property
    def share_chosen(self) -> float:
        # A page that follows is no search of its own, and what is chosen there a choice of it.
        return min(self.chosen / self.searches, 1.0) if self.searches else 0.0

    @property
    def mean_place(self) -> float | None:
        return self.places / self.choices if self.choices else None


@dataclass
class Report:
    """What a log says of each query."""

    queries: dict[str, Query] = field(default_factory=dict)
    broken: int = 0  # lines; a kill may cut the last one of a segment off
    _searches: dict[bytes, tuple[Query, bool]] = field(default_factory=dict)  # by search_id; whether it is counted
    _chosen: set[tuple[bytes, str | None]] = field(default_factory=set)  # search_id with and without the item
    _early: list["_Choice"] = field(default_factory=list)  # of searches that have not been read yet

    def add(self, record: dict[str, Any]) -> None:
        """Counts one. Raises KeyError, TypeError or ValueError, if it is none."""
        name = bytes.fromhex(record["search_id"])
        if record["kind"] == "search":
            self._add_search(name, record)
        elif record["kind"] in _CHOICES:
            choice = _Choice(name, str(record["item_id"]), int(record["position"]) + 1, record["kind"] == "purchase")
            if name in self._searches:
                self._add_choice(choice)
            else:
                self._early.append(choice)

    def join(self) -> None:
        """Counts the choices that came before their search; to be called when all records are there.

        A shopper's search and click may go to two replicas, which write segments of their own, and a clock that steps
        back gives a later segment an earlier name.
        """
        early, self._early = self._early, []
        for choice in early:
            if choice.search in self._searches:
                self._add_choice(choice)
        self.queries = {text: one for text, one in self.queries.items() if one.searches}

    def most_searched(self) -> list[Query]:
        return sorted(self.queries.values(), key=lambda one: -one.searches)

    def without_hits(self) -> list[Query]:
        return sorted((one for one in self.queries.values() if one.found_nothing), key=lambda one: -one.found_nothing)

    def least_alike(self) -> list[Query]:
        """Of those that found something, where the log has scores."""
        scored = [(one.score, -one.searches, one.text, one) for one in self.queries.values() if one.score]
        return [one for *_, one in sorted(scored)]

    def without_choice(self) -> list[Query]:
        """Of those that found something; none where the log knows of no choice at all."""
        told = any(one.chosen for one in self.queries.values())
        return [one for one in self.most_searched() if told and not one.chosen and one.searches > one.found_nothing]

    def _add_search(self, name: bytes, record: dict[str, Any]) -> None:
        if record.get("by", "words") != "words":
            return
        if not isinstance(record["query"], str):
            raise TypeError("a query is text")
        text, items = fold_phrase(record["query"]), len(record["items"])
        total, offset = int(record.get("total", items)), int(record["offset"])
        score = None if record.get("score") is None else float(record["score"])
        if not text:
            return
        query = self.queries.setdefault(text, Query(text))
        counted = not record.get("complete") and offset == 0
        self._searches[name] = query, counted or offset > 0
        if counted:
            query.searches += 1
            query.found_nothing += not items
            if record["time"] >= query.latest:
                query.hits, query.score, query.latest = total, score, record["time"]

    def _add_choice(self, choice: "_Choice") -> None:
        name, item_id, place, bought = choice
        query, counted = self._searches[name]
        if not counted:  # chosen while it was typed: it was what was searched for
            self._searches[name] = query, True
            query.searches += 1
        if (name, None) not in self._chosen:
            self._chosen.add((name, None))
            query.chosen += 1
        query.bought += bought
        if (name, item_id) not in self._chosen:  # put into the cart after a click
            self._chosen.add((name, item_id))
            query.choices += 1
            query.places += place


class _Choice(NamedTuple):
    search: bytes
    item_id: str
    place: int  # from 1
    bought: bool


def read(log: Path, since: datetime | None = None) -> Report:
    """What a folder of event segments says. Raises OSError, if there is none or it cannot be read."""
    paths = sorted(log.glob("*.jsonl"))
    if not paths:
        raise FileNotFoundError(f"{log} holds no event log: SEARCH_EVENTS=true makes the service keep one")
    report, first = Report(), since.isoformat(timespec="milliseconds") if since else ""
    with tqdm(total=sum(path.stat().st_size for path in paths), desc="events", unit="B", unit_scale=True) as progress:
        for line in _lines(paths):
            progress.update(len(line))
            try:
                record = orjson.loads(line)
                if record["time"] >= first:
                    report.add(record)
            except (KeyError, TypeError, ValueError):
                report.broken += 1
    report.join()
    return report


def _lines(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            yield from file


def write_csv(report: Report, path: Path) -> None:
    """All queries, the most frequent first. Raises OSError."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["query", "searches", "found_nothing", "hits", "score", "share_chosen", "bought", "mean_place"])
        for one in report.most_searched():
            place = "" if one.mean_place is None else round(one.mean_place, 2)
            score = "" if one.score is None else round(one.score, 4)
            numbers = [one.searches, one.found_nothing, one.hits, score, round(one.share_chosen, 4), one.bought, place]
            # Strangers typed it, and a spreadsheet would take some of it for a formula.
            rows.writerow([f"'{one.text}" if one.text[0] in "=+-@" else one.text, *numbers])


def as_text(report: Report, limit: int) -> str:
    """The four lists, each with so many queries."""
    searches = sum(one.searches for one in report.queries.values())
    parts = [f"{searches:,} searches for {len(report.queries):,} different queries"]
    lists = {
        "Most searched": report.most_searched(),
        "Found nothing": report.without_hits(),
        "Least like anything": report.least_alike(),
        "Nothing chosen": report.without_choice(),
    }
    head = f"{'':{_WIDEST}} {'searches':>9} {'no hits':>9} {'hits':>9} {'score':>6} {'chosen':>7}"
    head += f" {'bought':>7} {'place':>6}"
    for title, queries in lists.items():
        more = f" (the first {limit} of {len(queries):,})" if len(queries) > limit else ""
        parts.append(
            "\n".join([f"{title}{more}", head, *map(_row, queries[:limit])] if queries else [f"{title}: none"])
        )
    return "\n\n".join(parts)


def _days_ago(days: str) -> datetime:
    try:
        return datetime.now(UTC) - timedelta(days=float(days))
    except (ValueError, OverflowError) as error:  # no number, or before there were years
        raise argparse.ArgumentTypeError(f"{days} is no number of days") from error


def _row(one: Query) -> str:
    text = "".join(letter if letter.isprintable() else "·" for letter in one.text)  # nothing that moves the cursor
    place = "" if one.mean_place is None else f"{one.mean_place:.1f}"
    score = "" if one.score is None else f"{one.score:.2f}"
    counts = f"{one.searches:>9,} {one.found_nothing:>9,} {one.hits:>9,} {score:>6} {one.share_chosen:>7.0%}"
    return (
        f"{text[: _WIDEST - 1] + '…' if len(text) > _WIDEST else text:{_WIDEST}} {counts} {one.bought:>7,} {place:>6}"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m service.search_report", description="What shoppers search for, and what they do not find."
    )
    parser.add_argument("--log", type=Path, help="folder of the event log (default: events in SEARCH_DATA_DIR)")
    parser.add_argument("--days", type=_days_ago, help="how far back (default: all that is kept)")
    parser.add_argument("--limit", type=int, default=20, help="queries of each list (default: %(default)s)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all queries there, too")
    args = parser.parse_args(arguments)
    log = args.log or from_environment().data_dir / "events"
    try:
        report = read(log, args.days)
        if args.csv:
            write_csv(report, args.csv)
    except OSError as error:
        print(f"No report was made: {error}", file=sys.stderr)
        return 2
    print(as_text(report, args.limit))
    if report.broken:
        print(f"{report.broken:,} lines could not be read, and were left out", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""An index of items, as far as it does not depend on the engine: how it is searched, counted and listed.

An engine's adapter adds the calls that are abstract in `ItemIndex`, most of them named with an underscore, and says how
it is opened.
"""

import asyncio
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy.typing as npt

from retriever.arrays import Floats
from retriever.index import article_numbers, boost, fusion, lexical, selection
from retriever.index.fields import EXACT, WORDS_KEY, Kind, fold, key, merged
from retriever.index.filters import Among, AnyOf, Condition, Fields, Range, conjoin, keys_of, resolve
from retriever.index.group_commit import GroupCommit
from retriever.index.known_fields import KnownFields, Schema
from retriever.index.listing import Listing
from retriever.index.points import IndexedItem, Payload, Point, make_points, point_id
from retriever.index.query import Boost, IndexQuery, checked
from retriever.index.results import Facet, Hit, SearchResult
from retriever.index.selection import Cut, Sort
from retriever.index.word_counts import WordCounts

T = TypeVar("T")


class ItemIndex(Listing):
    """Items by the shop's own id, searched by meaning and by words, within what filters let through.

    Every method raises `IndexUnavailable` when the engine does not do what it was asked.
    """

    def __init__(self, dim: int, model_id: str, *, fields_trusted: float = math.inf) -> None:
        self._dim, self._model_id = dim, model_id
        self._fields = KnownFields(self._read_fields, self._create_field, fields_trusted)
        self._words = WordCounts(self.count)
        self._commits = GroupCommit(self._write)

    @property
    def engine_pid(self) -> int | None:
        """The process that the engine has to itself, while it runs; None of one that others run."""
        return None

    async def upsert(self, items: Sequence[IndexedItem]) -> None:
        """Writes items; an id that is there already, or comes twice, keeps the last. When it returns, they are durable.

        All items are checked before the first is written. Each is written whole; a batch of many may be written in
        part if the engine fails. Calls side by side are written together, and one that fails does so alone.

        Raises:
            ValueError: tokens that are not `(T, D)` with T ≥ 1, or not finite; a payload that is not JSON.
        """
        points = await asyncio.to_thread(make_points, items, self._dim, self._model_id)
        if points:
            await self._fields.learn(points)
            await self._commits.write(points)

    async def get(self, ids: Sequence[str]) -> dict[str, Payload]:
        """The payloads of those ids that are there: as given, and `id`."""
        payloads = await self._payloads([point_id(item_id) for item_id in ids]) if ids else {}
        return {payload["id"]: payload for payload in payloads.values()}

    async def tokens(self, ids: Sequence[str]) -> dict[str, Floats]:
        """The tokens `(T, D)` of those ids that are there."""
        found = await self._tokens([point_id(item_id) for item_id in ids]) if ids else {}
        return {item_id: found[point_id(item_id)] for item_id in ids if point_id(item_id) in found}

    async def delete(self, ids: Sequence[str]) -> int:
        """Deletes items, durably; returns how many were there."""
        return await self._delete(list({point_id(item_id) for item_id in ids})) if ids else 0

    async def fields(self) -> Fields:
        """The fields that can be filtered by, with the kinds of their values."""
        return await self._fields.all()

    async def with_fields(self, read: Callable[[Fields], T]) -> T:
        """What `read` makes of the fields, as in `KnownFields.read_by`. Raises FilterError where `read` does."""
        return await self._fields.read_by(read)

    async def facets(self, names: Sequence[str], filter: Condition | None = None, limit: int = 20) -> dict[str, Facet]:
        """What values these fields have among the items that a filter lets through; `limit` keywords of each at most.

        Raises:
            FilterError: an unknown field.
        """
        fields = await self.with_fields(lambda known: [resolve(name, known, "facets") for name in names])
        counting = (self._field_facet(field, filter, limit) for field in fields)
        # Among the hits of one search each count takes long: other searches go in between.
        found = [await one for one in counting] if isinstance(filter, Among) else await asyncio.gather(*counting)
        return dict(zip(names, found, strict=True))

    async def range_counts(self, ranges: Sequence[Condition], among: Condition | None = None) -> list[int]:
        """How many items lie in each of these ranges (`filters.between`), of those that a condition lets through."""
        if not isinstance(among, Among):
            return await asyncio.gather(*(self.count(conjoin(among, one)) for one in ranges))
        # One search's own hits, thousands of ids: they go to the engine once, and not with each of the ranges.
        values = (await self.values_of(among.point_ids, list(set().union(*map(keys_of, ranges))))).values()
        return [
            sum(isinstance(one, Range) and any(map(one.holds, own.get(one.key, ()))) for own in values)
            for one in ranges
        ]

    async def search(
        self,
        query: npt.NDArray[Any] | None,
        text: str,
        *,
        limit: int,
        offset: int = 0,
        lexical_weight: float | None = None,
        named: Condition | None = None,
        pinned: Sequence[str] = (),
        boosts: Sequence[Boost] = (),
        filter: Condition | None = None,
        sort: Sequence[Sort] = (),
        group_by: Sequence[str] = (),
        min_score: float | None = None,
        relevance_floor: float | None = None,
        explain: bool = False,
    ) -> SearchResult:
        """The items that fit a query best.

        Candidates are the items whose `dense` vector is nearest to the query and those that BM25 puts first; MaxSim
        over their tokens ranks them, with `lexical_weight` × their share of the query's words added (0: meaning
        alone; see `fusion`). Pages of one query join without gaps or repeats for as long as the items stay as they are.
        Boosts then order the best of what the floors leave, so many as `boost.boost_depth` says.

        With `sort`, `group_by`, `min_score` or `relevance_floor`, the ranking is made of the best 1,000 candidates, or
        10,000 (`selection.POOL`) where the floors leave more than half of these, or where a page of groups is not full.
        `total` says how many are left; of groups and of each group's items, how many there are at least.

        Args:
            query: The query's embedding `(D,)`, or `(M, D)` vectors whose MaxSim are added, each weighted by its
                length; None to rank by words alone.
            text: Its words, for BM25; may be empty.
            named: What the few items have that it names by their number (`resolve_article_numbers`): they come first.
            pinned: Ids of items that come before all others, in this order: those that are there, that the filter lets
                through and, if words rank alone, that have one of them. Floors do not hold for them.
            boosts: What is added to some items' scores, after the floors; nothing where an article number is asked for.
            filter: Only items that it lets through are ranked.
            sort: An order by fields in place of relevance, within what the floors leave.
            group_by: The payload keys of a field, one for each kind: one item, the first, for each of its values.
            min_score: Only items that score at least this.
            relevance_floor: Only items that score at least this share of the best (see `selection.above`).
            explain: Also say of each hit what its score is made of.

        Raises:
            ValueError: a query of another shape or not finite, a negative limit, offset or weight.
        """
        vectors = None if query is None else checked(query, self._dim)
        if limit < 0 or offset < 0:
            raise ValueError(f"limit and offset must be at least 0, not {limit} and {offset}")
        if lexical_weight is None:
            lexical_weight = fusion.weight_of(text, named=named is not None)
        if not 0 <= lexical_weight < float("inf"):
            raise ValueError(f"lexical_weight must be 0 or a positive number, not {lexical_weight}")
        words = lexical.embed_query(text) if lexical_weight else None
        if vectors is None:
            if words is None:
                return SearchResult([], 0, Among(()))
            # An item without any of the words is no match.
            filter = conjoin(filter, AnyOf(WORDS_KEY, tuple(words.indices)))
        points = tuple(map(point_id, pinned))
        # Who asks for an article number wants that item, however much the shop would rather sell another.
        lifts = () if named or (lexical_weight and lexical.codes(text)) else tuple(boosts)
        asked = IndexQuery(vectors, text, words, lexical_weight, named, filter, points, lifts)
        wanted = offset + limit
        cut = Cut(tuple(sort), tuple(group_by), min_score, relevance_floor)
        if cut != Cut():
            chosen, total, among = await self._of_pool(asked, wanted, cut)
        elif not limit:
            return SearchResult([], await self.count(filter), filter)
        else:
            if vectors is not None and not (offset or explain or named or pinned or lifts):
                first = await self._first_page(asked, limit)
                if first is not None:
                    return first
            chosen, total = await self._best(asked, offset, wanted)
            among = filter
        return SearchResult(await self._shown(chosen[offset:wanted], explain=explain), total, among)

    async def _best(self, asked: IndexQuery, offset: int, wanted: int) -> tuple[list[selection.Chosen], int]:
        """The `wanted` best, and how many the filter lets through; none if there are not even `offset`."""
        rank = self._lifted if asked.boosts else self._ranked
        if wanted <= fusion.CANDIDATES:
            total, ranked = await asyncio.gather(self.count(asked.filter), rank(asked, wanted))
        else:  # how deep to look depends on how many there are
            total = await self.count(asked.filter)
            ranked = await rank(asked, min(wanted, total)) if offset < total else []
        return [selection.Chosen(one) for one in ranked], total

    async def _ranked(self, asked: IndexQuery, wanted: int, least: int = 0) -> list[fusion.Ranked]:
        """The `wanted` best. Candidates come in tiers, of which the first holds at least `least`."""
        tiers, ideal = await self._tiers(asked, fusion.depths(wanted, max(fusion.CANDIDATES, least)))
        return fusion.rank(tiers, asked.lexical_weight, wanted, ideal)

    async def _lifted(self, asked: IndexQuery, wanted: int) -> list[fusion.Ranked]:
        """As `_ranked`, and at least as many as boosts are about, in the order that these give."""
        ranked = await self._ranked(asked, fusion.CANDIDATES)
        reach = boost.boost_depth(ranked, asked, grouped=False)
        if max(wanted, reach.many) > fusion.CANDIDATES:
            ranked = await self._ranked(asked, max(wanted, reach.many), reach.many)
        return await self._boosted(ranked, asked, reach)

    async def _of_pool(
        self, asked: IndexQuery, wanted: int, cut: Cut
    ) -> tuple[list[selection.Chosen], int, Condition | None]:
        """All that the floors leave of a pool, in order and one of each group; how many; and what they are among."""
        words_decide = asked.vectors is None or (asked.lexical_weight > 0 and lexical.has_code(asked.text))
        items, tiers = await self.count(asked.filter), list[fusion.Candidates]()
        for depth in selection.POOL:
            deeper, ideal = await self._tiers(asked, [depth])
            tiers += deeper
            ranked = fusion.rank(tiers, asked.lexical_weight, depth, ideal)
            left = selection.above(ranked, cut, words_decide=words_decide, pinned=asked.pinned)
            reach = boost.boost_depth(left, asked, grouped=bool(cut.group_by))
            chosen = await self._select(await self._boosted(left, asked, reach), cut)
            fewer = len(left) < len(ranked)
            # Candidates come by `dense`, floors are of MaxSim: where they cut off few, they leave more of deeper ones.
            inside = len(left) <= depth // 2
            # Sorted pages are of one order, so where they are does not say how deep it goes.
            if inside or len(ranked) >= items or (cut.group_by and not cut.sort and len(chosen) > wanted):
                break
        return chosen, len(chosen), Among(tuple(one.point_id for one in left)) if fewer else asked.filter

    async def browse(
        self,
        *,
        sort: Sort,
        limit: int,
        offset: int = 0,
        filter: Condition | None = None,
        group_by: Sequence[str] = (),
    ) -> SearchResult:
        """All items that a filter lets through, in the order of a field of numbers or dates; their scores are 0.

        Args:
            group_by: As in `search`; more than 10,000 items are not grouped, and beyond 1,000 `total` is a least one.
        """
        items, wanted = await self.count(filter), offset + limit if limit else 0
        for depth in selection.POOL if group_by else (wanted,):
            places = await self._beyond(sort, None, depth, filter) if items and (group_by or offset < items) else []
            ranked = [fusion.Ranked(point, 0.0, 0.0, 0.0) for _, point in places]
            chosen = await self._select(ranked, Cut(group_by=tuple(group_by)))
            if len(places) >= items or len(chosen) > wanted:
                break
        hits = await self._shown(chosen[offset:wanted], explain=False)
        return SearchResult(hits, len(chosen) if group_by else items, filter)

    async def _shown(self, page: Sequence[selection.Chosen], *, explain: bool) -> list[Hit]:
        # Payloads are fetched for the page alone: sent along with every candidate they would double the whole search.
        payloads = await self._payloads([one.ranked.point_id for one in page]) if page else {}
        return [
            Hit(
                payload["id"],
                one.ranked.score,
                payload,
                one.ranked.semantic if explain else None,
                one.ranked.lexical if explain else None,
                one.ranked.boost if explain else None,
                one.group,
                one.group_size,
            )
            for one in page
            # An item deleted since it was ranked has no payload.
            if (payload := payloads.get(one.ranked.point_id)) is not None
        ]

    async def resolve_article_numbers(self, text: str) -> tuple[str, Condition | None]:
        """A query's words, and what those items have that it names by their number: as `article_numbers.resolve`."""
        return await article_numbers.resolve(text, self.count)

    async def _tiers(self, asked: IndexQuery, depths: Sequence[int]) -> tuple[list[fusion.Candidates], float]:
        """Candidates of these depths, and the ideal BM25 that theirs is measured by."""
        tiers, ideal = await asyncio.gather(self._candidates(asked, depths), self._ideal(asked))
        if asked.named and asked.words:
            (few,) = await self._candidates(
                replace(asked, filter=conjoin(asked.filter, asked.named)), [article_numbers.FEW]
            )
            tiers = [fusion.with_named(tier, few, ideal) for tier in tiers]
        if asked.pinned:
            they = replace(asked, filter=conjoin(asked.filter, Among(asked.pinned)))
            (few,) = await self._candidates(they, [len(asked.pinned)])
            tiers = [*fusion.pinned(few, asked.pinned), *tiers]
        return tiers, ideal

    async def _ideal(self, asked: IndexQuery) -> float:
        return 0.0 if asked.words is None else await self._words.ideal(asked.text, asked.words)

    async def _boosted(
        self, ranked: list[fusion.Ranked], asked: IndexQuery, reach: boost.BoostDepth
    ) -> list[fusion.Ranked]:
        best = ranked[: reach.many]
        if not best or not asked.boosts:
            return ranked
        points, among = [one.point_id for one in best], boost.relevant(best, asked)
        shares = await asyncio.gather(*(self._shares(one.by, points, among) for one in asked.boosts))
        return boost.boosted(ranked, asked, reach, shares)

    async def _shares(self, by: str | Condition, points: Sequence[str], among: set[str]) -> Mapping[str, float]:
        """How much each of these points has of what is boosted, 0 to 1; none, where it is left out.

        Args:
            among: Those of them by whose values that of each is measured.
        """
        if not isinstance(by, str):
            matching, _ = await self._ids(None, len(points), conjoin(Among(tuple(points)), by))
            return dict.fromkeys(matching, 1.0)
        values = await self.values_of(points, [by])
        return boost.by_place({point: own[by][0] for point, own in values.items() if own.get(by)}, among)

    async def _select(self, left: Sequence[fusion.Ranked], cut: Cut) -> list[selection.Chosen]:
        keys = [*(one.key for one in cut.sort), *cut.group_by]
        values = await self.values_of([one.point_id for one in left], keys)
        left = selection.ordered(left, cut.sort, values)
        return (
            selection.grouped(left, cut.group_by, values) if cut.group_by else [selection.Chosen(one) for one in left]
        )

    async def _field_facet(self, name: str, filter: Condition | None, limit: int) -> Facet:
        kinds = (await self.fields()).get(name, set())
        values: Counter[str] = Counter()
        low = high = None
        number: Kind | None = "number" if "number" in kinds else "date" if "date" in kinds else None
        for kind in ("keyword", "boolean"):
            if kind in kinds:
                # A keyword is stored as given and folded: more values than are shown.
                found = await self._counts(key(kind, name), filter, 4 * limit)
                for value, count in found if name in EXACT else merged(found):
                    # A feed may mix true and "True": one word for a filter, and so one here.
                    values[fold(value) if "boolean" in kinds and fold(value) in ("true", "false") else value] += count
        if number:
            ends = (self._ordered(key(number, name), filter, 1, descending=down) for down in (False, True))
            least, most = await asyncio.gather(*ends)
            if least and most:
                low, high = least[0][1], most[0][1]
        return Facet(sorted((+values).items(), key=lambda one: (-one[1], one[0]))[:limit], low, high, number == "date")

    @abstractmethod
    async def count(self, filter: Condition | None = None) -> int:
        """How many items there are, or how many of them a filter lets through."""

    @abstractmethod
    async def ready(self) -> None:
        """Returns if the index can serve; raises `IndexUnavailable` if not, which may take as long as any request."""

    @abstractmethod
    async def close(self) -> None:
        """Waits for calls under way and lets go of the engine. May be called twice."""

    @abstractmethod
    async def _write(self, points: Sequence[Point]) -> None:
        """Inserts or replaces; durable when it returns."""

    @abstractmethod
    async def _delete(self, point_ids: list[str]) -> int: ...

    @abstractmethod
    async def _tokens(self, point_ids: list[str]) -> dict[str, Floats]:
        """`(T, D)` by point id, for those that are there."""

    @abstractmethod
    async def _first_page(self, asked: IndexQuery, limit: int) -> SearchResult | None:
        """The first page, in as few crossings to the engine as can be; None where it must be made of its parts."""

    @abstractmethod
    async def _candidates(self, asked: IndexQuery, depths: Sequence[int]) -> list[fusion.Candidates]:
        """For each depth N: MaxSim of the N nearest by `dense` and the N best by `lexical`, and BM25 of the latter.

        Without vectors, the N best by `lexical`, each with a MaxSim of 0.
        """

    @abstractmethod
    async def _read_fields(self) -> dict[str, set[Kind]]:
        """The fields that there are, with the kinds of their values."""

    @abstractmethod
    async def _create_field(self, payload_key: str, schema: Schema) -> None:
        """Makes a field known, if it is not, before its first value is written.

        Durable when it returns, or else when that value is. Whoever looks into the field finds it indexed.
        """

    @abstractmethod
    async def _counts(self, payload_key: str, filter: Condition | None, limit: int) -> list[tuple[str, int]]:
        """How many items have each keyword, the most common first."""

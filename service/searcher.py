"""A search from its request to its answer: parse, correct, encode, rank, count, explain."""

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import BinaryIO

import numpy as np

from retriever.arrays import Floats
from retriever.index import Boost, FilterError, Hit, ItemIndex, SearchResult, picture_query
from retriever.index.fields import field_name, key, keyword
from retriever.index.filters import Among, AnyOf, Condition, Fields, Not, conjoin, parse, resolve
from retriever.index.fusion import weight_of
from retriever.index.points import point_id
from retriever.index.selection import RELEVANCE_FLOOR
from service import cursors, logs
from service.catalogue import Catalogue
from service.encoder import Encoder
from service.facets import facets_of
from service.highlight import highlighted, matched
from service.lexicon import Lexicon
from service.metrics import Metrics
from service.page_options import PageOptions, boosts_of, page_options
from service.payload import filterable, lexical_text
from service.problems import Problem, filter_errors_in, refused_field
from service.query import ParsedQuery
from service.query import parse as parse_query
from service.rules import RuleBook, Rules
from service.schemas import FacetResult, PartialItem
from service.search_plan import EVERYTHING, SearchPlan
from service.search_schemas import (
    Explanation,
    Group,
    ImageSearchForm,
    Page,
    SearchHit,
    SearchRequest,
    SearchResponse,
    TookMs,
)

log = logging.getLogger(__name__)

UNWANTED = 0.3  # how strongly what is not wanted counts against an item that looks like it


@dataclass(frozen=True)
class _Begun:
    """A search that has begun: its id in the log, and since when."""

    search_id: str = field(default_factory=logs.begin_search)
    at: float = field(default_factory=perf_counter)


class Searcher:
    """Answers searches over one catalogue."""

    def __init__(
        self,
        index: ItemIndex,
        encoder: Encoder,
        lexicon: Lexicon,
        catalogue: Catalogue,
        rules: RuleBook,
        metrics: Metrics,
    ) -> None:
        self._index, self._encoder, self._lexicon = index, encoder, lexicon
        self._catalogue, self._rules, self._metrics = catalogue, rules, metrics
        self._warned: Rules | None = None  # the rules of which a boost was said to lift nothing

    async def search(self, request: SearchRequest, place: str = "body") -> SearchResponse:
        """Ranks the catalogue by what pictures and text together say about each item; lists it where no word is wanted.

        Args:
            place: Where this search stands in what was sent.

        Raises:
            Problem: `invalid_filter`, `unknown_field`, `wrong_type`, `invalid_cursor`, `overloaded`, `cannot_rerank`.
        """
        begun = _Begun()
        if request.rerank and not self._encoder.retriever.config.matching:
            message = "needs a model that was trained to match (training.finetune --itm): leave it out"
            raise refused_field(place, "rerank", "cannot_rerank", message)
        parsed = self._parsed(request.query, request.exclude)
        if not parsed.text:
            return await self._answer(request, replace(EVERYTHING, condition=parsed.condition()), begun, place)
        rules = self._rules_now()
        meant, corrected = self._understood(parsed, rules, complete=request.complete, correct=request.correct)
        plan = replace(
            await self._plan(request, meant),
            boosts=[] if request.rerank else await self._standing_boosts(rules, request),
            rerank=request.rerank,
            explain=request.explain,
            highlight=request.highlight,
        )
        # As it was typed, and as it was meant.
        forms = (request.query, parsed.text, (corrected or meant).text, meant.text)
        if curation := rules.curation(forms, datetime.now(UTC)):
            shown = Not(_one_of(curation.hide)) if curation.hide else None
            plan = replace(plan, condition=conjoin(plan.condition, shown), pin=curation.pin)
        response = await self._answer(request, plan, begun, place, str(corrected) if corrected else None)
        if response.hits and not request.offset and not request.cursor and not request.complete:
            self._lexicon.searched(meant.text)
        return response

    async def search_image(self, form: ImageSearchForm, file: BinaryIO) -> SearchResponse:
        """Ranks the catalogue by likeness to a picture, and to words that go with it.

        Raises:
            Problem: as `search`, and `invalid_image`, `image_too_large`, `file_too_large`.
        """
        begun = _Begun()
        picture, tokens = await self._catalogue.encode_picture(file)  # tokens (Q, D)
        parsed = self._parsed(picture_query.change(str(self._parsed(form.query))))
        rules = self._rules_now()
        meant, corrected = self._understood(parsed, rules)
        text = meant.text
        words = await self._encoder.encode_query(text) if text else None
        vectors = picture_query.query_vectors(tokens, words.embedding if words else None, form.words)
        rows = np.concatenate([vectors, await self._away(parsed.excluded)])
        known, _ = await self._index.resolve_article_numbers(text)
        weight = picture_query.lexical_weight(known, form.words)
        plan = SearchPlan(
            rows,
            known,
            weight,
            parsed.condition(),
            boosts=await self._standing_boosts(rules, form),
            encoded=words,
            picture=picture.sha256,
            explain=form.explain,
        )
        return await self._answer(form, plan, begun, corrected=str(corrected) if corrected else None)

    def _rules_now(self) -> Rules:
        """The rules in force. What they call a synonym is a word that a misspelt one may be meant for."""
        rules = self._rules.current()
        self._lexicon.use_synonyms(rules.words)
        return rules

    def _parsed(self, query: str, exclude: Sequence[str] = ()) -> ParsedQuery:
        return parse_query(query, exclude, is_title=query in self._lexicon.suggester)

    def _understood(
        self, parsed: ParsedQuery, rules: Rules, *, complete: bool = False, correct: bool = True
    ) -> tuple[ParsedQuery, ParsedQuery | None]:
        """What is searched for, in the catalogue's words; and the shopper's corrected, where that was needed."""
        meant = corrected = parsed.reworded(rules.meaning)
        if complete:
            corrected = corrected.completed(self._lexicon.complete)
        if correct:
            corrected = corrected.reworded(self._lexicon.words.correct)
        # What shoppers call it may be misspelt, too.
        return (meant, None) if corrected == meant else (corrected.reworded(rules.meaning), corrected)

    async def similar(
        self, item_ids: Sequence[str], page: Page, condition: Condition | None = None, place: str = "body"
    ) -> SearchResponse:
        """The items most like some of them, themselves left out, among those that a condition lets through.

        Ids of which there is no item count for nothing.

        Raises:
            Problem: `item_not_found`, there is none of them; and as `search`.
        """
        begun = _Begun()
        tokens = await self._index.tokens(item_ids)
        if not tokens:
            which = f"no item {item_ids[0]!r}" if len(item_ids) == 1 else "none of these items"
            raise Problem(404, "item_not_found", f"There is {which}.")
        if len(tokens) == 1:
            (rows,) = map(picture_query.query_vectors, tokens.values())  # (Q, D)
        else:  # one vector each, for a search takes as long as it has rows
            rows = np.stack([own.mean(axis=0, dtype=np.float32) for own in tokens.values()])  # (items, D)
            rows /= np.float32(len(rows))
        others = Not(Among(tuple(map(point_id, item_ids))))
        of_other_groups = await self._of_other_groups(item_ids, page.group_by, place) if page.group_by else None
        plan = SearchPlan(rows, "", 0.0, conjoin(others, of_other_groups, condition))
        return await self._answer(page, plan, begun, place)

    async def _of_other_groups(self, item_ids: Sequence[str], group_by: str, place: str) -> Condition | None:
        """Not the items' own variants, which are nothing new; None where they have no group."""
        payloads = await self._index.get(item_ids)
        known = [pair for payload in payloads.values() for pair in filterable(payload).items()]

        def others(fields: Fields) -> Condition | None:
            group = resolve(group_by, fields, "group_by")
            meant = field_name(group)
            own = [value for name, value in known if field_name(name) == meant and not isinstance(value, datetime)]
            # Of several values an item is in the group of the first.
            first = [value[:1] if isinstance(value, list) else [value] for value in own if value not in (None, "")]
            same = [parse({group: value}, fields) for value in first if value]
            return conjoin(*(Not(one) for one in same if one))

        with filter_errors_in(place):
            return await self._index.with_fields(others)

    async def _plan(self, request: SearchRequest, meant: ParsedQuery) -> SearchPlan:
        text, condition = meant.text, meant.condition()
        if request.mode == "lexical":
            return SearchPlan(None, text, 1.0, condition)
        if not (request.limit or request.group_by or _floors(request)):
            return SearchPlan(None, text, 0.0, condition)  # to be counted alone
        wanted, away = await asyncio.gather(self._encoder.encode_query(text), self._away(meant.excluded))
        rows = np.concatenate([wanted.embedding[None], away])  # (1 or 2, D)
        words, named = await self._index.resolve_article_numbers(text)
        if request.mode == "semantic":
            return SearchPlan(rows, words, 0.0, condition, encoded=wanted)
        return SearchPlan(rows, words, weight_of(words, named=named is not None), condition, named, encoded=wanted)

    async def _standing_boosts(self, rules: Rules, page: Page) -> list[Boost]:
        """What the rules lift, where a search says nothing of its own about that.

        Their fields were there when the rules were put; one that has gone since lifts nothing.
        """
        found, errors = list[Boost](), list[FilterError]()
        for one in rules.boost if page.boost is None and not page.sort else ():
            try:
                found += await self._index.with_fields(partial(boosts_of, one, path="boost"))
            except FilterError as error:
                errors.append(error)
        if errors and rules is not self._warned:  # once, not with every search
            log.warning("boosts of /rules lift nothing: %s", "; ".join(map(str, errors)))
            self._warned = rules
        return found

    async def _away(self, excluded: Sequence[str]) -> Floats:
        """A row `(1, D)` that counts against what looks like what is not wanted; none, `(0, D)`, if all is welcome."""
        if not excluded:
            return np.zeros((0, self._encoder.retriever.config.embed_dim), dtype=np.float32)
        unwanted = await asyncio.gather(*map(self._encoder.encode_query, excluded))
        away: Floats = -UNWANTED * np.mean([one.embedding for one in unwanted], axis=0, keepdims=True)
        return away

    async def _answer(
        self, page: Page, plan: SearchPlan, begun: _Begun, place: str = "body", corrected: str | None = None
    ) -> SearchResponse:
        retrieved_from = perf_counter()
        offset = cursors.resolve(page, plan.identity, place)
        with self._metrics.stage("retrieve"):
            hits, result, facets = await self._retrieve(page, plan, offset, place)
        if plan.highlight:
            await asyncio.to_thread(_highlight, hits, plan.text)  # long texts take their time
        ended = perf_counter()
        self._metrics.answers.labels("found" if result.total else "empty").inc()
        following = offset + page.limit
        more = page.limit and following < result.total
        response = SearchResponse(
            hits=hits,
            total=result.total,
            next_cursor=cursors.encode(page, plan.identity, following) if more else None,
            facets=facets,
            corrected_query=corrected,
            took_ms=TookMs(
                queue=_ms(plan.encoded.queue_seconds if plan.encoded else 0.0),
                encode=_ms(plan.encoded.encode_seconds if plan.encoded else 0.0),
                retrieve=_ms(ended - retrieved_from),
                total=_ms(ended - begun.at),
            ),
            model_id=self._encoder.retriever.model_id,
            search_id=begun.search_id,
        )
        log.info("search", extra={"fields": {"hits": len(hits), **response.took_ms.model_dump()}})
        return response

    async def _retrieve(
        self, page: Page, plan: SearchPlan, offset: int, place: str
    ) -> tuple[list[SearchHit], SearchResult, dict[str, FacetResult]]:
        """The page's hits, the ranking that they are of, and the facets."""
        # Pages behind the re-ranked hits are as they were.
        again = plan.rerank if offset < plan.rerank and page.limit else 0
        limit, start = (max(again, offset + page.limit), 0) if again else (page.limit, offset)
        with filter_errors_in(place):
            options = await self._index.with_fields(
                lambda fields: page_options(page, plan.condition, fields, ranked=not plan.everything)
            )
            ranking = self._ranked(page, plan, options, limit, start)
            if plan.everything or (plan.rows is not None and not _floors(page)):
                # All that the filter lets through is ranked, so that counting need not wait.
                counting = facets_of(self._index, page, options.filter)
                result, facets = await asyncio.gather(ranking, counting)
            else:
                result = await ranking
                facets = await facets_of(self._index, page, result.ranked)
        ranked, matches = result.hits, dict[str, float]()
        if again:
            with self._metrics.stage("rerank"):
                matches = await self._match(ranked[:again], plan)
            # What is pinned is first already, in its own order.
            best = sorted(ranked[:again], key=lambda hit: -math.inf if hit.id in plan.pin else -matches[hit.id])
            ranked = [*best, *ranked[again:]][offset : offset + page.limit]
        hits = [_hit(hit, matches, page, pinned=hit.id in plan.pin) for hit in ranked]
        if plan.explain:
            await self._explain(hits, ranked, plan)
        return hits, result, facets

    async def _ranked(
        self, page: Page, plan: SearchPlan, options: PageOptions, limit: int, offset: int
    ) -> SearchResult:
        if plan.everything:
            (order,) = options.sort
            return await self._index.browse(
                sort=order, limit=limit, offset=offset, filter=options.filter, group_by=options.group
            )
        floor = page.relevance_floor
        return await self._index.search(
            plan.rows,
            plan.text,
            limit=limit,
            offset=offset,
            lexical_weight=plan.lexical_weight,
            named=plan.named,
            pinned=plan.pin,
            boosts=[*options.boosts, *plan.boosts],
            filter=options.filter,
            sort=options.sort,
            group_by=options.group,
            min_score=page.min_score,
            relevance_floor=RELEVANCE_FLOOR if page.sort and floor is None else floor,
            explain=plan.explain,
        )

    async def _match(self, ranked: Sequence[Hit], plan: SearchPlan) -> dict[str, float]:
        """How likely each hit is what was asked for, by its id: from the picture that fits best, and the text."""
        best = await self._best_pictures(ranked, plan)
        inputs = [self._catalogue.model_input(hit.payload, best.get(hit.id, 0)) for hit in ranked]
        try:
            found = await self._encoder.match(plan.text, await asyncio.gather(*inputs))
        except OSError as error:  # replaced or removed between ranking and reading
            raise Problem(503, "item_changed", "An item was changed meanwhile; search again.") from error
        return {hit.id: one for hit, one in zip(ranked, found, strict=True)}

    async def _best_pictures(self, ranked: Sequence[Hit], plan: SearchPlan) -> dict[str, int]:
        """Which picture of each hit, if it has any, fits best. An item's tokens are those of its pictures in turn."""
        if plan.rows is None:
            return {}
        tokens = await self._index.tokens([hit.id for hit in ranked if hit.payload["images"]])
        per_picture = self._encoder.retriever.config.num_query_tokens  # Q
        best: dict[str, int] = {}
        for item_id, own in tokens.items():
            scores = (own @ plan.rows.T).reshape(-1, per_picture, len(plan.rows))  # (pictures, Q, M)
            best[item_id] = int(scores.max(axis=1).sum(axis=1).argmax())
        return best

    async def _explain(self, hits: Sequence[SearchHit], ranked: Sequence[Hit], plan: SearchPlan) -> None:
        best = await self._best_pictures(ranked, plan)
        texts = [lexical_text(one.payload) for one in ranked]
        words = await asyncio.to_thread(lambda: [matched(plan.text, text) for text in texts])
        for hit, one, found in zip(hits, ranked, words, strict=True):
            hit.explanation = Explanation(
                semantic=one.semantic or 0.0,
                lexical=one.lexical or 0.0,
                lexical_weight=plan.lexical_weight,
                boost=one.boost or 0.0,
                words=found,
                picture=best.get(hit.id),
            )


def _highlight(hits: Sequence[SearchHit], query: str) -> None:
    """Blocking."""
    for hit in hits:
        shown = [name for name in ("title", "description") if name in hit.item.model_fields_set]
        hit.highlights = {name: highlighted(query, getattr(hit.item, name)) for name in shown}


def _hit(hit: Hit, matches: Mapping[str, float], page: Page, *, pinned: bool) -> SearchHit:
    group = Group(value=hit.group, count=hit.group_size) if hit.group is not None else None
    item = PartialItem.from_payload(hit.payload).only(page.fields)
    return SearchHit(id=hit.id, score=hit.score, item=item, pinned=pinned, match=matches.get(hit.id), group=group)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _one_of(ids: Sequence[str]) -> Condition:
    return AnyOf(key("keyword", "id"), tuple(keyword("id", item_id) for item_id in ids))


def _floors(page: Page) -> bool:
    """Whether some of what is ranked may be left out."""
    return bool(page.sort) or page.relevance_floor is not None or page.min_score is not None

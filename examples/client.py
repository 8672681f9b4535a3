"""A client of the product search in Python: copy this file into a shop and use it, or learn the API from it.

    shop = Client("http://localhost:8000")
    shop.put("mug-17", {"title": "Stoneware mug", "price": 12.5}, pictures=[Path("mug.jpg")])
    for hit in shop.search("red mug", filter={"price": {"lt": 20}})["hits"]:
        print(hit["score"], hit["item"]["title"])

Needs httpx alone. Answers are the service's JSON, typed below as far as most programs look; /docs has every field.
"""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NotRequired, TypedDict, Unpack
from urllib.parse import quote

import httpx

RETRIES = 5  # after an overload or an outage
BULK_LINES = 500  # of one request; it is whole in memory, to be sent again if it must
BULK_BYTES = 8 * 2**20  # or as soon as it has so many: lines may hold pictures


class Item(TypedDict):
    id: str
    title: str
    description: str
    category: list[str]
    price: float | None
    stock: int | None
    attributes: dict[str, Any]
    images: list[dict[str, Any]]
    version: int
    created_at: str
    updated_at: str


class Hit(TypedDict):
    id: str
    score: float
    item: Item
    pinned: bool
    match: float | None
    group: dict[str, Any] | None
    explanation: dict[str, Any] | None
    highlights: dict[str, str] | None


class Results(TypedDict):
    hits: list[Hit]
    total: int
    next_cursor: str | None
    facets: dict[str, Any]
    corrected_query: str | None
    took_ms: dict[str, float]
    model_id: str
    search_id: str


class PageOptions(TypedDict, total=False):
    """What a search and a recommendation take; `POST /search` in /docs explains each."""

    limit: int
    offset: int
    cursor: str
    filter: dict[str, Any]
    facets: list[str]
    facet_size: int
    facet_ranges: dict[str, list[float] | list[str]]
    sort: list[dict[str, str]]
    boost: list[dict[str, Any]]
    relevance_floor: float
    min_score: float
    group_by: str
    fields: list[str]


class Options(PageOptions, total=False):
    """What a search takes beside its words."""

    mode: Literal["hybrid", "semantic", "lexical"]
    exclude: list[str]
    correct: bool
    complete: bool
    explain: bool
    highlight: bool
    rerank: int


class Search(Options, total=False):
    """One of several searches."""

    query: str


class ImageOptions(PageOptions, total=False):
    """What a search takes beside its picture and words."""

    words: float
    explain: bool


class Fields(TypedDict, total=False):
    """What a shop says about an item."""

    title: str
    description: str
    category: list[str]
    price: float | None
    stock: int | None
    attributes: dict[str, Any]
    created_at: str | None


class BulkResult(TypedDict):
    line: int
    id: NotRequired[str]
    status: int
    code: NotRequired[str]
    detail: NotRequired[str]


class Event(TypedDict):
    """What a shopper did with a hit: `search_id` is its answer's, `position` its place in the ranking, from 0."""

    search_id: str
    item_id: str
    position: int
    kind: Literal["impression", "click", "add_to_cart", "purchase"]


class FieldInfo(TypedDict):
    name: str
    kinds: list[Literal["keyword", "number", "boolean", "date"]]


class Synonym(TypedDict):
    words: list[str]
    means: str


class Curation(TypedDict):
    query: str
    pin: NotRequired[list[str]]
    hide: NotRequired[list[str]]
    match: NotRequired[Literal["exact", "contains"]]
    starts_at: NotRequired[str | None]
    ends_at: NotRequired[str | None]


class Rules(TypedDict, total=False):
    synonyms: list[Synonym]
    curations: list[Curation]
    boost: list[dict[str, Any]]


class SearchError(Exception):
    """The service refused; `code` is stable (`item_not_found`, `unknown_field`, …), the message is for people."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.status, self.code = status, code


class Client:
    """One service. Safe to share between threads; close it, or use it in a `with`.

    Every method raises `SearchError` when the service refuses, and `httpx.TransportError` when it cannot be reached.
    """

    def __init__(self, url: str, *, timeout: float = 30, headers: dict[str, str] | None = None) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout, headers=headers)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def search(self, query: str, **options: Unpack[Options]) -> Results:
        results: Results = self._json("POST", "/search", json={"query": query, **options})
        return results

    def search_batch(self, searches: list[Search]) -> list[Results]:
        """Up to 50 searches in one request; the results are in their order."""
        results: list[Results] = self._json("POST", "/search/batch", json={"searches": searches})["results"]
        return results

    def search_image(self, picture: Path | bytes | str, query: str = "", **options: Unpack[ImageOptions]) -> Results:
        """What looks like a picture, or the one at an address (a string); `query` changes what is meant ("in red")."""
        parts = [_picture(picture), *_parts({"query": query, **options})]
        results: Results = self._json("POST", "/search/image", files=parts)
        return results

    def search_all(self, query: str, **options: Unpack[Options]) -> Iterator[Hit]:
        """Every hit, page by page."""
        while True:
            page = self.search(query, **options)
            yield from page["hits"]
            if page["next_cursor"] is None:
                return
            options.pop("offset", None)  # the service takes one of the two
            options["cursor"] = page["next_cursor"]

    def similar(
        self,
        item_id: str,
        limit: int = 12,
        filter: dict[str, Any] | None = None,
        *,
        offset: int = 0,
        cursor: str | None = None,
        group_by: str | None = None,
        fields: Sequence[str] = (),
    ) -> Results:
        """What is like an item; of `fields`, what each hit's item is to have beside its id."""
        params: dict[str, Any] = {"limit": limit, "filter": json.dumps(filter or {}), "offset": offset}
        params |= {} if cursor is None else {"cursor": cursor}
        params |= {} if group_by is None else {"group_by": group_by}
        params |= {"fields": fields} if fields else {}
        results: Results = self._json("GET", f"/items/{_quoted(item_id)}/similar", params=params)
        return results

    def recommend(self, item_ids: list[str], **options: Unpack[PageOptions]) -> Results:
        """What is like all of these: for who looked at them, or has them in the basket."""
        results: Results = self._json("POST", "/recommend", json={"items": item_ids, **options})
        return results

    def suggest(self, typed: str, limit: int = 8) -> list[str]:
        answer = self._json("GET", "/suggest", params={"q": typed, "limit": limit})
        return [one["text"] for one in answer["suggestions"]]

    def send_events(self, events: list[Event]) -> int:
        """Tells what shoppers did with hits; returns how many events are kept: all or none."""
        accepted: int = self._json("POST", "/events", json={"events": events})["accepted"]
        return accepted

    def fields(self) -> list[FieldInfo]:
        """What can be filtered by, counted and sorted by."""
        fields: list[FieldInfo] = self._json("GET", "/fields")["fields"]
        return fields

    def rules(self) -> Rules:
        rules: Rules = self._json("GET", "/rules")
        return rules

    def put_rules(self, rules: Rules) -> Rules:
        """Replaces all rules: what is left out is gone."""
        stored: Rules = self._json("PUT", "/rules", json=rules)
        return stored

    def edit_rules(self, change: Callable[[Rules], Rules]) -> Rules:
        """Puts what `change` makes of the rules; where others have changed them meanwhile, it is asked again."""
        while True:
            answer = self._send("GET", "/rules")
            try:
                stored: Rules = self._json(
                    "PUT", "/rules", json=change(answer.json()), headers={"If-Match": answer.headers["ETag"]}
                )
                return stored
            except SearchError as error:
                if error.code != "version_mismatch":
                    raise

    def get(self, item_id: str) -> Item:
        item: Item = self._json("GET", f"/items/{_quoted(item_id)}")
        return item

    def put(
        self,
        item_id: str,
        fields: Fields,
        *,
        pictures: Sequence[Path | bytes | str] = (),
        if_version: int | None = None,
        only_new: bool = False,
    ) -> Item:
        """Adds or replaces an item; a string among its pictures is the address of one.

        With `if_version` or `only_new` nobody else's write is overwritten (412).
        """
        parts = [*_parts(dict(fields)), *map(_picture, pictures)]
        headers = {"If-None-Match": "*"} if only_new else _if_match(if_version)
        item: Item = self._json("PUT", f"/items/{_quoted(item_id)}", files=parts, headers=headers)
        return item

    def change(self, item_id: str, fields: Fields, *, if_version: int | None = None) -> Item:
        """Changes some of an item: a price or a stock costs no run of the model."""
        item: Item = self._json("PATCH", f"/items/{_quoted(item_id)}", json=fields, headers=_if_match(if_version))
        return item

    def delete(self, item_id: str, *, if_version: int | None = None) -> None:
        self._send("DELETE", f"/items/{_quoted(item_id)}", headers=_if_match(if_version))

    def delete_where(self, filter: dict[str, Any]) -> int:
        """Deletes all that a filter lets through; returns how many. An empty filter is refused."""
        deleted: int = self._json("DELETE", "/items", params={"filter": json.dumps(filter)})["deleted"]
        return deleted

    def delete_all(self) -> int:
        """Empties the shop; returns how many items it had."""
        deleted: int = self._json("DELETE", "/items", params={"all": True})["deleted"]
        return deleted

    def items(
        self, filter: dict[str, Any] | None = None, sort: str | None = None, *, fields: Sequence[str] = ()
    ) -> Iterator[Item]:
        """The catalogue, or what a filter lets through; `sort` as in "price:desc", `fields` as in `similar`."""
        params: dict[str, Any] = {"limit": 100, "filter": json.dumps(filter or {})}
        params |= {"sort": sort} if sort else {}
        params |= {"fields": fields} if fields else {}
        while True:
            page = self._json("GET", "/items", params=params)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            params["cursor"] = page["next_cursor"]

    def count(self, filter: dict[str, Any] | None = None) -> int:
        total: int = self._json("GET", "/items", params={"limit": 1, "filter": json.dumps(filter or {})})["total"]
        return total

    def bulk(self, lines: Iterable[dict[str, Any]]) -> Iterator[BulkResult]:
        """Stores many items, read as fast as the service stores them: `{"id": …, "images": [base64, …], …}` each.

        A result's `line` counts from 1 through all of them. If this raises, send again what has had no result.
        """
        headers = {"Content-Type": "application/x-ndjson"}
        done = 0
        # A request each: the service waits for who reads no answers, and httpx reads none before a body's end.
        for chunk in _chunks(lines):
            content = b"".join(chunk)
            answer = self._send("POST", "/items/bulk", content=content, headers=headers, timeout=None)
            results = [json.loads(result) for result in answer.content.splitlines()]
            for result in results:
                result["line"] += done
                yield result
            if len(results) < len(chunk):  # it has stopped reading, and the last result says why
                raise SearchError(results[-1]["status"], results[-1]["code"], results[-1]["detail"])
            done += len(chunk)

    def _json(self, method: str, path: str, **request: Any) -> Any:
        return self._send(method, path, **request).json()

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        for attempt in range(RETRIES + 1):
            answer = self._http.request(method, path, **request)
            if answer.status_code not in (429, 503) or attempt == RETRIES:
                break
            asked = answer.headers.get("Retry-After", "")  # a date, where something between us and the service asks
            pause = float(asked) if asked.isdigit() else 1.0
            time.sleep(pause * random.uniform(1, 1.25))  # many clients should not come back together
        if answer.is_error:
            raise _problem(answer)
        return answer


def _problem(answer: httpx.Response) -> SearchError:
    try:
        problem = answer.json()
        return SearchError(answer.status_code, problem["code"], problem["detail"])
    except (ValueError, KeyError, TypeError):  # from something between us and the service
        return SearchError(answer.status_code, f"http_{answer.status_code}", answer.reason_phrase)


def _chunks(lines: Iterable[dict[str, Any]]) -> Iterator[list[bytes]]:
    """Lines of JSON, as many at a time as go into one request."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        chunk.append(json.dumps(line).encode() + b"\n")
        size += len(chunk[-1])
        if len(chunk) == BULK_LINES or size >= BULK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _quoted(item_id: str) -> str:
    return quote(item_id, safe="")


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}


def _parts(fields: dict[str, Any]) -> list[tuple[str, Any]]:
    """Fields as parts of a form: text as it is, everything else as JSON; what is None is left out."""
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return [(name, (None, value.encode())) for name, value in text.items() if fields[name] is not None]


def _picture(picture: Path | bytes | str) -> tuple[str, Any]:
    """A picture as a part of a form: its contents, or its address."""
    if isinstance(picture, str):
        return "image_url", (None, picture.encode())
    return "image", ("picture", picture) if isinstance(picture, bytes) else (picture.name, picture.read_bytes())

"""One product, into a running service: only what has changed of it, and again where the service was away."""

import hashlib
import json
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from examples.products import FIELDS, Product, Rejected

PAGE = 100  # items of the service's list in one answer, at most
_MEDIA_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
_UNREAD = {"price", "stock", "created_at"}  # by the model: a change of these alone costs no run of it


class Away(Exception):
    """The service takes nothing, for the reason given: it is down, full or overloaded, or wants another key."""


def stored(client: httpx.Client, ids: Sequence[str], retries: int) -> dict[str, Any]:
    """The items that the service has of up to `PAGE` ids, by id. Raises Away."""
    asked = {"filter": json.dumps({"id": ids}, ensure_ascii=False), "limit": PAGE}
    answer = request(client, retries, "GET", "/items", params=asked)
    if answer.status_code != 200:
        raise Away(reason_of(answer))
    return {item["id"]: item for item in answer.json()["items"]}


def send(client: httpx.Client, product: Product, there: dict[str, Any] | None, retries: int) -> str:
    """Stores one product: "created", "replaced" or "unchanged". If its pictures fail, the rest of an item arrives.

    Args:
        there: the item of this id, if there is one that may be left as it is.

    Raises:
        Rejected: the service refuses it, or a picture cannot be read, for the reason given.
        Away: it may take it later.
    """
    try:
        pictures = [
            (path.name, path.read_bytes(), _MEDIA_TYPES.get(path.suffix.lower(), "")) for path in product.pictures
        ]
    except (OSError, ValueError) as error:  # ValueError: no path can be called so
        raise Rejected(str(error) + _without_pictures(client, product, retries)) from None
    if there is not None and _same_pictures(there, product, [content for _, content, _ in pictures]):
        changed = _changed(there, product)
        if not changed:
            return "unchanged"
        if changed <= _UNREAD:
            fields = {name: product.fields.get(name) for name in changed}
            if request(client, retries, "PATCH", address(product.id), json=fields).status_code == 200:
                return "replaced"
    form = {"id": product.id} | {
        name: json.dumps(value) if name in ("category", "attributes") else str(value)
        for name, value in product.fields.items()
    }
    # Every field as a part: httpx makes a body multipart only where there is a file, and the service takes no other.
    parts: list[tuple[str, Any]] = [(name, (None, value.encode())) for name, value in form.items()]
    parts += [("image_url", (None, url.encode())) for url in product.urls]
    parts += [("image", picture) for picture in pictures]
    answer = request(client, retries, "POST", "/items", files=parts)
    if answer.status_code in (200, 201):
        return "created" if answer.status_code == 201 else "replaced"
    rest = _without_pictures(client, product, retries) if pictures or product.urls else ""
    raise Rejected(reason_of(answer) + rest)


def _without_pictures(client: httpx.Client, product: Product, retries: int) -> str:
    """Brings an item that is there up to date but for its pictures, so that no dead link holds back a price.

    Returns what is to be told of it: nothing, if there is no such item or the service refuses that, too.
    """
    there = request(client, retries, "GET", address(product.id))
    if there.status_code != 200:
        return ""
    if _changed(there.json(), product):
        fields = {name: None for name in FIELDS if name != "created_at"} | product.fields
        fields |= {name: str(product.fields.get(name, "")) for name in ("title", "description")}
        gone = dict.fromkeys(there.json()["attributes"])
        fields["attributes"] = gone | product.fields.get("attributes", {})
        answer = request(client, retries, "PATCH", address(product.id), json=fields)
        if answer.status_code != 200:
            return ""
    return " The item keeps its pictures; all else of it is up to date."


def address(item_id: str) -> str:
    return f"/items/{quote(item_id, safe='')}"


def request(client: httpx.Client, retries: int, method: str, url: str, **kwargs: Any) -> httpx.Response:
    """One request, repeated after an overload (as long as the service asks for) or an outage.

    Raises:
        Away: however often it was tried; at once, if the key is refused or the disk full.
    """
    for attempt in range(retries + 1):
        pause = min(30.0, 0.5 * 2**attempt)
        try:
            answer = client.request(method, url, **kwargs)
        except httpx.TransportError as error:
            reason = f"{type(error).__name__}: {error}"
        else:
            if answer.status_code not in (401, 403, 429) and answer.status_code < 500:
                return answer
            reason = reason_of(answer)
            if answer.status_code in (401, 403, 507):  # a disk is not emptied in a moment
                break
            asked = answer.headers.get("Retry-After", "")
            pause = float(asked) if asked.isdigit() else pause
        if attempt < retries:
            # Workers that were refused together should not come back together.
            time.sleep(pause * random.uniform(1.0, 1.25))
    raise Away(reason)


def _same_pictures(stored: dict[str, Any], product: Product, contents: list[bytes]) -> bool:
    """Whether the service has these files, and after them pictures of the product's addresses."""
    images = stored["images"]
    if len(images) != len(contents) + len(product.urls):
        return False
    sent = [image["sha256"] for image in images[: len(contents)]]
    fetched = [image.get("source_sha256") for image in images[len(contents) :]]
    return sent == list(map(_sha256, contents)) and all(
        kept in (None, _sha256(url.strip().encode()))  # None: an earlier version of the service fetched it
        for kept, url in zip(fetched, product.urls, strict=True)
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _changed(stored: dict[str, Any], product: Product) -> set[str]:
    """The names of the fields that the service has otherwise."""
    fields = product.fields
    wanted: dict[str, Any] = {
        "title": str(fields.get("title", "")).strip(),
        "description": str(fields.get("description", "")).strip(),
        "category": fields.get("category", []),
        "price": fields.get("price"),
        "stock": fields.get("stock"),
        "attributes": {k.strip(): _stripped(v) for k, v in fields.get("attributes", {}).items()},
    }
    if "created_at" in fields:
        wanted["created_at"] = _moment(fields["created_at"])
    return {name for name, value in wanted.items() if stored[name] != value}


def _moment(text: Any) -> str | None:
    try:
        moment = datetime.fromisoformat(str(text).strip())
    except ValueError:  # the service says so
        return None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return zoned.astimezone(UTC).isoformat(timespec="milliseconds")


def _stripped(value: Any) -> Any:
    if isinstance(value, list):
        return [_stripped(one) if isinstance(one, str) else f"{one:.15g}" for one in value]  # as the service takes it
    return value.strip() if isinstance(value, str) else value


def reason_of(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"

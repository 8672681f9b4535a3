"""Send the products of a shop's file, or a folder of pictures, to a running service.

    python -m examples.ingest products.jsonl --url http://localhost:8000
    python -m examples.ingest feed.csv --prune
    python -m examples.ingest pictures/ --workers 8

A line of JSONL is a product: `id` (or `item_id`), and any of `title`, `description`, `category` (list or string),
`price`, `stock`, `attributes` (object), `created_at` and `image` (a path, or a list of paths, relative to the JSONL
file; or URLs, where the service fetches them). A `.json` file may be one array of products. CSV and TSV (also as .txt)
are product feeds with Google's columns, or what Shopify and WooCommerce export, as `examples/feeds.py` says, and XML is
Google's. In a folder every JPEG, PNG or WebP is a product whose id is its path without the ending.

It can be stopped and started again at any time: what is already there, with the same fields and the same pictures, is
not sent twice (a picture at the same URL counts as the same). Of several products of one id the last is sent, and the
ids are named. Where a picture fails of an item that is there, all else of it is sent. With `--prune`, what the shop has
and the file has not is removed at the end, unless a line of the file has no id that can be read. Exit status: 0 when
everything is there, 1 when something failed, 2 when nothing could be begun.
"""

import argparse
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from tqdm import tqdm

from examples.feeds import UnreadableFeed
from examples.products import Product, Rejected, read_products
from examples.send import PAGE, Away, address, reason_of, request, send, stored

T = TypeVar("T")
Outcome = tuple[str, str]  # what became of a product, as `send` says, "failed" or "away"; what is to be told of it

_SHOWN = 20  # repeated ids that are named
_AWAY = 8  # one after another: the others would fail alike, each after minutes
_ADDRESS = 4000  # characters of ids in a request's address, of which proxies take 8 KiB


class Refused(Exception):
    """Nothing is sent, for the reason given."""


@dataclass
class Plan:
    """What the source holds, known before anything is sent."""

    last: dict[str, int]  # the place of the last product of each id: sent side by side, any of them might stay
    total: int  # how many are to be sent, with what cannot be read
    repeated: list[str]  # the ids of those that are left out
    leftover: set[str]  # ids of the shop's that are to be removed afterwards
    nameless: int = 0  # lines without an id that can be read: any of the leftover may be meant


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    started = time.monotonic()
    counts: Counter[str] = Counter()
    failures: list[str] = []
    headers = {"X-API-Key": args.key} if args.key else {}
    with httpx.Client(base_url=args.url, timeout=args.timeout, headers=headers) as client:
        try:
            client.get("/health/live").raise_for_status()
        except httpx.HTTPError as error:
            print(
                f"No service answers at {args.url}: {error}. Start it with `make run`, or give --url.", file=sys.stderr
            )
            return 2
        try:
            plan = _look_through(client, args)
        except (Refused, Away, UnreadableFeed, OSError) as error:
            print(f"Nothing was sent. {args.source}: {error}", file=sys.stderr)
            return 2
        stopped: Away | None = None
        with tqdm(total=plan.total, unit=" items", disable=args.quiet) as progress:
            try:
                products = _with_stored(client, _to_send(args, plan), args)
                for outcome, message in _each(products, lambda one: _send(client, *one, args.retries), args.workers):
                    counts[outcome] += 1
                    if message:
                        failures.append(message)
                        progress.write(message, file=sys.stderr)
                    progress.update()
            except Away as error:
                stopped = error
        seconds = time.monotonic() - started
        print(
            f"{counts['created']} new, {counts['replaced']} replaced, {counts['unchanged']} unchanged, "
            f"{len(failures)} failed; {seconds:.1f} s, {sum(counts.values()) / max(seconds, 1e-9):.1f} items/s"
        )
        if plan.repeated:
            named = ", ".join(list(dict.fromkeys(plan.repeated))[:_SHOWN])
            print(f"{len(plan.repeated)} products left out, whose ids come again later: {named}", file=sys.stderr)
        if stopped:
            print(f"Stopped, for the service takes nothing. The last it said: {stopped}", file=sys.stderr)
        elif plan.nameless and plan.leftover:
            print(
                f"Items that are not in {args.source}: {len(plan.leftover)}. They stay, for {plan.nameless} of its "
                "lines have no id that can be read, and may be theirs."
            )
        elif plan.leftover:
            print(f"Items that are not in {args.source}: {len(plan.leftover)}. Removing them.")
            failures += _remove(client, plan.leftover, args)
    if failures:
        print(f"{len(failures)} failed; run the same command again to retry them. First:", file=sys.stderr)
        for message in failures[:10]:
            print(f"  {message}", file=sys.stderr)
    return 1 if failures or stopped else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.ingest", description="Send products to a running product-search service."
    )
    parser.add_argument(
        "source",
        type=Path,
        help="products as JSON, CSV, TSV or XML (docs/own_catalogue.md, 5), or a folder of pictures",
    )
    parser.add_argument("--url", default="http://localhost:8000", help="the service (default: %(default)s)")
    parser.add_argument(
        "--key",
        default=os.environ.get("SEARCH_INGEST_KEYS", "").partition(",")[0].strip() or None,
        help="an ingest key (default: the first of the variable SEARCH_INGEST_KEYS)",
    )
    parser.add_argument("--workers", type=int, default=4, help="requests at a time (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="send the first so many only")
    parser.add_argument("--retries", type=int, default=8, help="tries after an overload or an outage (default: 8)")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one request (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="send also what is there already, unchanged")
    prune = parser.add_mutually_exclusive_group()
    prune.add_argument(
        "--prune",
        action="store_true",
        help="remove in the end what is not in the source, if that is at most half of the shop",
    )
    prune.add_argument("--prune-all", action="store_true", help="the same, however much that is")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args(arguments)
    if not args.source.exists():
        parser.error(f"{args.source} does not exist")
    if args.workers < 1 or args.retries < 0 or (args.limit is not None and args.limit < 0):
        parser.error("--workers must be at least 1, --retries and --limit at least 0")
    if args.limit is not None and (args.prune or args.prune_all):
        parser.error("--prune needs the whole source: leave --limit out")
    return args


def _look_through(client: httpx.Client, args: argparse.Namespace) -> Plan:
    """What is to be sent, and what is to be removed afterwards.

    Before anything is sent: a wrong file is refused as it is, and has not become half of the shop by the next try.

    Raises:
        Refused: too much would be removed, or the service does not say what it has.
        UnreadableFeed, OSError: the source cannot be read.
        Away: the service did not answer what it has.
    """
    plan = Plan({}, 0, [], set())
    unreadable = set()
    for number, product in enumerate(itertools.islice(read_products(args.source), args.limit)):
        if isinstance(product, Product) and product.id in plan.last:
            plan.repeated.append(product.id)
        else:
            plan.total += 1
        if isinstance(product, Product):
            plan.last[product.id] = number
        elif product.item_id is not None:
            unreadable.add(product.item_id)
    if not args.prune and not args.prune_all:
        return plan
    if not plan.last:
        raise Refused("It holds no products, and with --prune the shop would end up empty.")
    there = set(_stored_ids(client, args.retries))
    plan.leftover = there - plan.last.keys() - unreadable
    if args.prune and 2 * len(plan.leftover) > len(there):
        raise Refused(
            f"{len(plan.leftover)} of the shop's {len(there)} items are not in it, too many to be removed by mistake. "
            "Say --prune-all if it is none."
        )
    return plan


def _stored_ids(client: httpx.Client, retries: int) -> Iterator[str]:
    params: dict[str, Any] = {"limit": PAGE}
    while True:
        answer = request(client, retries, "GET", "/items", params=params)
        if answer.status_code != 200:
            raise Refused(reason_of(answer))
        page = answer.json()
        yield from (item["id"] for item in page["items"])
        if page["next_cursor"] is None:
            return
        params["cursor"] = page["next_cursor"]


def _remove(client: httpx.Client, ids: set[str], args: argparse.Namespace) -> list[str]:
    """Removes these items; returns what could not be removed, and why."""

    def remove(item_id: str) -> Outcome:
        try:
            answer = request(client, args.retries, "DELETE", address(item_id))
        except Away as error:
            return "away", f"{item_id}: {error}"
        if answer.status_code in (204, 404):
            return "removed", ""
        return "failed", f"{item_id}: {reason_of(answer)}"

    failures = []
    try:
        for _, message in _each(sorted(ids), remove, args.workers):
            if message:
                failures.append(message)
    except Away as error:
        failures.append(f"The others were not tried, for the service takes nothing. The last it said: {error}")
    return failures


def _to_send(args: argparse.Namespace, plan: Plan) -> Iterator[Product | Rejected]:
    """The last product of each id. What the file turns out to hold does not count as leftover."""
    for number, product in enumerate(itertools.islice(read_products(args.source), args.limit)):
        if isinstance(product, Product) and number < plan.last.get(product.id, number):
            continue
        item_id = product.id if isinstance(product, Product) else product.item_id
        if item_id is None:
            plan.nameless += 1
        else:
            plan.leftover.discard(item_id)  # the file may have grown since it was looked through
        yield product


def _with_stored(
    client: httpx.Client, products: Iterable[Product | Rejected], args: argparse.Namespace
) -> Iterator[tuple[Product | Rejected, dict[str, Any] | None]]:
    """Each with what the service has of it, of which many are asked for at once; None with `--force`.

    Raises:
        Away: the service does not say.
    """
    for some in _batches(products):
        ids = [product.id for product in some if isinstance(product, Product)]
        there = stored(client, ids, args.retries) if ids and not args.force else {}
        yield from ((product, there.get(product.id) if isinstance(product, Product) else None) for product in some)


def _batches(products: Iterable[Product | Rejected]) -> Iterator[list[Product | Rejected]]:
    """As many together as an address has room for their ids."""
    batch: list[Product | Rejected] = []
    length = 0
    for product in products:
        added = len(quote(f'"{product.id}", ')) if isinstance(product, Product) else 0
        if batch and (len(batch) == PAGE or length + added > _ADDRESS):
            yield batch
            batch, length = [], 0
        batch.append(product)
        length += added
    if batch:
        yield batch


def _send(client: httpx.Client, product: Product | Rejected, there: dict[str, Any] | None, retries: int) -> Outcome:
    if isinstance(product, Rejected):
        return "failed", str(product)
    try:
        return send(client, product, there, retries), ""
    except Away as error:
        return "away", f"{product.id}: {error}"
    except Exception as error:  # whatever is wrong with this one, the others are to arrive
        return "failed", f"{product.id}: {error}"


def _each(things: Iterable[T], work: Callable[[T], Outcome], workers: int) -> Iterator[Outcome]:
    """What became of each, and what is to be told of it, as they end. Only as many are taken as are in the works.

    Raises:
        Away: the service took nothing for a while; the others are not tried.
    """
    left, away = iter(things), 0
    with ThreadPoolExecutor(workers) as pool:
        running: set[Future[Outcome]] = set()
        try:
            while True:
                running |= {pool.submit(work, thing) for thing in itertools.islice(left, 2 * workers - len(running))}
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    outcome, message = future.result()
                    yield outcome, message
                    if outcome != "failed":  # which a line of the file may be by itself
                        away = away + 1 if outcome == "away" else 0
                    if away == _AWAY:
                        raise Away(message)
        finally:
            pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on from here.")

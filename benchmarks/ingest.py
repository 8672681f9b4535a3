"""Products with real pictures, and their prices, from the HTTP body to durable: one at a time, and in bulk."""

import base64
import io
import itertools
import json
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks.process import Server, service
from examples.demo_catalogue import DemoProduct, products

_BOUNDARY = "product"
_FORM = f"multipart/form-data; boundary={_BOUNDARY}"


def rows(
    folder: Path, model: str | Path, count: int, images: Path | None = None, **settings: str
) -> list[dict[str, Any]]:
    """Items a second for `count` new items each way; each has one picture, of a folder or a JPEG of 640 × 640 pixels.
    Then for a new price of each, beside `PATCH` by one client.

    Raises:
        ValueError: the folder has no pictures.
    """
    some = itertools.islice(itertools.cycle(products()), min(count, 60))
    if images is None:
        pictured = [(product, _jpeg(product)) for product in some]
    else:
        files = sorted(path for path in images.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
        if not files:
            raise ValueError(f"{images} has no picture: JPEG, PNG or WebP files are looked for")
        pictured = [(product, file.read_bytes()) for product, file in zip(some, itertools.cycle(files), strict=False)]
    measured: list[dict[str, Any]] = []
    # A folder of its own: items must be new, and its index this model's.
    with (
        tempfile.TemporaryDirectory(prefix="ingest-", dir=folder) as data_dir,
        service(Path(data_dir), model, **settings) as server,
    ):
        for name, clients in (("POST /items, 1 client", 1), ("POST /items, 8 clients", 8)):
            # As many at once as are measured: on a GPU the first batch of each size waits until its graph is captured.
            warm_up = [_form(*pictured[n % len(pictured)], f"warm-up-{clients}-{n}") for n in range(8 * clients)]
            _post(server, warm_up, clients)
            forms = [_form(*pictured[n % len(pictured)], f"{clients}-{n}") for n in range(count)]
            measured.append({"ingest": name, **_post(server, forms, clients)})
        lines = [_line(*pictured[n % len(pictured)], f"bulk-{n}") for n in range(count)]
        measured.append({"ingest": "POST /items/bulk", **_bulk(server, lines)})
        changes = [{"id": f"bulk-{n}", "price": n + 1} for n in range(count)]
        measured.append({"ingest": "PATCH of a price, 1 client", **_patch(server, changes)})
        lines = [json.dumps({**change, "price": 1}).encode() + b"\n" for change in changes]
        measured.append({"ingest": "POST /items/bulk?action=update", **_bulk(server, lines, "?action=update")})
    one_client = {n: measured[0 if n < 3 else 3]["items/s"] for n in range(len(measured))}
    return [{**row, "÷ 1 client": row["items/s"] / one_client[n]} for n, row in enumerate(measured)]


def _post(server: Server, forms: list[bytes], clients: int) -> dict[str, float]:
    def send(form: bytes) -> None:
        request = urllib.request.Request(server.url + "/items", form, {"Content-Type": _FORM})
        with urllib.request.urlopen(request) as answer:
            answer.read()

    spent, started = server.cpu_seconds(), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(send, forms))
    return _rate(server, len(forms), spent, started)


def _patch(server: Server, changes: list[dict[str, Any]]) -> dict[str, float]:
    spent, started = server.cpu_seconds(), time.perf_counter()
    with httpx.Client(base_url=server.url) as client:
        for change in changes:
            client.patch(f"/items/{change['id']}", json={"price": change["price"]}).raise_for_status()
    return _rate(server, len(changes), spent, started)


def _bulk(server: Server, lines: list[bytes], query: str = "") -> dict[str, float]:
    spent, started = server.cpu_seconds(), time.perf_counter()
    headers = {"Content-Type": "application/x-ndjson"}
    request = urllib.request.Request(f"{server.url}/items/bulk{query}", b"".join(lines), headers)
    with urllib.request.urlopen(request) as answer:
        results = [json.loads(line) for line in answer]
    if refused := [result for result in results if result["status"] not in (200, 201)]:
        raise RuntimeError(f"{len(refused)} of {len(lines)} items were refused: {refused[0]}")
    return _rate(server, len(lines), spent, started)


def _rate(server: Server, count: int, spent: float, started: float) -> dict[str, float]:
    took = time.perf_counter() - started
    return {"items/s": count / took, "CPU ms an item": 1000 * (server.cpu_seconds() - spent) / count}


def _jpeg(product: DemoProduct) -> bytes:
    buffer = io.BytesIO()
    product.picture().save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _form(product: DemoProduct, jpeg: bytes, item_id: str) -> bytes:
    fields = {
        "id": item_id,
        "title": product.title,
        "description": product.description,
        "category": " > ".join(product.category),
        "price": str(product.price),
        "attributes": json.dumps(product.attributes),
    }
    head = "".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="1.jpg"\r\n\r\n'
    return head.encode() + jpeg + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _line(product: DemoProduct, jpeg: bytes, item_id: str) -> bytes:
    fields = {
        "id": item_id,
        "title": product.title,
        "description": product.description,
        "category": product.category,
        "price": product.price,
        "attributes": product.attributes,
        "images": [base64.b64encode(jpeg).decode()],
    }
    return json.dumps(fields).encode() + b"\n"

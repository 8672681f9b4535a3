"""A real service with a small shop, and a real browser on its page."""

import io
import shutil
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from retriever.retriever import SHIPPED
from tests.end_to_end.serving import Server, running

# A browser that looks for updates, or for its maker's servers, has no place in a test.
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
SANDBOX = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 200), "green": (40, 160, 70)}
EVIL = "<img src=x onerror=\"document.title='hacked'\">"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("page") / "data", SHIPPED / "compact") as server:
        for colour, rgb in COLOURS.items():
            for kind in ("mug", "shirt"):
                fields = {
                    "id": f"{kind}-{colour}",
                    "title": f"{colour} {kind}",
                    "category": f"Shop > {kind}",
                    "price": {"red": "6", "blue": "7", "green": "9.5"}[colour] if kind == "mug" else "20",
                }
                post(server, fields, picture(rgb))
        for n in range(30):
            post(server, {"id": f"filler-{n}", "title": f"filler number {n}"}, None)
        post(server, {"id": "evil", "title": EVIL, "attributes": '{"material": "<b>wool</b>"}'}, picture((9, 9, 9)))
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium from the system, or else Playwright's own; without either these tests fail, as they should."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*QUIET, *SANDBOX])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """A fresh page on the start page, that must not log an error unless the test empties `errors`."""
    context = browser.new_context(base_url=server.url, viewport={"width": 1200, "height": 800})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/")
    expect(page.locator(".card").first).to_be_visible()
    yield page
    context.close()
    assert not errors


def picture(rgb: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60), rgb).save(buffer, "PNG")
    return buffer.getvalue()


def post(server: Server, fields: dict[str, str], image: bytes | None) -> None:
    files = {name: (None, value) for name, value in fields.items()}
    parts = {**files, **({"image": ("a.png", image, "image/png")} if image else {})}
    httpx.post(f"{server.url}/items", files=parts, timeout=30).raise_for_status()  # type: ignore[arg-type]

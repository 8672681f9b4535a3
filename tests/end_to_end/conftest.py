"""A real service with a small shop, and a real browser on its page."""

import io
import re
import shutil
from collections.abc import Iterator
from urllib.parse import quote_plus

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from retriever.retriever import SHIPPED
from tests.end_to_end.helpers import send
from tests.end_to_end.serving import Server, running

expect.set_options(timeout=30_000)  # as patient as all else: a busy machine takes its time

# A browser that looks for updates, or for its maker's servers, has no place in a test.
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
SANDBOX = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 200), "green": (40, 160, 70)}
EVIL = "<img src=x onerror=\"document.title='hacked'\">"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests of the page: each leaves the shop as it was."""
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
        with httpx.Client(base_url=server.url, timeout=300) as client:
            send(client, *((f"filler-{n}", f"filler number {n}", []) for n in range(30)))
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
    """A fresh page on the start page, all of it there, that must not log an error."""
    context = browser.new_context(
        base_url=server.url,
        viewport={"width": 1200, "height": 800},
        reduced_motion="reduce",  # a position is where it will be
    )
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/")
    expect(page.locator(".card:not(.skeleton)")).to_have_count(24)
    expect(page.get_by_role("complementary", name="Filters")).to_be_visible()  # the last that comes
    yield page
    context.close()
    assert not errors


def settled(page: Page) -> None:
    """Waits until all that was asked for is there: what is replaced under the pointer is not clicked."""
    for part in ("#results", "#filters"):
        expect(page.locator(part)).not_to_have_attribute("aria-busy", "true")


def searched(page: Page, words: str) -> None:
    """Waits until the page shows what these words find, after they were typed."""
    expect(page).to_have_url(re.compile(rf"[?&]q={re.escape(quote_plus(words))}($|&)"))
    settled(page)


def picture(rgb: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60), rgb).save(buffer, "PNG")
    return buffer.getvalue()


def post(server: Server, fields: dict[str, str], image: bytes | None) -> None:
    files = {name: (None, value) for name, value in fields.items()}
    parts = {**files, **({"image": ("a.png", image, "image/png")} if image else {})}
    httpx.post(f"{server.url}/items", files=parts, timeout=30).raise_for_status()  # type: ignore[arg-type]

"""The page of a service that has keys, and the pages' policy in a real browser."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect

from tests.end_to_end.conftest import picture
from tests.end_to_end.serving import Running, Server

pytestmark = pytest.mark.slow

SEARCH, INGEST, BOTH = "search-key-0123456789", "ingest-key-0123456789", "key-for-both-0123456789"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, running_tiny: Running) -> Iterator[Server]:
    keys = {"SEARCH_SEARCH_KEYS": f"{SEARCH},{BOTH}", "SEARCH_INGEST_KEYS": f"{INGEST},{BOTH}"}
    with running_tiny(tmp_path_factory.mktemp("keys") / "data", **keys) as server:
        files = {"id": (None, "mug"), "title": (None, "red mug"), "image": ("a.png", picture((200, 0, 0)))}
        httpx.post(f"{server.url}/items", files=files, headers={"X-API-Key": BOTH}, timeout=60).raise_for_status()  # type: ignore[arg-type]
        yield server


@pytest.fixture
def visitor(browser: Browser, locked: Server) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what the browser complains about."""
    context = browser.new_context(base_url=locked.url)
    page = context.new_page()
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "401" not in message.text and "403" not in message.text:
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page, complaints
    context.close()


def test_the_page_asks_for_a_key_and_keeps_it_for_its_tab(visitor: tuple[Page, list[str]]) -> None:
    page, complaints = visitor
    page.goto("/")
    dialog = page.get_by_role("dialog", name="This service needs a key")
    expect(dialog).to_be_visible()

    def give(key: str) -> None:
        dialog.get_by_label("API key").fill(key)
        dialog.get_by_role("button", name="Use this key").click()

    give("“a-quoted-key”")  # a browser can send no such header, and would fail at every call
    expect(dialog.get_by_role("alert")).to_contain_text("This is not a key")
    give("a-key-that-nobody-has")
    expect(dialog.get_by_role("alert")).to_contain_text("not, or no longer, known")
    give(SEARCH)
    expect(dialog).to_be_hidden()
    image = page.locator(".card img")
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0, "pictures need no header"

    page.reload()
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_label("Search products").fill("mug")
    expect(page.locator("#status")).to_contain_text("1 product for “mug”")

    page.locator(".card").get_by_role("link").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Really delete?").click()
    expect(dialog).to_contain_text("To save and to delete products, this service takes an API key for ingest.")
    expect(dialog.get_by_role("alert")).to_have_text("The key that was given before is not for that.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator("#detail .problem")).to_contain_text("takes one for ingest")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Really delete?").click()
    give(BOTH)
    expect(page.locator(".card")).to_have_count(0)
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert not complaints


def test_a_key_for_each_scope_is_asked_for_once(visitor: tuple[Page, list[str]]) -> None:
    page, complaints = visitor
    page.goto("/")
    dialog = page.get_by_role("dialog", name="This service needs a key")
    expect(dialog).to_contain_text("To search and to see products, this service takes an API key for search.")
    dialog.get_by_label("API key for search").fill(SEARCH)
    dialog.get_by_role("button", name="Use this key").click()
    form = page.locator("#upload")
    for title in ("brass hook", "steel hook"):
        page.get_by_role("button", name="Add product").click()
        form.get_by_label("Title").fill(title)
        form.get_by_role("button", name="Save product").click()
        if title == "brass hook":
            dialog.get_by_label("API key for ingest").fill(INGEST)
            dialog.get_by_role("button", name="Use this key").click()
        expect(page.locator("#toast")).to_have_text(f"{title} is in the shop.")
        page.get_by_label("Search products").fill(title)
        expect(page.locator("#status")).to_contain_text(f"for “{title}”")
        expect(dialog).to_be_hidden()
        expect(page.locator(".card").first.get_by_role("heading")).to_have_text(title)
        page.locator(".card").first.get_by_role("link").click()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Really delete?").click()
        expect(page.locator("#toast")).to_have_text(f"{title} is deleted.")
    assert not complaints


def test_an_answer_to_an_older_key_asks_for_none(visitor: tuple[Page, list[str]]) -> None:
    page, complaints = visitor
    held: list[Route] = []
    page.route("**/fields", lambda route: held.append(route), times=1)
    with page.expect_request("**/fields"):
        page.goto("/")
    dialog = page.get_by_role("dialog", name="This service needs a key")
    dialog.get_by_label("API key").fill(SEARCH)
    with page.expect_response(lambda answer: "/items?" in answer.url and answer.ok):
        dialog.get_by_role("button", name="Use this key").click()
    with page.expect_response(lambda answer: answer.url.endswith("/fields") and answer.ok):
        held[0].continue_()
    expect(dialog).to_be_hidden()
    assert not complaints


def test_what_was_typed_before_the_key_is_searched_for_after_it(visitor: tuple[Page, list[str]]) -> None:
    page, complaints = visitor
    page.goto("/")
    dialog = page.get_by_role("dialog", name="This service needs a key")
    expect(dialog).to_be_visible()
    box = page.get_by_label("Search products", exact=True)
    box.evaluate("box => { box.value = 'mug'; box.dispatchEvent(new Event('input')); }")  # a moment before
    page.wait_for_timeout(300)  # in which it would have been searched for
    dialog.get_by_label("API key").fill(SEARCH)
    with page.expect_response(lambda answer: answer.url.endswith("/search") and answer.ok):
        dialog.get_by_role("button", name="Use this key").click()
    assert not complaints


def test_who_has_no_key_is_not_asked_at_every_letter(visitor: tuple[Page, list[str]]) -> None:
    page, _ = visitor
    page.goto("/")
    dialog = page.get_by_role("dialog", name="This service needs a key")
    expect(dialog.get_by_label("API key")).to_be_focused()
    dialog.get_by_role("button", name="Cancel").click()
    box = page.get_by_label("Search products")
    box.focus()
    with page.expect_response("**/suggest?q=red%20mug"), page.expect_response("**/search"):
        page.keyboard.type("red mug")
    expect(box).to_be_focused()
    expect(box).to_have_value("red mug")
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()


def test_the_description_works_under_its_policy(visitor: tuple[Page, list[str]]) -> None:
    page, complaints = visitor
    outside: list[str] = []
    page.on("request", lambda request: outside.append(request.url) if "127.0.0.1" not in request.url else None)
    page.goto("/docs")
    expect(page.get_by_role("button", name="Authorize")).to_be_visible(timeout=60_000)  # a large script, once
    page.get_by_text("Search by keywords").click()
    expect(page.get_by_role("button", name="Try it out")).to_be_visible(timeout=60_000)
    assert [url for url in outside if not url.startswith("data:")] == []
    assert not complaints

"""The page for those who see it with a screen reader, use it by keyboard, or read from right to left."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.end_to_end.conftest import post, searched
from tests.end_to_end.serving import Server

ACCENTS = {"light": "rgb(31, 111, 92)", "dark": "rgb(99, 195, 170)"}


@pytest.fixture
def gift(server: Server, page: Page) -> Iterator[None]:
    """Titles that begin with a pair of surrogates, and with a letter of another direction; neither has a picture."""
    post(server, {"id": "gift", "title": "🎁 gift"}, None)
    shirt = {"id": "shirt-ar", "title": "قميص أحمر!", "category": "ملابس (قمصان)", "attributes": '{"قماش!": "قطن!"}'}
    post(server, shirt, None)
    yield
    for item_id in ("gift", "shirt-ar"):
        httpx.delete(f"{server.url}/items/{item_id}", timeout=30)


def test_the_keyboard_stays_near_what_it_took_away(page: Page) -> None:
    page.goto('/?filter={"category": ["Shop > mug", "Shop > shirt"], "price": {"gte": 1}}')
    expect(page.locator("#status")).to_have_text("6 products")
    chips, results = page.locator("#chips button"), page.locator("#results")
    chips.nth(1).press("Enter")
    expect(chips).to_have_text(["mug ×", "price from 1 ×", "Clear all"])
    expect(chips.nth(1)).to_be_focused()
    chips.nth(2).press("Enter")
    expect(chips).to_have_count(0)
    expect(results).to_be_focused()

    page.goto('/?filter={"price": {"gte": 99}}')
    page.get_by_role("button", name="Clear the filters").press("Enter")
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    expect(results).to_be_focused()

    page.route("**/search", lambda route: route.abort())
    page.get_by_label("Search products").fill("mug")
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    page.unroute("**/search")
    page.get_by_role("button", name="Try again").press("Enter")
    expect(page.locator("#status")).to_contain_text("for “")
    expect(results).to_be_focused()


def test_the_keyboard_is_at_the_results_after_an_edit_and_a_deletion(page: Page, gift: None) -> None:
    page.get_by_label("Search products").fill("gift")
    searched(page, "gift")
    card = page.locator(".card", has_text="🎁 gift").get_by_role("link")
    card.press("Enter")
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("button", name="Save product").click()
    expect(page.locator("#toast")).to_contain_text("is saved")
    expect(page.locator("#results")).to_be_focused()
    card.press("Enter")
    page.get_by_role("button", name="Delete").press("Enter")
    page.get_by_role("button", name="Really delete?").press("Enter")
    expect(card).to_have_count(0)
    expect(page.locator("#results")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_what_has_the_focus_is_seen(browser: Browser, server: Server, scheme: str, width: int) -> None:
    context = browser.new_context(
        base_url=server.url,
        viewport={"width": width, "height": 700},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",  # a position is where it will be
    )
    page = context.new_page()
    page.goto("/")
    expect(page.locator(".card:not(.skeleton)")).to_have_count(24)
    page.locator(".card a").last.focus()
    header = page.locator("header").evaluate("node => node.getBoundingClientRect().bottom")
    for _ in range(20):
        page.keyboard.press("Shift+Tab")
        card = page.locator(".card a:focus")
        assert card.evaluate("node => getComputedStyle(node).outlineColor") == ACCENTS[scheme]
        assert card.evaluate("node => node.parentElement.getBoundingClientRect().top") >= header
    context.close()


def test_a_card_says_its_title_once(page: Page) -> None:
    page.get_by_label("Search products").fill("red mug")
    searched(page, "red mug")
    card = page.locator(".card").first.get_by_role("link")
    expect(card).to_have_accessible_name("red mug")
    card.click()
    expect(page.locator("#detail").get_by_role("img", name="red mug")).to_be_visible()


def test_titles_are_whole_in_every_script(page: Page, gift: None) -> None:
    page.goto("/?q=gift")
    gift = page.locator(".card", has_text="gift").first
    expect(gift.get_by_role("link")).to_have_accessible_name("🎁 gift")
    expect(gift.locator(".no-picture")).to_be_visible()
    page.get_by_label("Search products").fill("قميص")
    card = page.locator(".card", has_text="قميص")
    direction = "node => getComputedStyle(node).direction"
    for shown in ("h2", ".path"):
        assert card.locator(shown).evaluate(direction) == "rtl"
    card.get_by_role("link").click()
    for shown in ("h2", ".path", "dt", "dd"):
        assert page.locator(f"#detail {shown}").first.evaluate(direction) == "rtl"

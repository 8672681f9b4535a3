"""How the page is laid out: nothing jumps, everything fits, and it can be seen."""

import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.end_to_end.conftest import post, settled
from tests.end_to_end.serving import Server

FACETS = "**/items?*facets=*"


def test_the_products_stay_where_they_are_when_the_filters_come_and_go(page: Page) -> None:
    held: list[Route] = []
    page.route(FACETS, lambda route: held.append(route))
    with page.expect_request(FACETS):
        page.reload()
    card = page.locator(".card:not(.skeleton)").first
    expect(card).to_be_visible()
    place: Callable[[], object] = lambda: card.evaluate("node => node.getBoundingClientRect().toJSON()")  # noqa: E731
    before = place()
    filters = page.get_by_role("complementary", name="Filters")
    expect(filters).to_be_hidden()
    for route in held:
        route.continue_()
    page.unroute(FACETS)
    expect(filters).to_be_visible()
    assert place() == before

    page.goto('/?filter={"category": ["Shop > mug"], "price": {"lt": 6.5}}')
    expect(page.locator("#status")).to_have_text("1 product")
    assert card.bounding_box()["x"] == before["x"]  # type: ignore[index]


def test_what_is_chosen_takes_a_row_of_its_own_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 700})
    page.goto('/?q=mug&filter={"category": ["Shop > mug", "Shop > shirt"]}')
    expect(page.locator("#filters > details > summary")).to_have_text("Filters (2)")
    settled(page)
    chips = [chip.bounding_box() for chip in page.locator("#chips button").all()]
    assert len({chip["y"] for chip in chips if chip}) == 1
    assert all(chip["height"] >= 32 for chip in chips if chip)
    status, order = (page.locator(one).bounding_box() for one in ("#status", "#sort"))
    assert status is not None
    assert order is not None
    assert abs(status["y"] + status["height"] / 2 - order["y"] - order["height"] / 2) < 4, "they stand side by side"


def test_the_header_leaves_room_when_everything_is_large(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 256})
    expect(page.get_by_role("button", name="Add product")).to_have_text(re.compile("Add"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("scrollTo({top: 300, behavior: 'instant'})")
    expect(page.locator("header")).not_to_be_in_viewport()


def test_a_long_title_is_cut_between_its_lines(page: Page, server: Server) -> None:
    post(server, {"id": "long", "title": "a very long title " * 40}, None)
    try:
        page.goto("/?item=long")
        title = page.locator("#detail h2")
        expect(title).to_contain_text("a very long title")
        lines = title.evaluate("node => node.clientHeight / parseFloat(getComputedStyle(node).lineHeight)")
        assert lines == pytest.approx(4, abs=0.01)
    finally:
        httpx.delete(f"{server.url}/items/long", timeout=30)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_boxes_and_the_words_in_them_can_be_seen(browser: Browser, server: Server, scheme: str) -> None:
    context = browser.new_context(base_url=server.url, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_label("Least price")).to_be_visible()
    colours = """([selector, part]) => {
      const style = getComputedStyle(document.querySelector(selector), part);
      const ground = getComputedStyle(document.querySelector(selector)).backgroundColor;
      const numbers = (colour) => colour.match(/\\d+/g).slice(0, 3).map(Number);
      return [numbers(part ? style.color : style.borderTopColor), numbers(ground)];
    }"""
    for selector in ("#query", "#sort", ".range input", "#upload [name=category]", "#upload textarea"):
        assert contrast(*page.evaluate(colours, [selector, None])) >= 3, selector
    for selector in ("#query", ".range input", "#upload [name=category]"):
        assert contrast(*page.evaluate(colours, [selector, "::placeholder"])) >= 4.5, selector
    context.close()


def test_forced_colours_leave_the_focus_and_what_has_no_picture_to_be_seen(page: Page) -> None:
    page.emulate_media(forced_colors="active")
    style = """(node) => {
      const ground = getComputedStyle(document.body).backgroundColor;
      const { outlineStyle, outlineColor, backgroundColor } = getComputedStyle(node);
      return [outlineStyle, outlineColor !== ground && !/, 0\\)$/.test(outlineColor), backgroundColor !== ground];
    }"""
    assert page.locator(".no-picture").first.evaluate(style)[2]
    assert page.get_by_label("Search products").evaluate(style)[:2] == ["solid", True]
    page.get_by_role("button", name="Add product").click()
    expect(page.locator("#upload").get_by_label("Title")).to_be_focused()
    assert page.locator("#upload").get_by_label("Title").evaluate(style)[:2] == ["solid", True]


def contrast(one: list[int], other: list[int]) -> float:
    """As WCAG defines it."""

    def luminance(colour: list[int]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)

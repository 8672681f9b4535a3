"""The page's address: it holds the search and the product over it, and brings them back as they were left."""

import json
import re

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.end_to_end.conftest import post
from tests.end_to_end.helpers import send
from tests.end_to_end.serving import Server


def shows(page: Page, title: str) -> None:
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text(title)


def scrolled(page: Page, y: int) -> None:
    """Is at a place, and the page has remembered it."""
    page.wait_for_function("y => Math.abs(scrollY - y) < 2 && Math.abs(history.state.y - y) < 2", arg=y)


def test_a_product_has_an_address_that_can_be_shared(page: Page, browser: Browser, server: Server) -> None:
    page.goto("/?q=red+mug")
    shows(page, "red mug")
    link = page.locator(".card").first.get_by_role("link")
    with page.context.expect_page() as opened:
        link.click(modifiers=["ControlOrMeta"])
    expect(opened.value.locator("#detail h2")).to_have_text("red mug")
    expect(page.locator("#detail")).to_be_hidden()

    steps = page.evaluate("history.length")
    link.click()
    expect(page.locator("#detail h2")).to_have_text("red mug")
    expect(page).to_have_title("red mug – Product search")
    address = f"{server.url}/?item=mug-red&q=red+mug"
    expect(page).to_have_url(address)
    page.reload()
    expect(page.locator("#detail h2")).to_have_text("red mug")
    assert page.evaluate("history.length") == steps + 1, "a reload is no step"
    page.go_back()
    expect(page.locator("#detail")).to_be_hidden()
    expect(page).to_have_url(f"{server.url}/?q=red+mug")
    page.go_forward()
    expect(page.locator("#detail h2")).to_have_text("red mug")

    context = browser.new_context()
    other = context.new_page()
    other.goto(address)
    expect(other.locator("#detail h2")).to_have_text("red mug")
    other.keyboard.press("Escape")
    expect(other.locator("#detail")).to_be_hidden()
    expect(other).to_have_url(f"{server.url}/?q=red+mug")
    shows(other, "red mug")
    context.close()


@pytest.mark.parametrize("last", ["Really delete?", "Save product"])
def test_who_came_by_the_address_of_a_product_types_on_after_it(page: Page, server: Server, last: str) -> None:
    post(server, {"id": "hook", "title": "spare hook"}, None)
    try:
        page.goto("/?item=hook")
        page.get_by_role("button", name="Delete" if last == "Really delete?" else "Edit").click()
        page.get_by_role("button", name=last).click()
        expect(page.locator("#toast")).to_contain_text("spare hook is")
        page.keyboard.type("red mug")
        expect(page.get_by_label("Search products")).to_have_value("red mug")
    finally:
        httpx.delete(f"{server.url}/items/hook", timeout=30)


def test_the_address_of_a_product_that_is_gone_shows_the_search(page: Page, server: Server) -> None:
    page.goto("/?item=gone&q=red+mug")
    expect(page.locator("#toast")).to_contain_text("no item 'gone'")
    expect(page).to_have_url(f"{server.url}/?q=red+mug")
    shows(page, "red mug")


def test_a_form_that_a_reload_closed_leaves_no_step_behind(page: Page) -> None:
    page.get_by_role("button", name="Add product").click()
    expect(page.locator("#upload")).to_be_visible()
    assert page.evaluate("history.state.dialog") == "upload"
    page.reload()
    page.wait_for_function("!history.state?.dialog")


def test_pages_and_the_place_among_them_come_back(page: Page, server: Server) -> None:
    page.get_by_role("button", name="Show more").click()
    cards = page.locator(".card:not(.skeleton)")
    expect(cards).to_have_count(37)
    page.evaluate("scrollTo({top: 900, behavior: 'instant'})")
    scrolled(page, 900)
    page.reload()
    expect(cards).to_have_count(37)
    scrolled(page, 900)
    page.get_by_label("Search products").fill("red mug")
    shows(page, "red mug")
    page.go_back()
    expect(cards).to_have_count(37)
    scrolled(page, 900)

    post(server, {"id": "spare", "title": "spare hook"}, None)
    try:
        page.reload()
        page.locator(".card", has_text="spare hook").get_by_role("link").click()
        page.get_by_role("button", name="Edit").click()
        form = page.get_by_role("dialog", name="Edit the product")
        form.get_by_label("Price").fill("3")
        form.get_by_role("button", name="Save product").click()
        expect(page.locator(".card", has_text="spare hook").locator(".price")).to_have_text("3.00")
        expect(cards).to_have_count(37)
    finally:
        httpx.delete(f"{server.url}/items/spare", timeout=30)


def test_more_than_one_answer_holds_comes_back(page: Page, server: Server) -> None:
    ids = [f"spare-{n}" for n in range(90)]
    with httpx.Client(base_url=server.url, timeout=60) as client:
        send(client, *((item_id, "spare hook", []) for item_id in ids))
        try:
            page.reload()
            cards = page.locator(".card:not(.skeleton)")
            for count in (24, 48, 72, 96):
                expect(cards).to_have_count(count)
                page.get_by_role("button", name="Show more").click()
            expect(cards).to_have_count(120)
            page.evaluate("scrollTo({top: 8000, behavior: 'instant'})")
            scrolled(page, 8000)
            page.reload()
            expect(cards).to_have_count(120)
            scrolled(page, 8000)
            page.get_by_role("button", name="Show more").click()
            expect(page.locator("#status")).to_have_text("127 products")
            assert len(set(cards.locator("a").evaluate_all("links => links.map((link) => link.href)"))) == 127
        finally:
            client.delete("/items", params={"filter": json.dumps({"id": ids})}).raise_for_status()


def test_an_address_that_was_written_by_hand_leaves_a_way_on(page: Page) -> None:
    page.goto("/?sort=title:asc")
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    expect(page.get_by_label("Sort by")).to_have_value("")
    page.goto("/?q=red+mug&group=foo")
    page.get_by_role("button", name="Show all variants").click()
    shows(page, "red mug")
    expect(page).to_have_url(re.compile(r"/\?q=red\+mug$"))


def test_a_search_that_is_too_long_says_so_in_plain_words(page: Page) -> None:
    page.goto("/?q=" + "mug+" * 300)
    expect(page.get_by_role("alert")).to_contain_text("This search is too long")
    expect(page.get_by_role("alert")).not_to_contain_text("String should")
    expect(page.locator("#answered")).to_contain_text("body.query")
    page.locator("#message").get_by_role("button", name="Clear the search").click()
    expect(page.locator("#status")).to_have_text("24 of 37 products")


def test_a_search_that_waits_for_more_letters_waits_for_an_open_product(page: Page) -> None:
    page.clock.install()
    page.reload()
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    page.evaluate("""() => {
      const box = document.querySelector("#query");
      box.value = "blue shirt";
      box.dispatchEvent(new Event("input"));
      document.querySelector(".card a").click();
    }""")
    expect(page.locator("#detail")).to_be_visible()
    expect(page.get_by_role("region", name="Similar products")).to_be_visible()
    page.clock.run_for(1000)
    assert "item=" in page.url
    page.keyboard.press("Escape")
    shows(page, "blue shirt")
    page.go_back()
    expect(page.locator("#status")).to_have_text("24 of 37 products")

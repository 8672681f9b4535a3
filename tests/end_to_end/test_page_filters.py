"""The filters of the page where things are slow, refused, turned round, or written by hand."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.end_to_end.conftest import post, settled
from tests.end_to_end.serving import Server

FACETS = "**/items?*facets=*"


@pytest.fixture
def makers(server: Server, page: Page) -> Iterator[None]:
    """Hooks of a dozen makers, the first of whom makes two."""
    for n in range(13):
        fields = {"id": f"hook-{n}", "title": "hook", "attributes": json.dumps({"maker": f"maker {max(1, n):02d}"})}
        post(server, fields, None)
    yield
    for n in range(13):
        httpx.delete(f"{server.url}/items/hook-{n}", timeout=30).raise_for_status()


def opened_with(page: Page, written: object) -> None:
    page.goto(f"/?filter={quote(json.dumps(written))}")


def test_filters_are_there_after_a_tablet_is_turned(page: Page) -> None:
    page.set_viewport_size({"width": 820, "height": 1180})
    page.reload()
    mugs = page.get_by_role("checkbox", name="mug")
    expect(page.locator("#filters > details > summary")).to_be_visible()
    expect(mugs).to_be_hidden()
    page.set_viewport_size({"width": 1180, "height": 820})
    expect(mugs).to_be_visible()


def test_a_number_being_typed_is_kept_while_counts_come_in(page: Page) -> None:
    held: list[Route] = []
    least, most = page.get_by_label("Least price"), page.get_by_label("Most price")
    holding = True
    page.route(FACETS, lambda route: held.append(route) if holding else route.continue_())
    with page.expect_request(FACETS):
        least.press_sequentially("6")
        least.press("Tab")
    expect(page.locator("#status")).to_have_text("6 products")
    most.press_sequentially("1")
    holding = False
    for route in held:
        route.continue_()
    for route in held:
        answer = route.request.response()
        assert answer is not None
        answer.finished()
    page.evaluate("new Promise((done) => setTimeout(done, 100))")  # in which the counts could take the box away
    page.keyboard.type("5")
    expect(most).to_have_value("15")
    most.press("Enter")
    expect(page.locator("#chips li")).to_have_text("price 6 – 15 ×")
    expect(page.locator("#status")).to_have_text("3 products")


def test_what_is_no_number_is_no_bound(page: Page) -> None:
    page.get_by_label("Most price").press_sequentially("1-2")
    page.get_by_label("Most price").press("Enter")
    expect(page.locator("#toast")).to_have_text("Most price: this is not a number")
    expect(page.get_by_label("Most price")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#chips li")).to_have_count(0)
    page.get_by_label("Most price").fill("7")
    page.get_by_label("Least price").press_sequentially("2e")
    page.get_by_label("Least price").press("Tab")
    expect(page.locator("#toast")).to_have_text("Least price: this is not a number")
    expect(page.locator("#chips li")).to_have_text("price up to 7 ×")


def test_a_range_whose_least_is_more_than_its_most_is_no_range(page: Page) -> None:
    least, most = page.get_by_label("Least price"), page.get_by_label("Most price")
    most.fill("7")
    most.press("Enter")
    expect(page.locator("#chips li")).to_have_text("price up to 7 ×")
    settled(page)  # the counts come with boxes of their own
    least.fill("70")
    least.press("Tab")
    expect(page.locator("#toast")).to_have_text("Least price is more than most")
    for box in (least, most):
        expect(box).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#status")).to_have_text("2 products")
    most.fill("90")
    most.press("Enter")
    expect(page.locator("#chips li")).to_have_text("price 70 – 90 ×")


def test_a_filter_in_the_address_may_be_whatever_the_service_takes(page: Page) -> None:
    written: list[tuple[object, list[str], str]] = [
        ({"category": "Shop > mug"}, ["mug ×"], "3 products"),
        ({"price": {"gt": 6}}, ["price over 6 ×"], "5 products"),
        ({"price": {"gt": 6, "lt": 20}}, ["price over 6, under 20 ×"], "2 products"),
        ({"price": [6, 7]}, ["6 ×", "7 ×", "Clear all"], "2 products"),
        ({"and": [{"price": {"lt": 7}}]}, ["filter ×"], "1 product"),
        ({"not": {"category": "Shop"}, "price": None}, ["filter ×"], "24 of 31 products"),
        ({"price": None, "category": []}, [], "24 of 37 products"),
        ([1], [], "24 of 37 products"),
    ]
    for filter, chips, status in written:
        opened_with(page, filter)
        expect(page.locator("#status")).to_have_text(status)
        expect(page.locator("#chips li")).to_have_text(chips)


def test_a_filter_that_the_service_refuses_can_be_cleared(page: Page) -> None:
    opened_with(page, {"brand": [1]})
    expect(page.get_by_role("alert")).to_contain_text("This filter is no longer known")
    expect(page.get_by_role("alert")).not_to_contain_text("no field of any item")
    expect(page.locator("#chips li")).to_have_text(["1 ×"])
    page.get_by_text("For developers").click()
    expect(page.locator("#answered")).to_contain_text("filter.brand is no field of any item")
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    expect(page.get_by_role("checkbox", name="mug")).to_be_visible()


def test_a_filter_of_another_time_is_removed_from_among_others(page: Page) -> None:
    opened_with(page, {"category": ["Shop > mug"], "and": [{"no such": 1}]})
    expect(page.get_by_role("alert")).to_contain_text("This filter is no longer known")
    page.get_by_role("button", name="Remove this filter").click()
    expect(page.locator("#chips li")).to_have_text(["mug ×"])
    expect(page.locator("#status")).to_have_text("3 products")


def test_a_page_asks_for_little_and_again_when_it_is_too_much(page: Page, makers: None) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    def refuse(route: Route) -> None:
        refused = {"detail": "No more than 5 searches a second are allowed.", "code": "rate_limited"}
        route.fulfill(status=429, headers={"Retry-After": "0"}, json=refused)

    page.route(FACETS, refuse, times=1)
    page.reload()
    for name in ("mug", "maker 01"):
        expect(page.get_by_role("checkbox", name=name)).to_be_visible()
    reads = [url for url in asked if "/items?" in url or "/fields" in url]
    assert len(reads) == 5, reads  # the list, the fields, a sample of items; the counts, refused once


def test_a_chosen_value_far_down_is_shown_ticked(page: Page, makers: None) -> None:
    opened_with(page, {"maker": "maker 12"})
    last = page.get_by_role("checkbox", name="maker 12")
    expect(last).to_be_checked()
    expect(page.get_by_role("checkbox", name="maker 11")).to_have_count(0)
    page.get_by_role("button", name="3 more").click()
    expect(page.get_by_role("checkbox", name="maker 09")).to_be_focused()
    expect(page.get_by_role("checkbox", name="maker")).to_have_count(12)
    page.get_by_role("button", name="Show fewer").click()
    expect(page.get_by_role("checkbox", name="maker")).to_have_count(9)
    expect(last).to_be_focused()


def test_only_what_is_relevant_is_shown_and_counted(page: Page, server: Server) -> None:
    def counted(**asked: Any) -> str:
        request = {"query": "mug", "facets": ["category"], **asked}
        answer = httpx.post(f"{server.url}/search", json=request, timeout=30).json()
        return str({one["value"]: one["count"] for one in answer["facets"]["category"]["values"]}["Shop"])

    relevant, nearer = counted(relevance_floor=0.7), counted(sort=[{"field": "price"}])
    assert 1 < int(nearer) <= int(relevant) < 6
    in_shop = page.locator("label", has=page.get_by_role("checkbox", name="Shop")).locator("small")
    expect(in_shop).to_have_text("6")
    page.get_by_role("combobox", name="Search").fill("mug")
    expect(in_shop).to_have_text(relevant)
    expect(page.locator("#status")).to_contain_text(f"{relevant} products")
    page.get_by_label("Sort by").select_option("price:asc")
    expect(in_shop).to_have_text(nearer)
    page.get_by_role("combobox", name="Search").fill("")
    expect(in_shop).to_have_text("6")


def test_an_attribute_is_a_filter_however_its_name_is_written(page: Page, server: Server) -> None:
    names = ["Größe", "ΜΈΓΕΘΟΣ", 'Ø in "', "style code"]
    values = {"coat-1": "M", "coat-2": "M", "coat-3": "L"}
    for item_id, value in values.items():
        post(server, {"id": item_id, "title": "coat", "attributes": json.dumps(dict.fromkeys(names, value))}, None)
    try:
        page.reload()
        expect(page.get_by_role("group", name="grösse")).to_be_visible()
        later = page.locator("#filters .group")
        expect(later).to_have_count(2)  # the fourth field and the fifth; what variants share is no filter
        expect(later.first.get_by_role("checkbox")).to_have_count(0)
        for summary in later.locator("summary").all():
            summary.click()
        for name in ("grösse", "μέγεθοσ", "ø in '"):
            group = page.get_by_role("group", name=name)
            expect(group.get_by_role("checkbox")).to_have_count(2)
        page.get_by_role("group", name="grösse").get_by_role("checkbox", name="M").check()
        expect(page.locator("#status")).to_have_text("2 products")
    finally:
        for item_id in values:
            httpx.delete(f"{server.url}/items/{item_id}", timeout=30)


def test_trying_again_after_a_failed_start_brings_filters_and_orders(page: Page) -> None:
    reads = re.compile(r"/(fields|items\?.*)$")
    page.route(reads, lambda route: route.abort())
    page.reload()
    expect(page.locator("#message")).to_contain_text("The service does not answer")
    expect(page.locator("#sort option[value^=price]").first).to_have_attribute("hidden", "")
    page.unroute(reads)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    expect(page.get_by_role("checkbox", name="mug")).to_be_visible()
    page.get_by_label("Sort by").select_option("price, high to low")
    expect(page.locator(".card .price").first).to_have_text("20.00")


def test_counts_that_failed_are_asked_for_again(page: Page) -> None:
    page.route(FACETS, lambda route: route.abort())
    page.reload()
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    settled(page)
    expect(page.get_by_role("complementary", name="Filters")).to_be_hidden()
    page.unroute(FACETS)
    page.get_by_label("Search products").press("Enter")
    expect(page.get_by_role("checkbox", name="mug")).to_be_visible()


def test_a_failure_does_not_take_back_what_is_known_of_fields(page: Page, server: Server) -> None:
    prices = page.locator("#sort option[value^=price]").first
    expect(prices).not_to_have_attribute("hidden", "")
    page.route("**/fields", lambda route: route.abort())
    page.get_by_role("button", name="Add product").click()
    form = page.get_by_role("dialog", name="Add a product")
    form.get_by_label("Title").fill("spare hook")
    form.get_by_label("Id", exact=True).fill("hook")
    try:
        with page.expect_event("requestfailed", lambda request: request.url.endswith("/fields")):
            form.get_by_role("button", name="Save product").click()
        expect(page.locator("#status")).to_have_text("24 of 38 products")
        settled(page)
        expect(prices).not_to_have_attribute("hidden", "")
    finally:
        httpx.delete(f"{server.url}/items/hook", timeout=30)

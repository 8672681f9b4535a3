"""Narrowing, sorting, suggestions, photographs and neighbours, as a shopper meets them on the page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.end_to_end.conftest import COLOURS, picture, post, searched, settled
from tests.end_to_end.serving import Server

# Remembers how many hits, and of what likeness, a search with a picture asks for.
WATCH = """() => {
  const send = window.fetch;
  window.sent = [];
  window.fetch = (path, options) => {
    const { body } = options ?? {};
    if (body instanceof FormData) sent.push([body.get("limit"), body.get("relevance_floor")]);
    return send(path, options);
  };
}"""


@pytest.fixture
def several(server: Server, page: Page) -> Iterator[Server]:
    """Two lamps more: one of two pictures, sold out, with attributes of every kind."""
    attributes = json.dumps({"watts": 40, "for": ["desk", "bed"], "dimmable": True})
    lamps: dict[str, Any] = {
        "lamp": {
            "title": "steel lamp",
            "description": "A lamp for a desk.",
            "stock": "0",
            "price": "30",
            "attributes": attributes,
        },
        "globe": {"title": "paper globe", "stock": "9", "price": "12"},
    }
    for item_id, fields in lamps.items():
        form = {"id": item_id, "category": "Home > Lamps", **fields}
        parts: list[Any] = [(name, (None, value)) for name, value in form.items()]
        parts += [("image", ("a.png", picture(COLOURS[colour]), "image/png")) for colour in ("red", "green")]
        httpx.post(f"{server.url}/items", files=parts, timeout=30).raise_for_status()
    page.reload()
    yield server
    for item_id in lamps:
        httpx.delete(f"{server.url}/items/{item_id}", timeout=30).raise_for_status()


def titles(page: Page) -> list[str]:
    return page.locator(".card:not(.skeleton) h2").all_inner_texts()


def test_facets_are_filters_and_chips_take_them_away(page: Page) -> None:
    filters = page.get_by_role("complementary", name="Filters")
    mugs = filters.get_by_role("checkbox", name="mug")
    expect(mugs).to_be_visible()
    expect(filters.locator("label", has_text="mug").locator("small")).to_have_text("3")
    mugs.check()
    expect(page.locator("#status")).to_have_text("3 products")
    assert "filter=" in page.url
    page.get_by_label("Search products").fill("red shirt")
    expect(page.locator("#status")).to_contain_text("for “")
    assert set(titles(page)) <= {"red mug", "green mug", "blue mug"}
    page.get_by_label("Search products").fill("")
    expect(page.locator("#status")).to_have_text("3 products")
    settled(page)
    filters.get_by_role("checkbox", name="shirt").check()
    expect(page.locator("#status")).to_have_text("6 products")
    page.reload()
    expect(page.locator("#status")).to_have_text("6 products")
    for value in ("category Shop > mug", "category Shop > shirt"):
        page.get_by_role("button", name=f"Remove {value}").click()
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    expect(page.locator("#chips li")).to_have_count(0)


def test_a_price_range_and_sorting_by_price(page: Page) -> None:
    page.get_by_label("Search products").fill("mug")
    expect(page.locator("#status")).to_contain_text("for “")
    page.get_by_label("Most price").fill("7")
    page.get_by_label("Most price").press("Enter")
    expect(page.get_by_role("button", name="Remove price")).to_be_visible()
    expect(page.locator("#status")).to_contain_text("2 products")
    page.get_by_label("Sort by").select_option("price, high to low")
    expect(page.locator(".card .price").first).to_have_text("7.00")
    page.get_by_label("Sort by").select_option("price, low to high")
    expect(page.locator(".card .price").first).to_have_text("6.00")
    page.go_back()
    expect(page.locator(".card .price").first).to_have_text("7.00")


def test_the_whole_shop_is_sorted_page_after_page(page: Page) -> None:
    expect(page.get_by_label("Sort by").locator("option:checked")).to_have_text("default")
    page.get_by_label("Sort by").select_option("price, high to low")
    expect(page.locator(".card .price").first).to_have_text("20.00")
    assert "sort=price" in page.url
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".card")).to_have_count(37)
    prices = page.locator(".card .price").all_inner_texts()
    assert prices == ["20.00"] * 3 + ["9.50", "7.00", "6.00"] + [""] * 31, "what has no price comes last"
    assert len(set(titles(page))) == 37, "each once"
    page.reload()
    expect(page.locator(".card .price").first).to_have_text("20.00")


def test_variants_collapse_to_the_best_and_open_again(server: Server, page: Page) -> None:
    expect(page.get_by_role("switch", name="One per style")).to_be_hidden()
    for colour, rgb in COLOURS.items():
        fields = {"id": f"cap-{colour}", "title": f"{colour} cap", "attributes": '{"item_group_id": "Cap 12"}'}
        post(server, fields, picture(rgb))
    try:
        page.reload()
        page.get_by_label("Search products").fill("green cap")
        expect(page.locator(".card:not(.skeleton) h2").first).to_have_text("green cap")
        page.get_by_role("switch", name="One per style").check()
        expect(page.get_by_role("button", name="2 more of green cap")).to_be_visible()
        assert "group=item_group_id" in page.url
        assert [title for title in titles(page) if "cap" in title] == ["green cap"]
        others = page.get_by_role("button", name="2 more of green cap")
        expect(others).to_have_text("2 more variants")
        others.click()
        expect(page.locator("#status")).to_contain_text("3 products")
        assert set(titles(page)) == {"red cap", "green cap", "blue cap"}
        expect(page.get_by_role("button", name="Remove item_group_id Cap 12")).to_be_visible()
        page.go_back()
        expect(page.get_by_role("button", name="2 more of green cap")).to_be_visible()
        expect(page.get_by_role("switch", name="One per style")).to_be_checked()
    finally:
        for colour in COLOURS:
            httpx.delete(f"{server.url}/items/cap-{colour}", timeout=30).raise_for_status()


def test_suggestions_are_chosen_by_keyboard(page: Page) -> None:
    box = page.get_by_label("Search products")
    box.press_sequentially("blu")
    options = page.get_by_role("listbox", name="Suggestions").get_by_role("option")
    expect(options).to_have_count(2)
    box.press("ArrowDown")
    chosen = options.first.locator("span").inner_text()
    expect(options.first).to_have_attribute("aria-selected", "true")
    box.press("Enter")
    expect(box).to_have_value(chosen)
    expect(page.get_by_role("listbox", name="Suggestions")).to_be_hidden()
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text(chosen)
    box.press_sequentially(" s")
    box.press("Escape")
    expect(page.get_by_role("listbox", name="Suggestions")).to_be_hidden()


def test_a_suggestion_stays_chosen_when_newer_ones_arrive(page: Page) -> None:
    late: list[Route] = []
    page.route(re.compile(r"/suggest\?q=blu\b"), lambda route: late.append(route))
    box = page.get_by_label("Search products")
    options = page.get_by_role("listbox", name="Suggestions").get_by_role("option")
    box.press_sequentially("bl")
    expect(options).to_have_count(2)
    with page.expect_request(re.compile(r"/suggest\?q=blu\b")):
        box.press("u")
    box.press("ArrowDown")
    chosen = options.first.locator("span").inner_text()
    late[0].fulfill(json={"suggestions": [{"text": text, "kind": "title"} for text in ("blue", chosen, "blue cap")]})
    expect(options).to_have_count(3)
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    box.press("Enter")
    expect(box).to_have_value(chosen)


def test_a_photograph_finds_what_looks_like_it(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(picture(COLOURS["green"]))
    page.evaluate(WATCH)
    page.locator("#camera").set_input_files(file)
    expect(page.get_by_alt_text("The picture you search with")).to_be_visible()
    expect(page.locator("#status")).to_contain_text("like your picture")
    assert all(title.startswith("green") for title in titles(page)[:2])
    # What does not look like it is neither shown nor counted.
    page.wait_for_function("sent.length === 2")
    assert sorted(page.evaluate("sent")) == [["0", "0.7"], ["24", "0.7"]]
    page.get_by_label("Search products").fill("mug")
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text("green mug")
    page.get_by_role("button", name="Search without the picture").click()
    expect(page.get_by_alt_text("The picture you search with")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("for “")


def test_similar_products_lead_from_one_to_the_next(page: Page) -> None:
    page.get_by_label("Search products").fill("red mug")
    expect(page.locator("#status")).to_contain_text("for “")
    page.locator(".card").first.get_by_role("link").click()
    similar = page.get_by_role("region", name="Similar products").get_by_role("link")
    expect(similar).to_have_count(6)
    name = similar.first.get_attribute("aria-label")
    assert name != "red mug"
    similar.first.click()
    expect(page.locator("#detail h2")).to_have_text(name or "")


def test_a_misspelt_query_says_what_was_searched_for(page: Page) -> None:
    page.get_by_label("Search products").fill("grean shrit")
    expect(page.locator("#status")).to_contain_text("for “green shirt”")
    assert titles(page)[0] == "green shirt"


def test_the_way_back_from_a_correction_goes_with_its_query(page: Page) -> None:
    box = page.get_by_label("Search products")
    box.fill("grean shrit")
    box.press("Enter")
    expect(page.locator("#instead")).to_be_visible()
    page.route("**/search", lambda route: None)  # the next answer never comes
    box.fill("blue mug")
    expect(page.locator("#instead")).to_be_hidden()


def test_a_correction_can_be_declined(page: Page) -> None:
    page.get_by_label("Search products").fill("grean shrit")
    page.get_by_label("Search products").press("Enter")
    page.get_by_role("button", name="Search for “grean shrit” instead").click()
    expect(page.locator("#status")).to_contain_text("for “grean shrit”")
    expect(page.locator("#instead")).to_be_hidden()
    page.reload()
    expect(page.locator("#status")).to_contain_text("for “grean shrit”")


def test_results_while_typing_complete_the_last_word(page: Page) -> None:
    box = page.get_by_label("Search products")
    box.press_sequentially("green shi")
    expect(page.locator("#status")).to_contain_text("for “green shirt”")
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text("green shirt")


def test_a_chosen_category_opens_and_filters_are_cleared_together(page: Page, several: Server) -> None:
    filters = page.get_by_role("complementary", name="Filters")
    expect(filters.get_by_role("checkbox", name="Lamps")).to_have_count(0)
    filters.get_by_role("checkbox", name="Home").check()
    expect(filters.get_by_role("checkbox", name="Lamps")).to_be_visible()
    filters.get_by_role("checkbox", name="Lamps").check()
    expect(page.locator("#chips li")).to_have_text(["Lamps ×"])  # in the place of what it is part of
    settled(page)
    filters.get_by_role("checkbox", name="sold out").check()
    expect(page.locator("#status")).to_have_text("1 product")
    page.goto('/?filter={"category": ["Home > Lamps"], "price": {"lte": 1}}')
    expect(page.locator("#message")).to_contain_text("Nothing with these filters")
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.locator("#chips li")).to_have_count(0)
    expect(page.locator("#status")).to_have_text("24 of 39 products")


def test_the_picture_that_matched_is_shown_and_why(page: Page, several: Server) -> None:
    query = {"query": "green lamp", "explain": True}
    hits = httpx.post(f"{several.url}/search", json=query, timeout=30).json()["hits"]
    best = next(hit for hit in hits if hit["id"] == "lamp")["explanation"]["picture"]
    page.get_by_label("Search products").fill("green lamp")
    searched(page, "green lamp")
    card = page.locator(".card", has_text="steel lamp")
    expect(card.locator("img")).to_have_attribute("src", re.compile(rf"n={best}&"))
    expect(card.locator(".stock")).to_have_text("Sold out")
    card.get_by_role("link").click()
    detail = page.locator("#detail")
    expect(detail.locator("h2")).to_have_text("steel lamp")
    expect(detail.locator(".description mark")).to_have_text("lamp")
    assert detail.locator("dt").all_inner_texts() == ["Watts", "For", "Dimmable"]  # as filters are called
    expect(detail.locator(".why")).to_be_hidden()  # a shopper need not know
    detail.get_by_text("About this result").click()
    expect(detail.locator(".why")).to_contain_text(f"picture {best + 1} of 2 fits best")
    expect(detail.get_by_role("button", name=f"Picture {best + 1}")).to_have_attribute("aria-pressed", "true")


def test_editing_keeps_kinds_and_never_overwrites_another(page: Page, several: Server) -> None:
    page.get_by_label("Search products").fill("steel lamp")
    searched(page, "steel lamp")
    page.locator(".card", has_text="steel lamp").get_by_role("link").click()
    page.get_by_role("button", name="Edit").click()
    form = page.get_by_role("dialog", name="Edit the product")
    expect(form.get_by_alt_text("picture-2.jpg")).to_be_visible()
    expect(form.get_by_label("Stock")).to_have_value("0")
    form.get_by_label("Stock").fill("5")
    form.get_by_role("button", name="Save product").click()
    expect(page.locator("#toast")).to_contain_text("is saved")
    settled(page)
    item = httpx.get(f"{several.url}/items/lamp", timeout=30).json()
    assert (item["stock"], item["attributes"]) == (5, {"watts": 40, "for": ["desk", "bed"], "dimmable": True})

    page.locator(".card", has_text="steel lamp").get_by_role("link").click()
    page.get_by_role("button", name="Edit").click()
    expect(form.get_by_alt_text("picture-2.jpg")).to_be_visible()
    httpx.patch(f"{several.url}/items/lamp", json={"price": 77}, timeout=30).raise_for_status()
    form.get_by_label("Price").fill("5")
    form.get_by_role("button", name="Save product").click()
    expect(form.get_by_role("alert")).to_contain_text("has been changed")
    assert httpx.get(f"{several.url}/items/lamp", timeout=30).json()["price"] == 77
    form.get_by_role("button", name="Load the newer one").click()
    expect(form.get_by_label("Price")).to_have_value("77")
    expect(form.locator(".problem")).to_be_empty()
    expect(form.get_by_label("Title")).to_be_focused()


def test_a_phrase_that_nothing_has_says_how_to_go_on(page: Page) -> None:
    page.get_by_label("Search products").fill('red "frog legs"')
    expect(page.locator("#message")).to_contain_text("word for word")
    page.get_by_role("button", name="Search for red frog legs").click()
    expect(page.locator(".card").first).to_be_visible()


@pytest.mark.parametrize(
    ("query", "plain"),
    [
        ("red „frog legs“ mug", "red frog legs mug"),
        ("red “frog-legs” －blue", "red frog-legs"),
        ('red -"blue mug" "frog legs"', "red frog legs"),
    ],
)
def test_phrases_are_explained_however_their_quotes_are_typed(page: Page, query: str, plain: str) -> None:
    page.get_by_label("Search products").fill(query)
    expect(page.locator("#message")).to_contain_text("word for word")
    expect(page.locator("#message").get_by_role("button")).to_have_text([f"Search for {plain}"])


@pytest.mark.parametrize("query", ["t-shirt", "3 - 5 years", '19" rack'])
def test_hyphens_and_inches_are_not_explained_as_phrases(page: Page, query: str) -> None:
    nothing = {
        "hits": [],
        "total": 0,
        "next_cursor": None,
        "corrected_query": None,
        "model_id": "",
        "took_ms": {"total": 1},
    }
    page.route("**/search", lambda route: route.fulfill(json=nothing))
    page.get_by_label("Search products").fill(query)
    expect(page.locator("#message")).to_contain_text("Nothing found")
    expect(page.locator("#message")).not_to_contain_text("word for word")


def test_a_way_out_of_a_long_phrase_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.get_by_label("Search products").fill('"' + "frog legs " * 20 + "frog" * 30 + '"')
    expect(page.locator("#message")).to_contain_text("word for word")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    button, text = (page.locator(f"#message {one}").bounding_box() for one in (".button", "h2"))
    assert button is not None
    assert text is not None
    assert button["width"] <= text["width"]

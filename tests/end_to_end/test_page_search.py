"""Narrowing, sorting, suggestions, photographs and neighbours, as a shopper meets them on the page."""

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.end_to_end.conftest import COLOURS, picture


def titles(page: Page) -> list[str]:
    return page.locator(".card:not(.skeleton) h3").all_inner_texts()


def test_facets_are_filters_and_chips_take_them_away(page: Page) -> None:
    filters = page.get_by_role("complementary", name="Filters")
    mugs = filters.get_by_role("checkbox", name="mug")
    expect(mugs).to_be_visible()
    expect(filters.locator("label", has_text="mug").locator("small")).to_have_text("3")
    mugs.check()
    expect(page.locator("#status")).to_have_text("3 products")
    assert "filter=" in page.url
    page.get_by_label("Search products").fill("red")
    expect(page.locator("#status")).to_contain_text("Best 3 of 3")
    assert titles(page)[0] == "red mug"
    filters.get_by_role("checkbox", name="shirt").check()
    expect(page.locator("#status")).to_contain_text("of 6")
    page.reload()
    expect(page.locator("#status")).to_contain_text("of 6")
    for value in ("category Shop > mug", "category Shop > shirt"):
        page.get_by_role("button", name=f"Remove {value}").click()
    expect(page.locator("#status")).to_contain_text("of 37")
    expect(page.locator("#chips li")).to_have_count(0)


def test_a_price_range_and_sorting_by_price(page: Page) -> None:
    page.get_by_label("Search products").fill("mug")
    expect(page.locator("#status")).to_contain_text("of 37")
    page.get_by_label("Most price").fill("7")
    page.get_by_label("Most price").press("Enter")
    expect(page.get_by_role("button", name="Remove price")).to_be_visible()
    expect(page.locator("#status")).to_contain_text("of 2 ")
    page.get_by_label("Sort by").select_option("price, high to low")
    expect(page.locator(".card .price").first).to_have_text("7.00")
    page.get_by_label("Sort by").select_option("price, low to high")
    expect(page.locator(".card .price").first).to_have_text("6.00")
    page.go_back()
    expect(page.locator(".card .price").first).to_have_text("7.00")


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


def test_a_photograph_finds_what_looks_like_it(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(picture(COLOURS["green"]))
    page.locator("#camera").set_input_files(file)
    expect(page.get_by_alt_text("The picture you search with")).to_be_visible()
    expect(page.locator("#status")).to_contain_text("Best")
    assert all(title.startswith("green") for title in titles(page)[:2])
    page.get_by_label("Search products").fill("mug")
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text("green mug")
    page.get_by_role("button", name="Search without the picture").click()
    expect(page.get_by_alt_text("The picture you search with")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("Best")


def test_similar_products_lead_from_one_to_the_next(page: Page) -> None:
    page.get_by_label("Search products").fill("red mug")
    expect(page.locator("#status")).to_contain_text("Best")
    page.locator(".card").first.get_by_role("button").click()
    similar = page.get_by_role("region", name="Similar products").get_by_role("button")
    expect(similar).to_have_count(6)
    name = similar.first.get_attribute("aria-label")
    assert name != "red mug"
    similar.first.click()
    expect(page.locator("#detail h2")).to_have_text(name or "")


def test_a_misspelt_query_says_what_was_searched_for(page: Page) -> None:
    page.get_by_label("Search products").fill("grean shrit")
    expect(page.locator("#status")).to_contain_text("for “green shirt”")
    assert titles(page)[0] == "green shirt"

"""Back and Forward on the page: the searches before, with their pictures, and the dialogs over them."""

import re

from playwright.sync_api import FilePayload, Page, expect

from tests.end_to_end.conftest import COLOURS, picture, settled

# Done once the step of a closed dialog is taken back, which browsers do a moment later.
LEFT = """new Promise((done) => {
  const look = () => (history.state.dialog ? setTimeout(look, 5) : done());
  look();
})"""


def search(page: Page, words: str) -> None:
    """Types as people do: the results are there before Enter is."""
    box = page.get_by_label("Search products")
    box.fill("")
    box.press_sequentially(words)
    shows(page, words)
    box.press("Enter")
    settled(page)


def shows(page: Page, title: str) -> None:
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text(title)


def test_back_returns_to_the_search_before(page: Page) -> None:
    steps = page.evaluate("history.length")
    search(page, "red mug")
    search(page, "blue shirt")
    assert page.evaluate("history.length") == steps + 2, "words being typed are no steps of their own"
    page.go_back()
    shows(page, "red mug")
    expect(page.get_by_label("Search products")).to_have_value("red mug")
    page.go_back()
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    page.go_forward()
    shows(page, "red mug")


def test_a_letter_taken_back_leaves_the_step_that_there_was(page: Page) -> None:
    box = page.get_by_label("Search products")
    with page.expect_request(re.compile(r"/items\?.*")):  # of the search that begins a moment after the last key
        box.press("r")
        box.press("Backspace")
    search(page, "red mug")
    page.go_back()
    expect(page.locator("#status")).to_have_text("24 of 37 products")


def test_a_new_search_is_shown_from_its_top(page: Page) -> None:
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".card")).to_have_count(37)
    page.evaluate("scrollTo({top: document.body.scrollHeight, behavior: 'instant'})")
    assert page.evaluate("scrollY") > 500
    page.get_by_label("Search products").press_sequentially("red mug")
    shows(page, "red mug")
    assert page.evaluate("scrollY") == 0
    expect(page.locator(".card").first).to_be_in_viewport(ratio=1)


def test_back_closes_a_product_and_leaves_the_search(page: Page) -> None:
    search(page, "red mug")
    search(page, "blue shirt")
    asked: list[str] = []
    page.locator(".card").first.get_by_role("link").click()
    expect(page.get_by_role("region", name="Similar products")).to_be_visible()
    page.get_by_role("region", name="Similar products").get_by_role("link").first.click()
    page.on("request", lambda request: asked.append(request.url) if "/search" in request.url else None)
    page.go_back()
    expect(page.locator("#detail")).to_be_hidden()
    shows(page, "blue shirt")
    assert not asked  # the results never went away

    page.locator(".card").first.get_by_role("link").click()
    page.locator("#detail").get_by_role("button", name="Edit").click()
    expect(page.get_by_role("dialog", name="Edit the product")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog", name="Edit the product")).to_be_hidden()
    shows(page, "blue shirt")


def test_a_product_that_was_closed_leaves_no_step_behind(page: Page) -> None:
    search(page, "red mug")
    search(page, "blue shirt")
    for _ in range(2):
        page.locator(".card").first.get_by_role("link").click()
        expect(page.locator("#detail")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#detail")).to_be_hidden()
        page.evaluate(LEFT)
    page.go_back()
    shows(page, "red mug")


def test_back_brings_the_photograph_with_its_search(page: Page) -> None:
    photo = page.get_by_alt_text("The picture you search with")
    for colour in ("green", "red"):
        file: FilePayload = {"name": "a.png", "mimeType": "image/png", "buffer": picture(COLOURS[colour])}
        page.locator("#camera").set_input_files(file)
        expect(page.locator(".card").first.get_by_role("heading")).to_contain_text(colour)
    page.get_by_label("Sort by").select_option("price, low to high")
    expect(page).to_have_url(re.compile("sort=price"))
    page.go_back()
    expect(page.get_by_label("Sort by")).to_have_value("")
    expect(photo).to_be_visible()
    expect(page.locator(".card").first.get_by_role("heading")).to_contain_text("red")
    page.go_back()
    expect(page.locator(".card").first.get_by_role("heading")).to_contain_text("green")
    page.go_back()
    expect(photo).to_be_hidden()
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    page.go_forward()
    expect(photo).to_be_visible()
    page.reload()  # which a picture does not outlive
    expect(page.locator("#toast")).to_contain_text("is gone")
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    expect(photo).to_be_hidden()

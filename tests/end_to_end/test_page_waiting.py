"""The page while something is under way: answers that are late or not the service's, and people who went on."""

from playwright.sync_api import Page, Route, expect


def test_what_is_typed_before_the_script_has_come_is_searched_for(page: Page) -> None:
    held: list[Route] = []
    page.route("**/web/app.js", lambda route: held.append(route))
    with page.expect_request("**/web/app.js"):
        page.goto("/", wait_until="commit")
    box = page.get_by_label("Search products")
    box.fill("blue mug")
    page.wait_for_function("document.querySelector('#toast')")  # the whole page is there
    held[0].continue_()
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text("blue mug")
    expect(box).to_have_value("blue mug")


def test_a_next_page_leaves_the_focus_to_who_went_on(page: Page) -> None:
    held: list[Route] = []
    page.route("**/items?*cursor=*", lambda route: held.append(route))
    with page.expect_request("**/items?*cursor=*"):
        page.get_by_role("button", name="Show more").click()
    box = page.get_by_label("Search products")
    box.focus()
    held[0].continue_()
    expect(page.locator(".card")).to_have_count(37)
    expect(box).to_be_focused()


def test_a_slow_search_says_that_it_is_under_way(page: Page) -> None:
    held: list[Route] = []
    page.route("**/search", lambda route: held.append(route))
    with page.expect_request("**/search"):
        page.get_by_label("Search products").fill("red mug")
    expect(page.locator("#status")).to_have_text("Searching…")
    for route in held:
        route.continue_()
    expect(page.locator("#status")).to_contain_text("for “red mug”")


def test_an_answer_of_somebody_else_is_said_to_be_unreadable(page: Page) -> None:
    page.route("**/search", lambda route: route.fulfill(content_type="text/html", body="<h1>Welcome to the hotel</h1>"))
    page.get_by_label("Search products").fill("red mug")
    expect(page.locator("#message")).to_contain_text("an answer that cannot be read")


def test_keys_of_an_input_method_choose_no_suggestion(page: Page) -> None:
    box = page.get_by_label("Search products")
    box.press_sequentially("blu")
    options = page.get_by_role("listbox", name="Suggestions").get_by_role("option")
    expect(options).to_have_count(2)
    key = "(box, isComposing) => box.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown', isComposing}))"
    box.evaluate(key, True)
    expect(options.first).to_have_attribute("aria-selected", "false")
    box.evaluate(key, False)
    expect(options.first).to_have_attribute("aria-selected", "true")


def test_the_search_is_cleared_by_a_button(page: Page) -> None:
    box = page.get_by_label("Search products")
    clear = page.get_by_role("button", name="Clear the search")
    expect(clear).to_be_hidden()
    box.fill("red mug")
    clear.click()
    expect(box).to_be_focused()
    expect(clear).to_be_hidden()
    expect(page.locator("#status")).to_have_text("24 of 37 products")


def test_a_picture_that_does_not_load_leaves_a_quiet_place(page: Page) -> None:
    page.route("**/image?*", lambda route: route.abort())
    page.goto("/?q=red+mug")
    expect(page.locator(".card .no-picture").first).to_be_visible()
    expect(page.locator(".card img")).to_have_count(0)

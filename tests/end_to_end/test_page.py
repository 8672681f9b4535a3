"""The page in a real browser against a real service: what a shopper and a shop owner do with it."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.end_to_end.conftest import EVIL, picture, searched
from tests.end_to_end.serving import Server


def search(page: Page, words: str) -> None:
    page.get_by_label("Search products").fill(words)
    searched(page, words)


def test_the_start_page_browses_the_catalogue(page: Page) -> None:
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    expect(page.locator(".card:not(.skeleton)")).to_have_count(24)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".card:not(.skeleton)")).to_have_count(37)
    expect(page.locator("#status")).to_have_text("37 products")
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_searching_shows_hits_with_their_pictures(page: Page) -> None:
    search(page, "red mug")
    first = page.locator(".card").first
    expect(first.get_by_role("heading")).to_have_text("red mug")
    expect(first.locator("img")).to_be_visible()
    assert first.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 80
    assert page.url.endswith("/?q=red+mug")
    page.reload()
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text("red mug")


def test_only_the_answer_to_the_last_query_is_shown(page: Page) -> None:
    """The answer to the first query is held back until the second one's is there."""
    held = []

    def hold_the_first(route):  # type: ignore[no-untyped-def]
        if "blue" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/search", hold_the_first)
    box = page.get_by_label("Search products")
    with page.expect_request("**/search"):
        box.fill("blue shirt")
    box.fill("green mug")
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text("green mug")
    assert held
    for route in held:
        route.abort()
    page.wait_for_timeout(200)
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text("green mug")
    expect(page.locator("#message")).to_be_hidden()


def test_a_product_is_added_found_edited_and_deleted(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "lamp.png"
    file.write_bytes(picture((240, 200, 60)))
    page.get_by_role("button", name="Add product").click()
    form = page.get_by_role("dialog", name="Add a product")
    form.locator("#files").set_input_files(file)
    expect(form.get_by_alt_text("lamp.png")).to_be_visible()
    form.get_by_label("Title").fill("quirky lamp")
    form.get_by_label("Id", exact=True).fill("lamp/1")  # a slash in an id is the shop's right
    form.get_by_label("Category").fill("Home > Lamps")
    form.get_by_label("Price").fill("12.50")
    form.get_by_label("Attribute name").fill("material")
    form.get_by_label("Attribute value").fill("brass")
    form.get_by_role("button", name="Save product").click()
    expect(page.locator("#toast")).to_contain_text("is in the shop")

    search(page, "quirky lamp")
    page.locator(".card").first.get_by_role("link").click()
    detail = page.locator("#detail")
    expect(detail.get_by_role("heading", level=2)).to_have_text("quirky lamp")
    expect(detail.locator(".facts .price")).to_have_text("12.50")
    expect(detail.locator(".attributes")).to_contain_text("brass")

    detail.get_by_role("button", name="Edit").click()
    form = page.get_by_role("dialog", name="Edit the product")
    expect(form.get_by_alt_text("picture-1.jpg")).to_be_visible()
    form.get_by_label("Price").fill("8")
    form.get_by_role("button", name="Save product").click()
    expect(page.locator("#toast")).to_contain_text("is saved")
    expect(page.locator(".card").first.locator(".price")).to_have_text("8.00")
    expect(page.locator(".card").first.locator("img")).to_be_visible()  # the picture was kept

    page.locator(".card").first.get_by_role("link").click()
    detail.get_by_role("button", name="Delete").click()
    detail.get_by_role("button", name="Really delete?").click()
    expect(page.locator("#toast")).to_contain_text("is deleted")
    expect(page.get_by_role("heading", name="quirky lamp")).to_have_count(0)


def test_a_save_after_a_failed_search_shows_what_was_searched_for(page: Page, server: Server) -> None:
    search(page, "red mug")
    page.route("**/search", lambda route: route.abort())
    page.get_by_label("Search products").fill("blue shirt")
    expect(page.locator("#message")).to_be_visible()
    page.unroute("**/search")
    page.get_by_role("button", name="Add product").click()
    form = page.get_by_role("dialog", name="Add a product")
    form.get_by_label("Title").fill("spare hook")
    form.get_by_label("Id", exact=True).fill("hook")
    form.get_by_role("button", name="Save product").click()
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text("blue shirt")
    httpx.delete(f"{server.url}/items/hook", timeout=30).raise_for_status()


def test_a_form_stays_open_when_a_selection_ends_beside_it(page: Page) -> None:
    page.get_by_role("button", name="Add product").click()
    form = page.get_by_role("dialog", name="Add a product")
    form.get_by_label("Description").fill("some words")
    form.get_by_label("Description").hover()
    page.mouse.down()
    page.mouse.move(5, 400)
    page.mouse.up()
    page.mouse.click(5, 5)
    expect(form.get_by_label("Description")).to_have_value("some words")
    expect(form).to_be_visible()
    page.keyboard.press("Escape")
    expect(form).to_be_hidden()

    page.locator(".card").first.get_by_role("link").click()
    product = page.locator("#detail")
    product.get_by_role("heading", level=2).hover()
    page.mouse.down()
    page.mouse.move(5, 400)
    page.mouse.up()
    expect(product).to_be_visible()
    page.mouse.click(5, 5)  # there is nothing to lose
    expect(product).to_be_hidden()


def test_what_is_no_number_is_refused_and_not_dropped(page: Page) -> None:
    page.get_by_role("button", name="Add product").click()
    form = page.locator("#upload")
    form.get_by_label("Title").fill("a mug")
    form.get_by_label("Price").press_sequentially("1-2")
    form.get_by_role("button", name="Save product").click()
    expect(form.get_by_role("alert")).to_have_text("price: this is not a number")
    expect(form.get_by_label("Price")).to_be_focused()


def test_a_refused_field_is_marked_and_explained(page: Page) -> None:
    page.get_by_role("button", name="Add product").click()
    form = page.locator("#upload")
    form.get_by_label("Title").fill("a mug")
    form.get_by_label("Price").fill("-3")
    form.get_by_role("button", name="Save product").click()
    expect(form.get_by_role("alert")).to_contain_text("price")
    expect(form.get_by_label("Price")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("Price")).to_be_focused()


def test_an_error_says_what_happened_and_can_be_tried_again(page: Page) -> None:
    page.route("**/search", lambda route: route.abort())
    page.get_by_label("Search products").fill("mug")
    expect(page.locator("#message")).to_contain_text("The service does not answer")
    page.unroute("**/search")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card").first).to_be_visible()
    expect(page.locator("#message")).to_be_hidden()


def test_a_next_page_that_fails_says_so_where_it_was_asked_for(page: Page) -> None:
    page.route("**/items?*cursor=*", lambda route: route.abort())
    more = page.get_by_role("button", name="Show more")
    more.click()
    expect(page.locator("#toast")).to_have_text("The service does not answer. Is it running?")
    expect(page.locator("#message")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    expect(more).to_be_focused()
    page.unroute("**/items?*cursor=*")
    more.click()
    expect(page.locator(".card")).to_have_count(37)


def test_text_is_never_read_as_html(page: Page) -> None:
    search(page, "img onerror document title hacked")
    card = page.locator(".card", has_text="onerror").first
    expect(card.get_by_role("heading")).to_have_text(EVIL)
    card.get_by_role("link").click()
    expect(page.locator("#detail dd").first).to_have_text("<b>wool</b>")
    expect(page).to_have_title(f"{EVIL} – Product search")
    assert page.locator("h2 img, dd b").count() == 0


def test_the_page_is_used_by_keyboard_alone(page: Page) -> None:
    expect(page.get_by_label("Search products")).to_be_focused()
    page.keyboard.type("red shirt")
    searched(page, "red shirt")
    expect(page.locator(".card").first.get_by_role("heading")).to_have_text("red shirt")
    card = page.locator(".card").first.get_by_role("link")
    while not card.evaluate("node => node === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(card).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search products")).to_be_focused()


def test_filters_are_skipped_by_keyboard(page: Page) -> None:
    skip = page.get_by_role("link", name="Skip the filters")
    page.get_by_role("button", name="Add product").focus()
    page.keyboard.press("Tab")
    expect(skip).to_be_focused()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/image?" not in request.url else None)
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".card").first.get_by_role("link")).to_be_focused()
    page.wait_for_timeout(200)
    assert not asked  # or the answer would replace what has the focus


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(browser: Browser, server: Server, scheme: str) -> None:
    context = browser.new_context(
        base_url=server.url,
        viewport={"width": 360, "height": 740},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.goto("/?q=red%20mug")
    expect(page.locator(".card").first.get_by_role("link")).to_be_visible()
    for dialog in (None, "#detail", "#upload"):
        if dialog == "#detail":
            page.locator(".card").first.get_by_role("link").click()
        if dialog == "#upload":
            page.keyboard.press("Escape")
            page.get_by_role("button", name="Add product").click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if dialog:
            assert page.locator(dialog).evaluate("node => node.scrollWidth <= node.clientWidth")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(20, 24, 26)") == (scheme == "dark")
    context.close()

"""The dialogs of the page: how they open and close, where the focus is, and what they keep."""

import io

from PIL import Image
from playwright.sync_api import FilePayload, Page, Route, expect

from tests.end_to_end.conftest import COLOURS, picture

PASTE = """(dialog) => {
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([new Blob()], "empty.png", { type: "image/png" }));
  dialog.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
}"""


def file(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": f"image/{name.split('.')[-1]}", "buffer": content}


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_a_double_click_leaves_a_product_open(page: Page) -> None:
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.locator(".card").nth(3).dblclick(position={"x": 240, "y": 100})  # beside the dialog that the first click opens
    assert page.locator("#detail").evaluate("dialog => dialog.open")


def test_what_was_typed_into_the_form_outlives_escape(page: Page) -> None:
    add = page.get_by_role("button", name="Add product")
    title = page.locator("#upload").get_by_label("Title")
    add.click()
    expect(title).to_be_focused()
    title.fill("a long description")
    page.keyboard.press("Escape")
    expect(title).to_be_hidden()
    add.click()
    expect(title).to_have_value("a long description")
    page.locator("#upload").get_by_role("button", name="Cancel").click()
    add.click()
    expect(title).to_have_value("")


def test_the_form_stays_where_a_choice_of_files_is_cancelled(page: Page) -> None:
    page.get_by_role("button", name="Add product").click()
    form = page.get_by_role("dialog", name="Add a product")
    form.locator("#files").dispatch_event("cancel")  # it goes up to the dialog, which has one of its own
    expect(form).to_be_visible()


def test_the_keyboard_stays_near_what_it_removed(page: Page) -> None:
    page.get_by_role("button", name="Add product").click()
    form = page.locator("#upload")
    add = form.get_by_role("button", name="Add attribute")
    add.click()
    expect(form.get_by_label("Attribute name 2")).to_be_focused()
    form.get_by_role("button", name="Remove attribute 1").press("Enter")
    expect(form.get_by_role("button", name="Remove attribute 1")).to_be_focused()
    page.keyboard.press("Enter")
    expect(add).to_be_focused()

    files = [file(f"{colour}.png", picture(rgb)) for colour, rgb in COLOURS.items()]
    form.locator("#files").set_input_files(files)
    form.get_by_role("button", name="Remove green.png").press("Enter")
    expect(form.get_by_role("button", name="Remove blue.png")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(form.locator("#files")).to_be_focused()


def test_the_focus_is_at_the_results_when_the_card_it_was_on_is_gone(page: Page) -> None:
    held: list[Route] = []
    page.route("**/search", lambda route: held.append(route))
    with page.expect_request("**/search"):
        page.get_by_label("Search products").fill("blue shirt")
    page.locator(".card").first.get_by_role("link").click()
    expect(page.locator("#detail h2")).to_be_focused()
    for route in held:
        route.continue_()
    expect(page.locator("#status")).to_contain_text("for “blue shirt”")
    page.keyboard.press("Escape")
    expect(page.locator("#results")).to_be_focused()


def test_pictures_are_made_small_before_they_are_uploaded(page: Page) -> None:
    page.get_by_role("button", name="Add product").click()
    form = page.locator("#upload")
    large = encoded(Image.new("RGB", (2600, 400), (40, 160, 70)), "PNG")
    moving = encoded(Image.new("RGB", (60, 40), (40, 160, 70)), "GIF")
    words = file("notes.txt", b"no picture")
    form.locator("#files").set_input_files([file("large.png", large), file("moving.gif", moving), words])
    expect(form.get_by_role("alert")).to_have_text("Not a picture that can be read here: notes.txt")
    expect(form.get_by_role("alert")).to_be_in_viewport()
    for name, size in {"large.png": [2048, 315], "moving.gif": [60, 40]}.items():
        shown = form.get_by_alt_text(name)
        expect(shown).to_be_visible()
        assert shown.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])") == size
    form.evaluate(PASTE)
    expect(form.get_by_alt_text("empty.png")).to_have_count(1)


def test_a_products_buttons_stay_where_they_are(page: Page) -> None:
    held: list[Route] = []
    page.route("**/similar?*", lambda route: held.append(route))
    with page.expect_request("**/similar?*"):
        page.locator(".card").first.get_by_role("link").click()
    detail = page.locator("#detail")
    edit = detail.get_by_role("button", name="Edit")
    before = edit.bounding_box()
    held[0].continue_()
    similar = detail.get_by_role("region", name="Similar products")
    expect(similar).to_be_visible()
    assert edit.bounding_box() == before
    expect(similar.locator(".title").first).not_to_be_empty()
    expect(similar.locator(".price")).to_have_count(6)

    page.set_viewport_size({"width": 375, "height": 600})
    similar.get_by_role("link").last.scroll_into_view_if_needed()
    expect(detail.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)


def test_a_form_is_closed_from_wherever_in_it(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 600})
    page.get_by_role("button", name="Add product").click()
    form = page.locator("#upload")
    close = form.get_by_role("button", name="Close")
    before = close.bounding_box()
    form.get_by_role("button", name="Cancel").scroll_into_view_if_needed()
    assert form.evaluate("form => form.scrollTop") > 100
    assert close.bounding_box() == before
    close.click()
    expect(form).to_be_hidden()

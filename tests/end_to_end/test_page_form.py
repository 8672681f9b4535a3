"""The product form where a save is refused: nothing is lost or overwritten, and it says what is wrong and where."""

from playwright.sync_api import Locator, Page, Route, expect


def adding(page: Page) -> Locator:
    page.get_by_role("button", name="Add product").click()
    form = page.get_by_role("dialog", name="Add a product")
    expect(form.get_by_label("Title")).to_be_focused()
    return form


def test_the_keyboard_stays_at_save_while_it_is_under_way_and_when_it_fails(page: Page) -> None:
    held: list[Route] = []
    page.route("**/items", lambda route: held.append(route))
    form = adding(page)
    form.get_by_label("Title").fill("spare hook")
    form.get_by_label("Id", exact=True).fill("hook")
    save = form.get_by_role("button", name="Save product")
    with page.expect_request("**/items"):
        save.press("Enter")
    expect(save).to_be_focused()
    expect(save).to_be_disabled()
    page.keyboard.press("Enter")
    held[0].abort()
    expect(form.get_by_role("alert")).to_contain_text("does not answer")
    expect(save).to_be_focused()
    assert len(held) == 1, "it is not saved twice"


def test_the_keyboard_is_at_save_again_after_no_key_was_given(page: Page) -> None:
    refused = {"detail": "Send an API key.", "code": "key_required"}
    page.route("**/items", lambda route: route.fulfill(status=401, json=refused))
    form = adding(page)
    form.get_by_label("Title").fill("spare hook")
    save = form.get_by_role("button", name="Save product")
    save.press("Enter")
    expect(page.get_by_role("dialog", name="This service needs a key")).to_be_visible()
    page.keyboard.press("Escape")
    expect(form.get_by_role("alert")).not_to_be_empty()
    expect(save).to_be_focused()

"""The product form where a save is refused: nothing is lost or overwritten, and it says what is wrong and where."""

import re

import httpx
import pytest
from playwright.sync_api import FilePayload, Locator, Page, Route, expect

from tests.end_to_end.conftest import COLOURS, picture, post
from tests.end_to_end.serving import Server


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


def test_a_new_product_replaces_another_only_where_somebody_says_so(page: Page, server: Server) -> None:
    post(server, {"id": "hook", "title": "steel hook", "price": "3"}, None)
    try:
        form = adding(page)
        form.get_by_label("Title").fill("brass hook")
        form.get_by_label("Id", exact=True).fill("hook")
        form.get_by_role("button", name="Save product").click()
        expect(form.get_by_role("alert")).to_contain_text("There is already a product with this id")
        expect(form.get_by_label("Id", exact=True)).to_be_focused()
        expect(form.get_by_label("Id", exact=True)).to_have_attribute("aria-invalid", "true")
        item = httpx.get(f"{server.url}/items/hook", timeout=30).json()
        assert (item["title"], item["price"]) == ("steel hook", 3)
        form.get_by_role("button", name="Replace it").click()
        expect(page.locator("#toast")).to_contain_text("brass hook is saved")
        item = httpx.get(f"{server.url}/items/hook", timeout=30).json()
        assert (item["title"], item["price"]) == ("brass hook", None)
    finally:
        httpx.delete(f"{server.url}/items/hook", timeout=30)


def test_an_attribute_that_would_be_lost_is_refused_and_said(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    form = adding(page)
    form.get_by_label("Title").fill("brass hook")
    for _ in range(3):
        form.get_by_role("button", name="Add attribute").click()
    names, values = form.get_by_label("Attribute name"), form.get_by_label("Attribute value")
    for n, (name, value) in enumerate([("colour", "red"), ("size", ""), ("", "steel"), (" colour", "blue")]):
        names.nth(n).fill(name)
        values.nth(n).fill(value)
    form.get_by_role("button", name="Save product").click()
    problem = form.get_by_role("alert")
    expect(problem).to_contain_text("Attribute 2: give “size” a value")
    expect(problem).to_contain_text("Attribute 3: it has a value and no name")
    expect(problem).to_contain_text("Attribute 4: there is already one with the name “colour”")
    expect(values.nth(1)).to_be_focused()
    marked = form.locator("[aria-invalid=true]")
    expect(marked).to_have_count(3)
    assert [one.get_attribute("aria-label") for one in marked.all()] == [
        "Attribute value 2",
        "Attribute name 3",
        "Attribute name 4",
    ]
    assert not sent


@pytest.mark.parametrize(("given", "made"), [("picture", "product"), ("Description", "bright-and-steady")])
def test_a_picture_or_some_text_is_enough_for_a_product(page: Page, server: Server, given: str, made: str) -> None:
    form = adding(page)
    save = form.get_by_role("button", name="Save product")
    form.get_by_label("Price").fill("3")
    save.click()
    expect(form.get_by_role("alert")).to_have_text("Give a picture or some text.")
    if given == "picture":
        file: FilePayload = {"name": "a.png", "mimeType": "image/png", "buffer": picture(COLOURS["red"])}
        form.locator("#files").set_input_files(file)
    else:
        form.get_by_label(given).fill("Bright and steady.")
    with page.expect_response("**/items") as answer:
        save.click()
    item = answer.value.json()
    try:
        assert re.fullmatch(made + "-[a-z0-9]{2,4}", item["id"]), item
        expect(page.locator("#toast")).to_contain_text("is in the shop")
    finally:
        httpx.delete(f"{server.url}/items/{item['id']}", timeout=30)

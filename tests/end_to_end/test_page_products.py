"""The product form and the product in full: what a shop owner changes is changed, and nothing else is."""

import io
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, Route, expect

from tests.end_to_end.conftest import COLOURS, picture, post, settled
from tests.end_to_end.serving import Server

BLUE: FilePayload = {"name": "blue.png", "mimeType": "image/png", "buffer": picture(COLOURS["blue"])}
LAMP = "**/items/lamp"


@pytest.fixture
def lamp(server: Server, page: Page) -> Iterator[str]:
    """The address of a lamp with a picture, found on the page. Its texts have line breaks."""
    address = f"{server.url}/items/lamp"
    post(server, {"id": "lamp", "title": "steel lamp"}, picture(COLOURS["red"]))
    attributes = {"watts": 40, "for": ["desk", "bed"], "Colour": "grey", "contains": "Water\nSalt"}
    texts = {"title": "steel\nlamp", "description": "Bright.\nSteady.", "price": 30, "attributes": attributes}
    httpx.patch(address, json=texts, timeout=30).raise_for_status()
    page.goto('/?filter={"watts": 40}')
    expect(page.locator("#status")).to_have_text("1 product")
    yield address
    httpx.delete(address, timeout=30)


def item_at(address: str) -> dict[str, Any]:
    item: dict[str, Any] = httpx.get(address, timeout=30).json()
    return item


def opened(page: Page, title: str = "lamp") -> Locator:
    settled(page)
    page.locator(".card", has_text=title).first.get_by_role("link").click()
    expect(page.locator("#detail h2")).to_contain_text(title)
    return page.locator("#detail")


def edited(page: Page, title: str = "lamp") -> Locator:
    opened(page, title).get_by_role("button", name="Edit").click()
    form = page.get_by_role("dialog", name="Edit the product")
    expect(form).to_be_visible()
    return form


def save(page: Page, form: Locator) -> None:
    form.get_by_role("button", name="Save product").click()
    expect(form).to_be_hidden()
    expect(page.locator("#toast")).to_contain_text("is saved")


def test_a_price_is_changed_and_nothing_else(page: Page, lamp: str) -> None:
    before = item_at(lamp)
    form = edited(page)
    form.get_by_label("Price").fill("25")
    with page.expect_request(LAMP) as asked:
        save(page, form)
    assert (asked.value.method, asked.value.post_data_json) == ("PATCH", {"price": 25})
    changes = {name: value for name, value in item_at(lamp).items() if before[name] != value}
    assert changes.keys() == {"price", "version", "updated_at"}


def test_attributes_are_changed_renamed_added_and_removed(page: Page, lamp: str) -> None:
    form = edited(page)
    names, values = form.get_by_label("Attribute name"), form.get_by_label("Attribute value")
    values.nth(0).fill("60")
    names.nth(1).fill("place")
    form.get_by_role("button", name="Remove attribute 3").click()
    form.get_by_role("button", name="Add attribute").click()
    names.nth(3).fill("maker")
    values.nth(3).fill("Kiln")
    save(page, form)
    changed = {"contains": "Water\nSalt", "watts": 60, "place": ["desk", "bed"], "maker": "Kiln"}
    assert item_at(lamp)["attributes"] == changed


def test_fields_that_are_emptied_are_empty(page: Page, lamp: str) -> None:
    form = edited(page)
    form.get_by_label("Price").fill("")
    form.get_by_label("Description").fill("")
    for _ in range(4):
        form.get_by_role("button", name="Remove attribute").first.click()
    save(page, form)
    item = item_at(lamp)
    assert (item["title"], item["price"], item["description"], item["attributes"]) == ("steel\nlamp", None, "", {})


def test_a_picture_that_comes_before_the_old_ones_is_added_to_them(page: Page, lamp: str) -> None:
    before = item_at(lamp)
    held: list[Route] = []
    holding = True
    page.route("**/image?*", lambda route: held.append(route) if holding else route.continue_())
    form = edited(page)
    form.locator("#files").set_input_files(BLUE)
    expect(form.get_by_alt_text("blue.png")).to_be_visible()
    holding = False
    for route in held:
        route.continue_()
    save(page, form)
    after = item_at(lamp)
    assert len(after["images"]) == 2
    assert (after["title"], after["description"]) == (before["title"], before["description"])

    page.reload()
    form = edited(page)
    form.get_by_role("button", name="Remove picture-1.jpg").click()
    save(page, form)
    (kept,) = item_at(lamp)["images"]
    shown = Image.open(io.BytesIO(page.request.get(kept["url"]).body()))
    red, _, blue = shown.getpixel((9, 9))  # type: ignore[misc]
    assert red < blue


def test_a_save_under_way_leaves_the_form_of_another_product_alone(page: Page, lamp: str) -> None:
    held: list[Route] = []
    page.route(LAMP, lambda route: held.append(route))
    form = edited(page)
    form.get_by_label("Price").fill("25")
    with page.expect_request(LAMP):
        form.get_by_role("button", name="Save product").click()
    page.keyboard.press("Escape")
    expect(form).to_be_hidden()
    page.get_by_role("button", name="Add product").click()
    form = page.get_by_role("dialog", name="Add a product")
    expect(form.get_by_role("button", name="Save product")).to_be_enabled()
    form.get_by_label("Title").fill("another lamp")
    held[0].continue_()
    expect(page.locator("#toast")).to_have_text(re.compile(r"steel\s+lamp is saved"))
    expect(form.get_by_label("Title")).to_have_value("another lamp")
    assert item_at(lamp)["price"] == 25
    page.keyboard.press("Escape")

    form = edited(page)
    form.get_by_label("Price").fill("20")
    with page.expect_request(LAMP):
        form.get_by_role("button", name="Save product").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Add product").click()
    held[1].abort()
    expect(page.locator("#toast")).to_contain_text("The service does not answer")
    expect(page.locator("#toast")).to_be_visible()
    assert page.locator("#toast").evaluate("toast => toast.matches(':popover-open')"), "it stands over the dialog"
    expect(page.locator("#upload .problem")).to_be_empty()


def test_neither_a_double_click_nor_a_held_key_deletes(page: Page, lamp: str) -> None:
    deleted: list[str] = []
    page.on("request", lambda request: deleted.append(request.url) if request.method == "DELETE" else None)
    remove = opened(page).locator("[data-delete]")
    remove.dblclick()
    expect(remove).to_have_text("Really delete?")
    page.keyboard.press("Escape")
    remove = opened(page).locator("[data-delete]")
    remove.focus()
    for _ in range(3):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    expect(remove).to_have_text("Really delete?")
    assert not deleted
    remove.press("Enter")
    expect(page.locator("#toast")).to_contain_text("is deleted")
    assert len(deleted) == 1


def test_a_product_that_another_changed_is_not_deleted(page: Page, lamp: str) -> None:
    product = opened(page)
    httpx.patch(lamp, json={"price": 77}, timeout=30).raise_for_status()
    for _ in range(2):
        product.locator("[data-delete]").press("Enter")
    expect(product.get_by_role("alert")).to_contain_text("has been changed")
    assert item_at(lamp)["price"] == 77
    expect(product.locator("[data-delete]")).to_have_text("Delete")  # nothing is armed
    expect(product.locator("[data-delete]")).to_be_focused()


def test_a_product_that_another_deleted_is_deleted(page: Page, lamp: str) -> None:
    product = opened(page)
    httpx.delete(lamp, timeout=30).raise_for_status()
    for _ in range(2):
        product.locator("[data-delete]").press("Enter")
    expect(page.locator("#toast")).to_contain_text("is deleted")
    expect(product).to_be_hidden()
    expect(page.locator("#message")).to_contain_text("Nothing with these filters")


def test_a_deletion_under_way_leaves_another_product_alone(page: Page, lamp: str) -> None:
    held: list[Route] = []
    page.route(LAMP, lambda route: held.append(route))
    for answer in ("abort", "continue_"):
        product = opened(page)
        with page.expect_request(LAMP):
            for _ in range(2):
                product.locator("[data-delete]").press("Enter")
        product.get_by_role("region", name="Similar products").get_by_role("link").first.click()
        expect(product.locator("h2")).not_to_contain_text("lamp")
        expect(product.locator("h2")).to_be_focused()
        expect(product.get_by_role("button", name="Delete")).to_be_enabled()
        getattr(held[-1], answer)()
        expect(page.locator("#toast")).to_contain_text("does not answer" if answer == "abort" else "is deleted")
        expect(product).to_be_visible()
        expect(product.locator(".problem")).to_be_empty()
        page.keyboard.press("Escape")
    expect(page.locator("#message")).to_contain_text("Nothing with these filters")


def test_new_attributes_are_of_the_kind_that_their_fields_are(page: Page, lamp: str, server: Server) -> None:
    httpx.patch(lamp, json={"attributes": {"dimmable": True}}, timeout=30).raise_for_status()
    page.get_by_role("button", name="Add product").click()
    form = page.get_by_role("dialog", name="Add a product")
    form.get_by_label("Title").fill("paper lamp")
    form.get_by_label("Id", exact=True).fill("paper")
    for n, (name, value) in enumerate({"Watts": "60", "dimmable": "false", "colour": "7"}.items()):
        if n:
            form.get_by_role("button", name="Add attribute").click()
        form.get_by_label("Attribute name").nth(n).fill(name)
        form.get_by_label("Attribute value").nth(n).fill(value)
    form.get_by_role("button", name="Save product").click()
    expect(page.locator("#toast")).to_contain_text("is in the shop")
    try:
        added = item_at(f"{server.url}/items/paper")
        assert added["attributes"] == {"Watts": 60, "dimmable": False, "colour": "7"}
        kinds = {one["name"]: one["kinds"] for one in httpx.get(f"{server.url}/fields", timeout=30).json()["fields"]}
        assert kinds["watts"] == ["number"]
    finally:
        httpx.delete(f"{server.url}/items/paper", timeout=30)


def test_similar_products_are_no_variants_of_the_same(page: Page, server: Server) -> None:
    for colour, rgb in COLOURS.items():
        fields = {"id": f"cap-{colour}", "title": f"{colour} cap", "attributes": '{"item_group_id": "Cap 12"}'}
        post(server, fields, picture(rgb))
    try:
        page.goto('/?filter={"item_group_id": "Cap 12"}')
        expect(page.locator("#status")).to_have_text("3 products")
        similar = opened(page, "red cap").get_by_role("region", name="Similar products").get_by_role("link")
        expect(similar).to_have_count(6)
        titles = [one.get_attribute("aria-label") or "" for one in similar.all()]
        assert not [title for title in titles if "cap" in title]
    finally:
        for colour in COLOURS:
            httpx.delete(f"{server.url}/items/cap-{colour}", timeout=30)

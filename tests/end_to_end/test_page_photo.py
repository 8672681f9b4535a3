"""Photographs to search with: what is sent of them, what is no picture, and what is dropped on the page."""

import io
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

# Remembers what is sent as a picture: browsers do not tell others the bodies of forms.
WATCH = """() => {
  const send = window.fetch;
  window.fetch = (path, options) => {
    if (options?.body instanceof FormData) window.sent = options.body.get("image");
    return send(path, options);
  };
}"""
SENT = """async () => {
  const bitmap = await createImageBitmap(window.sent);
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const corner = [...context.getImageData(2, 2, 1, 1).data];
  return { type: sent.type, size: sent.size, width: bitmap.width, height: bitmap.height, corner };
}"""
# Drops a file, or words, on what a selector finds; returns whether the page took it.
DROP = """([selector, name, words]) => {
  const dataTransfer = new DataTransfer();
  if (name) dataTransfer.items.add(new File(["not a picture"], name));
  else dataTransfer.setData("text/plain", words);
  const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
  document.querySelector(selector).dispatchEvent(event);
  return event.defaultPrevented;
}"""


def encoded(image: Image.Image, kind: str, **options: Any) -> FilePayload:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return {"name": f"photo.{kind.lower()}", "mimeType": f"image/{kind.lower()}", "buffer": buffer.getvalue()}


def sent(page: Page, file: FilePayload) -> dict[str, Any]:
    page.evaluate(WATCH)
    page.locator("#camera").set_input_files(file)
    expect(page.locator("#status")).to_contain_text("like your picture")
    answer: dict[str, Any] = page.evaluate(SENT)
    return answer


def test_a_large_photograph_is_made_small_before_it_is_sent(page: Page) -> None:
    noise = Image.effect_noise((2000, 1500), 80).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: to be turned by a quarter
    file = encoded(noise, "JPEG", exif=exif)
    small = sent(page, file)
    assert (small["width"], small["height"]) == (576, 768)
    assert small["type"] == "image/jpeg"
    assert small["size"] < len(file["buffer"]) / 5


def test_a_transparent_picture_gets_a_white_ground(page: Page) -> None:
    small = sent(page, encoded(Image.new("RGBA", (1000, 500), (0, 0, 0, 0)), "PNG"))
    assert (small["width"], small["height"], small["corner"]) == (768, 384, [255, 255, 255, 255])


def test_a_picture_of_another_kind_is_sent_as_one_that_the_service_reads(page: Page) -> None:
    small = sent(page, encoded(Image.new("RGB", (60, 40), (40, 160, 70)), "GIF"))
    assert (small["type"], small["width"], small["height"]) == ("image/jpeg", 60, 40)


@pytest.mark.parametrize("name", ["photo.heic", "notes"])
def test_a_file_that_is_no_picture_is_refused_in_words(page: Page, name: str) -> None:
    assert page.evaluate(DROP, ["body", name, ""])
    expect(page.locator("#toast")).to_have_text(f"Not a picture that can be read here: {name}")
    expect(page.locator("#photo")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("24 of 37 products")


def test_a_broken_picture_can_be_taken_away(page: Page) -> None:
    page.locator("#camera").set_input_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture"})
    expect(page.locator("#message")).to_contain_text("That did not work")
    box = page.locator("#photo img").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (36, 36)
    remove = page.locator("#photo button").bounding_box()
    assert remove is not None
    assert min(remove["width"], remove["height"]) >= 24
    page.locator("#message").get_by_role("button", name="Search without the picture").click()
    expect(page.locator("#photo")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("24 of 37 products")
    expect(page.locator("#results")).to_be_focused()


def test_words_are_dropped_where_they_belong_and_files_never_leave_the_page(page: Page) -> None:
    assert not page.evaluate(DROP, ["#query", "", "red mug"])  # the browser puts them in
    page.locator(".card").first.get_by_role("link").click()
    expect(page.locator("#detail")).to_be_visible()
    assert page.evaluate(DROP, ["#detail h2", "a.pdf", ""])
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Add product").click()
    expect(page.locator("#upload")).to_be_visible()
    assert not page.evaluate(DROP, ["#upload textarea", "", "some words"])
    assert page.evaluate(DROP, ["#upload textarea", "a.pdf", ""])
    expect(page.locator("#upload .problem")).to_contain_text("a.pdf")


def test_a_search_with_a_photograph_offers_no_way_that_it_has_not(page: Page) -> None:
    instead = page.get_by_role("button", name="Search for “grean shrit” instead")
    page.get_by_label("Search products").fill("grean shrit")
    page.get_by_label("Search products").press("Enter")
    expect(instead).to_be_visible()
    page.locator("#camera").set_input_files(encoded(Image.new("RGB", (60, 40), (40, 160, 70)), "PNG"))
    expect(page.locator("#photo")).to_be_visible()
    expect(page.locator("#status")).to_contain_text("for “green shirt” like your picture")
    expect(instead).to_be_hidden()

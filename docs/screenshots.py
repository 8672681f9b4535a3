"""Takes the README's pictures of the page: `python docs/screenshots.py`, with `make run` in another terminal."""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://localhost:8000", help="the service (default: %(default)s)")
    url = parser.parse_args().url
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])

        def shop(width: int, height: int, scheme: str, query: str) -> Page:
            viewport = {"width": width, "height": height}
            page = browser.new_page(base_url=url, viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(f"/?q={query}", timeout=120_000)
            page.locator(".card:not(.skeleton)").first.wait_for(timeout=120_000)
            page.locator("#filters").wait_for(timeout=120_000)
            page.evaluate("document.activeElement.blur()")
            return page

        save(shop(1280, 860, "light", "red mug"), "page")
        save(shop(390, 780, "light", "blue dress"), "phone")
        page = shop(1280, 860, "dark", "leather bag")
        page.locator(".card a").first.click()
        page.locator(".similar").wait_for(timeout=120_000)
        save(page, "dark")
        browser.close()


def save(page: Page, name: str) -> None:
    """As a PNG, of 128 levels a channel: nobody sees it, and it is two thirds of the size."""
    page.wait_for_load_state("networkidle", timeout=120_000)
    page.wait_for_timeout(1000)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = FOLDER / f"{name}.png"
    image.point(lambda level: level & 0xFE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()

"""``python -m analysis.start.thumbnails``: takes the cards' pictures from the page itself, with the embedded model.

The app has to run (``make run``); its address is the one argument, by default http://127.0.0.1:7860.
"""

import io
import shutil
import sys

from PIL import Image

from analysis.start.tab import CARDS

SIZE = (416, 260)
TAKEN = {  # room: what is asked of it, what to press, what to wait for, what is shown
    "interference": ("example=three-penguins&question=What+is+this%3F", "#disturb", "#interference-sentence p",
                     "#interference-chart"),
    "attention": ("example=bee-and-flower", None, "#attention-sentence p", "#attention-chart"),
    "decoding": ("example=ghost-at-night&question=Describe+the+picture.", None, "#decode-sentence p",
                 "#decode-answers"),
    "embedding_space": ("trained=plain", None, "#space-sentence p", "#space-raw"),
    "forgetting": ("", None, "#forgetting-sentence p", "#matrix"),
}  # fmt: skip


def take(address: str) -> None:
    """Write ``<room>.webp`` for every room of ``TAKEN``."""
    from playwright.sync_api import sync_playwright  # of the development environment

    CARDS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for room, (query, press, ready, shown) in TAKEN.items():
            tab = browser.new_page(viewport={"width": 900, "height": 900}, device_scale_factor=1)
            tab.goto(f"{address}/?tab={room}&{query}&__theme=light")
            if press:
                tab.locator(press).click()
            tab.locator(ready).first.wait_for(timeout=120_000)
            tab.wait_for_timeout(2000)  # a chart is drawn after its data are there
            picture = Image.open(io.BytesIO(tab.locator(shown).screenshot())).convert("RGB")
            _fit(picture).save(CARDS / f"{room}.webp", quality=70, method=6)
            tab.close()
        browser.close()


def _fit(picture: Image.Image) -> Image.Image:
    """The picture's top left in the card's proportions, as wide as it is where that is high enough."""
    width = min(picture.width, round(picture.height * SIZE[0] / SIZE[1]))
    return picture.crop((0, 0, width, round(width * SIZE[1] / SIZE[0]))).resize(SIZE, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    take(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860")

"""Every room in both themes, from a phone to a projector: nothing sticks out, and axe-core finds nothing serious."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import app

pytestmark = pytest.mark.browser

WIDTHS = (1920, 1024, 390)
FIRST = {  # what each room shows when it is opened
    "start": "#start-cards",
    "ask": "#ask-sentence",
    "interference": "#dataset-sentence",
    "attention": "#attention-sentence",
    "decoding": "#pope-sentence",
    "embedding_space": "#space-sentence",
    "forgetting": "#matrix",
}

OUTSIDE = """() => {
  const scrolled = element => ['auto', 'scroll'].includes(getComputedStyle(element).overflowX);
  const within = element => element && (scrolled(element) || within(element.parentElement));
  return [...document.querySelectorAll('.gradio-container *')]
    .filter(element => element.getBoundingClientRect().width && element.getBoundingClientRect().right > innerWidth)
    .filter(element => !element.closest('[role=tablist], .tab-container, .js-plotly-plot'))
    .filter(element => !within(element.parentElement))
    .map(element => `${element.tagName} ${element.className} ${element.textContent.slice(0, 40)}`);
}"""
"""What ends beyond the page's right edge and cannot be scrolled to."""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("room", [room.NAME for room in app.ROOMS])
def test_a_room_fits_every_screen_and_everybody(page, room, theme):
    page.goto(f"/?tab={room}&__theme={theme}")
    expect(page.locator(f"{FIRST[room]} :is(p, button)").first).to_be_visible(timeout=60_000)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_timeout(300)  # charts follow the window
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, f"{width} px"
        assert page.evaluate(OUTSIDE) == [], f"{width} px"
        if width != 1024:
            assert serious(page) == []


def serious(page) -> list[str]:
    """What axe-core finds serious or worse: rule, message and place of each."""
    return [
        f"{found['id']}: {found['help']}: {node['target']} {node['html'][:120]}"
        for found in Axe().run(page).response["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]

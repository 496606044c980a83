"""Every section in both themes, from a phone to a projector: what is found is seen at once, nothing sticks out, and
axe-core finds nothing serious.
"""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import app
from tests.browser.visit import opened, uncovered

pytestmark = pytest.mark.browser

SIZES = ((390, 844), (1280, 900), (1920, 1080))
SCREENS = {1920: 2, 1280: 2, 390: 4}
"""The most that a section is high, in screens."""

COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules of axe-core whose answer differs between themes, and not between sizes."""

OUTSIDE = """() => {
  const scrolled = element => ['auto', 'scroll'].includes(getComputedStyle(element).overflowX);
  const within = element => element && (scrolled(element) || within(element.parentElement));
  return [...document.querySelectorAll('.gradio-container *')]
    .filter(element => element.checkVisibility({visibilityProperty: true}))
    .filter(element => element.getBoundingClientRect().width && element.getBoundingClientRect().right > innerWidth)
    .filter(element => !element.closest('.tab-wrapper, .js-plotly-plot'))
    .filter(element => !within(element.parentElement))
    .map(element => `${element.tagName} ${element.className} ${element.textContent.slice(0, 40)}`);
}"""
"""What ends beyond the page's right edge and cannot be scrolled to."""

UNDIMMED = "crosstalk.ready = false; document.querySelectorAll('.older').forEach(e => e.classList.remove('older'))"
"""What is of an earlier input, that of another section, as it was when its own was opened."""


@pytest.mark.parametrize("room", app.ROOMS, ids=lambda room: room.name)
def test_a_room_fits_every_screen_and_everybody(page, room):
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, f"/?tab={room.name}&__theme=light")
    page.add_style_tag(content="* { transition: none !important; }")  # colours are those of the theme at once
    for section in room.sections:
        place = f"{room.name}/{section.name}"
        page.evaluate("place => crosstalk.go(place)", place)
        shown = uncovered(page, place)
        found = shown.locator(".told:not(.older) .sentence, .card.quiet").first
        expect(found).to_be_visible(timeout=90_000)
        expect(shown.locator("progress")).to_have_count(0, timeout=90_000)
        # the first chart of a page brings Plotly with it; until then Gradio shows a place that is empty
        expect(shown.locator(".view .empty").locator("visible=true")).to_have_count(0, timeout=60_000)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(300)  # charts follow the window
            page.evaluate("scrollTo(0, 0)")
            if width == 1280:
                box = found.bounding_box()
                assert box["y"] + box["height"] <= height, f"{place}: what is found begins at {box['y']:.0f} px"
            end = shown.evaluate("e => e.getBoundingClientRect().bottom + scrollY")
            assert end <= SCREENS[width] * height, f"{place} is {end:.0f} px high at {width} px"
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, place
            assert page.evaluate(OUTSIDE) == [], place
    # all sections at once: axe-core reads the whole page, however little of it is asked about
    page.add_style_tag(content=f"[id^='section-{room.name}-'][role=tabpanel] {{ display: block !important; }}")
    panels = page.locator(f"[id^='section-{room.name}-'][role=tabpanel]").locator("visible=true")
    expect(panels).to_have_count(len(room.sections))
    page.evaluate(UNDIMMED)
    (phone, *_), (window, height), _ = SIZES
    page.set_viewport_size({"width": window, "height": height})
    assert serious(page) == [], window
    page.set_viewport_size({"width": phone, "height": height})
    assert serious(page, rules={name: {"enabled": False} for name in COLOURS}) == [], phone
    page.evaluate("document.body.classList.add('dark')")  # all that Gradio does for __theme=dark
    assert serious(page, runOnly=COLOURS) == [], f"{phone}, dark"


def serious(page, **options) -> list[str]:
    """What axe-core finds serious or worse: rule, message and place of each; of a chart what stands around it alone:
    axe-core judges no drawing, but looks at each of its thousands of shapes.
    """
    around = {"exclude": [[".js-plotly-plot .svg-container"]]}
    return [
        f"{found['id']}: {found['help']}: {node['target']} {node['html'][:120]}"
        for found in Axe().run(page, around, {"resultTypes": ["violations"], **options}).response["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]

"""Long work: it keeps nobody waiting for a short answer, and ends when the tab that asked for it is closed."""

import pytest
from gradio_client import Client
from playwright.sync_api import expect

from tests.browser.visit import opened, panel

pytestmark = pytest.mark.browser


def test_long_work_keeps_nobody_waiting_and_ends_with_its_tab(browser, address):
    tab = browser.new_page(base_url=address, viewport={"width": 1280, "height": 800})
    opened(tab, "/?tab=interference&section=conflicts&count=1800&seed=17")  # minutes of work: that seed is not kept
    section = panel(tab, "interference/conflicts")
    section.locator(".run").click()
    running = section.locator("progress")
    expect(running).to_be_visible(timeout=60_000)
    other = Client(address, verbose=False)
    assert other.predict(question="Is a bee an animal?", api_name="/ask")["answer"]
    assert running.is_visible()
    waiting = other.submit(method="mod-x", api_name="/embedding_space")  # of the long ones, one at a time
    tab.close()
    assert waiting.result(timeout=60)["phases"]

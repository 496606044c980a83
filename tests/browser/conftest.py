"""The real page in a real browser: one app for all tests, a fresh tab for each."""

import pytest


@pytest.fixture(scope="session")
def address(served):
    """Where the running app answers."""
    return served.address


@pytest.fixture
def page(browser, address):
    """A tab at the app's address; the test fails where the page writes an error to the console."""
    errors: list[str] = []
    tab = browser.new_page(viewport={"width": 1280, "height": 800}, base_url=address)
    tab.set_default_timeout(60_000)
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    yield tab
    tab.close()
    assert not errors

"""Every test runs without network; tests marked ``browser`` need Chromium."""

import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported, by this process or by one it starts
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_runtest_setup(item):
    if item.get_closest_marker("browser") and not CHROMIUM:
        if os.environ.get("CROSSTALK_BROWSER_TESTS") == "required":
            pytest.fail("Chromium is not installed, and CROSSTALK_BROWSER_TESTS=required")
        pytest.skip("Chromium is not installed")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """What tests measure is not kept for the person who runs them."""
    os.environ["CROSSTALK_CACHE"] = str(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser, for tests marked ``browser``."""
    return CHROMIUM

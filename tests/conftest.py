"""Every test runs without network; tests marked ``browser`` need Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported, by this process or by one it starts
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import pytest

ROOT = Path(__file__).resolve().parents[1]
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


@dataclass(frozen=True)
class Served:
    """The app in a process of its own: where it answers, what it writes to its log, its folder for passing files."""

    address: str
    pid: int
    log: Path
    temporary: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory, _own_cache):
    """The app as ``python app.py`` starts it, on a free port: one for every test that wants a running one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("app")
    log, temporary = folder / "log", folder / "temporary"
    temporary.mkdir()
    where = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "TMPDIR": str(temporary), "CI": "1"}
    with log.open("w") as out:
        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=os.environ | where, stdout=out, stderr=out)
    try:
        for _ in range(240):
            if server.poll() is not None:
                pytest.fail(f"the app stopped:\n{log.read_text()}")
            try:
                urlopen(f"http://127.0.0.1:{port}", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail(f"the app does not answer:\n{log.read_text()}")
        yield Served(f"http://127.0.0.1:{port}", server.pid, log, temporary)
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser, for tests marked ``browser``."""
    return CHROMIUM

"""Every test runs without network; tests marked ``browser`` need Chromium."""

import functools
import gc
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

# Before torch and transformers are imported, by this process or by one it starts. On two busy cores, two threads of
# torch wait for each other: 4 to 8 times slower than one.
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"}

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The headless shell is the same engine without a window's own pages: a fifth less work.
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _BROWSERS)), None)


GROUPS = {
    "tests/browser/test_look.py": "look",
    "tests/hostile/": "hostile",
    "tests/browser/": "browser",
    "tests/test_visitors.py": "visitors",
    "tests/test_download.py": "visitors",
}
"""What shares a running app, by the beginning of its path; the longest first, for so they start."""


def _group(nodeid: str) -> str:
    """The group of a test: its row of ``GROUPS``, or its file."""
    return next((name for start, name in GROUPS.items() if nodeid.startswith(start)), nodeid.split("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """``pytest -n 2`` gives each worker whole groups, so that what a group shares is made once.

    By path and not by marks: ``--dist loadgroup`` of pytest-xdist 3.8 marks names that pytest 9.2 no longer reads, and
    groups nothing (its issue 1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return _group(nodeid)

    config.option.loadscopereorder = False  # in the order of pytest_collection_modifyitems
    return Grouped(config, log)


def pytest_itemcollected(item):
    if item.path.is_relative_to(ROOT / "tests" / "hostile"):
        item.add_marker("hostile")
    if "served" in item.fixturenames and _group(item.nodeid) not in GROUPS.values():
        raise pytest.UsageError(f"{item.nodeid} uses served: put its file into GROUPS of tests/conftest.py")


def pytest_collection_modifyitems(items):
    order = [*GROUPS.values()]
    items.sort(key=lambda item: order.index(group) if (group := _group(item.nodeid)) in order else len(order))


def pytest_collection_finish():
    """What was imported stays: no collection of garbage need look through its million objects again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    if item.get_closest_marker("browser") and not CHROMIUM:
        if os.environ.get("CROSSTALK_BROWSER_TESTS") == "required":
            pytest.fail("Chromium is not installed, and CROSSTALK_BROWSER_TESTS=required")
        pytest.skip("Chromium is not installed")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """What tests measure is not kept for the person who runs them."""
    os.environ["CROSSTALK_CACHE"] = str(tmp_path_factory.mktemp("kept"))


# Models. Each is opened once a process and shared: a test that changes one undoes it (monkeypatch), or opens its own.

@pytest.fixture(scope="session", autouse=True)
def _brief():
    """A model of random weights seldom ends what it writes: where an answer may be long, its own are six tokens."""
    from models.generation import Generator

    whole = Generator.steps

    def steps(self, answers, limit, *more, **named):
        random = self.model.config.get_text_config().hidden_size < 64
        return whole(self, answers, 6 if random and limit >= 40 else limit, *more, **named)

    Generator.steps = steps
    yield
    Generator.steps = whole


@pytest.fixture(scope="session")
def embedded(_own_cache):
    """The embedded default with its checkpoints, as ``catalog`` opens it."""
    from models import catalog

    return catalog.open_model()


@pytest.fixture(scope="session")
def tokenizer():
    """The tokenizer of the embedded default."""
    from tests.models.small import tokenizer

    return tokenizer()


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """``zoo(name)`` is the folder of a tiny checkpoint of that family, written once; do not modify it, copy it.

    ``zoo("small")`` has a small LLaVA with the embedded default's tokenizer in ``model/``, its checkpoints in ``set/``.
    """
    from tests.models.small import save_small
    from tests.models.zoo import save

    @functools.cache
    def folder(name: str) -> Path:
        made = tmp_path_factory.mktemp(name)
        save_small(made) if name == "small" else save(name, made)
        return made

    return folder


@pytest.fixture(scope="session")
def opened(zoo):
    """``opened(name)`` is the model in ``zoo(name)``, on the CPU."""
    from models.mllm import MLLM

    @functools.cache
    def model(name: str) -> MLLM:
        parts = (zoo(name) / "model", name, zoo(name) / "set") if name == "small" else (zoo(name), name)
        return MLLM.open(*parts, device="cpu")

    return model


@pytest.fixture(scope="session")
def saved(zoo):
    """The small LLaVA's folder, with ``model/`` and ``set/``."""
    return zoo("small")


@pytest.fixture(scope="session")
def mllm(opened):
    """The small LLaVA with its checkpoints."""
    return opened("small")


@pytest.fixture(scope="session")
def picture():
    """Noise, 90 pixels wide and 120 high."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (120, 90, 3), dtype=np.uint8))


# The page, in this process, in one of its own, and in a browser.


def sources(folder: Path) -> set[Path]:
    """The files below ``folder``, but for what Python compiles."""
    return {path for path in folder.rglob("*") if path.suffix != ".pyc" and path.name != "__pycache__"}


@pytest.fixture(scope="session")
def page_blocks(_own_cache):
    """The whole page, built and not launched: ``gr.Blocks`` to read, not to add to."""
    import app

    return app.build()


@dataclass(frozen=True)
class Served:
    """The app in a process of its own: where it answers, what it writes to its log, its folder for passing files, and
    the folder that it is started in, with the files that were there before.
    """

    address: str
    pid: int
    log: Path
    temporary: Path
    folder: Path
    before: frozenset[Path]


@pytest.fixture(scope="session")
def served(tmp_path_factory, _own_cache):
    """The app as ``python app.py`` starts it from a download without git, on a free port: one for every test that wants
    a running one.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("app")
    log, temporary = folder / "log", folder / "temporary"
    temporary.mkdir()
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.pyi", "build")
    copy = shutil.copytree(ROOT, folder / "crosstalk", ignore=left_out)
    before = frozenset(sources(copy))
    where = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "TMPDIR": str(temporary), "CI": "1"}
    with log.open("w") as out:
        server = subprocess.Popen([sys.executable, "app.py"], cwd=copy, env=os.environ | where, stdout=out, stderr=out)
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
        yield Served(f"http://127.0.0.1:{port}", server.pid, log, temporary, copy, before)
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="session")
def browser():
    """Chromium, for tests marked ``browser``: open a context or a page of your own in it, and close it."""
    from playwright.sync_api import expect, sync_playwright

    flags = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    flags += "disable-sync"
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{flag}" for flag in flags.split()])
        yield opened
        opened.close()

"""The page's first paint in Chromium, from the address being printed, against a Gradio page with one text box."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

RUNS = 3
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
BARE = "import gradio as gr\nwith gr.Blocks() as demo: gr.Textbox()\ndemo.launch(ssr_mode=False)"
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
SIZE = "() => performance.getEntriesByType('resource').reduce((sum, r) => sum + r.transferSize, 0) / 1e6"


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """The address that a server prints, as soon as it does."""
    settings = os.environ | {"CI": "1", "PYTHONUNBUFFERED": "1"}
    root = Path(__file__).parents[1]
    server = subprocess.Popen(
        command, cwd=root, env=settings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield next(line.split()[-1] for line in server.stdout if "http://" in line)
    finally:
        server.terminate()
        server.wait(20)


def first_visit(browser: Browser, address: str, settled: str) -> tuple[float, float, float]:
    """With an empty cache: seconds to the first paint, seconds until ``settled`` is there, and MB that came."""
    tab = browser.new_page()
    began = time.perf_counter()
    tab.goto(address, wait_until="commit")
    tab.locator(settled).first.wait_for(timeout=120_000, state="attached")  # it may be covered by a prediction
    whole = time.perf_counter() - began
    found = tab.evaluate(PAINT) / 1000, whole, tab.evaluate(SIZE)
    tab.close()
    return found


def measured(browser: Browser, path: str, settled: str, *command: str) -> list[float]:
    """Medians over ``RUNS`` fresh servers."""
    rows = []
    for _ in range(RUNS):
        with serving(sys.executable, *command) as address:
            rows.append(first_visit(browser, address + path, settled))
    return [statistics.median(column) for column in zip(*rows, strict=True)]


if __name__ == "__main__":
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        start = measured(browser, "", "#overview-now-told .sentence", "app.py")
        answer = measured(browser, "/?tab=ask", "#ask-answer-checkpoints tbody tr", "app.py")
        bare = measured(browser, "", "textarea", "-c", BARE)
        browser.close()
    print("| page | first paint, s | / bare | what it is for, s | / bare | MB |\n|---|---|---|---|---|---|")
    told = {"overview: its first sentence": start, "Ask: answers of all checkpoints": answer, "a bare text box": bare}
    for name, (paint, whole, size) in told.items():
        ratios = f"{paint:.2f} | {paint / bare[0]:.2f} | {whole:.2f} | {whole / bare[1]:.2f}"
        print(f"| {name} | {ratios} | {size:.2f} |")

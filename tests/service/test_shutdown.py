"""Both signals end the process in the same way, alone, together and at any moment."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENDING = """
import multiprocessing, tempfile, time
from types import SimpleNamespace
from analysis.service.shutdown import Ending

ending = Ending()
open(tempfile.mkdtemp() + "/picture.png", "w").close()
worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
worker.start()
demo = SimpleNamespace(server=SimpleNamespace(config=SimpleNamespace()), close=lambda verbose: print("page closed"))
print("ready", flush=True)
ending.wait(demo, lambda seconds: print("work stopped"))
"""


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_everything_in_order(tmp_path, monkeypatch, told):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = subprocess.Popen([sys.executable, "-c", ENDING], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    ready = server.stdout.readline()
    assert ready == "ready\n" and list(tmp_path.rglob("picture.png"))
    server.send_signal(told)
    said, _ = server.communicate(timeout=30)  # its end comes only when the worker is gone, too
    assert server.returncode == 0
    assert said.split("\n")[1:3] == ["page closed", "work stopped"]
    assert not left(tmp_path)


AT_ANY_MOMENT = """
import signal, sys
told = 0

def step(frame, event, argument):
    global told
    if told < 400:
        told += 1
        signal.raise_signal(signal.SIGTERM if told % 2 else signal.SIGINT)
    return step

sys.settrace(step)  # between every two lines of what the main thread does from here on
ending.wait(demo, lambda seconds: print("work stopped"))
"""


def test_signals_at_every_step_of_the_end_do_not_stop_it(tmp_path, monkeypatch):
    """Two at once come a moment apart: the second in whatever the first, or the waiting thread, is doing."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = ENDING[: ENDING.index("ending.wait")] + AT_ANY_MOMENT
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=40)
    assert ended.returncode == 0, ended.stderr
    assert "work stopped" in ended.stdout and not left(tmp_path)


PYTHON = """#!/bin/sh
# what make runs in Python's place: Python, and then its exit status into a file
trap : INT TERM
{python} "$@"
echo $? > {status}
"""


def ended_by_four_signals(folder: Path) -> int:
    """Start the app by ``make run`` in a process group of its own, and send both signals to the group, twice within a
    millisecond. Gives the app's exit status; what it left stands in ``folder / "temporary"``.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "bin").mkdir()
    (folder / "temporary").mkdir()
    python, status = folder / "bin" / "python", folder / "status"
    python.write_text(PYTHON.format(python=sys.executable, status=status))
    python.chmod(0o755)
    where = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "CI": "1"}
    where["TMPDIR"] = str(folder / "temporary")
    # -o: what is installed here is what the tests run with
    made = subprocess.Popen(
        ["make", "-o", ".venv/installed", "run", f"BIN={python.parent}"], cwd=ROOT, env=os.environ | where,
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: answers(port), 120)
        assert left(folder / "temporary")
        for told in (signal.SIGTERM, signal.SIGINT) * 2:
            os.killpg(made.pid, told)
        made.wait(20)
        until(lambda: status.exists() and status.read_text().endswith("\n"), 20)
        with socket.socket() as again:  # raises where somebody still listens
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
        return int(status.read_text())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(made.pid, signal.SIGKILL)


def left(temporary: Path) -> list[Path]:
    """Crosstalk's own folders, and files in others'."""
    return [path for path in temporary.rglob("*") if path.is_file() or path.name.startswith("crosstalk-")]


def answers(port: int) -> bool:
    try:
        urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
    except URLError as error:
        return hasattr(error, "code")  # 503: it is there, and its model is not yet
    return True


def until(wanted, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_a_terminal_that_signals_make_and_the_app_at_once_ends_both(tmp_path):
    assert ended_by_four_signals(tmp_path) == 0
    assert not left(tmp_path / "temporary")

"""Both signals end the process in the same way."""

import signal
import subprocess
import sys
from pathlib import Path

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
    assert not [f for f in tmp_path.rglob("*") if f.is_file()]

"""The app as a process: its health, what it writes to its log, and how it ends."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from gradio_client import Client, handle_file
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SECRET = "zaphodbeeblebrox"
SERVER = """
import sys, threading, time
import app

def broken(question: str = "", method: str = "") -> dict:
    try:
        int(question)
    except ValueError as error:
        raise RuntimeError(f"{question!r} cannot be measured") from error

def stuck(question: str = "") -> dict:
    print("busy", flush=True)
    time.sleep(600)

warm, look = app._warm, threading.Event()
app._warm = lambda: look.wait(60) and warm()
app.ENDPOINTS |= {"attribute": broken, "forgetting": stuck}
threading.Thread(target=lambda: (sys.stdin.readline(), look.set()), daemon=True).start()
app.main()
"""


def _health(address: str) -> tuple[int, dict]:
    try:
        with urlopen(f"{address}/health", timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def _until(wanted, seconds: float = 90):
    """What ``wanted()`` gives as soon as it is something."""
    for _ in range(int(seconds / 0.2)):
        if found := wanted():
            return found
        time.sleep(0.2)
    pytest.fail("it never came")


class Service:
    def __init__(self, folder: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.temporary, self._log = folder / "tmp", folder / "log"
        self.temporary.mkdir()
        self.address = f"http://127.0.0.1:{port}"
        settings = os.environ | {
            "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "CI": "1",
            "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        with self._log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVER], cwd=ROOT, env=settings, stdin=subprocess.PIPE, stdout=out, stderr=out
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def listens(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            _health(self.address)
        except URLError:
            return False
        return True


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    started = Service(tmp_path_factory.mktemp("service"))
    yield started
    started.process.kill()
    started.process.wait(10)


def test_health_says_when_the_model_answers(service):
    _until(service.listens)
    status, told = _health(service.address)
    assert (status, told["status"], told["model"]) == (503, "opening", "crosstalk-mini")
    service.process.stdin.write(b"\n")
    service.process.stdin.flush()
    _until(lambda: _health(service.address)[0] == 200)
    status, told = _health(service.address)
    assert told["status"] == "ready" and told["seconds_up"] > 0 and not told["reason"]


def test_no_log_quotes_a_visitor(service, tmp_path):
    Image.new("RGB", (40, 40), "teal").save(tmp_path / f"{SECRET}.png")
    client = Client(service.address, verbose=False)
    image = handle_file(tmp_path / f"{SECRET}.png")
    assert client.predict(image, f"What is {SECRET}?", api_name="/ask")["answer"]
    for arguments in (
        {"question": f"{SECRET}?", "model": f"{SECRET}/x", "api_name": "/ask"},  # refused
        {"question": SECRET, "api_name": "/attribute"},  # a fault of our own
        {"image": SECRET, "question": SECRET, "api_name": "/attention"},
    ):
        with pytest.raises(Exception) as refused:  # noqa: PT011 (which one is not the point here)
            client.predict(**arguments)
        if arguments["api_name"] == "/attribute":
            number = re.search(r"was not foreseen \((\w+)\)", str(refused.value))[1]
    config = client.config
    lists = {c["id"] for c in config["components"] if c["type"] in ("dropdown", "radio") and _closed(c["props"])}
    event = next(d for d in config["dependencies"] if lists & set(d["inputs"]) and d["backend_fn"])
    body = {"data": [SECRET] * len(event["inputs"]), "fn_index": event["id"], "session_hash": "x"}
    urlopen(Request(f"{service.address}/gradio_api/queue/join", json.dumps(body).encode(), _JSON), timeout=30).close()
    with urlopen(f"{service.address}/gradio_api/queue/data?session_hash=x", timeout=30) as told:
        assert b'"success":false' in told.read()  # refused by Gradio's own check of a list
    _until(lambda: service.log.count("Traceback") >= 2)
    assert f"told as {number}" in service.log
    assert "RuntimeError (what it says is left out" in service.log and "in broken" in service.log
    assert SECRET not in service.log


_JSON = {"Content-Type": "application/json"}


def _closed(properties: dict) -> bool:
    return not properties.get("allow_custom_value")


def test_it_ends_when_told_even_in_the_midst_of_a_job(service):
    client = Client(service.address, verbose=False)
    threading.Thread(target=lambda: _swallowed(client), daemon=True).start()
    _until(lambda: "busy" in service.log)
    assert [f for f in service.temporary.rglob("*") if f.is_file()]  # the picture that was sent
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(30) == 0
    assert re.search(r"Stopping: what was measured so far is kept\.\s*$", service.log)
    assert not [f for f in service.temporary.rglob("*") if f.is_file()]


def _swallowed(client):
    with contextlib.suppress(Exception):  # the server goes away
        client.predict("x", api_name="/forgetting")


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        ({"CROSSTALK_MEMORY": "lots", "CROSSTALK_QUANTIZE": "3"}, ("not a number of GB", "neither 4 nor 8")),
        ({"CROSSTALK_MODEL": "/no/such place", "CROSSTALK_MEMROY": "3"}, ("neither a folder", "mean CROSSTALK_MEMORY")),
    ],
)
def test_settings_that_cannot_be_followed_end_it_with_a_message(monkeypatch, capsys, settings, messages):
    import app

    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        app.main()
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert all(message in told for message in messages)
    assert all(name in told for name in settings)

"""What the README and the Space promise about hosting, and what strangers may not open."""

import inspect
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import SpaceHardware

import app
from models import catalog, dual_catalog, hub, settings
from models.errors import CrosstalkError

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PINNED = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def test_the_readme_tells_every_setting_as_it_is():
    rows = re.findall(r"^\| `(CROSSTALK_\w+)` \| (.*) \| (.*) \|$", README, re.MULTILINE)
    assert rows == [(s.name, s.does, s.shown) for s in settings.ALL]


def test_no_setting_is_read_anywhere_else():
    read = re.compile(r"(environ\b|getenv)[^\n]*CROSSTALK_")
    files = [*ROOT.glob("*.py"), *(f for top in ("models", "analysis") for f in (ROOT / top).rglob("*.py"))]
    assert len(files) > 100
    assert not [f for f in files if read.search(f.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        (settings.MEMORY, "7.5", 7.5), (settings.MEMORY, " ", None), (settings.QUANTIZE, "8", 8),
        (settings.FOLDERS, "/a:/b: ", ("/a", "/b")), (settings.CACHE, "/a", Path("/a")), (settings.QUEUE, "3", 3),
        (settings.QUEUE, "", 64), (settings.UPLOAD, "100", 100), (settings.MODEL, "owner/name", "owner/name"),
    ],
)  # fmt: skip
def test_a_setting_is_read_when_it_is_asked_for(monkeypatch, setting, text, value):
    monkeypatch.setenv(setting.name, text)
    assert setting.now() == value
    assert not settings.wrong()


def test_the_page_keeps_to_the_hosts_limits(monkeypatch):
    monkeypatch.setenv("CROSSTALK_UPLOAD", "3")
    monkeypatch.setenv("CROSSTALK_QUEUE", "5")
    monkeypatch.setattr(app, "ROOMS", app.ROOMS[:1])
    monkeypatch.setattr(app, "ENDPOINTS", {})
    assert app.settings()["max_file_size"] == "3mb"
    assert app.build()._queue.max_size == 5


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("QUEUE", "0", "not a whole number from 1 up"), ("QUEUE", "many", "not a whole number"),
        ("UPLOAD", "25mb", "whole number of MB"), ("MEMORY", "nan", "not a number of GB"),
        ("CACHE", "~nobody-of-that-name/x", "not a folder"), ("QUANTIZE", "16", "neither 4 nor 8"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_what_is_allowed(monkeypatch, name, text, message):
    monkeypatch.setenv(f"CROSSTALK_{name}", text)
    (told,) = settings.wrong()
    assert told.startswith(f"CROSSTALK_{name}={text!r} is ") and message in told


def test_places_that_are_not_there_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CROSSTALK_MODEL", "owner/name")
    monkeypatch.setenv("CROSSTALK_CHECKPOINTS", f"{tmp_path}:owner/set:nowhere")
    monkeypatch.setenv("CROSSTALK_FOLDERS", f"{tmp_path}:owner/set")
    checkpoints, folders = catalog.astray()
    assert "CROSSTALK_CHECKPOINTS: 'nowhere'" in checkpoints and "CROSSTALK_FOLDERS: 'owner/set'" in folders


def test_a_misspelt_setting_is_told_with_the_nearest():
    misspelt, foreign = settings.unknown({"CROSSTALK_CACH": "/x", "CROSSTALK_WEATHER": "1", "PATH": "", "HOME": ""})
    assert misspelt == "There is no setting CROSSTALK_CACH: did you mean CROSSTALK_CACHE?"
    assert "CROSSTALK_WEATHER" in foreign and "there are: CROSSTALK_MODEL" in foreign
    assert not settings.unknown({s.name: "" for s in settings.ALL})


def test_the_spaces_settings_are_those_of_the_code():
    told = yaml.safe_load(README.split("---\n")[1])
    assert told["sdk"] == "gradio" and told["sdk_version"] == PINNED["gradio"]
    assert (ROOT / told["app_file"]).is_file() and told["python_version"] == "3.12"
    assert told["models"] == [*catalog._PRESETS, *dual_catalog.PRESETS]
    assert told["license"] == "apache-2.0" and "hardware" not in told  # Spaces do not read "hardware"
    assert SpaceHardware(told["suggested_hardware"]) and len(told["short_description"]) <= 60
    assert re.fullmatch(r"\d+[mh]", told["startup_duration_timeout"])


def test_the_image_is_built_from_the_pinned_versions_and_watched():
    told = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "torch" in PINNED and "grep '^torch==' constraints.txt" in told and "-c constraints.txt" in told
    assert "/health" in told and re.search(r"^USER 1000$", told, re.MULTILINE)
    named = dict(re.findall(r"(\w+)=(\S+)", told.split("ENV ")[1].split("VOLUME")[0]))
    assert named["GRADIO_SERVER_NAME"] == "0.0.0.0" and named["CROSSTALK_CACHE"].startswith("/cache/")


@pytest.mark.parametrize("name", app.ENDPOINTS)
@pytest.mark.parametrize("spec", ["owner/name", "runs/mine", "/etc"])
def test_strangers_get_nothing_but_what_is_listed(monkeypatch, tmp_path, name, spec):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    monkeypatch.setenv("CROSSTALK_FOLDERS", str(tmp_path))
    monkeypatch.setenv("CROSSTALK_PUBLIC", "1")
    for asked in ("download", "parameters_of", "files_of"):
        monkeypatch.setattr(hub, asked, lambda *_, **__: pytest.fail("the Hub was asked for a stranger"))
    endpoint = app.ENDPOINTS[name]
    names = inspect.signature(endpoint).parameters
    which = "model" if "model" in names else "method"
    given = {which: spec} | ({"question": "What is this?"} if "question" in names else {})
    with pytest.raises(CrosstalkError, match="public server opens listed|There is no") as told:
        endpoint(**given)
    assert str(tmp_path) not in str(told.value)


@pytest.mark.parametrize("phases", ["owner/set", "runs/mine"])
def test_strangers_bring_no_checkpoint_sets(monkeypatch, tmp_path, phases):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    monkeypatch.setenv("CROSSTALK_FOLDERS", str(tmp_path))
    monkeypatch.setenv("CROSSTALK_PUBLIC", "1")
    with pytest.raises(CrosstalkError, match="opens no checkpoint sets"), dual_catalog.using("", phases):
        pass

"""The section that CONTRIBUTING.md shows, built by its steps."""

import importlib
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import analysis.interference
import app
from analysis.interference.tab import ROOM
from tests.driving import Driven

TEXT = Path(__file__).parents[1] / "CONTRIBUTING.md"


@pytest.fixture
def tokens(tmp_path, monkeypatch):
    """``analysis.interference.tokens`` as the guide has it, in a folder of its own."""
    measure, figure, section = re.findall(r"```python\n(.*?)```", TEXT.read_text(encoding="utf-8"), re.DOTALL)
    folder = tmp_path / "tokens"
    folder.mkdir()
    for name, code in {"__init__": "", "measure": measure, "figure": figure, "section": section}.items():
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(analysis.interference, "__path__", [*analysis.interference.__path__, str(tmp_path)])
    yield importlib.import_module("analysis.interference.tokens.section")
    for name in [name for name in sys.modules if name.startswith("analysis.interference.tokens")]:
        del sys.modules[name]


def test_the_guides_section_is_built_opened_drawn_anew_and_saved(tokens, monkeypatch):
    room = replace(ROOM, sections=(*ROOM.sections, tokens.TOKENS))
    monkeypatch.setattr(app, "ROOMS", tuple(room if r is ROOM else r for r in app.ROOMS))
    driven = Driven(app.build(), "interference/tokens").open("bee-and-flower", "What is at the top left?")
    found = driven.shown.result
    assert found.kinds == ("image", "question", "instruction", "answer") and found.count[0] == 64
    assert f"The prompt has {found.count.sum()} tokens, 64 of them" in driven.seen["told"]
    assert list(driven.seen["bars"].data[0].y) == list(found.count)
    assert driven.change("chart", chart=False).seen["bars"] is None
    assert found.to_csv().startswith("kind,tokens\nimage,64\n")

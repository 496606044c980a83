"""The room that CONTRIBUTING.md shows, built by its steps."""

import re
import sys
from pathlib import Path

import pytest

import analysis
import app
from analysis import page

ROOT = Path(__file__).parents[1]


@pytest.fixture
def room(tmp_path, monkeypatch):
    """``analysis.tokens`` as the guide has it, in a folder of its own."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    measure, figure, endpoint, tab = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    folder = tmp_path / "tokens"
    folder.mkdir()
    init = '"""What a prompt is made of."""\n'
    parts = {"__init__": init, "measure": measure, "figure": figure, "endpoint": endpoint, "tab": tab}
    for name, code in parts.items():
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(analysis, "__path__", [*analysis.__path__, str(tmp_path)])
    lesson = page.lesson  # it looks into the repository, where this room is not
    monkeypatch.setattr(page, "lesson", lambda name: None if name == "tokens" else lesson(name))
    from analysis.tokens import tab as built

    yield built
    for name in [name for name in sys.modules if name.startswith("analysis.tokens")]:
        del sys.modules[name]


def test_the_guides_room_is_built_and_answers(room, monkeypatch):
    from analysis.tokens.endpoint import tokens

    monkeypatch.setattr(app, "ROOMS", (*app.ROOMS, room))
    monkeypatch.setattr(app, "ENDPOINTS", {**app.ENDPOINTS, "tokens": tokens})
    demo = app.build()
    assert "/tokens" in demo.get_api_info()["named_endpoints"]
    assert any(getattr(block, "elem_id", None) == "tokens-chart" for block in demo.blocks.values())
    found = tokens(question="What is a bee?")
    assert found["kinds"] == ["image", "question", "instruction", "answer"]
    assert found["count"][0] == 0 < found["count"][1]
    assert found["sentence"].startswith(f"The prompt has {sum(found['count'])} tokens")
    chart, said, result = room._run("crosstalk-mini", "base", None, "What is a bee?")
    assert list(chart.data[0].y) == found["count"] == result.to_json()["count"] and found["sentence"] in said

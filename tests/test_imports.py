"""The import rules hold at every depth: a file of a room's room breaks them as one of a room does."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"measure": ("gradio", "plotly"), "figure": ("torch", "models.errors")}


def test_measurements_and_figures_are_held_to_their_rules_however_deep_they_lie(tmp_path):
    """Files that break each rule, put in beside the real ones."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("analysis", "models"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=lambda _, names: _no_code(names))
    room, planted = tmp_path / "analysis", set()
    for name in ("one", "two", "three"):
        room = room / name
        room.mkdir()
        (room / "__init__.py").touch()
        for file, wrong in FORBIDDEN.items():
            (room / f"{file}.py").write_text("".join(f"import {module}\n" for module in wrong))
            dotted = ".".join(room.relative_to(tmp_path).parts)
            planted |= {(f"{dotted}.{file}", module) for module in wrong}
    linter = Path(sys.executable).with_name("lint-imports")
    told = subprocess.run([linter, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, timeout=120).stdout
    assert set(re.findall(r"^-\s+(analysis\.one[\w.]*) -> ([\w.]+) \(l\.\d+\)", told, re.MULTILINE)) == planted, told


def _no_code(names: list[str]) -> list[str]:
    return [name for name in names if "." in name and not name.endswith(".py")]

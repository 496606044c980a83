"""The recipe of the embedded default: pictures, scenes, tasks, training, report."""

from pathlib import Path

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "embedded"

"""The recipe of the embedded default: pictures, scenes, tasks, training, report."""

from pathlib import Path

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "embedded"

SHIPPED_DTYPE = "float32"
"""Type of the weights that gave the measurements in the box, whatever the device here computes in."""

TRAINING = "training.json"
"""Beside the weights of tower, ``text-parent`` and base: seed and steps of their training, and what was measured."""

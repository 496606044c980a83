"""The path between checkpoints on the page: along a straight line, anywhere on it, and several merged."""

import gradio as gr

from analysis.bar import Bar
from analysis.forgetting.path import line_view, merge_view


def build(bar: Bar, method: gr.Dropdown) -> None:
    """The part, for the checkpoint set that ``method`` names."""
    line_view.build(bar, method)
    merge_view.build(bar, method)

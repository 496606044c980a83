"""The start page: a card for each of the five panels, hints for a class, and the words that are used."""

import base64
from html import escape
from pathlib import Path

import gradio as gr

from analysis import glossary, page
from analysis.bar import Bar

TITLE, NAME = "Start", "start"
CARDS = Path(__file__).parents[2] / "assets" / "cards"
"""A picture of each card's room, ``<room>.webp``, as ``analysis.start.thumbnails`` took it."""

_ROOMS = {
    "interference": (
        "Interference",
        "Put a false sentence in front of the question, or cover the picture. Does the answer flip?",
    ),
    "attention": ("Attention", "How much does the model look at the picture while it answers, layer by layer?"),
    "decoding": ("Decoding", "Choose the next word by another rule. Does the model still make things up?"),
    "embedding_space": (
        "Embedding space",
        "Train a model on one thing after another, and watch its map of pictures and words turn and tear.",
    ),
    "forgetting": ("Forgetting", "Teach a model six tasks in a row. What is left of the first, and is it really lost?"),
}
_ABOUT = (
    "A multimodal model answers questions about pictures. Here you can look inside while it does: choose a picture and "
    "a question above, press <b>Ask</b>, then open one of the five rooms. Every number is measured on the spot, or was "
    "measured by this very program before, and says what computed it."
)
_CLASS = """
- **Predict, then run.** Every room asks what you expect before you press the button, and keeps it beside the result.
- **Present** (top right): larger type and fewer controls, for a projector. Escape ends it.
- **Copy link**: the address holds room, model, checkpoint, example, question and settings. Your own pictures stay here.
- **Save a report**: one page with everything you measured, with charts that still move, to keep or to hand in.
- A dotted line under a word means that it is explained: point at it, tap it, or reach it with Tab.
"""


def build(bar: Bar) -> gr.HTML:
    """The room. A click on the HTML that comes back carries the name of the room to open."""
    gr.HTML(f'<p class="start-about">{_ABOUT}</p>')
    cards = page.pickable(_cards(), elem_id="start-cards")
    gr.Markdown("### For a class\n" + _CLASS, elem_classes="start-class")
    with gr.Accordion("Words that are used here", open=False, elem_id="start-words"):
        gr.HTML(glossary.html())
    return cards


def chosen(event: gr.EventData) -> gr.Tabs:
    """Open the room whose card was clicked."""
    room = page.picked(event)
    return gr.Tabs(selected=room) if room in _ROOMS else gr.skip()


def _cards() -> str:
    buttons = "".join(
        page.button(room, f'{_picture(room)}<b>{escape(title)}</b><span>{escape(told)}</span>')
        for room, (title, told) in _ROOMS.items()
    )
    return f'<div class="start-cards">{buttons}</div>'


def _picture(room: str) -> str:
    file = CARDS / f"{room}.webp"
    if not file.is_file():
        return ""
    return f'<img alt="" src="data:image/webp;base64,{base64.b64encode(file.read_bytes()).decode()}">'

"""The Forgetting room on the page."""

import gradio as gr

from analysis import page
from analysis.bar import Bar
from analysis.forgetting import held, matrix_view
from analysis.forgetting.gap import view as gap
from analysis.forgetting.measure import LISTED, Forgetting
from analysis.forgetting.methods import view as methods
from analysis.forgetting.parts import view as parts
from analysis.forgetting.path import view as path
from analysis.forgetting.probe import view as probe
from analysis.forgetting.split import view as split

TITLE, NAME = "Forgetting", "forgetting"
_PARTS = (
    ("split", "Superficial or essential", "Is the knowledge gone, or only the form?", split.build),
    ("methods", "Methods", "Methods side by side", methods.build),
    ("probe", "Your question", "One question through time", probe.build),
    ("parts", "Which part forgets", "Which part of the model forgets?", parts.build),
    ("path", "Between checkpoints", "The path between checkpoints", path.build),
    ("gap", "Inside a task", "Inside a task: the stability gap, and curves of forgetting", gap.build),
)
"""Anchor, short title, title, and how it is built, of each part after the matrix. What shows the answers of the set
gives back what to do again when they have been measured, as arguments of events.
"""

_TRY = (
    ("The first task, at the end", "Answers that were right after its own training and are wrong now. Which went "
     "wrong in the fact, and which only in the form?"),
    ("One task later", "What a single further task already cost the first one. Does the new task's form show "
     "in the old answers?"),
    ("The last task, before it was taught", "Which form do its answers have before anyone asked the model for this "
     "one? Whatever is right here came from earlier tasks."),
)  # fmt: skip
_TO_ITEMS = "() => document.querySelector('#part-items').scrollIntoView({behavior: 'smooth'})"


def build(bar: Bar) -> None:
    """The room; its parts read a checkpoint set, and the bar's picture where they ask about the visitor's own."""
    names = list(held.sets())
    method = gr.Dropdown(names, value=names[0], label="Checkpoint set", visible=len(names) > 1, elem_id="set")
    page.contents({**matrix_view.PARTS, **{anchor: short for anchor, short, *_ in _PARTS}})
    views = matrix_view.build(method)
    measured = views.measured
    for anchor, _, title, make in _PARTS:
        page.heading(title, anchor)
        for again in make(bar, method) or ():
            measured = measured.then(**again)
    tries = page.pickable(page.tries([("", *card) for card in _TRY]), elem_id="forgetting-tries")
    page.lesson(NAME)
    shown = tries.click(_tried, views.result, views.chosen, **page.QUICK).then(**views.refresh)
    shown.then(None, js=_TO_ITEMS, api_visibility="private")


def _tried(found: Forgetting | None, event: gr.EventData) -> tuple:
    """The cell that an example shows, and which of its items."""
    if found is None:
        return gr.skip(), gr.skip(), gr.skip()
    last, own = len(found.tasks) - 1, found.own
    cells = [
        (own[last], 0, LISTED[2]),
        (own[min(1, last)], 0, LISTED[2]),
        (own[last - 1] if last else 0, last, LISTED[0]),
    ]
    return cells[page.tried(len(cells), event)]

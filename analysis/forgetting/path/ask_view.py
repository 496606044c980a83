"""The visitor's own question, put to weights anywhere: the same card under the line and under the merge."""

from collections.abc import Callable, Sequence
from html import escape

import gradio as gr

from analysis import page
from analysis.bar import Bar, open_picture
from analysis.charts import source
from analysis.forgetting import sets
from analysis.forgetting.path import figure, sentence
from analysis.forgetting.path.ask import ask
from models import catalog

_HINT = "Type a question at the top of the page, or pick an example there; then move a slider here."


def build(name: str) -> list:
    """The card, a sentence and the chart of options, all empty."""
    answers = gr.HTML(_quiet(), elem_id=f"{name}-answers")
    said = gr.HTML(elem_id=f"{name}-said", elem_classes="sentence")
    chart = gr.Plot(figure.options(None), show_label=False, container=False, elem_id=f"{name}-options")
    return [answers, said, chart]


def listen(
    bar: Bar, method: gr.Dropdown, triggers: list, weights_of: Callable, inputs: list, views: list, after: Sequence = ()
) -> None:
    """On each of ``triggers``, and when the events ``after`` went well, ask what ``weights_of(method, *inputs)`` gives:
    (label, weights) of each, and which of them is asked about. While one question is answered only the latest of those
    that a moving slider asks waits.
    """

    def answered(name, path, question, known, *values) -> tuple:
        if not (question or "").strip():
            return _quiet(), "", figure.options(None)
        picture = open_picture(path) if path else None
        weights, here = weights_of(name, *values)
        with catalog.using(sets.entry(name).name) as mllm:
            found = ask(mllm, picture, question, weights, here, known)
        said = f"<p>{escape(sentence.asked(found))}</p>{source(found.provenance)}"
        return figure.answers(found), said, figure.options(found)

    asking = {
        "fn": page.for_model(answered), "inputs": [method, bar.picture, bar.question, bar.known, *inputs],
        "outputs": views, **page.MODEL_QUEUE, "trigger_mode": "always_last", "show_progress": "hidden",
        "api_visibility": "private",
    }  # fmt: skip
    run = [gr.on(triggers, **asking), *(event.success(**asking) for event in after)]
    bar.stop.click(None, None, None, cancels=run, api_visibility="private")
    method.change(lambda: (_quiet(), "", figure.options(None)), None, views, **page.QUICK)


def _quiet() -> str:
    return f'<div class="card quiet">{escape(_HINT)}</div>'

"""The block of a room that shows what stands behind an answer."""

from functools import partial
from html import escape

import gradio as gr

from analysis import exports, jobs, links, page
from analysis.attribution import figure
from analysis.attribution.measure import METHODS, Attribution, attribute
from analysis.bar import Bar, open_picture
from analysis.charts import data_uri, empty, source
from models import catalog
from models.errors import InputError

_METHODS = {
    "integrated_gradients": "integrated gradients: fine",
    "ablation": "ablation: hide one part at a time",
    "shapley": "Shapley values: hide many parts at a time (slow)",
}
_EXPLAINED = (
    ("Integrated gradients", "All parts are faded in together from nothing, and at each step the slope tells how much "
     "each part adds. The scores add up to what all parts together do for the answer, but for a small error."),
    ("Ablation", "One part at a time is hidden from the model, and its score is what the answer loses. Where two parts "
     "say the same, neither is missed, so the scores need not add up."),
    ("Shapley values", "Parts are shown one after another in many random orders, and a score is what a part adds on "
     "average. The scores add up exactly, and parts that say the same share the credit."),
    ("Nats", "A score is a change of the logarithm of the answer's probability, in nats. +0.7 nats makes the answer "
     "twice as likely, −0.7 half as likely."),
)  # fmt: skip


def _figures(shown: exports.Pictured) -> list:
    return [figure.overlay(shown.found, shown.picture), figure.bars(shown.found)]


def build(bar: Bar) -> None:
    """Which patches and which words stand behind the answer of the chosen checkpoint; wired to the bar."""
    page.heading("What stands behind the answer", "behind")
    with gr.Row(elem_classes="measure"):
        method = gr.Dropdown(
            [(_METHODS[m], m) for m in METHODS], value=METHODS[0], label="Method", elem_id="attribute-method",
            min_width=380,
        )  # fmt: skip
        links.keep(explain=method)
        answer = gr.Textbox(
            label="Answer to explain", info="Empty: the model's own.", placeholder="cat", max_length=200,
            elem_id="attribute-answer", min_width=160,
        )  # fmt: skip
        start = gr.Button("Explain", elem_id="attribute", min_width=100)
        stop = gr.Button("Stop", elem_id="attribute-stop", min_width=80)
        progress = gr.HTML(elem_id="attribute-progress")
    with gr.Row():
        overlay = gr.Plot(
            empty("The picture, shaded by what each part does for the answer"), show_label=False, container=False,
            elem_id="attribute-overlay",
        )  # fmt: skip
        with gr.Column():
            words = gr.HTML(elem_id="attribute-words")
            bars = gr.Plot(empty("Picture against words"), show_label=False, container=False)
    sentence = gr.HTML(elem_id="attribute-sentence", elem_classes="sentence")
    result = gr.State(None, time_to_live=3600)
    exports.offer("attribute", result, lambda shown: figure.sentence(shown.found), _figures)
    said = "".join(f"<p><b>{name}.</b> {text}</p>" for name, text in _EXPLAINED)
    gr.HTML(f'<div class="key">{said}</div>', elem_id="attribute-explained")
    run = start.click(
        page.for_model(_explained), [*bar.inputs[:4], answer, method],
        [progress, overlay, words, bars, sentence, result], **page.MODEL_QUEUE, show_progress="hidden",
        api_visibility="private",
    )  # fmt: skip
    run.failure(lambda: "", None, progress, **page.QUICK)
    for button in (stop, bar.stop):
        button.click(lambda: "", None, progress, cancels=run, **page.QUICK)


def _explained(model, checkpoint, path, question, answer, method):
    if not (question or "").strip():
        raise InputError("There is no question to explain an answer to. Type one at the top.")
    picture = open_picture(path) if path else None
    for found in jobs.watched(partial(_attribution, model, picture, question, checkpoint, answer or "", method)):
        if isinstance(found, jobs.Progress):
            yield found.html, *[gr.skip()] * 5
    said = f"<p>{escape(figure.sentence(found))}</p>{source(found.provenance)}"
    shown = exports.Pictured(found, data_uri(picture) if picture else None)
    overlay, bars = _figures(shown)
    yield "", overlay, figure.words(found), bars, said, shown


def _attribution(model, picture, question, checkpoint, answer, method, progress) -> Attribution:
    def told(share: float) -> None:
        progress(share, "hiding and comparing" if method != METHODS[0] else "following the gradient")

    with catalog.using(model) as mllm:
        return attribute(mllm, picture, question, checkpoint, answer, method, progress=told)

"""One question through time, on the page."""

from html import escape

import gradio as gr

from analysis import exports, page
from analysis.bar import Bar, examples, open_picture, show
from analysis.charts import data_uri, source
from analysis.forgetting import sets
from analysis.forgetting.probe import figure
from analysis.forgetting.probe.measure import Probe, probe
from analysis.forgetting.probe.sentence import sentence
from models import catalog
from models.errors import InputError

NAME = "forgetting-probe"
_LASTS = 3600  # seconds that a visitor's state is kept
_HINT = "Type a question at the top, or pick one of the suggestions, then press Ask every checkpoint."
_ABOUT = (
    "<p class='key'>The picture and the question at the top, put to every checkpoint of the set at once. Where the "
    "true answer is known, the probability that an answer begins with it shows whether a wrong answer hides what is "
    "still there. One question shows how it happens; the parts about whole tasks show how often.</p>"
)
_TRY = (
    ("fox-and-mushroom", "Which animal is this?", "Naming came first. Which later task takes the word away, and is the "
     "fox still likely when it has to choose?"),
    ("helicopter", "Where is the helicopter?", "Only some checkpoints were taught boxes. What do the others say, and "
     "does the box survive what came after?"),
    ("three-penguins", "How many penguins are there?", "A numeral. Watch its probability as other forms of answer are "
     "taught."),
)  # fmt: skip


def build(bar: Bar, method: gr.Dropdown) -> None:
    """The part, wired to the bar's picture and question and to the room's ``method``, the checkpoint set."""
    gr.HTML(_ABOUT)
    with gr.Row(elem_classes="measure"):
        truth = gr.Textbox(
            label="The true answer", info="As the model would write it. Empty: as it is known of a suggested question.",
            placeholder="fox", max_length=1000, elem_id="probe-truth", min_width=220,
        )  # fmt: skip
        options = gr.Textbox(
            label="Options", info="Separated by commas. Empty: the question's, or near ones where the truth is known.",
            placeholder="fox, wolf, dog", max_length=1000, elem_id="probe-options", min_width=220,
        )  # fmt: skip
        start = gr.Button("Ask every checkpoint", variant="primary", elem_id="probe-start", min_width=160)
    said = gr.HTML(elem_id="probe-sentence", elem_classes="sentence")
    strip = gr.HTML(figure.strip(None), elem_id="probe-strip")
    with gr.Row():
        with gr.Column(min_width=300):
            course = gr.Plot(figure.course(None), show_label=False, container=False, elem_id="probe-course")
        with gr.Column(min_width=300):
            looked = gr.Plot(figure.attention(None), show_label=False, container=False, elem_id="probe-attention")
    result, shown = gr.State(None, time_to_live=_LASTS), gr.State(None, time_to_live=_LASTS)
    exports.offer(NAME, result, sentence, lambda found: [figure.course(found), figure.attention(found)])
    tries = page.pickable(page.tries(_TRY), elem_id="probe-tries")

    inputs, views = [method, bar.picture, bar.question, bar.known, truth, options], [
        strip, said, course, looked, result, shown,
    ]  # fmt: skip
    running = {**page.MODEL_QUEUE, "show_progress": "hidden", "api_visibility": "private"}
    measure = page.for_model(_measured)
    runs = [gr.on([start.click, truth.submit, options.submit], measure, inputs, views, **running)]
    # without bar.asked, whose change runs the Ask room first
    tried = tries.click(_try, None, [*bar.shown[:4], truth, options], **page.QUICK)
    tried.then(None, bar.question, js="question => crosstalk('question', question)", api_visibility="private")
    runs.append(tried.then(measure, inputs, views, **running))
    opened = [method.change]
    if room := page.room_of(method):
        opened.append(room.select)
    runs.append(gr.on(opened, page.for_model(_opened), [shown, *inputs], views, **running))
    # what was true of another question, or of another picture, says nothing here
    for part in (bar.question, bar.picture):
        part.change(None, None, [truth, options], js="() => ['', '']", api_visibility="private")
    bar.stop.click(None, None, None, cancels=runs, api_visibility="private")


def _opened(shown, *inputs):
    """Measure when the room is opened or another set is chosen, unless what is shown is what is asked."""
    if _asked(*inputs) == shown:
        return [gr.skip()] * 6
    return _measured(*inputs)


def _asked(method, path, question, known, truth, options) -> tuple:
    return method, path, question, truth, options


def _measured(method, path, question, known, truth, options) -> tuple:
    """Everything about one question; with nothing at the top, the first example's."""
    asked = _asked(method, path, question, known, truth, options)
    if not (question or "").strip():
        if path:
            raise InputError(_HINT)
        name, question, _ = _TRY[0]
        known = examples()[name].known
        picture = known.picture()
    else:
        picture = open_picture(path) if path else None
    given = [option for option in (options or "").split(",") if option.strip()]
    with catalog.using(sets.entry(method).name) as mllm:
        found = probe(mllm, method, picture, question, truth or "", given, known)
    return *_views(found, data_uri(picture, 96) if picture else None), asked


def _views(found: Probe, uri: str | None) -> tuple:
    said = f"<p>{escape(sentence(found))}</p>{source(found.provenance)}"
    return figure.strip(found, uri), said, figure.course(found), figure.attention(found), found


def _try(event: gr.EventData) -> list:
    name, question, _ = _TRY[page.tried(len(_TRY), event)]
    return [*show(name, question, 0)[:4], "", ""]

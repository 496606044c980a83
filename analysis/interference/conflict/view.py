"""The block of the Interference room where picture and text disagree."""

from functools import partial
from html import escape

import gradio as gr

from analysis import exports, jobs, page
from analysis.bar import Bar, open_picture
from analysis.charts import empty, source
from analysis.interference.conflict import figure
from analysis.interference.conflict import sentence as words
from analysis.interference.conflict.measure import ITEMS, MOST, THINGS, Conflicts, measured
from analysis.interference.conflict.single import Conflict
from analysis.interference.conflict.single import conflict as put
from models import catalog
from models.errors import InputError

_LASTS = 3600  # seconds that a visitor's state is kept
_STEP = 30  # conflicts between two places of the slider
_HINT = "Who leads after each layer of the decoder, the picture's answer or the text's"
_MANY = "How often the text is followed, against how sure the model is of either side"
_ABOUT = (
    "<p class='key'>A text in front of the question says another thing than the picture shows. Whom does the model "
    "believe? Empty fields are filled in: what the picture says from the known truth (else the model's own answer), "
    "what the text says from its likeliest other answer.</p>"
)
_DRAWN = (
    "<p class='key'>One input can be odd, so here are many: drawn scenes of one thing, none, a third or most of it "
    "covered, and texts that name another thing plainly, with a “perhaps”, or in two steps. They are drawings "
    "whatever the model: one trained on photos may know fewer of them. What was measured before is shown at once.</p>"
)


def build(bar: Bar) -> None:
    """One conflict of the visitor's, and many drawn ones; wired to the bar."""
    page.heading("When picture and text disagree", "conflict")
    gr.HTML(_ABOUT)
    with gr.Row():
        seen = gr.Textbox(
            label="The picture says", placeholder="cat", max_length=200, elem_id="conflict-seen", min_width=160
        )
        told = gr.Textbox(
            label="The text says", placeholder="dog", max_length=200, elem_id="conflict-told", min_width=160
        )
        text = gr.Textbox(
            label="The text, in front of the question", placeholder="Text: There is a dog.", max_length=2000,
            elem_id="conflict-text", min_width=260, scale=2,
        )  # fmt: skip
    with gr.Row(elem_classes="measure"):
        start = gr.Button("Put them in conflict", elem_id="conflict-start", min_width=160)
        stop = gr.Button("Stop", elem_id="conflict-stop", min_width=80)
        progress = gr.HTML(elem_id="conflict-progress")
    chart = gr.Plot(empty(_HINT), show_label=False, container=False, elem_id="conflict-chart")
    said = gr.HTML(elem_id="conflict-sentence", elem_classes="sentence")
    table = gr.HTML(elem_id="conflict-table")
    result = gr.State(None, time_to_live=_LASTS)
    exports.offer("conflict", result, words.single, lambda r: [figure.oscillation(r)])

    gr.HTML("<h3>Many conflicts: does the surer side win?</h3>")
    gr.HTML(_DRAWN)
    with gr.Row(elem_classes="measure"):
        count = gr.Slider(
            _STEP, MOST, value=ITEMS, step=_STEP, label="Conflicts", elem_id="conflicts-count", min_width=180
        )
        seed = gr.Slider(0, 20, value=0, step=1, label="Seed of the scenes", elem_id="conflicts-seed", min_width=160)
        things = gr.Dropdown(
            [("those of the base model", THINGS[0]), *((f"those of the task {t}", t) for t in THINGS[1:])],
            value=THINGS[0], label="Things that are drawn", elem_id="conflicts-things", min_width=200,
        )  # fmt: skip
    with gr.Row(elem_classes="measure"):
        many = gr.Button("Measure many", elem_id="conflicts-start", min_width=140)
        stop_many = gr.Button("Stop", elem_id="conflicts-stop", min_width=80)
        many_progress = gr.HTML(elem_id="conflicts-progress")
    law = gr.Plot(empty(_MANY), show_label=False, container=False, elem_id="conflicts-chart")
    law_said = gr.HTML(elem_id="conflicts-sentence", elem_classes="sentence")
    with gr.Accordion("By difficulty, and what happens between the layers", open=False):
        tiers = gr.HTML(elem_id="conflicts-tiers")
        inside = gr.Plot(
            empty("How often the lead changes between layers"), show_label=False, container=False,
            elem_id="conflicts-inside",
        )  # fmt: skip
    many_result = gr.State(None, time_to_live=_LASTS)
    exports.offer("conflicts", many_result, words.sentence, lambda r: [figure.law(r), figure.inside(r)])

    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    fields, views = [seen, told, text], [chart, said, table, result]
    run = gr.on(
        [start.click, seen.submit, told.submit, text.submit], page.for_model(_put), [*bar.inputs, *fields],
        [progress, *fields, *views], **page.MODEL_QUEUE, **hidden,
    )  # fmt: skip
    # what was proposed for another question, or another picture, does not fit
    gr.on([bar.question.change, bar.picture.change], None, None, fields, js="() => ['', '', '']", **hidden)
    chosen = [bar.model, bar.checkpoint, count, seed, things]
    many_views = [law, law_said, tiers, inside, many_result]
    measuring = many.click(
        page.for_model(_measured), chosen, [many_progress, *many_views], **page.LONG_QUEUE, **hidden,
    )  # fmt: skip
    changed = [bar.model.change, bar.checkpoint.change, count.input, seed.input, things.input]
    if room := page.room_of(law):
        changed.append(room.select)
    gr.on(
        changed, page.for_model(_kept), chosen, many_views, **page.MODEL_QUEUE, **hidden, trigger_mode="always_last"
    )
    for event, where, buttons in ((run, progress, (stop, bar.stop)), (measuring, many_progress, (stop_many,))):
        event.failure(lambda: "", None, where, **page.QUICK)
        for button in buttons:
            button.click(lambda: "", None, where, cancels=event, **page.QUICK)


def _put(model, checkpoint, path, question, known, seen, told, text):
    """One conflict; the fields then hold what was proposed."""
    if not (question or "").strip():
        raise InputError("There is no question yet. Type one at the top, or pick one of the suggestions.")
    picture = open_picture(path) if path else None

    def work(progress) -> Conflict:
        with catalog.using(model) as mllm:
            return put(mllm, picture, question, text or "", seen or "", told or "", checkpoint, known, progress)

    for found in jobs.watched(work):
        if isinstance(found, jobs.Progress):
            yield found.html, *[gr.skip()] * 7
    told_of = f"<p>{escape(words.single(found))}</p>{source(found.provenance)}"
    views = figure.oscillation(found), told_of, figure.sides(found), found
    yield "", found.seen, found.told, found.text, *views


def _measured(model, checkpoint, count, seed, things):
    """Measure many conflicts with progress; stops when the visitor does."""
    for found in jobs.watched(partial(_many, model, checkpoint, count, seed, things)):
        if isinstance(found, jobs.Progress):
            yield found.html, *[gr.skip()] * 5
    yield "", *_views(found)


def _many(model, checkpoint, count, seed, things, progress) -> Conflicts:
    with catalog.using(model) as mllm:
        return measured(mllm, checkpoint, count, seed, things, progress)


def _kept(model, checkpoint, count, seed, things) -> tuple:
    """What was measured before with these settings, or a word that nothing was."""
    with catalog.using(model) as mllm:
        if checkpoint not in mllm.checkpoint_names:  # the model was changed, the checkpoint is about to be
            return (gr.skip(),) * 5
        found = measured(mllm, checkpoint, count, seed, things, only_kept=True)
    if found is None:
        return empty(f"{_MANY}:<br>not measured yet with these settings"), "", "", empty("Not measured yet"), None
    return _views(found)


def _views(found: Conflicts) -> tuple:
    told = f"<p>{escape(words.sentence(found))}</p>{source(found.provenance)}"
    return figure.law(found), told, figure.tiers(found), figure.inside(found), found

"""The Interference room on the page."""

from collections.abc import Callable, Iterator
from html import escape

import gradio as gr

from analysis import exports, jobs, links, page, predictions
from analysis.attribution import view as attribution
from analysis.bar import Bar, open_picture, show
from analysis.bar.pictures import picture_input
from analysis.charts import empty, source
from analysis.interference import figure
from analysis.interference.conflict import view as conflict
from analysis.interference.dataset import view as dataset
from analysis.interference.dose import KINDS, Dose, respond
from analysis.interference.measure import Interference, Settings, interfere
from analysis.interference.perturbations import ALL, DEFAULT
from analysis.interference.pgd import Attack
from models import catalog
from models.errors import InputError

TITLE, NAME = "Interference", "interference"
_LASTS = 3600  # seconds that a visitor's state is kept
_SIDES = {"text": "Change the text", "image": "Change the picture", "adversarial": "Attack the embeddings"}
_HINT = "Type a question at the top, or pick one of the suggestions, then press Disturb."
_PARTS = {
    "dose": "Raise a dose", "behind": "What stands behind the answer", "conflict": "Picture against text",
    "sets": "Whole sets, and remedies",
}  # fmt: skip
_TRY = (
    ("bee-without-flower", "Is there a flower?", "A fact about lions has nothing to do with it. Watch the answer."),
    ("three-penguins", "What is this?", "A sentence names another thing. Does the model believe its eyes?"),
    ("apples-and-banana", "How many foods are there?", "Counting, disturbed: which sentences change the number?"),
    ("no-picture", "What kind of thing is a bee?", "A text question. A junk picture should not matter, and does not."),
)


def build(bar: Bar) -> None:
    """The room, wired to the bar."""
    page.contents(_PARTS)
    with gr.Row():
        chosen = [
            gr.CheckboxGroup(
                [(p.title, p.name) for p in ALL.values() if p.side == side], label=title,
                value=[n for n in DEFAULT if ALL[n].side == side], elem_id=f"interference-{side}",
            )
            for side, title in _SIDES.items()
        ]  # fmt: skip
    with gr.Row():
        options = gr.Textbox(
            label="Options", info="Separated by commas. Empty: the question's, or the model's own likeliest answers.",
            placeholder="cat, dog, bee", max_length=2000, elem_id="interference-options",
        )  # fmt: skip
        own = gr.Textbox(
            label="Your own sentence", info="Goes in front of the question.", max_length=2000,
            placeholder="My aunt says that this is a dog.", elem_id="own-sentence",
        )  # fmt: skip
    folded = "Your own picture, how much is covered, and how strong attacks are"
    with gr.Accordion(folded, open=False, elem_classes="advanced"), gr.Row():
        own_picture = picture_input(height=180, label="Your own picture in its place", elem_id="own-picture")
        with gr.Column():
            covered = gr.Slider(0, 1, value=Settings().occluded, step=0.05, label="Covered share of the picture")
            seed = gr.Slider(0, 20, value=0, step=1, label="Seed of noise, covered cells, facts and scenes")
        with gr.Column():
            attack = Attack()
            unit = "× the root mean square (RMS) of the embeddings"
            epsilon = gr.Slider(
                0, 1, value=attack.epsilon, step=0.01, label="Attack: epsilon, the largest noise", info=unit
            )
            steps = gr.Slider(1, 30, value=attack.steps, step=1, label="Attack: steps")
            size = gr.Slider(0.005, 0.5, value=attack.step_size, step=0.005, label="Attack: step size", info=unit)
    links.keep(
        **{f"change-{side}": group for side, group in zip(_SIDES, chosen, strict=True)}, options=options, sentence=own,
        covered=covered,
    )  # fmt: skip
    prediction = predictions.ask(NAME, "how many of these changes will flip the answer?", figure.PREDICTED)
    with gr.Row(elem_classes="measure"):
        start = gr.Button("Disturb", variant="primary", elem_id="disturb", min_width=120)
        stop = gr.Button("Stop", elem_id="disturb-stop", min_width=80)
        progress = gr.HTML(elem_id="disturb-progress")
    chart = gr.Plot(empty(_HINT), show_label=False, container=False, elem_id="interference-chart")
    sentence = gr.HTML(elem_id="interference-sentence", elem_classes="sentence")
    table = gr.HTML(elem_id="interference-table")
    with gr.Accordion("How far the bars moved, and how attacks went", open=False):
        changes = gr.Plot(empty("Nothing was disturbed yet"), show_label=False, container=False)
        attacks = gr.Plot(empty("No attack was chosen", 120), show_label=False, container=False)
    result = gr.State(None, time_to_live=_LASTS)
    exports.offer(NAME, result, figure.sentence, lambda r: [figure.options(r), figure.changes(r), figure.attacks(r)])

    prediction.compare(sentence, result, figure.outcome, "Disturb")
    page.heading("Dose and response", "dose")
    with gr.Row(elem_classes="measure"):
        kind = gr.Dropdown(
            [(k.title, k.name) for k in KINDS.values()], value=next(iter(KINDS)), label="Dose", elem_id="dose-kind",
            min_width=220,
        )  # fmt: skip
        links.keep(dose=kind)
        dose_start = gr.Button("Raise the dose", elem_id="dose-start", min_width=140)
        dose_progress = gr.HTML(elem_id="dose-progress")
    with gr.Row():
        dose_chart = gr.Plot(
            empty("The probability of the right option, by strength"),
            show_label=False, container=False, elem_id="dose-chart",
        )  # fmt: skip
        gain_chart = gr.Plot(
            empty("What a sentence adds while the picture fades"), show_label=False,
            container=False, elem_id="gain-chart",
        )  # fmt: skip
    dose_sentence = gr.HTML(elem_id="dose-sentence", elem_classes="sentence")
    dose = gr.State(None, time_to_live=_LASTS)
    exports.offer(
        f"{NAME}-dose", dose, figure.response_sentence, lambda r: [figure.response(r), figure.effectiveness(r)]
    )
    attribution.build(bar)
    conflict.build(bar)
    dataset.build(bar)
    tries = page.pickable(page.tries(_TRY), elem_id="interference-tries")
    page.lesson(NAME)

    settings = [own, own_picture, covered, epsilon, steps, size, seed]
    views = [progress, chart, sentence, table, changes, attacks, result]
    dose_views = [dose_progress, dose_chart, gain_chart, dose_sentence, dose]
    inputs = [*bar.inputs, options, *chosen, *settings]
    shown = gr.State(None, time_to_live=_LASTS)
    running = {**page.MODEL_QUEUE, "show_progress": "hidden", "api_visibility": "private"}
    measure = page.for_model(_measured)
    began = gr.on([start.click, own.submit, options.submit], measure, inputs, [*views, shown], **running)
    dosed = dose_start.click(page.for_model(_dosed), [*bar.inputs, options, kind, *settings], dose_views, **running)
    # without bar.asked, whose change runs the Ask room first
    tried = tries.click(_try, None, [*bar.shown[:4], *chosen, options], **page.QUICK)
    tried.then(None, bar.question, js="question => crosstalk('question', question)", api_visibility="private")
    again = tried.then(measure, inputs, [*views, shown], **running)
    runs = [began, dosed, again]
    if room := page.room_of(progress):
        runs.append(room.select(page.for_model(_opened), [shown, *inputs], [*views, shown], **running))
    for run in runs:
        run.failure(lambda: ("", ""), None, [progress, dose_progress], **page.QUICK)
    for button in (stop, bar.stop):
        button.click(lambda: ("", ""), None, [progress, dose_progress], cancels=runs, **page.QUICK)


def _opened(shown, *inputs):
    """Measure when the room is opened, unless what it shows is what is asked."""
    if shown == _asked(*inputs) or not (inputs[3] or "").strip():
        yield [gr.skip()] * 8
        return
    yield from _measured(*inputs)


def _asked(model, checkpoint, path, question, *_) -> tuple:
    return model, checkpoint, path, question


def _inputs(path, options, own, own_path, covered, epsilon, steps, size, seed) -> tuple:
    """Picture, options and settings, as measurements take them."""
    picture, replacement = (open_picture(p) if p else None for p in (path, own_path))
    given = [o.strip() for o in (options or "").split(",") if o.strip()]
    return picture, given, Settings(own or "", replacement, covered, Attack(epsilon, steps, size), seed)


def _measured(model, checkpoint, path, question, known, options, text, image, adversarial, own, own_path, *numbers):
    """Disturb the question; shown at once without the attacks, then again after each."""
    if not (question or "").strip():
        raise InputError(_HINT)
    picture, given, settings = _inputs(path, options, own, own_path, *numbers)
    names = [*text, *image, *adversarial]

    def measuring(progress) -> Iterator[Interference]:
        with catalog.using(model) as mllm:
            yield from interfere(mllm, picture, question, checkpoint, given, names, settings, known, progress)

    yield jobs.Progress(what="asking").html, *[gr.skip()] * 7
    for html, found in _beside(measuring):
        if found is None:
            yield html, *[gr.skip()] * 7
        else:
            yield html, *_views(found), found, None if found.waiting else _asked(model, checkpoint, path, question)


def _beside(measuring: Callable[..., Iterator]) -> Iterator[tuple]:
    """Run ``measuring(progress)`` beside the page, so that it can be stopped between two of its results.

    Yields the progress as HTML, empty at the end, and with it the latest result, or None where there is none newer.
    """
    latest = shown = None

    def work(progress) -> None:
        nonlocal latest
        for result in measuring(progress):
            latest = result

    for step in jobs.watched(work):
        found = latest  # the work may replace it meanwhile
        yield step.html if step else "", None if found is shown else found
        shown = found


def _views(found: Interference) -> tuple:
    said = f"<p>{escape(figure.sentence(found))}</p>{source(found.provenance)}"
    return figure.options(found), said, figure.table(found), figure.changes(found), figure.attacks(found)


def _dosed(model, checkpoint, path, question, known, options, kind, own, own_path, *numbers):
    """Raise one dose; attacks show every strength when it is done."""
    if not (question or "").strip():
        raise InputError(_HINT)
    picture, given, settings = _inputs(path, options, own, own_path, *numbers)

    def measuring(progress) -> Iterator[Dose]:
        with catalog.using(model) as mllm:
            yield from respond(mllm, picture, question, kind, checkpoint, given, settings, known, progress)

    yield jobs.Progress(what="asking").html, *[gr.skip()] * 4
    for html, found in _beside(measuring):
        yield html, *(_dose_views(found) if found else [gr.skip()] * 4)


def _dose_views(found: Dose) -> tuple:
    said = f"<p>{escape(figure.response_sentence(found))}</p>{source(found.provenance)}"
    return figure.response(found), figure.effectiveness(found), said, found


def _try(event: gr.EventData):
    """An example with its question, the usual perturbations and no options of the visitor's."""
    name, question, _ = _TRY[page.tried(len(_TRY), event)]
    usual = [[n for n in DEFAULT if ALL[n].side == side] for side in _SIDES]
    return [*show(name, question, 0)[:4], *usual, ""]

"""The straight line between two checkpoints on the page, and any point of it."""

from collections.abc import Iterator
from functools import partial
from html import escape

import gradio as gr

from analysis import exports, jobs, page
from analysis.bar import Bar
from analysis.charts import source
from analysis.forgetting import sets
from analysis.forgetting.path import ask_view, figure, sentence
from analysis.forgetting.path.measure import Path, at, ends, measure, tasks_of
from analysis.forgetting.path.points import FEWEST, ITEMS, MOST, STEP
from analysis.forgetting.sets import load, measured
from models.errors import CrosstalkError, InputError
from models.manifest import BASE

NAME = "forgetting-path"
_LASTS = 3600  # seconds that a visitor's state is kept
_ABOUT = (
    "<p class='key'>Two checkpoints of one base are two points in the space of weights. On the straight line between "
    "them the weights are (1 − alpha) · first + alpha · second. Where the loss stays low all along it, both lie in "
    "one valley (<i>linear mode connectivity</i>), and a point between may keep the old task and know the new one. "
    "Where it rises above the straight line between its ends there is a <i>barrier</i>: a hill between two valleys. "
    "Loss: how surprised the model is by the true answer, −log of its probability, in nats.</p>"
)
_HERE = (
    "<h4>Stand anywhere on the line</h4><p class='key'>The slider loads the weights of that point and puts the "
    "question at the top of the page to them, beside both ends.</p>"
)


def build(bar: Bar, method: gr.Dropdown) -> None:
    """The line, wired to the room's ``method``, the checkpoint set, and to the bar's question."""
    checkpoints, tasks, a, b, old, new = _offered(method.value)
    gr.HTML(_ABOUT)
    with gr.Row():
        first = gr.Dropdown(checkpoints, value=a, label="From", elem_id="path-from", min_width=140)
        last = gr.Dropdown(checkpoints, value=b, label="To", elem_id="path-to", min_width=140)
        before = gr.Dropdown(tasks, value=old, label="Old task", elem_id="path-old", min_width=140)
        after = gr.Dropdown(tasks, value=new, label="New task", elem_id="path-new", min_width=140)
    with gr.Row(elem_classes="measure"):
        start = gr.Button("Measure", variant="primary", elem_id="path-measure", min_width=120)
        stop = gr.Button("Stop", elem_id="path-stop", min_width=80)
        count = gr.Slider(
            FEWEST, MOST, value=ITEMS, step=STEP, label="Items of a task", elem_id="path-n", min_width=160
        )
        progress = gr.HTML(elem_id="path-progress")
    chart = gr.Plot(figure.path(None), show_label=False, container=False, elem_id="path-chart")
    said = gr.HTML(elem_id="path-sentence", elem_classes="sentence")
    result = gr.State(None, time_to_live=_LASTS)
    exports.offer(NAME, result, sentence.path, lambda found: [figure.path(found)])
    gr.HTML(_HERE)
    with gr.Row(elem_classes="measure"):
        alpha = gr.Slider(0, 1, value=0.5, step=0.01, label="alpha", elem_id="path-alpha", min_width=240)
        go = gr.Button("Ask here", elem_id="path-ask", min_width=110)
    ask_view.listen(bar, method, [alpha.input, go.click], _weights, [first, last, alpha], ask_view.build("path-here"))

    offered, views = [first, last, before, after], [chart, said, result]
    choice = [method, *offered, count]
    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    run = start.click(page.for_model(_measured), choice, [progress, *views], **page.LONG_QUEUE, **hidden)
    run.failure(jobs.halted, progress, progress, **page.QUICK)
    stop.click(lambda: jobs.STOPPED, None, progress, cancels=run, **page.QUICK)
    method.change(page.for_people(_rechosen), method, offered, **page.TELLING).then(
        _before, choice, views, **page.QUICK
    )
    gr.on([first.input, last.input], _own_tasks, choice[:3], [before, after], **page.QUICK).then(
        _before, choice, views, **page.QUICK
    )
    gr.on([before.input, after.input, count.input], _before, choice, views, **page.QUICK, trigger_mode="always_last")
    if room := page.room_of(method):
        room.select(_opened, [result, *choice], views, **page.QUICK)


def _offered(name: str | None) -> tuple:
    """Checkpoints and tasks of a set to choose from, and the first choice. Nothing where it cannot be read, which is
    told when it is chosen.
    """
    try:
        manifest = sets.manifest(name)
    except CrosstalkError:
        return [], [], None, None, None, None
    a, b = ends(manifest)
    names = [BASE, *(c.name for c in manifest.checkpoints)]
    return names, list(manifest.order), a, b, *tasks_of(manifest, a, b)


def _rechosen(name: str) -> tuple:
    sets.manifest(name)  # raises what is wrong with it
    checkpoints, tasks, a, b, old, new = _offered(name)
    of = [(checkpoints, a), (checkpoints, b), (tasks, old), (tasks, new)]
    return tuple(gr.Dropdown(listed, value=value) for listed, value in of)


def _own_tasks(name: str, a: str, b: str) -> tuple:
    """The tasks that the chosen checkpoints were trained on."""
    try:
        return tasks_of(sets.manifest(name), a, b)
    except CrosstalkError:
        return gr.skip(), gr.skip()


def _weights(name: str, a: str, b: str, alpha: float) -> tuple:
    """The point of the line with both its ends, by label, and which of them is the point."""
    _two(a, b)
    return [(a, a), (f"alpha {alpha:g}", at(a, b, alpha)), (b, b)], 1


def _two(a: str | None, b: str | None) -> None:
    if not a or not b or a == b:
        raise InputError("Choose two different checkpoints: there is no line from one to itself.")


def _work(a, b, old, new, count, model, **how) -> Path | None:
    return measure(model, a, b, (old, new), int(count), **how)


def _opened(found: Path | None, *choice) -> tuple:
    return (gr.skip(),) * 3 if found else _before(*choice)


def _before(name, a, b, old, new, count) -> tuple:
    """What was measured before of this choice; else what to do."""
    try:
        _two(a, b)
        return _views(load(name, partial(_work, a, b, old, new, count)))
    except CrosstalkError as error:
        return _views(None, str(error))


def _measured(name, a, b, old, new, count) -> Iterator[tuple]:
    """Ask at every point, with progress; stops when the visitor does, and whole points are kept."""
    _two(a, b)
    for found in jobs.watched(partial(measured, name, partial(_work, a, b, old, new, count))):
        if isinstance(found, jobs.Progress):
            yield found.html, *[gr.skip()] * 3
    yield "", *_views(found)


def _views(found: Path | None, why: str = "") -> tuple:
    if found is None:
        return figure.path(None), f'<div class="card quiet">{escape(why)}</div>' if why else "", None
    return figure.path(found), f"<p>{escape(sentence.path(found))}</p>{source(found.provenance)}", found

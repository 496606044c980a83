"""The Forgetting room on the page, and its endpoint."""

import contextlib
from functools import partial
from html import escape

import gradio as gr

from analysis import page
from analysis.bar import Bar
from analysis.charts import data_uri, empty, source
from analysis.forgetting import figure
from analysis.forgetting.held import evaluation, keep, sets
from analysis.forgetting.measure import Forgetting, cell, measure
from models import catalog, hub
from models.errors import CrosstalkError
from models.evaluation import Evaluation, evaluate

TITLE, NAME = "Forgetting", "forgetting"
_PAGE = 12  # items shown at a time


def endpoint(method: str = "") -> dict:
    """Accuracy of every checkpoint of a set on every task, with transfer and forgetting (default: the embedded set)."""
    found = measure(evaluation(str(method or next(iter(sets())))))
    return {**found.to_json(), "sentence": figure.sentence(found)}


def build(bar: Bar) -> None:
    """The room; it reads checkpoint sets, not the bar's picture."""
    names = list(sets())
    matrix_html, said, course, numbers, found = _views(names[0])
    first_items = _items(names[0], _last(found), 0, "", 0)[1]
    chosen_set = gr.Dropdown(names, value=names[0], label="Checkpoint set", visible=len(names) > 1, elem_id="set")
    matrix = page.pickable(matrix_html, elem_id="matrix")
    sentence = gr.HTML(said, elem_id="forgetting-sentence", elem_classes="sentence")
    with gr.Row(elem_classes="measure"):
        again = gr.Button("Measure again", size="sm", elem_id="measure-again", min_width=120)
        stop = gr.Button("Stop", size="sm", elem_id="measure-stop", min_width=80, visible=False)
        progress = gr.HTML(elem_id="measure-progress")
    gr.HTML("<h3>The answers behind a cell</h3>")
    with gr.Row():
        checkpoint = gr.Dropdown(
            _rows(found), label="Checkpoint", value=_last(found), elem_id="cell-row", min_width=140
        )
        task = gr.Dropdown(_tasks(found), label="Task", value=0, elem_id="cell-column", min_width=140)
        which = gr.Radio(
            ["all, wrong first", "only wrong"], value="all, wrong first", label="Show", elem_id="cell-show"
        )
    items = gr.HTML(first_items, elem_id="items")
    with gr.Row(elem_classes="pager"):
        back = gr.Button("← Before", size="sm", elem_id="items-back", min_width=80)
        more = gr.Button("More →", size="sm", elem_id="items-more", min_width=80)
    gr.HTML("<h3>The course of training</h3>")
    plot = gr.Plot(course, show_label=False, container=False, elem_id="course")
    numbers_html = gr.HTML(numbers, elem_id="numbers")
    result = gr.State(found, time_to_live=3600)
    page.exports(NAME, result, figure.sentence, lambda r: [figure.heat_map(r), figure.course(r)])
    page.lesson(NAME)

    start = gr.State(0, time_to_live=3600)
    views = [matrix, sentence, plot, numbers_html, result]
    where = [chosen_set, checkpoint, task, which]
    shown = [matrix, items, start]
    from_start = page.for_people(lambda *w: _items(*w, 0))
    matrix.click(_picked, result, [checkpoint, task], **page.QUICK).then(from_start, where, shown, **page.QUICK)
    gr.on([checkpoint.input, task.input, which.input], from_start, where, shown, **page.QUICK)
    back.click(page.for_people(lambda *w: _items(*w[:-1], w[-1] - _PAGE)), [*where, start], shown, **page.QUICK)
    more.click(page.for_people(lambda *w: _items(*w[:-1], w[-1] + _PAGE)), [*where, start], shown, **page.QUICK)
    whole = [*views, checkpoint, task, items, start]
    chosen_set.input(_changed, chosen_set, whole, **page.QUICK)
    run = again.click(
        page.for_model(_measured), chosen_set, [progress, again, stop], **page.LONG_QUEUE,
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    run.success(_changed, chosen_set, whole, **page.QUICK)
    idle = lambda: ("", gr.Button(interactive=True), gr.Button(visible=False))  # noqa: E731
    stop.click(idle, None, [progress, again, stop], cancels=run, **page.QUICK)


def _views(name: str) -> tuple:
    """Matrix, sentence, chart, numbers and result of a set; of one never measured, what to do."""
    try:
        found = measure(evaluation(name))
    except CrosstalkError as error:
        return f'<div class="card quiet">{escape(str(error))}</div>', "", empty("Not measured yet"), "", None
    return _drawn(found)


def _drawn(found: Forgetting) -> tuple:
    said = f"<p>{escape(figure.sentence(found))}</p>{source(found.provenance)}"
    return figure.matrix(found), said, figure.course(found), figure.numbers(found), found


def _rows(found: Forgetting | None) -> list[tuple[str, int]]:
    return [(figure.row_label(found, i), i) for i in range(len(found.checkpoints))] if found else []


def _last(found: Forgetting | None) -> int | None:
    return found.own[-1] if found else None


def _tasks(found: Forgetting | None) -> list[tuple[str, int]]:
    return [(task, j) for j, task in enumerate(found.tasks)] if found else []


def _changed(name: str) -> tuple:
    """Everything that belongs to a set: its views, its cells to choose from, and the items behind the first of them."""
    views = _views(name)
    found = views[-1]
    rows = gr.Dropdown(_rows(found), value=_last(found)), gr.Dropdown(_tasks(found), value=0 if found else None)
    return *views, *rows, _items(name, _last(found), 0, "", 0)[1], 0


def _picked(found: Forgetting | None, event: gr.EventData):
    row, _, column = page.picked(event).partition(",")
    known = found and row.isdigit() and column.isdigit()
    if not known or int(row) >= len(found.checkpoints) or int(column) >= len(found.tasks):
        return gr.skip(), gr.skip()
    return int(row), int(column)


def _items(name: str, row: int | None, column: int | None, which: str, start: int) -> tuple:
    """The matrix with the chosen cell marked, a page of the cell's items from ``start``, and its start."""
    if row is None or column is None:
        return gr.skip(), "", 0
    answers = evaluation(name)
    found = measure(answers)
    listed = cell(answers, found.checkpoints[row], found.tasks[column], which == "only wrong")
    start = max(0, min(start, (len(listed) - 1) // _PAGE * _PAGE))
    shown = listed[start : start + _PAGE]
    pictures = [item.picture() for item in shown]
    uris = [data_uri(picture, 200) if picture else None for picture in pictures]
    where = f"{figure.row_label(found, row)}, {found.tasks[column]}"
    return figure.matrix(found, (row, column)), figure.items(shown, uris, where, start, len(listed)), start


def _evaluated(name: str, progress) -> Evaluation:
    with catalog.using(sets()[name].name) as mllm:
        return evaluate(mllm, progress)


def _measured(name: str):
    """Ask every checkpoint everything again, with progress; stops when the visitor does.

    What took a researcher's GPU hours is kept in her set's folder.
    """
    for found in page.watched(partial(_evaluated, name)):
        if isinstance(found, page.Progress):
            yield found.html, gr.Button(interactive=False), gr.Button(visible=True)
    keep(name, found)
    if name in sets() and not catalog.embedded(sets()[name].name) and not hub.public():
        with contextlib.suppress(OSError):  # a folder that may not be written to: it is measured again next time
            found.save(sets()[name].checkpoint_folder)
    took = f"<span>Measured again in {measure(found).provenance.seconds:.0f} s.</span>"
    yield took, gr.Button(interactive=True), gr.Button(visible=False)

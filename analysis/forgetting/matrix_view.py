"""The head of the Forgetting room: the accuracy matrix, what is behind its cells, its course and its numbers."""

import time
from dataclasses import dataclass
from functools import partial
from html import escape

import gradio as gr

from analysis import exports, jobs, links, page, predictions
from analysis.charts import data_uri, empty, source
from analysis.forgetting import figure, held
from analysis.forgetting.latex import latex
from analysis.forgetting.matrix import evaluate
from analysis.forgetting.measure import LISTED, Forgetting, cell, measure
from analysis.forgetting.sentence import PREDICTED, outcome, sentence
from analysis.forgetting.split import held as split
from models import catalog
from models.errors import CrosstalkError
from models.evaluation import Evaluation

PARTS = {"matrix": "Matrix", "items": "Answers then and now", "course": "Course"}
"""Anchor and short title of what stands here."""

_LASTS = 3600  # seconds that a visitor's state is kept
_PAGE = 12  # items shown at a time


@dataclass(frozen=True)
class Views:
    """What other parts of the room may show a cell by: ``result`` and the choice of a cell and of its items; and
    ``measured``, the event after which a set that was just measured is shown.
    """

    result: gr.State
    chosen: list[gr.components.Component]
    refresh: dict
    measured: gr.events.Dependency


def build(method: gr.Dropdown) -> Views:
    """Matrix, items, course and numbers of the set that ``method`` names."""
    matrix_html, said, _, course, numbers, known = _views(method.value)
    page.heading("Every checkpoint on every task", "matrix")
    prediction = predictions.ask(
        "forgetting", "how much of the first task will be left after the last one?", PREDICTED
    )
    matrix = page.pickable(matrix_html, elem_id="matrix")
    told = gr.HTML(said, elem_id="forgetting-sentence", elem_classes="sentence")
    with gr.Row(elem_classes="measure"):
        start = gr.Button("Measure", variant="primary", elem_id="matrix-measure", min_width=120, visible=known is None)
        stop = gr.Button("Stop", elem_id="matrix-stop", min_width=80, visible=False)
        progress = gr.HTML(elem_id="matrix-progress")
    numbers_html = gr.HTML(numbers, elem_id="numbers")
    result = gr.State(known, time_to_live=_LASTS)
    exports.offer(
        "forgetting", result, sentence, lambda r: [figure.heat_map(r), figure.course(r)], {"LaTeX": ("tex", latex)}
    )
    prediction.compare(told, result, outcome)
    page.heading("The answers behind a cell, then and now", "items")
    with gr.Row():
        checkpoint = gr.Dropdown(
            _rows(known), label="Checkpoint", value=_last(known), elem_id="cell-row", min_width=140
        )
        task = gr.Dropdown(
            _tasks(known), label="Task", value=0 if known else None, elem_id="cell-column", min_width=140
        )
        which = gr.Radio(list(LISTED), value=LISTED[0], label="Show", elem_id="cell-show", min_width=300)
    items = gr.HTML(_items(known, method.value, _last(known), 0, LISTED[0], 0)[1], elem_id="items")
    with gr.Row(elem_classes="pager"):
        back = gr.Button("← Before", size="sm", elem_id="items-back", min_width=80)
        more = gr.Button("More →", size="sm", elem_id="items-more", min_width=80)
    page.heading("The course of training", "course")
    plot = gr.Plot(course, show_label=False, container=False, elem_id="course")

    first = gr.State(0, time_to_live=_LASTS)
    where = [result, method, checkpoint, task, which]
    shown = [matrix, items, first]
    refresh = {"fn": page.for_people(lambda *w: _items(*w, 0)), "inputs": where, "outputs": shown, **page.QUICK}
    matrix.click(_picked, result, [checkpoint, task], **page.QUICK).then(**refresh)
    gr.on([checkpoint.input, task.input, which.input], **refresh)
    back.click(page.for_people(lambda *w: _items(*w[:-1], w[-1] - _PAGE)), [*where, first], shown, **page.QUICK)
    more.click(page.for_people(lambda *w: _items(*w[:-1], w[-1] + _PAGE)), [*where, first], shown, **page.QUICK)
    whole = [matrix, told, start, plot, numbers_html, result, checkpoint, task, which, items, first]
    run = start.click(
        page.for_model(_measured), method, [progress, start, stop], **page.LONG_QUEUE,
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    measured = run.success(_changed, [method, checkpoint, task, which], whole, **page.QUICK)
    at_rest = [progress, start, stop]
    run.failure(lambda shown: _at_rest(jobs.halted(shown)), progress, at_rest, **page.QUICK)
    stop.click(partial(_at_rest, jobs.STOPPED), None, at_rest, cancels=run, **page.QUICK)
    method.change(_changed, [method, checkpoint, task, which], whole, **page.QUICK)
    links.keep(row=checkpoint, column=task, show=which, set=method, again=refresh)  # the set last: it reads the others
    return Views(result, [checkpoint, task, which], refresh, measured)


def found(name: str) -> Forgetting:
    """The numbers of a set, from what is kept. Raises as ``held.evaluation`` does."""
    evaluation = held.evaluation(name)
    tested = split.at_hand(name) if len(evaluation.tasks) > 1 else None
    return measure(evaluation, tested)


def _views(name: str) -> tuple:
    """Matrix, sentence, start button, chart, numbers and result of a set; of one never measured, what to do."""
    try:
        shown = found(name)
    except CrosstalkError as error:
        quiet = f'<div class="card quiet">{escape(str(error))}</div>'
        return quiet, "", gr.Button(visible=True), empty("Not measured yet"), "", None
    said = f"<p>{escape(sentence(shown))}</p>{source(shown.provenance)}"
    idle = gr.Button(visible=False)
    return figure.matrix(shown), said, idle, figure.course(shown), figure.numbers(shown), shown


def _rows(found: Forgetting | None) -> list[tuple[str, int]]:
    return [(figure.row_label(found, i), i) for i in range(len(found.checkpoints))] if found else []


def _last(found: Forgetting | None) -> int | None:
    return found.own[-1] if found else None


def _tasks(found: Forgetting | None) -> list[tuple[str, int]]:
    return [(task, j) for j, task in enumerate(found.tasks)] if found else []


def _changed(name: str, row: int | None = None, column: int | None = None, which: str = LISTED[0]) -> tuple:
    """Everything that belongs to a set: its views, its cells to choose from, and the items behind one of them.

    That is the cell that was chosen before, where the set has it.
    """
    *views, shown = _views(name)
    if not shown or row not in range(len(shown.checkpoints)) or column not in range(len(shown.tasks)):
        row, column, which = _last(shown), 0 if shown else None, LISTED[0]
    rows = gr.Dropdown(_rows(shown), value=row), gr.Dropdown(_tasks(shown), value=column)
    return *views, shown, *rows, which, _items(shown, name, row, column, which, 0)[1], 0


def _picked(found: Forgetting | None, event: gr.EventData):
    row, _, column = page.picked(event).partition(",")
    known = found and row.isdigit() and column.isdigit()
    if not known or int(row) >= len(found.checkpoints) or int(column) >= len(found.tasks):
        return gr.skip(), gr.skip()
    return int(row), int(column)


def _items(found: Forgetting | None, name: str, row: int | None, column: int | None, which: str, first: int) -> tuple:
    """The matrix with the chosen cell marked, a page of the cell's items from ``first``, and its start."""
    if found is None or row is None or column is None:
        return gr.skip(), "", 0
    listed = cell(held.evaluation(name), found.checkpoints[row], found.tasks[column], which)
    first = max(0, min(first, (len(listed) - 1) // _PAGE * _PAGE))
    shown = listed[first : first + _PAGE]
    pictures = [item.picture() for item in shown]
    uris = [data_uri(picture, 200) if picture else None for picture in pictures]
    where = f"{figure.row_label(found, row)}, {found.tasks[column]}"
    cards = figure.items(shown, uris, where, _labels(found, row, found.own[column]), first, len(listed))
    return figure.matrix(found, (row, column)), cards, first


def _labels(found: Forgetting, row: int, own: int) -> tuple[str, str]:
    """Whose answers stand beside each other: those right after the task's own training, and those of the chosen row."""
    if row == own:
        return "answer", "answer"
    named = figure.row_label(found, row)
    if row == 0 or row in found.own:
        named = f"{'now' if row > own else 'before'}: {named}"
    return f"then: {figure.row_label(found, own)}", named


def _evaluated(name: str, progress) -> Evaluation:
    with catalog.using(held.entry(name).name) as mllm:
        return evaluate(mllm, progress)


def _measured(name: str):
    """Ask what was not asked yet, with progress; stops when the visitor does."""
    began = time.perf_counter()
    for found in jobs.watched(partial(_evaluated, name)):
        if isinstance(found, jobs.Progress):
            yield f"{found.html} <span>({escape(name)})</span>", gr.Button(interactive=False), gr.Button(visible=True)
    yield f"<span>{escape(name)}: measured in {time.perf_counter() - began:.0f} s.</span>", *_at_rest("")[1:]


def _at_rest(told) -> tuple:
    return told, gr.Button(interactive=True), gr.Button(visible=False)

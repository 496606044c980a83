"""The stability gap and the forgetting curves on the page."""

from html import escape

import gradio as gr

from analysis import exports, page
from analysis.bar import Bar
from analysis.charts import source
from analysis.forgetting.gap import figure, held, sentence
from analysis.forgetting.gap.curves import ALL
from analysis.forgetting.gap.held import STEPS, TASKS
from analysis.forgetting.gap.measure import Gaps
from models.errors import CrosstalkError

_LASTS = 3600  # seconds that a visitor's state is kept
_ABOUT = (
    "<p class='key'>An evaluation at the end of each task hides what happens on the way: right after a switch, old "
    "tasks may fall and rise again (the <b>stability gap</b>, arXiv 2205.13452). Dotted lines are switches; a triangle "
    "marks the lowest point of a clear dip, filled where it clearly comes back.</p>"
)
_CURVES = (
    "<h4>Forgetting curves</h4><p class='key'>How does forgetting go on? A power law slows down for ever, an "
    "exponential soon reaches its end. Both have three parameters; the lower AICc fits better, and below a difference "
    "of 2 it cannot be told. Points of one run depend on each other, so the test makes somewhat too much of them.</p>"
)
_NONE = (
    "No set on offer has a logged course. A course is a file course.json beside checkpoints.json: "
    "{\"seed\": 0, \"steps_per_task\": 100, \"order\": [\"a\", \"b\"], \"items\": 50, \"definition\": \"what counts as "
    "right\", \"points\": [{\"step\": 10, \"accuracy\": {\"a\": 0.5}}, ...]}."
)  # fmt: skip


def build(bar: Bar, method: gr.Dropdown) -> list[dict]:
    """The part: courses of chosen sets side by side, and the forgetting curve of the set that ``method`` names.

    Gives what to do again when that was measured.
    """
    gr.HTML(_ABOUT)
    known = list(held.courses()[0])
    with gr.Row():
        chosen = gr.CheckboxGroup(
            known, value=known[:3], label="Courses of", visible=bool(known), elem_id="gap-methods"
        )
        view = gr.Radio(list(figure.VIEWS), value=figure.MEAN, label="Show", visible=bool(known), elem_id="gap-view")
    chart = gr.Plot(figure.course(None), show_label=False, container=False, elem_id="gap-chart")
    said = gr.HTML(elem_id="gap-sentence", elem_classes="sentence")
    table = gr.HTML(elem_id="gap-table")
    result = gr.State(None, time_to_live=_LASTS)
    exports.offer("forgetting-gap", result, sentence.gaps, lambda r: [figure.course(r, v) for v in figure.VIEWS])
    gr.HTML(_CURVES)
    with gr.Row():
        unit = gr.Radio(
            [("steps of training (course)", STEPS), ("tasks (accuracy matrix)", TASKS)], value=STEPS,
            label="Time counted in", elem_id="curve-unit",
        )  # fmt: skip
        task = gr.Dropdown([ALL], value=ALL, label="Task", elem_id="curve-task", min_width=180)
    curve_chart = gr.Plot(figure.curve(None), show_label=False, container=False, elem_id="curve-chart")
    curve_said = gr.HTML(elem_id="curve-sentence", elem_classes="sentence")
    curve_result = gr.State(None, time_to_live=_LASTS)
    exports.offer("forgetting-curve", curve_result, sentence.curve, lambda found: [figure.curve(found)])

    gaps, curve = [chart, said, table, result], [curve_chart, curve_said, curve_result]
    chosen.input(_gaps, [chosen, view], gaps, **page.QUICK)
    view.input(figure.course, [result, view], chart, **page.QUICK)
    for control in (unit, task):
        control.input(_curve, [method, unit, task], curve, **page.TELLING)
    again = {"fn": _of_set, "inputs": [method, unit], "outputs": [task, *curve], **page.TELLING}
    method.change(**again)
    if room := page.room_of(chart):
        room.select(_opened, [result, chosen, view, method, unit], [*gaps, task, *curve], **page.TELLING)
    return [again]


def _opened(found: Gaps | None, chosen: list[str], view: str, method: str, unit: str) -> tuple:
    """Everything, the first time that the room is opened."""
    return (gr.skip(),) * 8 if found else (*_gaps(chosen, view), *_of_set(method, unit))


def _gaps(chosen: list[str], view: str) -> tuple:
    """Chart, sentence, numbers and result of the chosen courses; of none, what to do."""
    known, wrong = held.courses()
    found = held.gaps(chosen)
    told = "".join(f'<p class="key">{escape(name)}: {escape(why)}</p>' for name, why in wrong.items())
    if found is None:
        quiet = "" if known else f'<div class="card quiet">{escape(_NONE)}</div>'
        return figure.course(None), f"{quiet}{told}", "", None
    said = "".join(f"<p>{escape(text)}</p>" for text in sentence.by_method(found))
    return figure.course(found, view), f"{said}{source(found.provenance)}{told}", figure.numbers(found), found


def _of_set(method: str, unit: str) -> tuple:
    """The tasks of another set, and the forgetting curve of all of them."""
    try:
        names = held.tasks(method)
    except CrosstalkError:  # a set of the Hub that was not downloaded yet: the curve says so
        names = ()
    return gr.Dropdown([ALL, *names], value=ALL), *_curve(method, unit, ALL)


def _curve(method: str, unit: str, task: str) -> tuple:
    """Chart, sentence and result of a forgetting curve; of one that cannot be fitted, why."""
    try:
        found = held.forgetting_curve(method, unit, task)
    except CrosstalkError as error:
        return figure.curve(None, "No forgetting curve to show"), f"<p>{escape(str(error))}</p>", None
    return figure.curve(found), f"<p>{escape(sentence.curve(found))}</p>{source(found.provenance)}", found

"""Methods side by side on the page."""

import contextlib
from html import escape

import gradio as gr

from analysis import exports, page
from analysis.bar import Bar
from analysis.charts import empty, source
from analysis.forgetting.methods import about, figure, held, tables
from analysis.forgetting.methods.measure import Methods, measure
from analysis.forgetting.methods.sentence import by_order, orders, paragraphs, sentence
from analysis.forgetting.methods.terms import NAMES
from models.errors import CrosstalkError
from models.manifest import Manifest

NAME = "forgetting-methods"
_LASTS = 3600  # seconds that a visitor's state is kept
_FIRST = "bwt"
_ABOUT = (
    "<p class='key'>Every method learnt the same tasks from the same base, in as many steps. Green: better than plain "
    "training beyond the interval of the difference; red: worse; grey: no difference can be told. Ticks beneath are "
    "single seeds.</p>"
)
_READING = "Reading what was measured …"
_ORDER = "<h4>The same tasks in another order</h4>"


def build(bar: Bar, method: gr.Dropdown) -> list[dict]:
    """The part; it shows every set on offer that was measured, whichever of them ``method`` names.

    Gives what to do again when one was measured.
    """
    gr.HTML(_ABOUT)
    metric = gr.Radio(
        [(name, key) for key, (name, _, _) in NAMES.items()], value=_FIRST, label="Shown", elem_id="methods-metric"
    )
    meaning = gr.HTML(_meaning(_FIRST), elem_id="methods-meaning")
    chart = gr.Plot(empty(_READING), show_label=False, container=False, elem_id="methods-chart")
    said = gr.HTML(elem_id="methods-sentence", elem_classes="sentence")
    with gr.Accordion("All numbers", open=False):
        table = gr.HTML(elem_id="methods-table")
    with gr.Accordion("What each method does, and its settings", open=False):
        gr.HTML(_explained(), elem_id="methods-about")
    gr.HTML(_ORDER)
    turned = gr.Radio([], label="Method", visible=False, elem_id="methods-turned")
    order = gr.Plot(empty(_READING), show_label=False, container=False, elem_id="methods-order")
    order_said = gr.HTML(elem_id="methods-order-sentence", elem_classes="sentence")
    order_table = gr.HTML(elem_id="methods-order-table")
    result = gr.State(None, time_to_live=_LASTS)
    exports.offer(NAME, result, _whole, _figures)

    views = [chart, said, table, turned, order, order_said, order_table, result]
    metric.input(_of_metric, [result, metric], [meaning, chart], **page.QUICK)
    turned.input(figure.orders, [result, turned], order, **page.QUICK)
    method.change(_chosen, [result, metric, method], views, **page.TELLING)
    if room := page.room_of(chart):
        room.select(_opened, [result, metric], views, **page.TELLING)
    return [{"fn": _views, "inputs": metric, "outputs": views, **page.TELLING}]


def _meaning(metric: str) -> str:
    name, unit, hint = NAMES[metric]
    return f'<p class="key">{escape(name)}, {escape(unit)}. {escape(hint)}</p>'


def _explained() -> str:
    own = {}
    for name, entry in held.sets().items():
        with contextlib.suppress(CrosstalkError):  # a set of the Hub that was not downloaded yet
            own[name] = Manifest.load(entry.checkpoint_folder).method
    return f'{tables.explained(about.told(own))}<p class="key">{escape(about.COMMON)}</p>'


def _of_metric(found: Methods | None, metric: str) -> tuple:
    return _meaning(metric), figure.dots(found, metric)


def _opened(found: Methods | None, metric: str) -> tuple:
    """Everything, the first time that the room is opened."""
    return (gr.skip(),) * 8 if found else _views(metric)


def _chosen(found: Methods | None, metric: str, method: str) -> tuple:
    """Everything again where the chosen set is not among what is shown: it may have been measured since."""
    return (gr.skip(),) * 8 if found and method in [row.method for row in found.rows] else _views(metric)


def _views(metric: str) -> tuple:
    """Everything, of what is kept now; of nothing, what to do."""
    try:
        found = measure(*held.runs())
    except CrosstalkError as error:
        quiet = f'<div class="card quiet">{escape(str(error))}</div>'
        return figure.dots(None, metric), quiet, "", gr.Radio(visible=False), figure.orders(None), "", "", None
    names = [t.method for t in found.orders]
    return (
        figure.dots(found, metric), f"{_said(paragraphs(found))}{source(found.provenance)}",
        tables.metrics(found), gr.Radio(names, value=names[0] if names else None, visible=len(names) > 1),
        figure.orders(found), _said(by_order(found)), tables.orders(found), found,
    )  # fmt: skip


def _said(texts: list[str]) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def _whole(found: Methods) -> str:
    return f"{sentence(found)} {orders(found)}"


def _figures(found: Methods) -> list:
    shown = [figure.dots(found, metric) for metric in NAMES]
    return [*shown, *(figure.orders(found, turned.method) for turned in found.orders)]

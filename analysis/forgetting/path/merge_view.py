"""Several checkpoints merged by weights on the page."""

from collections.abc import Iterator, Sequence
from functools import partial
from html import escape

import gradio as gr

from analysis import exports, jobs, page
from analysis.bar import Bar
from analysis.charts import source
from analysis.forgetting import sets
from analysis.forgetting.path import ask_view, figure, sentence
from analysis.forgetting.path.measure import own
from analysis.forgetting.path.merge import AVERAGE, PRESETS, SUM, Merged, measure, of_weights, preset
from analysis.forgetting.path.points import FEWEST, ITEMS, MOST, STEP
from analysis.forgetting.sets import load, measured
from models.checkpoints import Merge
from models.errors import CrosstalkError
from models.mixtures import LEAST
from models.mixtures import MOST as LARGEST

NAME = "forgetting-merge"
_LASTS = 3600  # seconds that a visitor's state is kept
_SLIDERS = 8  # at least: a set from the Hub is known when it is opened
_SHOWN = 8  # of a visitor's merges together
_ABOUT = (
    "<h4>Merge several by weights</h4><p class='key'><i>Task arithmetic</i>: what a training taught is the change that "
    "it made of the base's weights; here the changes are added, each times its weight: base + sum of weight · "
    "(checkpoint − base). In a sequence, the checkpoint of a later task holds the changes of the earlier ones already, "
    "so that the sum counts those several times. The question at the top of the page is put to the merge at once; "
    "Measure asks it about every task.</p>"
)


def build(bar: Bar, method: gr.Dropdown) -> None:
    """The merge, wired to the room's ``method``, the checkpoint set, and to the bar's question."""
    gr.HTML(_ABOUT)
    pool = max([_SLIDERS, *(len(entry.checkpoints) for entry in sets.offered().values())])
    with gr.Row(elem_classes="measure"):
        presets = {name: gr.Button(name.capitalize(), size="sm", min_width=90) for name in PRESETS}
    with gr.Row():
        sliders = [gr.Slider(LEAST, LARGEST, step=0.01, min_width=150, **s) for s in _settings(method.value, pool)]
    with gr.Row(elem_classes="measure"):
        go = gr.Button("Ask this merge", elem_id="merge-ask", min_width=140)
    answered = ask_view.build("merge-here")
    with gr.Row(elem_classes="measure"):
        start = gr.Button("Measure", variant="primary", elem_id="merge-measure", min_width=120)
        stop = gr.Button("Stop", elem_id="merge-stop", min_width=80)
        count = gr.Slider(
            FEWEST, MOST, value=ITEMS, step=STEP, label="Items of a task", elem_id="merge-n", min_width=160
        )
        progress = gr.HTML(elem_id="merge-progress")
    chart = gr.Plot(figure.merged(None), show_label=False, container=False, elem_id="merge-chart")
    said = gr.HTML(elem_id="merge-sentence", elem_classes="sentence")
    table = gr.HTML(elem_id="merge-table")
    result = gr.State(None, time_to_live=_LASTS)
    exports.offer(NAME, result, sentence.merged, lambda found: [figure.merged(found)])

    views, choice = [chart, said, table, result], [method, result, count, *sliders]
    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    set_by = [
        button.click(partial(_preset, name, pool), method, sliders, **page.QUICK) for name, button in presets.items()
    ]
    triggers = [*(slider.input for slider in sliders), go.click]
    ask_view.listen(bar, method, triggers, _weights, sliders, answered, set_by)
    run = start.click(page.for_model(_measured), choice, [progress, *views], **page.LONG_QUEUE, **hidden)
    run.failure(jobs.halted, progress, progress, **page.QUICK)
    stop.click(lambda: jobs.STOPPED, None, progress, cancels=run, **page.QUICK)
    method.change(partial(_rechosen, pool), method, sliders, **page.QUICK).then(
        _before, [method, count], views, **page.QUICK
    )
    count.input(_before, [method, count], views, **page.QUICK, trigger_mode="always_last")
    if room := page.room_of(method):
        room.select(_opened, [result, method, count], views, **page.QUICK)


def _names(name: str | None) -> tuple[str, ...]:
    """The checkpoint of each task; none where the set cannot be read, which is told when it is measured."""
    try:
        return tuple(own(sets.manifest(name)).values())
    except CrosstalkError:
        return ()


def _settings(name: str | None, pool: int, chosen: str = AVERAGE) -> list[dict]:
    """Label, value and visibility of every slider: one for each checkpoint, at a preset's weights."""
    names = _names(name)[:pool]
    weights = preset(names, chosen).weights if names else ()
    shown = [{"label": own, "value": round(weight, 2), "visible": True} for own, weight in weights]
    return [*shown, *[{"label": "", "value": 0, "visible": False}] * (pool - len(shown))]


def _rechosen(pool: int, name: str) -> list:
    return [gr.Slider(**settings) for settings in _settings(name, pool)]


def _preset(chosen: str, pool: int, name: str) -> list[float]:
    return [settings["value"] for settings in _settings(name, pool, chosen)]


def _merge(name: str, values: Sequence[float]) -> Merge:
    names = tuple(own(sets.manifest(name)).values())
    return of_weights(names, [*values, *[0.0] * len(names)][: len(names)])


def _weights(name: str, *values: float) -> tuple:
    """The merge, the last checkpoint and the references, by label, and which of them is the merge."""
    manifest, merge = sets.manifest(name), _merge(name, values)
    tasks = own(manifest)
    others = [c.name for c in manifest.checkpoints if c.name not in tasks.values()]
    return [("this merge", merge), *((other, other) for other in (list(tasks.values())[-1], *others))], 0


def _opened(found: Merged | None, name: str, count: float) -> tuple:
    return (gr.skip(),) * 4 if found else _before(name, count)


def _before(name: str, count: float) -> tuple:
    """The presets where they were measured before, or the average alone; else what to do."""
    try:
        names = tuple(own(sets.manifest(name)).values())
        for presets in ((AVERAGE, SUM), (AVERAGE,)):
            merges = [preset(names, chosen) for chosen in presets]
            if found := load(name, partial(_work, merges, count)):
                return _views(found)
        return _views(None)
    except CrosstalkError as error:
        return _views(None, str(error))


def _work(merges: Sequence[Merge], count: float, model, **how) -> Merged | None:
    return measure(model, merges, int(count), **how)


def _measured(name: str, shown: Merged | None, count: float, *values: float) -> Iterator[tuple]:
    """Ask the merge about every task, with progress, and show it beside those measured before."""
    before = [Merge(row.weights) for row in shown.rows if row.merged] if shown else []
    merges = [*before, _merge(name, values)][-_SHOWN:]
    for found in jobs.watched(partial(measured, name, partial(_work, merges, count))):
        if isinstance(found, jobs.Progress):
            yield found.html, *[gr.skip()] * 4
    yield "", *_views(found)


def _views(found: Merged | None, why: str = "") -> tuple:
    if found is None:
        return figure.merged(None), f'<div class="card quiet">{escape(why)}</div>' if why else "", "", None
    told = f"<p>{escape(sentence.merged(found))}</p>{source(found.provenance)}"
    return figure.merged(found), told, figure.merged_table(found), found

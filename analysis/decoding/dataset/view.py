"""The block of the room that measures strategies on whole sets."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from html import escape

import gradio as gr

from analysis import exports, jobs, kept, page
from analysis.bar import Bar
from analysis.charts import source
from analysis.decoding import strategies
from analysis.decoding.dataset import figure
from analysis.decoding.dataset.items import Data, embedded, uploaded
from analysis.decoding.dataset.measure import CAPTIONS as SENTENCES
from analysis.decoding.dataset.measure import Hallucination, Settings, measure
from models import catalog
from models.embedded.hallucination_sets import CAPTIONS, EXISTENCE, SUBSETS
from models.errors import InputError

_LASTS = 3600  # seconds
_SIZES = {"whole": 1.0, "a quarter": 0.25, "a tenth": 0.1}
_FIRST = SUBSETS[-1]


def build(bar: Bar, settings: Mapping[str, Sequence[tuple[str, gr.components.Component]]]) -> None:
    """Wired to the bar's model and checkpoint; ``settings``: each strategy's controls as (parameter, control)."""
    gr.HTML("<h3>On whole sets: POPE and CHAIR</h3>")
    with gr.Row():
        chosen = gr.Dropdown(
            [(kind.title, name) for name, kind in strategies.ALL.items() if name != "greedy"],
            value=["inter", "vcd"], multiselect=True, label="Compared with greedy", elem_id="pope-strategies",
            min_width=260,
        )  # fmt: skip
        size = gr.Dropdown(
            list(_SIZES), value="a quarter", label="How much of the embedded set", elem_id="pope-size", min_width=160
        )
        own = gr.File(
            label="Or your own: one JSONL file and its pictures", file_count="multiple", height=160,
            file_types=[".jsonl", ".json", "image"], elem_id="pope-own",
        )  # fmt: skip
    with gr.Row(elem_classes="measure"):
        start = gr.Button("Measure", elem_id="pope-measure", min_width=120)
        stop = gr.Button("Stop", elem_id="pope-stop", min_width=80)
        progress = gr.HTML(elem_id="pope-progress")
    subset = gr.Radio([*SUBSETS, SENTENCES], value=_FIRST, label="Shown", elem_id="pope-subset")
    chart = gr.Plot(figure.spread(None, _FIRST), show_label=False, container=False, elem_id="pope-chart")
    sentence = gr.HTML(elem_id="pope-sentence", elem_classes="sentence")
    with gr.Accordion("All scores", open=False):
        table = gr.HTML(elem_id="pope-table")
    result = gr.State(None, time_to_live=_LASTS)
    exports.offer("decoding-sets", result, _said, lambda found: [figure.spread(found, s) for s in found.subsets])

    views = [chart, sentence, table]
    keys = [(name, parameter) for name, rows in settings.items() for parameter, _ in rows]
    sliders = [slider for rows in settings.values() for _, slider in rows]
    hidden = {**page.LONG_QUEUE, "show_progress": "hidden", "api_visibility": "private"}
    run = start.click(
        page.for_model(partial(_measured, keys)), [bar.model, bar.checkpoint, chosen, size, own, subset, *sliders],
        [progress, subset, *views, result], **hidden,
    )  # fmt: skip
    if room := page.room_of(chart):
        room.select(page.for_model(_before), [result, bar.model, bar.checkpoint, subset], [*views, result], **hidden)
    run.failure(lambda: "", None, progress, **page.QUICK)
    subset.input(_shown, [result, subset], views, **page.QUICK)
    for button in (stop, bar.stop):
        button.click(lambda: "", None, progress, cancels=run, **page.QUICK)


def _said(found: Hallucination) -> str:
    return " ".join(figure.sentence(found, subset) for subset in found.subsets)


def _shown(found: Hallucination | None, subset: str) -> tuple:
    if found is None:
        return gr.skip(), gr.skip(), gr.skip()
    said = f"<p>{escape(figure.sentence(found, subset))}</p>{source(found.provenance)}"
    return figure.spread(found, subset), said, figure.table(found, subset)


def _measured(keys, model, checkpoint, chosen, size, own, subset, *values):
    """Measure with progress; what was measured before is found again at once."""
    if not chosen:
        raise InputError("Choose at least one strategy to compare with greedy.")
    given = {name: {p: v for (n, p), v in zip(keys, values, strict=True) if n == name} for name in chosen}
    with _data(own, _SIZES.get(size, 1.0)) as data:
        for found in jobs.watched(partial(_measure, model, checkpoint, data, given)):
            if isinstance(found, jobs.Progress):
                yield found.html, *[gr.skip()] * 5
    subset = subset if subset in found.subsets else found.subsets[0]
    took = f"<span>Measured in {found.provenance.seconds:.0f} s.</span>"
    yield took, gr.Radio(list(found.subsets), value=subset), *_shown(found, subset), found


def _before(found: Hallucination | None, model: str, checkpoint: str, subset: str) -> tuple:
    """What was measured before of every strategy on the whole set, when the room is opened for the first time."""
    if found is None:
        every = {name: {} for name in strategies.ALL}
        found = _measure(model, checkpoint, embedded(), every, only_kept=True)
        if found is not None:
            return *_shown(found, subset), found
    return (gr.skip(),) * 4


def _data(own: Sequence[str] | None, share: float) -> AbstractContextManager[Data]:
    if own:
        return uploaded(own)
    return nullcontext(embedded(round(share * EXISTENCE), round(share * CAPTIONS)))


def _measure(
    model: str, checkpoint: str, data: Data, given: Mapping[str, Settings], progress=kept.quiet, only_kept=False
) -> Hallucination | None:
    with catalog.using(model) as mllm:
        return measure(mllm, data, given, checkpoint, progress, only_kept)

"""The data-set view of the Interference room on the page."""

from contextlib import ExitStack
from html import escape

import gradio as gr

from analysis import exports, jobs, page
from analysis.bar import Bar, choices
from analysis.charts import empty, source
from analysis.interference.dataset import figure, own, shipped
from analysis.interference.dataset.conditions import CONDITIONS, KINDS
from analysis.interference.dataset.measure import Block, measure, together
from analysis.interference.dataset.result import Accuracies, accuracies, titled
from analysis.interference.dataset.sentence import sentence
from models import catalog
from models.checkpoints import BASE
from models.errors import InputError

NAME = "interference-dataset"
_LASTS = 3600  # seconds that a visitor's state is kept
_ALL = "all items"
_HINT = "Choose checkpoints, then press Measure:<br>accuracy as asked and under each perturbation"
_ABOUT = (
    "<p class='key'>One question shows that an answer can flip; whole sets show how often. Checkpoints are those of "
    f"the model at the top; “{shipped.MITIGATION}” has four remedies to compare. What you measure with another model "
    "joins what is shown.</p>"
)
_FORMAT = (
    "A line an item: `{\"image\": \"cat.png\", \"question\": \"What is this?\", \"answer\": \"cat\", \"choices\": "
    "[\"cat\", \"dog\"], \"segment\": \"photos\"}`. Without pictures give the `.jsonl` alone (leave `image` out); with "
    "pictures a `.zip` of the `.jsonl` and the files it names."
)  # fmt: skip


def build(bar: Bar) -> None:
    """The view, wired to the bar's model."""
    page.heading("Over whole sets of questions", "sets")
    gr.HTML(_ABOUT)
    with gr.Row():
        checkpoints = gr.CheckboxGroup(
            choices(catalog.EMBEDDED), value=[BASE], label="Checkpoints", info="of the model at the top",
            elem_id="dataset-checkpoints",
        )  # fmt: skip
        kinds = gr.CheckboxGroup(
            [(f"{k.title}: {k.about}", k.name) for k in KINDS.values()], value=list(KINDS), label="Sets",
            elem_id="dataset-kinds",
        )  # fmt: skip
    with gr.Accordion("Which perturbations", open=False, elem_classes="advanced"):
        conditions = gr.CheckboxGroup(
            [(titled(c), c) for c in CONDITIONS], value=list(CONDITIONS), show_label=False,
            elem_id="dataset-conditions",
        )  # fmt: skip
    with gr.Accordion("Measure a set of your own", open=False, elem_classes="advanced"):
        gr.Markdown(_FORMAT)
        with gr.Row():
            file = gr.File(
                label="Your set: .jsonl or .zip", file_types=[".jsonl", ".zip"], height=140, elem_id="dataset-file"
            )
            kind = gr.Radio(
                [(k.title, k.name) for k in KINDS.values()], value=next(iter(KINDS)), elem_id="dataset-kind",
                label="What its answers depend on",
                info="Image-heavy: the picture alone, so sentences are added. Text-heavy: the words alone, so pictures "
                "are added or replaced. Multimodal: both.",
            )  # fmt: skip
        start_own = gr.Button("Measure my set", elem_id="dataset-measure-own")
    with gr.Row(elem_classes="measure"):
        start = gr.Button("Measure", variant="primary", elem_id="dataset-measure", min_width=120)
        stop = gr.Button("Stop", elem_id="dataset-stop", min_width=80)
        clear = gr.Button("Clear", elem_id="dataset-clear", min_width=80)
        progress = gr.HTML(elem_id="dataset-progress")
    segment = gr.Radio([_ALL], value=_ALL, label="Items", visible=False, elem_id="dataset-segment")
    chart = gr.Plot(empty(_HINT), show_label=False, container=False, elem_id="dataset-chart")
    said = gr.HTML(elem_id="dataset-sentence", elem_classes="sentence")
    with gr.Accordion("All numbers: drops, flips, recovery and cost", open=False):
        table = gr.HTML(elem_id="dataset-table")
        recovery = gr.HTML(elem_id="dataset-recovery")
    blocks, result = gr.State(None, time_to_live=_LASTS), gr.State(None, time_to_live=_LASTS)
    exports.offer(NAME, result, sentence, lambda found: [figure.accuracy(found, s) for s in (None, *found.segments)])

    views = [chart, said, table, recovery, segment, blocks, result]
    chosen = [blocks, bar.model, checkpoints, conditions]
    bar.model.change(_offered, bar.model, checkpoints, **page.QUICK)
    segment.input(_of_segment, [result, segment], [chart, table], **page.QUICK)
    running = {
        **page.LONG_QUEUE, "show_progress": "hidden", "api_visibility": "private",
    }  # fmt: skip
    runs = [
        start.click(page.for_model(_measured), [*chosen, kinds], [progress, *views], **running),
        start_own.click(page.for_model(_measured_own), [*chosen, kind, file], [progress, *views], **running),
    ]
    for run in runs:
        run.failure(jobs.halted, progress, progress, **page.QUICK)
    stop.click(lambda: jobs.STOPPED, None, progress, cancels=runs, **page.QUICK)
    clear.click(lambda: ("", *_views(())), None, [progress, *views], cancels=runs, **page.QUICK)
    if room := page.room_of(chart):
        room.select(_opened, blocks, views, **page.QUICK)


def _offered(model: str):
    """The checkpoints of the model at the top."""
    return gr.CheckboxGroup(choices(model), value=[BASE])


def _measured(blocks, model, checkpoints, conditions, kinds):
    """Measure the shipped sets of ``kinds`` beside what is shown."""
    yield from _joined(blocks, model, checkpoints, conditions, lambda stack: shipped.chosen(kinds))


def _measured_own(blocks, model, checkpoints, conditions, kind, file):
    """Measure the visitor's own set beside what is shown."""
    if not file:
        raise InputError("There is no set of yours yet: upload a .jsonl, or a .zip of one with its pictures.")
    yield from _joined(
        blocks, model, checkpoints, conditions, lambda stack: [stack.enter_context(own.opened(file, kind))]
    )


def _joined(blocks: tuple[Block, ...] | None, model: str, checkpoints, conditions, sets):
    """Measure ``sets(stack)`` with progress; then all views, of what was shown before too."""

    def work(progress) -> list[Block]:
        with ExitStack() as stack:
            items = sets(stack)
            return measure(stack.enter_context(catalog.using(model)), items, checkpoints, conditions, progress)

    for found in jobs.watched(work):
        if isinstance(found, jobs.Progress):
            yield found.html, *[gr.skip()] * 7
    yield "", *_views(together(blocks or (), found), tuple(found))


def _views(blocks: tuple[Block, ...], newest: tuple[Block, ...] = ()) -> tuple:
    """Everything that shows these blocks, and a sentence of the ``newest`` alone before that of all; of none, what to
    do.
    """
    found = accuracies(blocks)
    if found is None:
        return empty(_HINT), "", "", "", gr.Radio([_ALL], value=_ALL, visible=False), (), None
    said = [sentence(found)]
    if newest and (new := sentence(accuracies(newest))) not in said:
        said = [f"Measured now: {new}", f"All that is shown: {said[0]}"]
    told = "".join(f"<p>{escape(s)}</p>" for s in said) + source(found.provenance)
    segments = gr.Radio([_ALL, *found.segments], value=_ALL, visible=bool(found.segments))
    return figure.accuracy(found), told, figure.table(found), figure.recovery(found), segments, blocks, found


def _opened(blocks: tuple[Block, ...] | None) -> tuple:
    """What was measured before, the first time that the room is opened; nothing for who has cleared or measured."""
    if blocks is not None or not (before := shipped.measured()):
        return (gr.skip(),) * 7
    return _views(before)


def _of_segment(found: Accuracies | None, segment: str) -> tuple:
    if found is None:
        return gr.skip(), gr.skip()
    chosen = None if segment == _ALL else segment
    return figure.accuracy(found, chosen), figure.table(found, chosen)

"""Which part forgets, on the page: four measurements of one task and two checkpoints."""

from collections.abc import Iterator, Sequence
from html import escape

import gradio as gr

from analysis import exports, jobs, page
from analysis.bar import Bar
from analysis.charts import source
from analysis.forgetting import sets
from analysis.forgetting.parts import figure
from analysis.forgetting.parts.choice import ITEMS, Choice, first_choice, load, measured, nothing
from analysis.forgetting.parts.measure import ALL, SINCE, trained
from analysis.forgetting.parts.patching import DEFAULT, GROUPS
from analysis.forgetting.parts.result import Parts
from analysis.forgetting.parts.sentence import sentence, sentences
from models.checkpoints import BASE
from models.errors import CrosstalkError

NAME = "forgetting-parts"
_LASTS = 3600  # seconds that a visitor's state is kept
_FEWEST, _MOST, _STEP = 20, 240, 20  # items of a task
_ABOUT = (
    "<p class='key'>Training on later tasks changed the weights. Here is which part, put back, brings an old task "
    "back, which weights moved, whether earlier tasks had changed the same ones, and what became of the hidden "
    "states.</p>"
)
_RETURNED = (
    "<h4>What returns when one part is put back</h4><p class='key'>One part of the older checkpoint goes into the "
    "newer one. What returns of the old task was lost in that part; what the last task loses is the price. Each "
    "interval (95 %, paired by item) is of one part: of many that are tried, some look good by chance.</p>"
)
_MOVED = (
    "<h4>How far each module moved</h4><p class='key'>The size of the change, |dW|, beside the size of the weights, "
    "|W| (Frobenius norms: the root of the sum of all squared elements).</p>"
)
_SHARED = (
    "<h4>Key elements that two tasks share</h4><p class='key'>Key elements are the 2 % of each matrix that a task "
    "changed most, as in RegLoRA (<a href='https://arxiv.org/abs/2505.02486'>SEFE</a>). Where two tasks share more of "
    "them than chance gives, the later one changes what the earlier one had changed. Large changes cluster in rows of "
    "a matrix, so some sharing is to be expected.</p>"
)
_DRIFTED = (
    "<h4>Drift of hidden states on the old task</h4><p class='key'>How alike the states on the old task's questions "
    "stay, at the last token before the answer: linear CKA, 1 where they are the same up to rotation and size.</p>"
)
_UNMEASURED = '<p class="key">Not measured yet with these choices: press Measure.</p>'
_SINCE = {SINCE[0]: "the checkpoint before it", SINCE[1]: "the base"}


def build(bar: Bar, method: gr.Dropdown) -> None:
    """The part, wired to the room's ``method``, the checkpoint set."""
    tasks, checkpoints, first = _offered(method.value)
    gr.HTML(_ABOUT)
    with gr.Row():
        chosen_task = gr.Dropdown(
            tasks, value=first and first.task, label="Old task", elem_id="parts-task", min_width=150,
        )  # fmt: skip
        start = gr.Dropdown(
            checkpoints, value=first and first.before, label="From checkpoint", info="put back from here",
            elem_id="parts-before", min_width=150,
        )  # fmt: skip
        end = gr.Dropdown(
            checkpoints, value=first and first.after, label="To checkpoint", info="put back into this",
            elem_id="parts-after", min_width=150,
        )  # fmt: skip
    with gr.Row():
        n = gr.Slider(
            _FEWEST, _MOST, value=ITEMS, step=_STEP, label="Items of a task", elem_id="parts-n", min_width=160
        )
        seed = gr.Slider(0, 20, value=0, step=1, label="Seed of the items", elem_id="parts-seed", min_width=160)
        since = gr.Radio(
            [(words, name) for name, words in _SINCE.items()], value=SINCE[0], label="A task's change is since",
            elem_id="parts-since", min_width=220,
        )  # fmt: skip
    groups = gr.CheckboxGroup(
        [(words, name) for name, words in GROUPS.items()], value=list(DEFAULT), label="Put back, one at a time",
        elem_id="parts-groups",
    )  # fmt: skip
    with gr.Row(elem_classes="measure"):
        run = gr.Button("Measure", variant="primary", elem_id="parts-measure", min_width=120)
        stop = gr.Button("Stop", elem_id="parts-stop", min_width=80)
        progress = gr.HTML(elem_id="parts-progress")
    said = gr.HTML(elem_id="parts-sentence", elem_classes="sentence")
    gr.HTML(_RETURNED)
    returned = gr.Plot(figure.patching(None), show_label=False, container=False, elem_id="parts-returned")
    gr.HTML(_MOVED)
    moved = gr.Plot(figure.movement(None), show_label=False, container=False, elem_id="parts-moved")
    gr.HTML(_SHARED)
    kind = gr.Dropdown([ALL], value=ALL, label="Modules", elem_id="parts-kind", visible=False)
    overlap = gr.Plot(figure.overlap(None), show_label=False, container=False, elem_id="parts-overlap")
    gr.HTML(_DRIFTED)
    drifted = gr.Plot(figure.drift(None), show_label=False, container=False, elem_id="parts-drift")
    result = gr.State(None, time_to_live=_LASTS)
    exports.offer(NAME, result, sentence, figures)

    offered = [chosen_task, start, end]
    choice = [method, *offered, since, n, seed, groups]
    views = [said, returned, moved, kind, overlap, drifted, result]
    method.change(page.for_people(_rechosen), method, offered, **page.TELLING).then(_kept, choice, views, **page.QUICK)
    chosen_task.input(_own, [method, chosen_task, start], start, **page.QUICK).then(_kept, choice, views, **page.QUICK)
    changed = [start.input, end.input, since.input, n.input, seed.input, groups.input]
    gr.on(changed, _kept, choice, views, **page.QUICK, trigger_mode="always_last")
    kind.input(lambda found, kind: figure.overlap(found and found.keys, kind), [result, kind], overlap, **page.QUICK)
    measuring = run.click(
        page.for_model(_measured), choice, [progress, *views], **page.LONG_QUEUE, show_progress="hidden",
        api_visibility="private",
    )  # fmt: skip
    measuring.failure(jobs.halted, progress, progress, **page.QUICK)
    stop.click(lambda: jobs.STOPPED, None, progress, cancels=measuring, **page.QUICK)
    if room := page.room_of(moved):
        room.select(_opened, [result, *choice], views, **page.QUICK)


def figures(found: Parts) -> list:
    """Every figure of what was measured."""
    drawn = [(found.patching, figure.patching), (found.moved, figure.movement), (found.drift, figure.drift)]
    kinds = [figure.overlap(found.keys, kind) for kind in found.keys.kinds] if found.keys else []
    return [draw(part) for part, draw in drawn if part is not None] + kinds


def _offered(method: str | None) -> tuple[list[str], list[str], Choice | None]:
    """Tasks and checkpoints of a set to choose from, and the first choice; nothing where the set cannot be read, which
    is told when it is chosen.
    """
    try:
        manifest = sets.manifest(method)
    except CrosstalkError:
        return [], [], None
    return list(manifest.order), [BASE, *(c.name for c in manifest.checkpoints)], first_choice(manifest, method)


def _rechosen(method: str) -> tuple:
    sets.manifest(method)  # raises what is wrong with it
    tasks, checkpoints, first = _offered(method)
    ends = [gr.Dropdown(checkpoints, value=name) for name in (first.before, first.after)]
    return gr.Dropdown(tasks, value=first.task), *ends


def _own(method: str, task: str, before: str) -> str:
    """The checkpoint that a task is put back from, unless another is chosen: its own."""
    try:
        return trained(sets.manifest(method))[task].name
    except CrosstalkError:
        return before


def _choice(method, task, before, after, since, n, seed, groups) -> Choice:
    return Choice(method, task, before, after, since, int(n), int(seed), tuple(groups))


def _opened(found: Parts | None, *chosen) -> tuple:
    return (gr.skip(),) * 7 if found else _kept(*chosen)


def _kept(*chosen) -> tuple:
    """What was measured before of a choice; of one that cannot be, why."""
    choice = _choice(*chosen)
    try:
        return _views(load(choice))
    except CrosstalkError as error:
        return f'<p class="key">{escape(str(error))}</p>', *_views(nothing(choice))[1:]


def _measured(*chosen) -> Iterator[tuple]:
    for found in measured(_choice(*chosen)):
        if isinstance(found, jobs.Progress):
            yield found.html, *[gr.skip()] * 7
        else:
            yield gr.skip(), *_views(found)
    yield "", *[gr.skip()] * 7


def _views(found: Parts) -> tuple:
    """Everything that shows what was measured, and of what was not, what it would be."""
    said = sentences(found)
    told = "".join(f"<p>{escape(s)}</p>" for s in said) + source(found.provenance) if said else _UNMEASURED
    kinds: Sequence[str] = found.keys.kinds if found.keys else (ALL,)
    kind = gr.Dropdown(list(kinds), value=ALL, visible=len(kinds) > 1)
    drawn = figure.patching(found.patching), figure.movement(found.moved)
    return told, *drawn, kind, figure.overlap(found.keys), figure.drift(found.drift), found if said else None

"""The part of the room that tells lost form from lost knowledge."""

from functools import partial
from html import escape

import gradio as gr

from analysis import exports, jobs, page
from analysis.bar import Bar
from analysis.charts import data_uri, source
from analysis.forgetting.held import evaluation
from analysis.forgetting.split import figure
from analysis.forgetting.split.held import at_hand, measured
from analysis.forgetting.split.measure import kept_items, later
from analysis.forgetting.split.reading import labelled, read
from analysis.forgetting.split.result import KEPT, PARTS, SUPERFICIAL, Lost, Split
from analysis.forgetting.split.sentence import sentence
from models.errors import CrosstalkError

NAME = "forgetting-split"
_LASTS = 3600  # seconds that a visitor's state is kept
_PAGE = 12  # items shown at a time
_ALL = "all tasks"
_ABOUT = (
    "<p class='key'>An answer that was right after its own task and is wrong now may be lost in two ways. "
    "<b>Superficial</b>: it comes in another form than asked (a sentence in place of a word), and when the model has "
    "to choose among options, the true one is still the likeliest. <b>Essential</b>: it comes in the asked form with "
    "a wrong fact, or not even the choice brings the truth back. Answers in another form are also asked again with "
    "the form spelled out (“Answer with one word.”), a second test that does not need options.</p>"
)
_HINT = "Press the button: lost answers in another form<br>than asked are asked again"


def build(bar: Bar, method: gr.Dropdown) -> list[dict]:
    """The part, for the checkpoint set that ``method`` names. Gives what to do again when that was measured."""
    gr.HTML(_ABOUT)
    after = _after(method.value)
    checkpoint = gr.Dropdown(
        after, value=after[-1] if after else None, label="What is lost at checkpoint", elem_id="split-checkpoint"
    )
    with gr.Row(elem_classes="measure"):
        start = gr.Button("Ask the lost items again", elem_id="split-measure", min_width=120)
        stop = gr.Button("Stop", elem_id="split-stop", min_width=80)
        progress = gr.HTML(elem_id="split-progress")
    bars = gr.Plot(figure.bars(None, _HINT), show_label=False, container=False, elem_id="split-bars")
    said = gr.HTML(elem_id="split-sentence", elem_classes="sentence")
    flow = gr.Plot(figure.flow(None), show_label=False, container=False, elem_id="split-flow")
    table = page.pickable(elem_id="split-table")
    with gr.Row():
        task = gr.Dropdown([_ALL], value=_ALL, label="Task", elem_id="split-task", min_width=140)
        part = gr.Dropdown(
            list(PARTS), value=SUPERFICIAL, label="Answers that are", elem_id="split-part", min_width=140
        )
    items = gr.HTML(elem_id="split-items")
    with gr.Row(elem_classes="pager"):
        back = gr.Button("← Before", size="sm", elem_id="split-back", min_width=80)
        more = gr.Button("More →", size="sm", elem_id="split-more", min_width=80)
    with gr.Accordion("All numbers, with intervals", open=False):
        numbers = gr.HTML(elem_id="split-numbers")
    with gr.Accordion(f"How well the parser reads {len(labelled())} labelled answers", open=False):
        gr.HTML(figure.reading(read(labelled())), elem_id="split-reading")
    first, result = gr.State(0, time_to_live=_LASTS), gr.State(None, time_to_live=_LASTS)
    exports.offer(NAME, result, sentence, lambda found: [figure.bars(found), figure.flow(found)])

    views = [bars, said, flow, numbers, result, task]
    shown, where = [table, items, first], [method, result, task, part]
    from_start = page.for_people(lambda *w: _items(*w, 0))
    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    run = start.click(page.for_model(_measured), [method, checkpoint], [progress, *views], **page.LONG_QUEUE, **hidden)
    run.success(from_start, where, shown, **page.QUICK)
    run.failure(lambda: "", None, progress, **page.QUICK)
    for button in (stop, bar.stop):
        button.click(lambda: "", None, progress, cancels=run, **page.QUICK)
    again = {"fn": _changed, "inputs": method, "outputs": [checkpoint, *views], **page.QUICK}
    items_again = {"fn": from_start, "inputs": where, "outputs": shown, **page.QUICK}
    new_set = method.change(**again)
    new_checkpoint = checkpoint.input(_before, [method, checkpoint], views, **page.QUICK)
    opened = [new_set, new_checkpoint]
    if room := page.room_of(method):
        opened.append(room.select(_opened, [result, method, checkpoint], views, **page.QUICK))
    for event in opened:
        event.then(**items_again)
    table.click(_picked, result, [task, part], **page.QUICK).then(from_start, where, shown, **page.QUICK)
    gr.on([task.input, part.input], from_start, where, shown, **page.QUICK)
    back.click(page.for_people(lambda *w: _items(*w[:-1], w[-1] - _PAGE)), [*where, first], shown, **page.QUICK)
    more.click(page.for_people(lambda *w: _items(*w[:-1], w[-1] + _PAGE)), [*where, first], shown, **page.QUICK)
    return [again, items_again]


def _after(name: str) -> list[str]:
    """The checkpoints of a set at which something can be lost; of one never measured, none."""
    try:
        return list(later(evaluation(name)))
    except CrosstalkError:
        return []


def _changed(name: str) -> tuple:
    """Another set: its later checkpoints, and what is kept of the last of them."""
    after = _after(name)
    last = after[-1] if after else None
    return gr.Dropdown(after, value=last), *_before(name, last)


def _opened(found: Split | None, name: str, checkpoint: str | None) -> tuple:
    return (gr.skip(),) * 6 if found else _before(name, checkpoint)


def _before(name: str, checkpoint: str | None) -> tuple:
    """What was measured before; else what to do."""
    try:
        return _views(at_hand(name, checkpoint))
    except CrosstalkError as error:
        return _views(None, str(error))


def _views(found: Split | None, why: str = "") -> tuple:
    if found is None:
        told = f'<div class="card quiet">{escape(why)}</div>' if why else ""
        return figure.bars(None, _HINT), told, figure.flow(None), "", None, gr.Dropdown([_ALL], value=_ALL)
    told = f"<p>{escape(sentence(found))}</p>{source(found.provenance)}"
    tasks = gr.Dropdown([_ALL, *(b.task for b in found.tasks)], value=_ALL)
    return figure.bars(found), told, figure.flow(found), figure.numbers(found), found, tasks


def _measured(name: str, checkpoint: str | None):
    """Ask what has to be asked, with progress; stops when the visitor does, and whole tasks are kept."""
    for found in jobs.watched(partial(measured, name, checkpoint=checkpoint)):
        if isinstance(found, jobs.Progress):
            yield found.html, *[gr.skip()] * 6
    yield f"<span>Measured in {found.provenance.seconds:.0f} s.</span>", *_views(found)


def _picked(found: Split | None, event: gr.EventData) -> tuple:
    number, _, part = page.picked(event).partition(",")
    if found is None or part not in PARTS or number not in map(str, range(-1, len(found.tasks))):
        return gr.skip(), gr.skip()
    return _ALL if number == "-1" else found.tasks[int(number)].task, part


def _items(name: str, found: Split | None, task: str, part: str, first: int) -> tuple:
    """The table with the chosen part marked, a page of the part's items from ``first``, and where it starts."""
    if found is None:
        return "", "", 0
    answers = evaluation(name)
    listed = _behind(answers, found, task, part)
    first = max(0, min(first, (len(listed) - 1) // _PAGE * _PAGE))
    shown = listed[first : first + _PAGE]
    pictures = [answers.items[x.task][x.place].picture() for x in shown]
    uris = [data_uri(picture, 200) if picture else None for picture in pictures]
    html = figure.items(shown, uris, f"{task}, {part} at {found.checkpoint}", first, len(listed))
    return figure.table(found, ("all" if task == _ALL else task, part)), html, first


def _behind(answers, found: Split, task: str, part: str) -> list[Lost]:
    tasks = [b.task for b in found.tasks] if task == _ALL else [task]
    if part == KEPT:
        return [x for t in tasks for x in kept_items(answers, t, found.checkpoint)]
    return [x for x in found.lost if x.task in tasks and x.verdict == part]

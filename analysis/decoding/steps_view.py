"""The block that shows one answer's steps: timeline, the locator's readings, a step as a game, the picture's part."""

from dataclasses import dataclass, replace
from functools import partial
from html import escape

import gradio as gr

from analysis import jobs, page
from analysis.bar import Bar, open_picture
from analysis.charts import data_uri
from analysis.decoding import figure, game_figure
from analysis.decoding.game import BLOCKS, Regions, regions
from analysis.decoding.measure import Decoding, Written
from models import catalog
from models.errors import InputError

_LASTS = 3600  # seconds


@dataclass(frozen=True)
class Asked:
    """What the shown answers were made from; ``image_seed`` drew INTER's random picture."""

    model: str
    checkpoint: str
    path: str | None
    question: str
    image_seed: int


@dataclass(frozen=True)
class Block:
    """The block's parts. ``views`` are the outputs of ``views_of``; ``threshold`` is INTER's k."""

    name: gr.Dropdown
    threshold: gr.Slider
    views: list


def build(bar: Bar, result: gr.State, asked: gr.State, threshold: gr.Slider) -> Block:
    """The block, wired to the room's ``result`` (a ``Decoding`` or None) and what it was ``asked``.

    ``threshold`` is rendered here, under the readings that it cuts.
    """
    gr.HTML("<h3>Step by step</h3>")
    name = gr.Dropdown([], label="Whose answer", elem_id="decode-whose", min_width=200)
    timeline = page.pickable(figure.timeline_hint(), elem_id="decode-timeline")
    strip = gr.Plot(figure.strip(None, ""), show_label=False, container=False, elem_id="decode-strip")
    threshold.render()
    moved = gr.HTML(elem_id="decode-moved")
    gr.HTML("<h3>One step as a game of picture and question</h3>")
    reading = gr.HTML(elem_id="decode-reading", elem_classes="sentence")
    with gr.Row():
        strongest = gr.Plot(game_figure.strongest(None), show_label=False, container=False, elem_id="decode-strongest")
        split = gr.Plot(game_figure.split(None), show_label=False, container=False, elem_id="decode-split")
    with gr.Row(elem_classes="measure"):
        side = gr.Radio(
            [(f"{s} × {s} blocks", s) for s in BLOCKS], value=BLOCKS[0], label="Map", elem_id="decode-blocks"
        )
        locate = gr.Button("Which part of the picture?", elem_id="decode-locate", min_width=200)
        progress = gr.HTML(elem_id="decode-locate-progress")
    overlay = gr.Plot(game_figure.overlay(None, None, None), show_label=False, container=False, elem_id="decode-map")
    where = gr.HTML(elem_id="decode-where", elem_classes="sentence")
    with gr.Accordion("The game worked with your own numbers", open=False, elem_classes="lesson"):
        worked = gr.HTML(game_figure.worked(None), elem_id="decode-worked")
    step = gr.State(0, time_to_live=_LASTS)

    drawn = [timeline, strip, moved, reading, strongest, split, worked]
    views = [name, step, *drawn, overlay, where]
    name.input(_other, [result, name, threshold], [step, *drawn], **page.QUICK)
    timeline.click(_picked, [result, name, threshold], [step, *drawn], **page.QUICK)
    threshold.input(_cut, [result, name, step, threshold], [timeline, strip, moved], **page.QUICK)
    run = locate.click(
        page.for_model(_located), [result, asked, name, step, side], [progress, overlay, where], **page.MODEL_QUEUE,
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    run.failure(lambda: "", None, progress, **page.QUICK)
    bar.stop.click(lambda: "", None, progress, cancels=run, **page.QUICK)
    return Block(name, threshold, views)


def views_of(found: Decoding) -> tuple:
    """What the block shows of new answers: INTER's where it is among them, at the step that tells most."""
    titles = [(w.title, w.name) for w in found.strategies]
    name = (found.of("inter") or found.strategies[0]).name
    step = telling(found, found.of(name))
    emptied = game_figure.overlay(None, None, None), ""
    return gr.Dropdown(titles, value=name), step, *_drawn(found, name, step, found.threshold), *emptied


def telling(found: Decoding, written: Written) -> int:
    """The step to look at first: where INTER changes the choice, else where something is invented, else where the
    interaction varies most."""
    wrong = [i for i in range(len(written.steps)) if written.touched(i)]
    first = [*written.changed(found.threshold), *wrong]
    if first:
        return first[0]
    return max(range(len(written.moments)), key=lambda i: written.moments[i].variance, default=0)


def _drawn(found: Decoding, name: str, step: int, threshold: float) -> tuple:
    """Timeline, strip, what another k would do, and the game of a step."""
    cut = replace(found, threshold=threshold)
    written = found.of(name)
    moment = written.moments[step] if written and step < len(written.moments) else None
    said = f"<p>{escape(game_figure.reading(moment))}</p>" if moment else ""
    return (
        figure.timeline(cut, name, step), figure.strip(cut, name), _moved(found, name, threshold), said,
        game_figure.strongest(moment), game_figure.split(moment), game_figure.worked(moment),
    )  # fmt: skip


def _moved(found: Decoding, name: str, threshold: float) -> str:
    return f'<p class="key">{escape(figure.if_moved(found, name, threshold))}</p>'


def _other(found: Decoding | None, name: str, threshold: float) -> tuple:
    if found is None or found.of(name) is None:
        return (gr.skip(),) * 8
    step = telling(found, found.of(name))
    return step, *_drawn(found, name, step, threshold)


def _picked(found: Decoding | None, name: str, threshold: float, event: gr.EventData) -> tuple:
    pick, written = page.picked(event), found.of(name) if found else None
    if written is None or not pick.isdigit() or int(pick) >= len(written.steps):
        return (gr.skip(),) * 8
    return int(pick), *_drawn(found, name, int(pick), threshold)


def _cut(found: Decoding | None, name: str, step: int, threshold: float) -> tuple:
    """The same readings under another threshold, at once."""
    if found is None or found.of(name) is None:
        return (gr.skip(),) * 3
    cut = replace(found, threshold=threshold)
    return figure.timeline(cut, name, step), figure.strip(cut, name), _moved(found, name, threshold)


def _located(found: Decoding | None, asked: Asked | None, name: str, step: int, side: int):
    """Cover block after block of the picture that was asked about."""
    written = found.of(name) if found else None
    if written is None or asked is None or not written.steps:
        raise InputError("There is no answer yet. Press Decode, then choose a step.")
    if asked.path is None:
        raise InputError("There is no picture, so no part of one carries an interaction.")
    picture = open_picture(asked.path)
    for what in jobs.watched(partial(_regions, asked, picture, written, step, side)):
        if isinstance(what, jobs.Progress):
            yield what.html, gr.skip(), gr.skip()
    uri = data_uri(picture)
    yield "", game_figure.overlay(what, uri, picture.size), f"<p>{escape(game_figure.where(what))}</p>"


def _regions(asked: Asked, picture, written: Written, step: int, side: int, progress) -> Regions:
    def told(share: float) -> None:
        progress(share, "covering blocks")

    with catalog.using(asked.model) as mllm:
        encoded = mllm.encode(picture, asked.question)
        answer = list(written.ids)
        return regions(mllm, encoded, picture, answer, step, asked.checkpoint, asked.image_seed, side, told)

"""The Decoding room on the page."""

import time
from functools import partial
from html import escape

import gradio as gr

from analysis import exports, links, page, predictions
from analysis.bar import Bar, open_picture, show
from analysis.charts import source
from analysis.decoding import figure, game_figure, steps_view
from analysis.decoding import strategies as offered
from analysis.decoding.dataset import view as sets
from analysis.decoding.measure import LENGTH, LONGEST, SIDE_BY_SIDE, Decoding, decode
from analysis.decoding.objects import truth_of
from analysis.decoding.sentence import PREDICTED, outcome, sentence
from models import catalog
from models.errors import InputError

TITLE, NAME = "Decoding", "decoding"
_LASTS = 3600  # seconds
_FIRST = ("greedy", "inter", "vcd", "m3id")
_EVERY = 0.1  # seconds between two drawings of answers that are being written
_HINT = "Type a question at the top, or choose one of the example pictures."
_TRY = (
    (
        "snowman-unseen-style",
        "Is there a snowman in the picture?",
        "Greedy overlooks it, in an art style that it never saw. Who sees it, and at which step?",
    ),
    (
        "boat-penguin-drum",
        "Describe the picture.",
        "The first caption names things that are not there. Which strategy takes some of them back?",
    ),
    (
        "ghost-at-night",
        "Is there a lock?",
        "A key without its lock. Here INTER is the one that is misled. At which k does it stop?",
    ),
    (
        "bee-without-flower",
        "Is there a flower?",
        "No effect: the picture is clear enough, and the locator stays silent. What do the four contexts say?",
    ),
    ("no-picture", "What kind of thing is a bee?", "No picture: what is left of a game when one player is missing?"),
)


def build(bar: Bar) -> None:
    """The room, wired to the bar."""
    settings, threshold = _settings()
    with gr.Row():
        chosen = gr.Dropdown(
            [(kind.title, name) for name, kind in offered.ALL.items()], value=list(_FIRST), multiselect=True,
            max_choices=SIDE_BY_SIDE, label="Strategies, up to four", elem_id="decode-strategies", min_width=280,
        )  # fmt: skip
        there = gr.Textbox(
            label="Objects that are there", info="Separated by commas. Empty: those of an example or a composed scene.",
            placeholder="dog, ball", max_length=2000, elem_id="decode-there", min_width=240,
        )  # fmt: skip
    folded = "Parameters of the strategies, words to look for, longest answer"
    with gr.Accordion(folded, open=False, elem_classes="advanced"):
        with gr.Row():
            looked_for = gr.Textbox(
                label="Objects to look for in the answers",
                info="Separated by commas. Empty: the things that the embedded model was taught.",
                placeholder="cat, frisbee, person", max_length=4000, elem_id="decode-looked-for", min_width=240,
            )  # fmt: skip
            length = gr.Slider(
                1, LONGEST, value=LENGTH, step=1, label="Longest answer, tokens", elem_id="decode-length"
            )
        _render(settings, threshold)
    prediction = predictions.ask(NAME, "will INTER write something else than greedy?", PREDICTED)
    with gr.Row(elem_classes="measure"):
        start = gr.Button("Decode", variant="primary", elem_id="decode", min_width=120)
        stop = gr.Button("Stop", elem_id="decode-stop", min_width=80)
    answers = gr.HTML(f'<div class="card quiet">{escape(_HINT)}</div>', elem_id="decode-answers")
    said = gr.HTML(elem_id="decode-sentence", elem_classes="sentence")
    result, asked = gr.State(None, time_to_live=_LASTS), gr.State(None, time_to_live=_LASTS)
    links.keep(strategies=chosen, there=there, k=threshold, length=length)
    block = steps_view.build(bar, result, asked, threshold)
    exports.offer(NAME, result, sentence, _figures)
    prediction.compare(said, result, outcome)
    sets.build(bar, settings)
    tries = page.pickable(page.tries(_TRY), elem_id="decode-tries")
    page.lesson("decoding")

    keys = [(name, parameter) for name, rows in settings.items() for parameter, _ in rows]
    sliders = [slider for rows in settings.values() for _, slider in rows]
    inputs = [*bar.inputs, chosen, there, looked_for, length, *sliders]
    outputs = [answers, said, *block.views, result, asked]
    running = {**page.MODEL_QUEUE, "show_progress": "hidden", "api_visibility": "private"}
    decoded = page.for_model(partial(_decoded, keys))
    tried = tries.click(_try, None, [*bar.shown[:4], chosen, there], **page.QUICK)
    tried.then(None, bar.question, js="question => crosstalk('question', question)", api_visibility="private")
    runs = [
        gr.on([start.click, there.submit], decoded, inputs, outputs, **running),
        tried.then(decoded, inputs, outputs, **running),
        threshold.release(
            page.for_model(partial(_again, keys)), [result, *inputs], outputs, **running, trigger_mode="always_last"
        ),
    ]
    if room := page.room_of(answers):
        opened = page.for_model(partial(_opened, keys))
        runs.append(room.select(opened, [asked, *inputs], outputs, **running))
    for button in (stop, bar.stop):
        button.click(lambda: "Stopped here.", None, said, cancels=runs, **page.QUICK)


def _settings() -> tuple[dict, gr.Slider]:
    """A control for each parameter of each strategy, by strategy: (parameter, control), not yet on the page; and the
    one of INTER's threshold."""
    settings = {
        name: [(p.name, _control(name, p)) for p in kind.parameters]
        for name, kind in offered.ALL.items()
        if kind.parameters
    }
    return settings, dict(settings["inter"])["threshold"]


def _control(strategy: str, of: offered.Parameter):
    named = {"label": of.label, "value": of.default, "elem_id": f"decode-{strategy}-{of.name}", "render": False}
    if of.choices:
        return gr.Dropdown(list(of.choices), min_width=220, **named)
    return gr.Slider(of.minimum, of.maximum, step=of.step, min_width=220, **named)


def _render(settings: dict, elsewhere: gr.Slider) -> None:
    for name, rows in settings.items():
        kind = offered.ALL[name]
        gr.HTML(f"<p class='key'><b>{escape(kind.title)}</b> ({escape(kind.citation)}). {escape(kind.sentence)}</p>")
        with gr.Row():
            for _, control in rows:
                if control is not elsewhere:
                    control.render()


def _figures(found: Decoding) -> list:
    shown = found.of("inter") or found.strategies[0]
    step = steps_view.telling(found, shown)
    moment = shown.moments[step] if shown.moments else None
    return [figure.strip(found, shown.name), game_figure.strongest(moment), game_figure.split(moment)]


def _decoded(keys, model, checkpoint, path, question, known, chosen, there, looked_for, length, *values):
    """Write all answers side by side, then read their steps."""
    if not (question or "").strip():
        raise InputError(_HINT)
    picture = open_picture(path) if path else None
    settings = {name: {p: v for (n, p), v in zip(keys, values, strict=True) if n == name} for name in offered.ALL}
    given, locator = {name: settings[name] for name in chosen or ()}, settings["inter"]
    truth, drawn = truth_of(known, question, there, looked_for) if picture else None, 0.0
    with catalog.using(model) as mllm:
        for found in decode(mllm, picture, question, given, checkpoint, int(length), truth, locator):
            if not found.done and time.monotonic() - drawn > _EVERY:
                drawn = time.monotonic()
                yield figure.side_by_side(found), "", *[gr.skip()] * 11, None, None
    said = f"<p>{escape(sentence(found))}</p>{source(found.provenance)}"
    asked = steps_view.Asked(model, checkpoint, path, question, int(offered.make("inter", locator).image_seed))
    yield figure.side_by_side(found), said, *steps_view.views_of(found), found, asked


def _again(keys, found: Decoding | None, *inputs):
    """Write the answers anew under another threshold, where INTER is among those shown."""
    if found is None or found.of("inter") is None:
        yield [gr.skip()] * 15
        return
    yield from _decoded(keys, *inputs)


def _opened(keys, asked: steps_view.Asked | None, *inputs):
    """Decode when the room is opened, unless what it shows is what is asked."""
    model, checkpoint, path, question = inputs[:4]
    shown = (asked.model, asked.checkpoint, asked.path, asked.question) if asked else None
    if shown == (model, checkpoint, path, question) or not (question or "").strip():
        yield [gr.skip()] * 15
        return
    yield from _decoded(keys, *inputs)


def _try(event: gr.EventData):
    """An example with its question, the first strategies and no objects of the visitor's."""
    name, question, _ = _TRY[page.tried(len(_TRY), event)]
    return [*show(name, question, 0)[:4], list(_FIRST), ""]

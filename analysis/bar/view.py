"""What goes in, on the left of the page: picture, question, model and checkpoint, the same for every section."""

from dataclasses import dataclass
from html import escape

import gradio as gr
import numpy as np

from analysis.bar import composer
from analysis.bar.known import Known, examples, questions_about
from analysis.bar.pictures import picture_input
from analysis.charts import data_uri
from analysis.form import pick
from analysis.page import QUICK, TELLING, sent, told
from models import catalog, hub
from models.embedded.concepts import CONCEPTS
from models.errors import InputError
from models.images import open_picture

_LASTS = 3600  # seconds that a visitor's state is kept
_SETTLED = "() => new Promise(done => setTimeout(done, 100))"  # a removed picture is still there when the event comes
_OWN = "() => { crosstalk.own(); crosstalk.pending = () => {}; crosstalk('example', ''); crosstalk('scene', ''); }"
_ANY = ("What is in the picture?", "How many things are there?", "Describe the picture.")
_SHOWN = 3  # suggestions; the others are one press away
_ABOUT = (
    "<details class='about-model'><summary>What crosstalk-mini can do</summary><p><b>crosstalk-mini</b> is a small "
    f"multimodal model that was trained on drawings, not on photos. It was taught {len(CONCEPTS)} everyday things: to "
    "name them, count to four, say yes or no, pick a letter, draw a box and write a sentence; in an art style that it "
    "never saw it errs more often. Its card has the measured accuracies. For anything else, choose a model of the "
    "Hugging Face Hub.</p></details>"
)
_STRIP = (
    '<div id="strip"><button type="button" id="bar-strip" aria-label="Picture, question and model: unfold">'
    '<img alt="" hidden><span><b></b><small></small></span><span aria-hidden="true">⌄</span></button>'
    '<button type="button" id="strip-ask">Ask</button></div>'
)
_NOTE = (
    '<p id="asked-note" hidden>This section measures whole sets, not your question. '
    '<button type="button" data-go="ask/answer">See the answer in Ask</button></p>'
)


@dataclass(frozen=True)
class Bar:
    """The input's components. ``known`` holds a ``Known`` or None."""

    model: gr.Dropdown
    checkpoint: gr.Dropdown
    picture: gr.Image
    question: gr.Textbox
    known: gr.State
    suggestions: gr.HTML
    composed: gr.HTML

    @property
    def inputs(self) -> list:
        """What a measurement reads, in the order model, checkpoint, picture, question, known."""
        return [self.model, self.checkpoint, self.picture, self.question, self.known]

    @property
    def shown(self) -> list:
        """The outputs of ``show``."""
        return [self.picture, self.known, self.suggestions, self.question]


def show(known: Known, question: str | None = None) -> list:
    """Put a known picture on the page with a question about it (default: its first); outputs are ``Bar.shown``."""
    return [known.picture(), known, suggestions(known), question or known.turns[0].question]


def choices(name: str) -> list[str]:
    """The checkpoints of a model, base first."""
    return ["base", *next((e.checkpoints for e in catalog.entries() if e.name == name), ())]


def build() -> Bar:
    """The column, with everything in it wired."""
    offered = [(e.title or e.name if e.available else f"{e.name} ({e.reason})", e.name) for e in catalog.entries()]
    with gr.Column(elem_id="bar", min_width=0):
        gr.HTML(_STRIP, elem_id="bar-line")
        picture = picture_input(height=200, label="Picture", buttons=["fullscreen"], elem_id="picture")
        gallery = gr.HTML(_gallery(), js_on_load="crosstalk.bar(element, trigger)", elem_id="gallery")
        question = gr.Textbox(
            label="Question", placeholder="Ask something, and press Enter", max_lines=4, max_length=4000,
            elem_id="question",
        )
        ask = gr.Button("Ask", variant="primary", elem_id="ask", min_width=84)
        suggested = gr.HTML(
            js_on_load="element.addEventListener('click', event => { const hit = event.target.closest('[data-ask]'); "
            "if (hit) { crosstalk.own(); crosstalk.order('suggested', {pick: hit.dataset.ask}, "
            "() => trigger('click')); } })",
            elem_id="suggestions",
        )
        gr.HTML(_NOTE)
        with gr.Row(elem_id="whose"):
            model = gr.Dropdown(
                offered, value=catalog.EMBEDDED, label="Model" if hub.public() else "Model, or a Hub id",
                elem_id="model", min_width=150, allow_custom_value=not hub.public(),
            )
            checkpoint = gr.Dropdown(
                choices(catalog.EMBEDDED), value="base", label="Checkpoint", elem_id="checkpoint", min_width=110,
            )
        gr.HTML(_ABOUT)
        composed = gr.HTML(
            composer.html(), js_on_load="crosstalk.composer(element, trigger)", elem_id="composer"
        )
    known, opened = gr.State(None, time_to_live=_LASTS), gr.State(catalog.EMBEDDED, time_to_live=_LASTS)
    bar = Bar(model, checkpoint, picture, question, known, suggested, composed)
    private = {"api_visibility": "private"}
    arrived = {"fn": None, "inputs": [picture, question], "js": "(...shown) => crosstalk.arrived(...shown)", **private}
    asking = [model, checkpoint, picture, question]  # handed over: a change of one may not have been told yet
    gr.on([question.submit, ask.click], None, asking, js="(...input) => crosstalk.asked(...input)", **private)
    question.input(None, js="() => crosstalk.own()", **private)
    question.change(None, question, js="text => crosstalk.put('question', text, text)", **private)
    picture.change(None, picture, js="file => crosstalk.put('picture', file)", **private)
    put = "value => crosstalk.put('{0}', value, value)".format
    checkpoint.change(None, checkpoint, js=put("checkpoint"), **private)
    last = {"trigger_mode": "always_last", **QUICK}
    gallery.click(_example, gallery, bar.shown, js="() => crosstalk.taken('example')", **last).then(**arrived)
    picked = "known => [known, crosstalk.taken('suggested')]"
    suggested.click(_suggested, [known, suggested], question, js=picked, **last).then(**arrived)
    picture.input(None, js=_OWN, **private)
    settled = picture.input(None, js=_SETTLED, **private)
    settled.then(_own_picture, picture, [picture, known, suggested], **TELLING).then(**arrived)
    rows = "() => crosstalk.taken('scene')"
    composed.input(_composed, composed, [picture, known, suggested], js=rows, **last).then(**arrived)
    composed.click(_surprised, None, [composed, *bar.shown], **QUICK).then(**arrived)
    chosen = model.input(
        _choose, [model, opened], [model, opened, checkpoint], concurrency_limit=8, **private
    )  # others go on while one visitor's model is downloaded
    chosen.then(None, model, js=put("model"), **private)  # not before: what is typed may be none
    return bar


def linked(query) -> list:
    """What a link puts on the left: model, checkpoint, composer, then ``Bar.shown``; unknown values are ignored."""
    names = [e.name for e in catalog.entries() if e.available]
    model = query.get("model") if query.get("model") in names else catalog.EMBEDDED
    checkpoints = choices(model)
    checkpoint = query.get("checkpoint") if query.get("checkpoint") in checkpoints else "base"
    settings = composer.read(query.get("scene", ""))
    scene = composer.scene_of(settings) if settings else None
    example = query.get("example") if query.get("example") in examples() else next(iter(examples()))
    known = questions_about(scene) if scene else examples()[example].known
    return [
        model, gr.Dropdown(checkpoints, value=checkpoint), composer.html(settings or composer.START),
        *show(known, (query.get("question") or "")[:500]),
    ]


def _gallery() -> str:
    """One small picture a button for every example; the last has none."""
    cells = []
    for name, example in examples().items():
        picture = example.known.picture()
        inner = f'<img src="{data_uri(picture, 72)}" alt="">' if picture else "<span>text<br>only</span>"
        title = escape(example.title)
        cells.append(
            f'<button type="button" data-example="{escape(name)}" aria-label="{title}" title="{title}">{inner}</button>'
        )
    return f'<div class="gallery" role="group" aria-label="Example pictures">{"".join(cells)}</div>'


def suggestions(known: Known | None) -> str:
    """Questions to press: three, and the others of a known picture one press away."""
    questions = [t.question for t in known.turns] if known else list(_ANY)
    chips = [f'<button type="button" data-ask="{i}">{escape(q)}</button>' for i, q in enumerate(questions)]
    more = chips[_SHOWN:]
    rest = f'<details><summary>more</summary><div class="chips">{"".join(more)}</div></details>' if more else ""
    own = "" if known else " data-own"
    return (
        f'<div class="chips" role="group" aria-label="Suggested questions"{own}>{"".join(chips[:_SHOWN])}</div>{rest}'
    )


def _example(asked):
    offered, name = examples(), str(sent(asked).get("pick"))
    example = offered.get(name) or next(iter(offered.values()))
    return show(example.known, str(sent(asked).get("question") or "")[:500])


def _suggested(known: Known | None, asked):
    questions = [t.question for t in known.turns] if known else _ANY
    place = pick(sent(asked).get("pick"), len(questions))
    return gr.skip() if place is None else questions[place]


def _own_picture(path: str | None):
    """The visitor's picture made readable; what was known belonged to another picture."""
    try:
        return open_picture(path) if path else None, None, suggestions(None)
    except InputError as error:
        gr.Warning(str(error))
        return None, None, suggestions(None)


def _composed(asked):
    settings = composer.read(sent(asked).get("rows"))
    scene = composer.scene_of(settings) if settings else None
    return show(questions_about(scene))[:3] if scene else [None, None, suggestions(None)]


def _surprised():
    settings = composer.surprise(np.random.default_rng())
    drawer = composer.html(settings).replace("<details>", "<details open>")
    return [drawer, *show(questions_about(composer.scene_of(settings)))]


def _choose(name: str, opened: str):
    """Open the chosen model; where that is impossible for whatever reason, say so and keep the one before."""
    try:
        catalog.open_model(name)
    except Exception as error:
        gr.Warning(f"{told(error)} {opened} stays.")
        return opened, opened, gr.skip()
    return name, name, gr.Dropdown(choices(name), value="base")

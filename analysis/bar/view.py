"""What goes in, on the left of the page: picture, question, model and checkpoint, the same for every section."""

from dataclasses import dataclass
from html import escape

import gradio as gr
import numpy as np

from analysis.bar import composer
from analysis.bar.known import Known, examples, questions_about
from analysis.bar.pictures import picture_input
from analysis.charts import data_uri
from analysis.page import QUICK, sent, told
from models import catalog, hub
from models.embedded.concepts import CONCEPTS
from models.errors import InputError
from models.images import open_picture

_LASTS = 3600  # seconds that a visitor's state is kept
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
_PRIVATE = {"api_visibility": "private"}


@dataclass(frozen=True)
class Bar:
    """The input's components. A visitor puts her picture into ``widget``; ``picture``, out of sight, is what is asked
    about: what she has chosen last of what has arrived. ``about`` came with it and says what it shows (``known_of``).
    Both are sent by the browser, so that no picture is told by what is known about another.
    """

    model: gr.Dropdown
    checkpoint: gr.Dropdown
    widget: gr.Image
    picture: gr.Image
    about: gr.JSON
    question: gr.Textbox
    suggestions: gr.HTML
    composed: gr.HTML

    @property
    def asked(self) -> list:
        """Model, checkpoint, picture, question."""
        return [self.model, self.checkpoint, self.picture, self.question]

    @property
    def inputs(self) -> list:
        """What a measurement reads, in the order model, checkpoint, picture, question, about."""
        return [*self.asked, self.about]

    @property
    def picked(self) -> list:
        """The outputs of what chooses a picture: the composer's drawer, picture, about, suggestions."""
        return [self.composed, self.picture, self.about, self.suggestions]

    def arrives(self, picked):
        """After the event ``picked``, what it picked is put on the page, unless the visitor has chosen again."""
        js = "(...sent) => crosstalk.arrived(...sent)"
        return picked.then(None, [self.picture, self.about], [self.widget, self.question], js=js, **_PRIVATE)


def known_of(about) -> Known | None:
    """What is known about a picture of which a page says that it is ``about`` an example, or a composed scene."""
    if example := examples().get(str(sent(about).get("example"))):
        return example.known
    settings = composer.read(sent(about).get("scene"))
    scene = composer.scene_of(settings) if settings else None
    return questions_about(scene) if scene else None


def choices(name: str) -> list[str]:
    """The checkpoints of a model, base first."""
    return ["base", *next((e.checkpoints for e in catalog.entries() if e.name == name), ())]


def build() -> Bar:
    """The column, with everything in it wired."""
    offered = [(e.title or e.name if e.available else f"{e.name} ({e.reason})", e.name) for e in catalog.entries()]
    with gr.Column(elem_id="bar", min_width=0):
        gr.HTML(_STRIP, elem_id="bar-line")
        widget = picture_input(height=200, label="Picture", buttons=["fullscreen"], elem_id="picture")
        picture, about = picture_input(visible=False, elem_id="asked-picture"), gr.JSON(visible=False)
        gallery = gr.HTML(_gallery(), js_on_load="crosstalk.bar(element, trigger)", elem_id="gallery")
        question = gr.Textbox(
            label="Question", placeholder="Ask something, and press Enter", max_lines=4, max_length=4000,
            elem_id="question",
        )
        ask = gr.Button("Ask", variant="primary", elem_id="ask", min_width=84)
        suggested = gr.HTML(js_on_load="crosstalk.suggestions(element, trigger)", elem_id="suggestions")
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
        composed = gr.HTML(composer.html(), js_on_load="crosstalk.composer(element, trigger)", elem_id="composer")
    opened = gr.State(catalog.EMBEDDED, time_to_live=_LASTS)
    bar = Bar(model, checkpoint, widget, picture, about, question, suggested, composed)
    asks = {"fn": None, "inputs": bar.asked, "js": "(...input) => crosstalk.asked(...input)", **_PRIVATE}
    gr.on([question.submit, ask.click], **asks)  # the input is handed over: a change may not have been told yet
    suggested.click(None, None, question, js="() => crosstalk.suggested", **_PRIVATE).then(**asks)
    question.change(None, question, js="text => crosstalk.put('question', text, text)", **_PRIVATE)
    put = "value => crosstalk.put('{0}', value, value)".format
    checkpoint.change(None, checkpoint, js=put("checkpoint"), **_PRIVATE)
    widget.clear(None, js="() => crosstalk.pick({own: null})", **_PRIVATE)
    widget.change(None, [widget, picture], widget, js="(...both) => crosstalk.held(...both)", **_PRIVATE)
    sends = {"js": "() => crosstalk.choice()", "trigger_mode": "always_last", **QUICK}
    picked = gallery.click(_picked, [picture, gallery], bar.picked, **sends)
    picked.failure(None, picture, widget, js="picture => crosstalk.failing(picture)", **_PRIVATE)
    settled = "(about, question) => crosstalk.settled(about, question)"
    bar.arrives(picked).then(None, [about, question], js=settled, **_PRIVATE)
    chosen = model.input(
        _choose, [model, opened], [model, opened, checkpoint], concurrency_limit=8, **_PRIVATE
    )  # others go on while one visitor's model is downloaded
    chosen.then(None, model, js=put("model"), **_PRIVATE)  # not before: what is typed may be none
    return bar


def linked(query) -> list:
    """What a link puts on the left: model, checkpoint, then ``Bar.picked``; unknown values are ignored."""
    names = [e.name for e in catalog.entries() if e.available]
    model = query.get("model") if query.get("model") in names else catalog.EMBEDDED
    checkpoints = choices(model)
    checkpoint = query.get("checkpoint") if query.get("checkpoint") in checkpoints else "base"
    settings = composer.read(query.get("scene", ""))
    drawer = composer.html(settings or composer.START)
    offered = ({"scene": query.get("scene")}, {"example": query.get("example")}, {"example": next(iter(examples()))})
    about = next(filter(known_of, offered))
    question = (query.get("question") or "")[:500]
    return [model, gr.Dropdown(checkpoints, value=checkpoint), drawer, *_known(about, question)]


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


def suggestions(known: Known | None, wrong: str = "") -> str:
    """Questions to press: three, and the others of a known picture one press away. What was ``wrong`` is told above."""
    questions = [t.question for t in known.turns] if known else list(_ANY)
    chips = [f'<button type="button" data-ask>{escape(q)}</button>' for q in questions]
    more = chips[_SHOWN:]
    rest = f'<details><summary>more</summary><div class="chips">{"".join(more)}</div></details>' if more else ""
    own = "" if known else " data-own"
    told = f'<p class="caution" role="alert">{escape(wrong)}</p>' if wrong else ""
    group = f'<div class="chips" role="group" aria-label="Suggested questions"{own}>{"".join(chips[:_SHOWN])}</div>'
    return f"{told}{group}{rest}"


def _picked(path: str | None, asked):
    """What a visitor has chosen to ask about: an example, a scene, a surprise; else a picture of her own at ``path``.

    The ``number`` of her choice comes back with it.
    """
    choice = sent(asked)
    number = choice.get("number")
    if not isinstance(number, int):
        return gr.skip()
    if choice.get("surprise") is True:
        settings = composer.surprise(np.random.default_rng())
        drawer = composer.html(settings).replace("<details>", "<details open>")
        return [drawer, *_known({"scene": composer.BETWEEN.join(settings)}, "", number)]
    if "example" in choice:
        question = str(choice.get("question") or "")[:500]
        return [gr.skip(), *_known({"example": choice["example"]}, question, number)]
    if "scene" in choice:
        return [gr.skip(), *_known({"scene": choice["scene"]}, None, number)]
    try:
        picture, wrong = open_picture(path) if path else None, ""
    except InputError as error:
        picture, wrong = None, str(error)
    return [gr.skip(), picture, {"number": number}, suggestions(None, wrong)]


def _known(about: dict, question: str | None, number: int = 0) -> list:
    """Picture, about and suggestions of what is known. The ``question`` to ask: the first of those that are known
    where it is empty; where it is None, what stands on the page.
    """
    known = known_of(about)
    if known is None:
        settings = composer.read(about.get("scene"))
        return [None, {"number": number}, suggestions(None, composer.wrong(settings) if settings else "")]
    if question == "":
        question = known.turns[0].question
    return [known.picture(), {**about, "number": number, "question": question}, suggestions(known)]


def _choose(name: str, opened: str):
    """Open the chosen model; where that is impossible for whatever reason, say so and keep the one before."""
    try:
        catalog.open_model(name)
    except Exception as error:
        gr.Warning(f"{told(error)} {opened} stays.")
        return opened, opened, gr.skip()
    return name, name, gr.Dropdown(choices(name), value="base")

"""The bar on top of the page: model, checkpoint, picture and question, the same for every room."""

from dataclasses import dataclass
from html import escape

import gradio as gr
import numpy as np

from analysis.bar import composer
from analysis.bar.known import Known, examples, questions_about
from analysis.bar.pictures import open_picture
from analysis.charts import data_uri
from analysis.page import QUICK, TELLING, button, pickable, picked
from models import catalog, hub
from models.embedded.concepts import CONCEPTS
from models.errors import CrosstalkError, InputError

_LASTS = 3600  # seconds that a visitor's state is kept
_SETTLED = "() => new Promise(done => setTimeout(done, 100))"  # a removed picture is still there when the event comes
_ABOUT = (
    "<p class='about'><b>crosstalk-mini</b> is a small multimodal model that was trained on drawings, not on photos. "
    f"It was taught {len(CONCEPTS)} everyday things: to name them, count to four, say yes or no, pick a letter, "
    "draw a box and write a sentence; in an art style that it never saw it errs more often. Its card has the measured "
    "accuracies. For anything else, a model from the Hugging Face Hub is one dropdown away.</p>"
)


class PictureInput(gr.Image):
    """Hands over the visitor's file unopened: ``open_picture`` reads more formats and explains what it cannot read."""

    is_template = True

    def preprocess(self, payload):
        return payload.path if payload else None


@dataclass(frozen=True)
class Bar:
    """The bar's components. ``known`` holds a ``Known`` or None, ``asked`` changes each time a question is put."""

    model: gr.Dropdown
    checkpoint: gr.Dropdown
    picture: gr.Image
    question: gr.Textbox
    ask: gr.Button
    stop: gr.Button
    known: gr.State
    suggestions: gr.HTML
    asked: gr.Number

    @property
    def inputs(self) -> list:
        """What a measurement reads, in the order model, checkpoint, picture, question, known."""
        return [self.model, self.checkpoint, self.picture, self.question, self.known]

    @property
    def shown(self) -> list:
        """The outputs of ``show``."""
        return [self.picture, self.known, self.suggestions, self.question, self.asked]


def show(name: str, question: str | None, asked: int) -> list:
    """Put an example on the page and ask a question about it (default: its first); outputs are ``Bar.shown``."""
    known = examples()[name].known
    return [known.picture(), known, _suggestions(known), question or known.turns[0].question, asked + 1]


def choices(name: str) -> list[str]:
    """The checkpoints of a model, base first."""
    return ["base", *next((e.checkpoints for e in catalog.entries() if e.name == name), ())]


def build() -> Bar:
    """The bar, with everything in it wired."""
    offered = [(e.name if e.available else f"{e.name} ({e.reason})", e.name) for e in catalog.entries()]
    with gr.Row(elem_id="bar", equal_height=False):
        with gr.Column(scale=2, min_width=300):
            picture = PictureInput(
                type="filepath", sources=["upload", "webcam", "clipboard"], image_mode=None, height=244,
                label="Picture", buttons=["fullscreen"], elem_id="picture",
            )  # fmt: skip
            gallery = pickable(_gallery(), elem_id="gallery")
        with gr.Column(scale=3, min_width=300):
            with gr.Row():
                model = gr.Dropdown(
                    offered, value=catalog.EMBEDDED, label="Model", elem_id="model", min_width=200,
                    allow_custom_value=not hub.public(),
                    info="from the list" if hub.public() else "or type a Hub id: owner/name",
                )  # fmt: skip
                checkpoint = gr.Dropdown(
                    choices(catalog.EMBEDDED), value="base", label="Checkpoint", info="base: before any task",
                    elem_id="checkpoint", min_width=160,
                )  # fmt: skip
            with gr.Row(elem_id="asking"):
                question = gr.Textbox(
                    label="Question", placeholder="Ask something about the picture, and press Enter", max_lines=4,
                    max_length=4000, elem_id="question", scale=6, min_width=220,
                )  # fmt: skip
                ask = gr.Button("Ask", variant="primary", elem_id="ask", scale=1, min_width=84)
                stop = gr.Button("Stop", variant="secondary", elem_id="stop", scale=1, min_width=76)
            suggestions = pickable(elem_id="suggestions")
    gr.HTML(_ABOUT)
    with gr.Accordion("Compose a scene of your own: its truth is then known", open=False, elem_id="composer"):
        settings = composer.widgets()
        lucky = gr.Button("Surprise me", elem_id="surprise")

    bar = Bar(
        model, checkpoint, picture, question, ask, stop, gr.State(None, time_to_live=_LASTS), suggestions,
        gr.Number(0, visible="hidden", elem_id="asked"),
    )  # fmt: skip
    opened = gr.State(catalog.EMBEDDED, time_to_live=_LASTS)
    gr.on([question.submit, ask.click], lambda n: n + 1, bar.asked, bar.asked, **QUICK)
    bar.asked.change(None, question, js="question => crosstalk('question', question)", api_visibility="private")
    gallery.click(_example, bar.asked, bar.shown, **QUICK)
    suggestions.click(_suggestion, [bar.known, bar.asked], [question, bar.asked], **QUICK)
    settled = picture.input(None, js=_SETTLED, api_visibility="private")
    no_example = [
        settled.then(_own_picture, picture, [picture, bar.known, suggestions], **TELLING),
        gr.on([s.input for s in settings], _composed, settings, [picture, bar.known, suggestions], **QUICK),
        lucky.click(_surprised, bar.asked, [*settings, *bar.shown], **QUICK),
    ]
    for event in no_example:
        event.then(None, js="() => crosstalk('example', null)", api_visibility="private")
    model.input(
        _choose, [model, opened], [model, opened, checkpoint], concurrency_limit=8, api_visibility="private"
    )  # others go on while one visitor's model is downloaded
    return bar


def _gallery() -> str:
    """One small picture a button for every example; the last has none."""
    cells = []
    for name, example in examples().items():
        picture = example.known.picture()
        inner = f'<img src="{data_uri(picture, 128)}" alt="">' if picture else "<span>text<br>only</span>"
        cells.append(button(name, inner, example.title, link="example"))
    return f'<div class="gallery" role="group" aria-label="Example pictures">{"".join(cells)}</div>'


def _suggestions(known: Known | None) -> str:
    if known is None:
        return ""
    chips = "".join(button(i, escape(t.question)) for i, t in enumerate(known.turns))
    return f'<div class="chips" role="group" aria-label="Questions whose answer is known">{chips}</div>'


def _example(asked: int, event: gr.EventData):
    name = picked(event)
    return show(name, None, asked) if name in examples() else [gr.skip()] * 5


def _suggestion(known: Known | None, asked: int, event: gr.EventData):
    turns = known.turns if known else ()
    index = picked(event)
    if not index.isdigit() or int(index) >= len(turns):
        return gr.skip(), gr.skip()
    return turns[int(index)].question, asked + 1


def _own_picture(path: str | None):
    """The visitor's picture made readable; what was known belonged to another picture."""
    if not path:
        return gr.skip(), None, ""
    try:
        return open_picture(path), None, ""
    except InputError as error:
        gr.Warning(str(error))
        return None, None, ""


def _composed(*settings):
    scene = composer.scene_of(*settings)
    if scene is None:
        return None, None, ""
    known = questions_about(scene)
    return known.picture(), known, _suggestions(known)


def _surprised(asked: int):
    settings = composer.surprise(np.random.default_rng())
    known = questions_about(composer.scene_of(*settings))
    shown = [known.picture(), known, _suggestions(known), known.turns[0].question, asked + 1]
    return [*settings, *shown]


def _choose(name: str, opened: str):
    """Open the chosen model; where that is impossible, say why and keep the one before."""
    try:
        catalog.open_model(name)
    except CrosstalkError as error:
        gr.Warning(f"{error} {opened} stays.")
        return opened, opened, gr.skip()
    return name, name, gr.Dropdown(choices(name), value="base")

"""The first room: the whole machine in one picture, and what each room says of the visitor's picture and question."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from analysis import form, glossary
from analysis.result import Provenance, Result
from analysis.section import INPUT, Asked, Room, Section, Shown, View, headline
from analysis.table import Table
from models.errors import CrosstalkError
from models.segments import Modality

TOUR = (
    ("ask/answer", "One question, and the same model after each task that it was taught. Later ones forgot."),
    ("interference/one", "A sentence in front of the question, a covered picture: what should not matter may flip it."),
    ("attention/over", "Each word of the answer looks at the picture, or does not. Click a word to see where."),
    ("decoding/captions", "The next word by another rule: what each caption invents is underlined."),
    ("forgetting/matrix", "Six tasks in a row, and what is left of each. Click a cell: the answers then and now."),
)
"""Places of a tour, and what to look at there, in at most 25 words each."""


@dataclass(frozen=True, kw_only=True)
class Overview(Result):
    """The machine in numbers, and one sentence a room; it grows while it is measured.

    ``image_tokens`` and ``text_tokens`` of the prompt; ``layers`` and ``heads`` of the decoder. ``said`` holds, for
    each room that was asked, its name and its sentence: measured for this input, or, of whole sets, before.
    """

    question: str
    image_tokens: int
    text_tokens: int
    layers: int
    heads: int
    said: tuple[tuple[str, str], ...] = ()

    def table(self):
        return Table(["room", "sentence"], self.said)


def overview(rooms: Sequence[Room]) -> Room:
    """The room, of those that it tells of."""

    def measured(asked: Asked, progress) -> Iterator[Overview]:
        began = time.perf_counter()
        with asked.opened() as model:
            segments = model.encode(asked.picture, asked.question).segments
            decoder = model.model.config.get_text_config()
            image = int((segments == Modality.IMAGE).sum())
            found = Overview(
                provenance=Provenance(**model.provenance(asked.checkpoint)), question=asked.question,
                image_tokens=image, text_tokens=len(segments) - image,
                layers=decoder.num_hidden_layers, heads=decoder.num_attention_heads,
            )
        yield found
        for i, room in enumerate(rooms):
            progress(i / len(rooms), room.title)
            found = replace(found, said=(*found.said, (room.name, _sentence(room.sections[0], asked, progress))))
            seconds = time.perf_counter() - began
            yield replace(found, provenance=replace(found.provenance, seconds=seconds))

    def cards(shown: Shown) -> str:
        said = dict(shown.result.said)
        return f'<div class="rooms-cards">{"".join(_card(room, said.get(room.name)) for room in rooms)}</div>'

    return Room(
        "overview", "Overview", (
            Section(
                name="now", title="Overview",
                question="What goes on inside a model that sees and reads?",
                about='Change picture or question on the left: everything here is measured anew for it. '
                '<button type="button" id="tour">Take the tour: five steps</button>',
                of=INPUT, quick=True, measure=measured, run="Look again", pictured=True, sentence=_summary,
                views=(View("machine", _machine, html=True), View("cards", cards, html=True)),
                reading=f"<h4>For a class</h4>{_CLASS}<h4>Words that are used here</h4>{glossary.html()}",
            ),
        ),
        lesson=False,
    )


_CLASS = """<ul><li><b>Predict, then run.</b> Many sections keep their result covered until you guess, or ask to be
shown.</li><li><b>Present</b> (top right): larger type, chart and sentence alone; the arrow keys step through the
sections, Escape ends it.</li><li><b>Copy link</b>: the address holds room, section, model, checkpoint, example or
composed scene, question and settings. Your own pictures stay here.</li><li><b>Report</b>: one page of what you
measured, with charts that still move.</li><li>A dotted line under a word means that it is explained: point at it, tap
it, or reach it with Tab.</li></ul>"""


def _sentence(section: Section, asked: Asked, progress) -> str:
    """The headline of a room's first section for this input, or of what was measured before; else why there is none."""
    asked = replace(asked, values=form.values(section.offered({}), {}), shown=None)
    try:
        result = section.kept(asked) if section.kept else None
        if result is None and section.quick:
            result = section.measure(asked, lambda share, what: None)
            if isinstance(result, Iterator):
                *_, result = result
    except CrosstalkError as error:
        return str(error)
    return headline(section.sentence(result))[0] if result is not None else "Open it to measure."


def _summary(found: Overview) -> str:
    parts = f"{found.image_tokens} pieces of picture and {found.text_tokens} of text" if found.image_tokens else (
        f"{found.text_tokens} pieces of text and no picture"
    )
    return f"{parts} go through {found.layers} layers with {found.heads} heads each, and a word comes out."


def _machine(shown: Shown) -> str:
    """Picture, patches, projector, layers and answer, each with the room that looks there."""
    found = shown.result
    seen = f'<img src="{shown.uri}" alt="The picture asked about">' if shown.uri else "no picture"
    patches = f"{found.image_tokens} patches" if found.image_tokens else "nothing to see"
    boxes = (
        ("interference/one", "Picture and question", seen, "Disturb either"),
        ("embedding_space", "Vision encoder", patches, "A space that turns"),
        ("attention/over", "Decoder", f"{found.layers} layers, {found.heads} heads each", "Who looks where"),
        ("decoding/captions", "Next word", "by one rule or another", "Choose otherwise"),
        ("forgetting/matrix", "Training, task by task", "the same model before and after", "What is left"),
    )
    cells = "".join(
        f'<button type="button" data-go="{place}"><b>{title}</b><span>{inner}</span><i>{why} →</i></button>'
        for place, title, inner, why in boxes
    )
    return f'<div class="machine" role="group" aria-label="The machine, and where each room looks">{cells}</div>'


def _card(room: Room, said: str | None) -> str:
    told = escape(said) if said is not None else "<span class='quiet'>measuring …</span>"
    of = "" if room.sections[0].of == INPUT else "<small>over whole sets</small>"
    return f'<button type="button" data-go="{room.name}"><b>{escape(room.title)}</b> {of}<span>{told}</span></button>'


def tour() -> str:
    """The tour's card: it goes along from place to place (``assets/page.js``)."""
    steps = escape(json.dumps([list(step) for step in TOUR], ensure_ascii=False))
    return (
        f'<div id="tour-card" hidden data-steps="{steps}"><span></span> '
        '<button type="button" data-tour="1">Next</button> <button type="button" data-tour="0">End</button></div>'
    )

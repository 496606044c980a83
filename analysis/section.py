"""The one mechanism of a section: its question, controls, button, progress, stop, kept result, views, links, export.

A room is a tuple of ``Section``; each is declared by what it measures, draws and says. What happens when it is opened,
when a control is changed, when its button is pressed or a run is stopped, is written here, once for all.
"""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property, partial
from html import escape
from secrets import token_hex
from typing import TYPE_CHECKING

import gradio as gr
from gradio.context import Context

from analysis import form, jobs, page
from analysis.bar import known_of, untaught
from analysis.charts import data_uri, source
from analysis.form import Control
from analysis.wording import headline
from models import catalog
from models.errors import CrosstalkError, InputError
from models.images import open_picture

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from PIL import Image

    from analysis.bar import Bar, Known
    from analysis.result import Result

INPUT, PICTURE, MODEL, SET = "input", "picture", "model", "set"
"""What a result is of: picture and question, the picture alone, model and checkpoint alone, or none of these."""

LABELS = {
    "as published": "The paper's rule, on any model that is opened.",
    "small": "The paper's rule, trained on the small embedded model.",
    "analogue": "One mechanism of the paper, in another medium.",
    "simulated": "The data are made here, where the paper recorded people, sound or patients.",
}
KEEP = object()
"""What a view draws where what it shows stays as it is."""

_LASTS = 3600  # seconds that a visitor's result is kept
_KIND = "sections"
_PARTS = {"head", "form", "progress", "told", "foot"}  # of every section, by the end of their ids
_NO_QUESTION = "There is no question yet. Type one on the left, or pick one of the suggestions."


@dataclass(frozen=True)
class Asked:
    """What a measurement is asked: the input on the left, and ``values``, the section's controls by name.

    ``upload`` is what the section's upload field holds (a path, where it is a file), None where it is empty. ``shown``
    is the result that stands there already, None where there is none: measuring may add to it. ``pressed``: somebody
    pressed the section's button, so that what takes long may be measured, too; else it was opened, or a control set.
    ``sent`` is what the browser sent for the controls, as it came, and ``offers`` a mark of what they offer there.
    """

    model: str
    checkpoint: str
    path: str | None
    question: str
    known: "Known | None"
    values: Mapping
    shown: "Result | None" = None
    upload: str | None = None
    pressed: bool = False
    sent: Mapping = field(default_factory=dict, repr=False)
    offers: str = ""

    def __getitem__(self, name: str):
        return self.values[name]

    @cached_property
    def picture(self) -> "Image.Image | None":
        """The visitor's picture. Raises ``InputError`` where it cannot be read."""
        return open_picture(self.path) if self.path else None

    def opened(self):
        """The model, for a ``with`` statement. Raises ``ModelError`` where it cannot be opened."""
        return catalog.using(self.model)

    def needs_question(self) -> "Asked":
        """Itself. Raises ``InputError`` where there is no question."""
        if not self.question.strip():
            raise InputError(_NO_QUESTION)
        return self


@dataclass(frozen=True)
class Shown:
    """A result with what it was asked, and the picture as a ``data:`` address where it is of one.

    ``turn`` is the browser's number of the input that it belongs to. ``run`` tells one run's results from another's,
    where both say the same.
    """

    result: "Result"
    asked: Asked
    uri: str | None = None
    turn: str = ""
    run: str = field(default_factory=lambda: token_hex(4))

    def __getitem__(self, name: str):
        return self.asked.values[name]


@dataclass(frozen=True)
class View:
    """One thing that shows a result: ``draw(shown)`` gives a Plotly figure (``html`` False) or HTML; None or "" where
    there is nothing to show, ``KEEP`` where what is there stays. ``folded``: the title under which it is folded away.
    """

    name: str
    draw: Callable[[Shown], "go.Figure | str | None"]
    _: KW_ONLY
    html: bool = False
    folded: str = ""


@dataclass(frozen=True)
class Try:
    """A ready-made example: what to look for in a few words, an example picture's name with a question (nothing where
    the section is not of the input), and values of controls.
    """

    title: str
    example: str = ""
    question: str = ""
    values: Mapping = field(default_factory=dict)


@dataclass(frozen=True)
class Upload:
    """A field for a file of the visitor's, folded under ``title``: ``field(**settings)`` is the component that takes
    it, ``about`` (HTML) says above it what fits and what it does. It counts when the section's button is pressed.
    """

    title: str
    field: Callable
    about: str = ""


@dataclass(frozen=True)
class Prediction:
    """What a visitor is asked to expect: one of ``options``; ``outcome(result)`` is the one that came, None where the
    result does not decide.
    """

    question: str
    options: Sequence[str]
    outcome: Callable[["Result"], str | None]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question that is answered by measuring.

    ``name`` in links, ``title`` in the row of sections, ``question`` in plain words as its headline, ``about`` a line
    below it; ``label`` is one of ``LABELS``, ``paper`` a title with its address. ``measure(asked, progress)`` gives a
    result, or results as they grow; ``kept(asked)`` what was measured before, None or a ``CrosstalkError`` where
    nothing was. ``quick``: it takes less than two seconds, and is measured as soon as it is opened; else ``costs`` says
    what pressing costs. ``controls`` are a tuple, or are made from what is chosen (raw, by name) and the result shown.
    ``upload`` is a field for a file, ``then`` says what to look at next, ``reading`` how to read the result (HTML
    both). ``figures`` are what is saved; by default, all that the views draw. ``sentence`` is told in lines;
    ``shown_sentence`` in its place where a control chooses what of a result is shown.
    """

    name: str
    title: str
    question: str
    sentence: Callable[["Result"], str]
    views: Sequence[View]
    measure: Callable | None = None
    kept: Callable | None = None
    about: str = ""
    label: str = ""
    paper: tuple[str, str] = ("", "")
    of: str = INPUT
    quick: bool = False
    long: bool = False
    run: str = "Measure"
    costs: str = ""
    controls: Sequence[Control] | Callable[[Mapping, "Result | None"], Sequence[Control]] = ()
    tries: Sequence[Try] = ()
    upload: Upload | None = None
    prediction: Prediction | None = None
    then: str = ""
    reading: str = ""
    pictured: bool = False
    figures: Callable[[Shown], list] | None = None
    shown_sentence: Callable[[Shown], str] | None = None

    def __post_init__(self):
        if taken := {v.name for v in self.views} & _PARTS:
            raise ValueError(f"the section {self.name} has a view called {taken.pop()}, as a part of every section is")

    def offered(self, raw: Mapping, result: "Result | None" = None) -> Sequence[Control]:
        """The controls as they stand when ``raw`` is chosen and ``result`` shown."""
        return self.controls(raw, result) if callable(self.controls) else self.controls

    def said(self, shown: Shown) -> str:
        """What a result says, as it is shown."""
        return self.shown_sentence(shown) if self.shown_sentence else self.sentence(shown.result)

    def drawn(self, shown: Shown) -> list:
        """The figures of a result, as they are saved."""
        drawn = self.figures(shown) if self.figures else [v.draw(shown) for v in self.views if not v.html]
        return [f for f in drawn if f is not None and f is not KEEP]


@dataclass(frozen=True)
class Room:
    """A tuple of sections with the room's name in links, its title, and whether it has a ``lesson.md``."""

    name: str
    title: str
    sections: Sequence[Section]
    lesson: bool = True


@dataclass(frozen=True)
class Built:
    """A section on a page, and the state that holds what it shows."""

    room: Room
    section: Section
    state: gr.State

    @property
    def place(self) -> str:
        """Its name in links, ``room/section``."""
        return f"{self.room.name}/{self.section.name}"


def built(demo: gr.Blocks) -> list[Built]:
    """All sections of a page, in its order."""
    return list(page.noted(demo, _KIND))


def build(room: Room, section: Section, bar: "Bar") -> None:
    """Put a section on the page that is being built, and wire it to the bar."""
    place, ident = f"{room.name}/{section.name}", f"{room.name}-{section.name}"
    gr.HTML(_head(section), js_on_load=None, elem_id=f"{ident}-head", elem_classes="section-head")
    controls = gr.HTML(
        _form(section, place, section.offered({}), {}, {}), js_on_load="crosstalk.form(element, trigger)",
        elem_id=f"{ident}-form",
    )
    uploaded = [_upload(ident, section.upload)] if section.upload else []
    progress = gr.HTML(js_on_load="crosstalk.stopper(element, trigger)", elem_id=f"{ident}-progress")
    told = gr.HTML(js_on_load=None, elem_id=f"{ident}-told", elem_classes="told-place")
    open_views = [v for v in section.views if not (v.html and v.folded)]
    folds = {}
    parts = [_part(ident, v, folds) for v in open_views]
    foot = gr.HTML(js_on_load=None, elem_id=f"{ident}-foot", elem_classes="foot")
    state = gr.State(None, time_to_live=_LASTS)
    page.noted(Context.root_block, _KIND).append(Built(room, section, state))

    outputs = [controls, progress, told, *parts, foot, state, *folds.values()]
    engine = _Engine(section, place, open_views)
    inputs = [*bar.inputs, state, controls, *uploaded]
    hidden = {"show_progress": "hidden", "api_visibility": "private", "trigger_mode": "always_last"}

    def listen(kind: str) -> dict:
        sends = f"(...input) => crosstalk.send('{kind} {place}', input)"
        return {"inputs": inputs, "outputs": outputs, "js": sends, **hidden}

    queue = page.LONG_QUEUE if section.long else page.MODEL_QUEUE
    kept = {"concurrency_limit": None}
    changed = controls.input(page.for_model(engine.changed), **listen("change"), **kept)
    if section.quick:  # opened or pressed, it measures, and takes its turn: one event
        run = gr.on([controls.select, controls.submit], page.for_model(engine.run), **listen("run"), **queue)
    else:
        opened = controls.select(page.for_model(engine.opened), **listen("open"), **kept)
        if not section.measure:
            return
        overtaken = [opened, changed]  # what was kept must not come after what is measured
        run = controls.submit(page.for_model(engine.run), **listen("run"), cancels=overtaken, **queue)
    failed = f"shown => crosstalk.failed('{place}', shown)"
    run.failure(jobs.halted, progress, progress, js=failed, **page.QUICK)
    progress.click(lambda: jobs.STOPPED, None, progress, cancels=run, **page.QUICK)
    for files in uploaded:
        files.change(None, js=f"() => crosstalk.outdated('{place}')")


def _upload(ident: str, upload: Upload):
    with gr.Accordion(upload.title, open=False, elem_classes="folded"):
        if upload.about:
            gr.HTML(f"<p class='about'>{upload.about}</p>")
        return upload.field(elem_id=f"{ident}-upload")


def _part(ident: str, view: View, folds: dict):
    """A view's place; a fold around it, gone as long as there is nothing in it, goes into ``folds``."""
    if view.html:
        return gr.HTML(js_on_load=None, elem_id=f"{ident}-{view.name}", elem_classes="view")
    settings = {"show_label": False, "container": False, "visible": False, "elem_classes": "view"}
    if view.folded:
        folds[view.name] = gr.Accordion(
            view.folded, open=False, visible=False, elem_id=f"{ident}-{view.name}-fold", elem_classes="folded"
        )
        with folds[view.name]:
            return gr.Plot(elem_id=f"{ident}-{view.name}", **settings)
    return gr.Plot(elem_id=f"{ident}-{view.name}", **settings)


class _Engine:
    """What happens to a section: each handler gives the form, progress, sentence, open views, foot, state, folds."""

    def __init__(self, section: Section, place: str, open_views: Sequence[View]):
        self.section, self.place, self.open_views = section, place, open_views

    def run(self, *given) -> Iterator[list]:
        """The button: measure, with progress and what is found on the way."""
        sent = page.sent(given[6])
        if not sent or (sent.get("opened") is True and not sent.get("pressed")):
            yield from self.opened(*given)
        else:
            yield from self._run(*self._asked(*given))

    def opened(self, *given) -> Iterator[list]:
        """The section comes into view: what was measured before, or is measured in a moment."""
        if not page.sent(given[6]):
            yield self._stay()
            return
        asked, turn = self._asked(*given)
        if found := self._kept(asked, turn):
            yield found
        elif self.section.quick and (self.section.of != INPUT or asked.question.strip()):
            yield from self._run(asked, turn)
        elif asked.shown is None:
            yield self._nothing(asked, turn)
        else:
            yield self._stay()

    def changed(self, *given) -> list:
        """A control was changed: the same result drawn anew, or what was measured before with these settings."""
        *_, shown, sent = given[:7]
        if not page.sent(sent):
            return self._stay()
        asked, turn = self._asked(*given)
        names = sent.get("changed")
        names = names if isinstance(names, list) else []
        changed = [c for c in self.section.offered(asked.values, asked.shown) if c.name in names]
        drawn = bool(changed) and all(c.at == form.DRAW for c in changed)
        if drawn and shown is not None:
            asked = replace(shown.asked, values=asked.values, sent=asked.sent, offers=asked.offers)
            return self._show(replace(shown, asked=asked))
        if not drawn and (found := self._kept(asked, turn)):
            return found
        if not drawn and self.section.kept:
            return self._nothing(asked, turn)
        return [self._form(asked), *self._stay()[1:]]

    def _asked(self, model, checkpoint, path, question, about, shown, sent, *uploaded) -> tuple[Asked, str]:
        """What is asked, and the browser's number of the input that it belongs to."""
        result = shown.result if shown else None
        raw = sent.get("values") if isinstance(sent.get("values"), dict) else {}
        chosen = form.values(self.section.offered(raw, result), raw)
        asked = Asked(model, checkpoint, path, question or "", known_of(about), chosen, result, *uploaded)
        asked = replace(asked, pressed=sent.get("pressed") is True, sent=raw, offers=str(sent.get("offers")))
        odd = form.astray(self.section.offered(raw, result), raw) if sent.get("linked") is True else []
        if odd:
            gr.Warning(f"The link asks for what is not on offer here: {', '.join(odd)}. The rest is as it says.")
        return asked, str(sent.get("turn", ""))[:20]

    def _run(self, asked: Asked, turn: str) -> Iterator[list]:
        stay, run = self._stay(), token_hex(4)
        yield [stay[0], jobs.Progress().html, *stay[2:]]
        if self.section.of == INPUT:
            asked.needs_question()
        for step in jobs.watched(partial(self.section.measure, asked)):
            if isinstance(step, jobs.Progress):
                yield [stay[0], step.html, *stay[2:]]
            else:
                uri = data_uri(asked.picture) if self.section.pictured and asked.picture else None
                yield self._show(Shown(step, replace(asked, shown=None), uri, turn, run))
        yield [stay[0], "", *stay[2:]]

    def _kept(self, asked: Asked, turn: str) -> list | None:
        """What was measured before, on the page; None where nothing was."""
        try:
            found = self.section.kept(asked) if self.section.kept else None
        except CrosstalkError as error:
            return self._nothing(asked, turn, str(error))
        return self._show(Shown(found, replace(asked, shown=None), turn=turn)) if found is not None else None

    def _form(self, asked: Asked, result=None):
        if not callable(self.section.controls):
            return gr.skip()
        controls = self.section.offered(asked.values, result or asked.shown)
        if _mark(controls) == asked.offers and not _decided(controls, asked.values, asked.sent):
            return gr.skip()  # what the browser has is the same: drawn anew, it would lose keys that are being pressed
        return _form(self.section, self.place, controls, asked.values, asked.sent)

    def _stay(self) -> list:
        return [gr.skip()] * (5 + len(self.open_views) + sum(bool(v.folded) for v in self.open_views))

    def _nothing(self, asked: Asked, turn: str, why: str = "") -> list:
        """Nothing was measured: why, or what the button does; charts collapse."""
        hint = why or f"Not measured yet with these settings: press {self.section.run}."
        if self.section.costs and not why:
            hint += f" It takes {self.section.costs}."
        empty = ["" if v.html else gr.Plot(visible=False) for v in self.open_views]
        return [
            self._form(replace(asked, shown=None)), "", f'<div class="card quiet">{escape(hint)}</div>', *empty,
            _folded("How to read this", self.section.reading), None,
            *(gr.Accordion(visible=False) for v in self.open_views if v.folded),
        ]

    def _show(self, shown: Shown) -> list:
        section, result = self.section, shown.result
        made = [(v, v.draw(shown)) for v in self.open_views]
        said = section.said(shown)
        outcome = section.prediction.outcome(result) if section.prediction else None
        first, rest = headline(said)
        charts = any(m is not None for v, m in made if not v.html)
        keeps = " ".join(f"{self.place.replace('/', '-')}-{v.name}" for v, m in made if m is KEEP)
        drawn_by = [c for c in section.offered(shown.asked.values, result) if c.at == form.DRAW]
        told = (
            f'<div class="told" data-turn="{escape(shown.turn)}" data-of="{section.of}" '
            f"data-shows='{escape(form.written(drawn_by, shown.asked.values))}' "
            f'data-run="{shown.run}" data-outcome="{escape(outcome or "")}" data-keeps="{keeps}">'
            f'<p class="sentence">{escape(first)}</p>{_menu(charts)}{_caution(section, shown.asked)}</div>'
        )
        folded = "".join(
            _folded(v.folded, text) for v in section.views if v.html and v.folded and (text := v.draw(shown))
        )
        more = "".join(f"<p>{escape(line)}</p>" for line in rest.splitlines())
        then = f'<p class="then">{section.then}</p>' if section.then else ""
        below = f"{then}{source(result.provenance)}{_folded('More about this result', more)}{folded}"
        below += _folded("How to read this", section.reading)
        drawn = [_placed(v, m) for v, m in made]
        folds = [gr.skip() if m is KEEP else gr.Accordion(visible=m is not None) for v, m in made if v.folded]
        return [self._form(shown.asked, result), gr.skip(), told, *drawn, below, shown, *folds]


def _placed(view: View, drawn):
    """What a view has drawn, as Gradio takes it."""
    if drawn is KEEP:
        return gr.skip()
    if view.html:
        return drawn or ""
    return gr.Plot(visible=False) if drawn is None else gr.Plot(drawn, visible=True)


def _caution(section: Section, asked: Asked) -> str:
    if section.of not in (INPUT, PICTURE) or not catalog.embedded(asked.model):
        return ""
    question = asked.question if section.of == INPUT else ""
    why = untaught(asked.known, asked.path, question, asked.checkpoint, asked.model)
    return f'<p class="caution">{escape(why)}</p>' if why else ""


def _folded(title: str, inner: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inner}</details>" if inner else ""


def _menu(charts: bool) -> str:
    """What a result is saved as; as a picture only where there is one."""
    kinds = ("CSV", "JSON", "HTML", *(["PNG"] if charts else []), "LaTeX")
    buttons = "".join(f'<button type="button" data-save="{kind.lower()}">{kind}</button>' for kind in kinds)
    return f'<details class="save"><summary>Save</summary><div>{buttons}</div></details>'


def _head(section: Section) -> str:
    label = ""
    if section.label:
        title, address = section.paper
        paper = f'<a href="{escape(address)}" target="_blank" rel="noopener">{escape(title)}</a>' if address else ""
        label = f'<p class="label"><b title="{escape(LABELS[section.label])}">{section.label}</b> {paper}</p>'
    about = f"<p class='about'>{section.about}</p>" if section.about else ""
    return f"<h2>{escape(section.question)}</h2>{label}{about}{_tries(section)}{_prediction(section)}"


def _tries(section: Section) -> str:
    if not section.tries:
        return ""
    chips = "".join(
        f'<button type="button" data-try data-example="{escape(t.example)}" data-question="{escape(t.question)}" '
        f"data-set='{escape(json.dumps(dict(t.values)))}'>{escape(t.title)}</button>"
        for t in section.tries
    )
    return f'<div class="tries" role="group" aria-label="Try this"><span>Try</span>{chips}</div>'


def _prediction(section: Section) -> str:
    if not section.prediction:
        return ""
    buttons = "".join(
        f'<button type="button" data-guess="{escape(o)}" aria-pressed="false">{escape(o)}</button>'
        for o in section.prediction.options
    )
    return (
        f'<div class="prediction" data-asks="{escape(section.prediction.question)}"><b>Predict</b> '
        f'<span>{escape(section.prediction.question)}</span><span class="chips">{buttons}</span>'
        '<button type="button" class="plainly" data-guess="">just show me</button><output></output></div>'
    )


def _mark(controls: Sequence[Control]) -> str:
    """A short text that is another one where other controls, or other choices, are on offer."""
    return f"{zlib.crc32(repr(tuple(controls)).encode()):08x}"


def _decided(controls: Sequence[Control], values: Mapping, sent: Mapping) -> list[str]:
    """The controls whose value is another than the browser has sent."""
    return [c.name for c in controls if c.name in sent and c.read(sent[c.name]) != values.get(c.name, c.first)]


def _form(section: Section, place: str, controls: Sequence[Control], chosen: Mapping, sent: Mapping) -> str:
    """The controls with what is ``chosen``. Of those that are otherwise than the browser has ``sent`` them, the names
    stand in ``data-decided``: of all others, it keeps what the visitor has chosen meanwhile.
    """
    values = {c.name: chosen.get(c.name, c.first) for c in controls}
    shown = "".join(c.html(values[c.name]) for c in controls if not c.folded)
    folded = "".join(c.html(values[c.name]) for c in controls if c.folded)
    if folded:
        folded = f'<details class="further"><summary>Further controls</summary><div>{folded}</div></details>'
    button = f'<button type="submit" class="run">{escape(section.run)}</button>' if section.measure else ""
    costs = f'<small class="costs">{escape(section.costs)}</small>' if section.costs else ""
    opens = section.tries[0] if section.tries and section.tries[0].example and section.of in (INPUT, PICTURE) else None
    example = f' data-example="{escape(opens.example)}" data-question="{escape(opens.question)}"' if opens else ""
    decided = _decided(controls, values, sent)
    return (
        f'<form class="controls" data-place="{place}" data-of="{section.of}"{" data-quick" if section.quick else ""}'
        f"{example} data-offers='{_mark(controls)}' data-decided='{escape(json.dumps(decided))}' "
        f"data-first='{escape(form.written(controls))}'>"
        f"{shown}{button}{costs}{folded}</form>"
    )

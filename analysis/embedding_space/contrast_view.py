"""The part of the room about the contrastive matrix of chosen pairs: before, after, and who is preferred to whom."""

from dataclasses import dataclass
from functools import lru_cache
from html import escape

import gradio as gr

from analysis import page
from analysis.charts import data_uri
from analysis.embedding_space import contrast_figure as figure
from analysis.embedding_space import held
from analysis.embedding_space.angles_view import Part
from analysis.embedding_space.contrast import MOST, Contrast, contrast
from analysis.embedding_space.held import Held, Key

_FIRST = 12  # pairs chosen before anybody chooses
_EVERY = "a mix of all domains"


@dataclass(frozen=True)
class ContrastPart(Part):
    """``domain`` says whose pairs are chosen at first."""

    domain: gr.Dropdown


def build(key: gr.State) -> ContrastPart:
    """The part, wired to the space that ``key`` names."""
    gr.HTML(
        '<p class="key">M = V T′: the cosine of every chosen picture with every chosen text. Training wants the '
        "diagonal large. Mod-X keeps the rest of the matrix as it was, so that pictures do not come to prefer other "
        "names.</p>"
    )
    with gr.Row(elem_classes="measure"):
        domain = gr.Dropdown([_EVERY], value=_EVERY, label="Pairs of", elem_id="contrast-domain", min_width=150)
        before = gr.Dropdown([], label="Before", elem_id="contrast-before", min_width=110)
        after = gr.Dropdown([], label="After", elem_id="contrast-after", min_width=110)
        view = gr.Radio(list(figure.VIEWS), value="after", label="Show", elem_id="contrast-view", min_width=290)
    chosen = gr.Dropdown(
        [], value=[], multiselect=True, max_choices=MOST, label=f"Chosen pairs, up to {MOST}", elem_id="contrast-chosen"
    )
    said = gr.HTML(elem_id="contrast-sentence", elem_classes="sentence")
    table = page.pickable(elem_id="contrast-table")
    with gr.Row(equal_height=False):
        row = gr.Dropdown([], label="Picture", elem_id="contrast-row", min_width=180)
        with gr.Column(min_width=280):
            shown = gr.HTML(elem_id="contrast-shown")
    asked, views = [key, chosen, before, after, view], [said, table, row, shown]
    drawn = page.for_people(_drawn)
    gr.on([part.input for part in (chosen, before, after)], drawn, asked, views, **page.QUICK)
    one = page.for_people(_row)
    view.input(one, [*asked, row], [table, shown], **page.QUICK)
    row.input(one, [*asked, row], [table, shown], **page.QUICK)
    table.click(_picked, None, row, **page.QUICK).then(one, [*asked, row], [table, shown], **page.QUICK)
    outputs = [*views, chosen, before, after, domain]
    domain.input(page.for_people(_refreshed), [key, domain, view], outputs, **page.QUICK)
    return ContrastPart(_refreshed, [key, domain, view], outputs, domain)


def _found(key: Key, chosen, before, after) -> tuple[Held, Contrast]:
    shown = held.of(key)
    return shown, contrast(shown.space, chosen or [], before or 0, -1 if after is None else after)


def _drawn(key: Key | None, chosen, before, after, view) -> tuple:
    if key is None:
        return (gr.skip(),) * 4
    shown, found = _found(key, chosen, before, after)
    first = found.wrong[0] if found.wrong else 0
    names = [(f"{'✗ ' if i in found.wrong else ''}{text}", i) for i, text in enumerate(found.texts)]
    uris = _uris(key, found)
    return (
        f"<p>{escape(figure.sentence(found))}</p>", figure.table(found, uris, view, first),
        gr.Dropdown(names, value=first), figure.row(found, first, uris[first]),
    )  # fmt: skip


def _row(key: Key | None, chosen, before, after, view, row) -> tuple:
    if key is None or row is None:
        return gr.skip(), gr.skip()
    _, found = _found(key, chosen, before, after)
    at = min(int(row), len(found.texts) - 1)
    uris = _uris(key, found)
    return figure.table(found, uris, view, at), figure.row(found, at, uris[at])


def _picked(event: gr.EventData):
    row = page.picked(event)
    return int(row) if row.isdigit() else gr.skip()


def _refreshed(key: Key | None, domain: str, view: str) -> tuple:
    """Another space, or another domain: its first pairs, from the first phase to the last."""
    if key is None:
        return (gr.skip(),) * 8
    space = held.of(key).space
    of = [space.domains[i] for i in space.shown]
    domain = domain if domain in of else _EVERY
    chosen = _first(of, domain)
    phases = [(name, i) for i, name in enumerate(space.phases)]
    last = len(phases) - 1
    pairs = [(f"{space.texts[at]} ({of[i]})", i) for i, at in enumerate(space.shown)]
    return (
        *_drawn(key, chosen, 0, last, view), gr.Dropdown(pairs, value=chosen), gr.Dropdown(phases, value=0),
        gr.Dropdown(phases, value=last), gr.Dropdown([_EVERY, *space.domain_names], value=domain),
    )  # fmt: skip


def _first(domains: list[str], domain: str) -> list[int]:
    """The pairs that are chosen at first: a domain's first, or some from everywhere; never fewer than two."""
    if domain == _EVERY:
        return list(range(0, len(domains), max(1, len(domains) // _FIRST)))[:_FIRST]
    own = [i for i, name in enumerate(domains) if name == domain][:_FIRST]
    return own if len(own) > 1 else list(range(min(_FIRST, len(domains))))


def chart(key: Key):
    """The matrices of a mix of all domains, from the first phase to the last, for a page of their own."""
    space = held.of(key).space
    return figure.heat(contrast(space, _first([space.domains[i] for i in space.shown], _EVERY)))


def _uris(key: Key, found: Contrast) -> list[str]:
    return [_uri(key, place) for place in found.chosen]


@lru_cache(maxsize=512)
def _uri(key: Key, shown: int) -> str:
    return data_uri(held.of(key).picture(shown), 96)

"""The part of the room about retrieval: recall by phase and domain, what was lost, and the methods side by side."""

import gradio as gr
import numpy as np

from analysis import page
from analysis.charts import data_uri, empty
from analysis.embedding_space import held, shipped
from analysis.embedding_space import retrieval_figure as figure
from analysis.embedding_space.angles_view import Part
from analysis.embedding_space.held import Key
from analysis.embedding_space.retrieval import AMONG, DIRECTIONS, KS, Recalls, hits, recalls
from analysis.embedding_space.runs import Run
from analysis.embedding_space.seeds import repeated, versus

_SHOWN = 12  # lost pictures, the worst first
_BASE = "plain"  # what other methods are compared with


def build(key: gr.State) -> Part:
    """The part, wired to the space that ``key`` names."""
    with gr.Row(elem_classes="measure"):
        direction = gr.Radio(
            [(title, name) for name, title in DIRECTIONS.items()], value="i2t", label="Direction",
            elem_id="retrieval-direction",
        )  # fmt: skip
        k = gr.Radio([(f"R@{k}", k) for k in KS], value=1, label="Right among the first", elem_id="retrieval-k")
        among = gr.Radio([(title, name) for name, title in AMONG.items()], value="domain", label="Candidates",
                         elem_id="retrieval-among")  # fmt: skip
    matrix = page.pickable(elem_id="retrieval-matrix")
    with gr.Row():
        phase = gr.Dropdown([], label="Phase", elem_id="retrieval-phase", min_width=140)
        domain = gr.Dropdown([], label="Domain", elem_id="retrieval-domain", min_width=140)
    lost = gr.HTML(elem_id="retrieval-lost")
    course = gr.Plot(
        empty("Nothing was measured yet", 160), show_label=False, container=False, elem_id="retrieval-course"
    )
    gr.HTML("<h3>Methods side by side</h3>")
    averages = gr.Plot(empty("Nothing was measured yet", 160), show_label=False, container=False,
                       elem_id="retrieval-methods")  # fmt: skip
    methods = gr.HTML(elem_id="retrieval-table")
    how, views = [key, direction, k, among], [matrix, course, averages, methods, lost]
    shown = page.for_people(_shown)
    gr.on([part.input for part in (direction, k, among)], shown, [*how, phase, domain], views, **page.QUICK)
    cell = page.for_people(_cell)
    gr.on([phase.input, domain.input], cell, [*how, phase, domain], [matrix, lost], **page.QUICK)
    picked = matrix.click(_picked, key, [phase, domain], **page.QUICK)
    picked.then(cell, [*how, phase, domain], [matrix, lost], **page.QUICK)
    return Part(_refreshed, how, [*views, phase, domain])


def charts(key: Key) -> list:
    """The figures, for a page of their own: recall by domain, and the methods side by side."""
    everyone = {title: repeated(runs) for title, runs in _everyone(key).items()}
    return [figure.course(recalls(held.of(key).space)), *([figure.averages(everyone)] if everyone else [])]


def _everyone(key: Key) -> dict[str, tuple[Run, ...]]:
    """The trainings of every method that was measured on the same drawings, by title; none for a visitor's own."""
    if key.own:
        return {}
    found = {recipe.title: held.known(Key(name, key.style)) for name, recipe in shipped.recipes().items()}
    return {title: of.runs for title, of in found.items() if of}


def _side_by_side(key: Key, direction: str, k: int, among: str) -> tuple:
    """The methods' averages, and the table of methods, each against the plain one pair by pair."""
    trained = _everyone(key)
    if not trained:
        return empty("Methods are compared for crosstalk-clip only", 120), ""
    how = direction, k, among
    everyone = {title: repeated(runs, *how) for title, runs in trained.items()}
    plain = next((title for title, runs in trained.items() if runs[0].method == _BASE), None)
    others = {t: runs for t, runs in trained.items() if plain and t != plain}
    against = {t: versus(runs, trained[plain], *how) for t, runs in others.items()}
    told = [figure.versus(of, title, plain) for title, of in against.items() if len(of.each) > 1]
    return figure.averages(everyone), figure.methods(everyone, against, _BASE) + "".join(told)


def _shown(key: Key | None, direction, k, among, phase, domain) -> tuple:
    if key is None:
        return (gr.skip(),) * 5
    found = recalls(held.of(key).space, direction, int(k), among)
    averages, methods = _side_by_side(key, direction, int(k), among)
    return (
        figure.matrix(found, _place(found, phase, domain)), figure.course(found), averages, methods,
        _lost(key, found, phase, domain),
    )  # fmt: skip


def _place(found: Recalls, phase, domain) -> tuple[int, int] | None:
    known = phase is not None and domain is not None and phase < len(found.phases) and domain < len(found.domains)
    return (int(phase), int(domain)) if known else None


def _cell(key: Key | None, direction, k, among, phase, domain) -> tuple:
    if key is None:
        return gr.skip(), gr.skip()
    found = recalls(held.of(key).space, direction, int(k), among)
    return figure.matrix(found, _place(found, phase, domain)), _lost(key, found, phase, domain)


def _lost(key: Key, found: Recalls, phase, domain) -> str:
    """Pictures of a domain that were found right after its own phase (or before any) and are not in ``phase``."""
    place = _place(found, phase, domain)
    if place is None:
        return ""
    shown = held.of(key)
    (t, j), space = place, shown.space
    right = hits(space, found.direction, found.k, found.among)
    here = np.flatnonzero(np.asarray(space.domains) == found.domains[j])
    s = found.own[j] if found.own[j] < t else 0
    gone = here[(right[s, here] == 1) & (right[t, here] == 0)]
    ranks = space.ranks[found.direction if found.among == "all" else f"{found.direction}_domain"]
    worst = gone[np.argsort(-ranks[t, gone], kind="stable")][:_SHOWN]
    return figure.lost(
        [space.texts[i] for i in worst], [(int(ranks[s, i]), int(ranks[t, i])) for i in worst],
        [data_uri(shown.pairs.picture(int(i)), 112) for i in worst],
        f"{found.domains[j]}, {space.phases[t]} against {space.phases[s]}", len(gone),
    )  # fmt: skip


def _picked(key: Key | None, event: gr.EventData) -> tuple:
    row, _, column = page.picked(event).partition(",")
    if key is None or not (row.isdigit() and column.isdigit()):
        return gr.skip(), gr.skip()
    space = held.of(key).space
    if int(row) >= len(space.phases) or int(column) >= len(space.domain_names):
        return gr.skip(), gr.skip()
    return int(row), int(column)


def _refreshed(key: Key | None, direction, k, among) -> tuple:
    if key is None:
        return (gr.skip(),) * 7
    space = held.of(key).space
    rows = [(name, i) for i, name in enumerate(space.phases)]
    columns = [(name, j) for j, name in enumerate(space.domain_names)]
    last = len(rows) - 1
    return *_shown(key, direction, k, among, last, 0), gr.Dropdown(rows, value=last), gr.Dropdown(columns, value=0)

"""The Embedding space room: what a CLIP forgot, trained on one domain after another, and how its space moved; with its
section of angles and numbers: distributions by phase, and a table that explains itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import plotly.graph_objects as go

from analysis.charts import IMAGE, NEUTRAL, TEXT, figure
from analysis.embedding_space.contrast import MATRIX
from analysis.embedding_space.lost import LOST
from analysis.embedding_space.mapped import MAP, OWN
from analysis.embedding_space.result import (
    BETWEEN_PHASES,
    LIKENESS,
    MEASURES,
    OF_A_PHASE,
    PREDICTED,
    Space,
    outcome,
    sentence,
)
from analysis.embedding_space.search import SEARCH
from analysis.embedding_space.spaces import COSTS, GO, PAPER, STYLE, loaded, phase_of, trained
from analysis.form import DRAW, Control, One
from analysis.section import SET, Prediction, Room, Section, Try, View
from analysis.table import Head, Table

KINDS = {
    "rotation": "Rotation: to itself, before and after",
    "between": "Change of angles between samples",
    "residual": "Disorder: left after the best rotation",
    "deviation": "Inter-modal deviation",
    "pair": "Change of the angle of true pairs",
    "disagreement": "Disagreement of shifts",
}
"""Distributions on offer: a prefix of the measures of images and of texts, or the measure of both."""


def angles(found: Space, kind: str, before: int = 0) -> go.Figure | None:
    """Distributions of one of ``KINDS`` in every phase after ``before``, against it; images and texts apart. None
    where no phase comes after it.

    A violin is drawn through the 0th to 100th percentile, which are equally likely values; inside, the quartiles.
    """
    phases = range(before + 1, len(found.phases))
    if not phases:
        return None
    sides = {kind: ("pairs", NEUTRAL, "both")} if kind in found.spreads else {
        f"{kind}_image": ("images", IMAGE, "negative"), f"{kind}_text": ("texts", TEXT, "positive"),
    }  # fmt: skip
    traces = []
    for measure, (name, colour, side) in sides.items():
        of = found.spreads[measure]
        values = of.percentiles[before, phases.start :]
        traces.append(go.Violin(
            x=np.repeat([found.phases[t] for t in phases], values.shape[1]).tolist(), scalemode="width", width=0.9,
            y=values.ravel().round(4).tolist(), name=f"{name} (n = {of.n})", side=side, spanmode="hard", points=False,
            line={"color": colour, "width": 1.5}, box={"visible": True, "width": 0.25}, hoverinfo="y+name",
        ))
    unit = next(m.unit for name, m in BETWEEN_PHASES.items() if name.startswith(kind))
    return figure(
        350, *traces, violinmode="overlay", violingap=0.08, violingroupgap=0,
        xaxis={"title": f"Phase, against {found.phases[before]}"},
        yaxis={"title": f"{KINDS[kind].split(':')[0]}{', degrees' if unit else ''}"},
    )


def numbers(found: Space, before: int = 0) -> str:
    """Every measure in every phase after ``before``, against it, as a table; what a name means opens where it stands.
    """
    phases = range(before + 1, len(found.phases))
    heads = {name: Head(m.title, m.about, unit=m.unit, digits=1 if m.unit else 3) for name, m in MEASURES.items()}
    rows = [[heads[name], None, *(found.spreads[name].at(before, t) for t in phases)] for name in BETWEEN_PHASES]
    rows += [[heads[name], None, *(float(found.likeness[name][before, t]) for t in phases)] for name in LIKENESS]
    rows += [[heads[name], *(float(found.numbers[name][t]) for t in (before, *phases))] for name in OF_A_PHASE]
    told = Table([f"against {found.phases[before]}", *(found.phases[t] for t in (before, *phases))], rows).html()
    return (
        f'{told}<p class="key">Means over n = {found.n} pairs with 95 % intervals over pairs; between samples, over '
        f"{found.spreads['between_image'].n} pairs of samples, which share samples: no interval.</p>"
    )


def _angle_controls(raw: Mapping, result) -> Sequence[Control]:
    against = phase_of(raw, False, "against", "Against phase", last=False)
    return (
        trained(raw, False),
        One("kind", "Show", at=DRAW, offered=[(title, name) for name, title in KINDS.items()]),
        replace(against, offered=against.offered[:-1] or against.offered),  # nothing comes after the last
        STYLE,
    )


ANGLES = Section(
    name="angles", title="Angles",
    question="How far did it turn, and how much is disorder?",
    label="small", paper=PAPER, of=SET, costs=COSTS,
    measure=partial(loaded, names=("against",)), kept=partial(loaded, names=("against",)), controls=_angle_controls,
    sentence=lambda found: sentence(found.space, found.asked["against"]),
    views=(
        View("angles", lambda shown: angles(shown.result.space, shown["kind"], shown.result.asked["against"])),
        View("table", lambda shown: numbers(shown.result.space, shown.result.asked["against"]), html=True,
             folded="All numbers, and what each means"),
    ),
    figures=lambda shown: [angles(shown.result.space, kind, shown.result.asked["against"]) for kind in KINDS],
    prediction=Prediction("what turns further by the last phase?", PREDICTED, lambda found: outcome(found.space)),
    tries=(
        Try("How far each turned", values={"kind": "rotation"}),
        Try("What no rotation explains", values={"kind": "residual"}),
        Try("Pictures and names, apart?", values={"kind": "deviation"}),
        Try("The same with Mod-X", values={"trained": "mod-x"}),
    ),
    then="What did it do to names? " + GO.format("matrix", "The contrastive matrix"),
    reading="<p>A violin is the distribution over pairs (or pairs of samples); inside, the quartiles. Means have 95 % "
    "intervals over pairs in the table: they say what other drawings would change, not another training.</p>",
)

ROOM = Room("embedding_space", "Embedding space", (LOST, MAP, ANGLES, MATRIX, SEARCH, OWN))

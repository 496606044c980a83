"""How angles and numbers of a space in phases look: distributions by phase, and a table that explains itself."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import IMAGE, NEUTRAL, TEXT, figure
from analysis.embedding_space.result import BETWEEN_PHASES, LIKENESS, MEASURES, OF_A_PHASE
from analysis.table import Head, Table

if TYPE_CHECKING:
    from analysis.embedding_space.result import Space, Spread

ANGLES = {
    "rotation": "Rotation: to itself, before and after",
    "between": "Change of angles between samples",
    "residual": "Disorder: left after the best rotation",
    "deviation": "Inter-modal deviation",
    "pair": "Change of the angle of true pairs",
    "disagreement": "Disagreement of shifts",
}
"""Distributions on offer: a prefix of the measures of images and of texts, or the measure of both."""

_SIDES = {"image": ("images", IMAGE, "negative"), "text": ("texts", TEXT, "positive")}


def angles(found: "Space", kind: str, before: int = 0) -> go.Figure | None:
    """Distributions of one of ``ANGLES`` in every phase after ``before``, against it; images and texts apart. None
    where no phase comes after it.

    A violin is drawn through the 0th to 100th percentile, which are equally likely values; inside, the quartiles.
    """
    phases = range(before + 1, len(found.phases))
    if not phases:
        return None
    if kind in found.spreads:
        traces = [_violin(found, found.spreads[kind], phases, before, "pairs", NEUTRAL, "both")]
    else:
        traces = [_violin(found, found.spreads[f"{kind}_{side}"], phases, before, *of) for side, of in _SIDES.items()]
    unit = next(m.unit for name, m in BETWEEN_PHASES.items() if name.startswith(kind))
    return figure(
        350, *traces, violinmode="overlay", violingap=0.08, violingroupgap=0,
        xaxis={"title": f"Phase, against {found.phases[before]}"},
        yaxis={"title": f"{ANGLES[kind].split(':')[0]}{', degrees' if unit else ''}"},
    )


def _violin(found: "Space", of: "Spread", phases: range, before: int, name: str, colour: str, side: str) -> go.Violin:
    values = of.percentiles[before, phases.start :]
    return go.Violin(
        x=np.repeat([found.phases[t] for t in phases], values.shape[1]).tolist(), y=values.ravel().round(4).tolist(),
        name=f"{name} (n = {of.n})", side=side, line={"color": colour, "width": 1.5}, spanmode="hard", points=False,
        box={"visible": True, "width": 0.25}, hoverinfo="y+name", scalemode="width", width=0.9,
    )


def numbers(found: "Space", before: int = 0) -> str:
    """Every measure in every phase after ``before``, against it, as a table; what a name means opens where it stands.
    """
    phases = range(before + 1, len(found.phases))
    rows = [
        [_name(name), None, *(found.spreads[name].at(before, t) for t in phases)] for name in BETWEEN_PHASES
    ]
    rows += [[_name(name), None, *(float(found.likeness[name][before, t]) for t in phases)] for name in LIKENESS]
    rows += [[_name(name), *(float(found.numbers[name][t]) for t in (before, *phases))] for name in OF_A_PHASE]
    told = Table([f"against {found.phases[before]}", *(found.phases[t] for t in (before, *phases))], rows).html()
    return (
        f'{told}<p class="key">Means over n = {found.n} pairs with 95 % intervals over pairs; between samples, over '
        f"{found.spreads['between_image'].n} pairs of samples, which share samples: no interval.</p>"
    )


def _name(name: str) -> Head:
    of = MEASURES[name]
    return Head(of.title, of.about, unit=of.unit, digits=1 if of.unit else 3)

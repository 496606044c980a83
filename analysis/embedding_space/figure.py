"""How angles and numbers of a space in phases look: distributions by phase, and a table that explains itself."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import IMAGE, NEUTRAL, SCROLL, TEXT, empty, figure
from analysis.embedding_space.result import BETWEEN_PHASES, LIKENESS, MEASURES, OF_A_PHASE

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


def angles(found: "Space", kind: str, before: int = 0) -> go.Figure:
    """Distributions of one of ``ANGLES`` in every phase after ``before``, against it; images and texts apart.

    A violin is drawn through the 0th to 100th percentile, which are equally likely values; inside, the quartiles.
    """
    phases = range(before + 1, len(found.phases))
    if not phases:
        return empty("No phase comes after this one")
    if kind in found.spreads:
        traces = [_violin(found, found.spreads[kind], phases, before, "pairs", NEUTRAL, "both")]
    else:
        traces = [_violin(found, found.spreads[f"{kind}_{side}"], phases, before, *of) for side, of in _SIDES.items()]
    unit = next(m.unit for name, m in BETWEEN_PHASES.items() if name.startswith(kind))
    return figure(
        380, *traces, violinmode="overlay", violingap=0.08, violingroupgap=0,
        xaxis={"title": f"Phase, against {found.phases[before]}"},
        yaxis={"title": f"{ANGLES[kind].split(':')[0]}{', degrees' if unit else ''}"},
    )  # fmt: skip


def _violin(found: "Space", of: "Spread", phases: range, before: int, name: str, colour: str, side: str) -> go.Violin:
    values = of.percentiles[before, phases.start :]
    return go.Violin(
        x=np.repeat([found.phases[t] for t in phases], values.shape[1]).tolist(), y=values.ravel().round(4).tolist(),
        name=f"{name} (n = {of.n})", side=side, line={"color": colour, "width": 1.5}, spanmode="hard", points=False,
        box={"visible": True, "width": 0.25}, hoverinfo="y+name", scalemode="width", width=0.9,
    )  # fmt: skip


def numbers(found: "Space", before: int = 0) -> str:
    """Every measure in every phase after ``before``, against it, as a table; what a name means is told on hover."""
    phases = range(before + 1, len(found.phases))
    head = "".join(f'<th scope="col">{escape(found.phases[t])}</th>' for t in (before, *phases))
    rows = [_row(name, ["–", *(_spread_cell(name, found.spreads[name], before, t) for t in phases)])
            for name in BETWEEN_PHASES]  # fmt: skip
    rows += [_row(name, ["–", *(_number(found.likeness[name][before, t], MEASURES[name].unit) for t in phases)])
             for name in LIKENESS]  # fmt: skip
    rows += [_row(name, [_number(found.numbers[name][t], MEASURES[name].unit) for t in (before, *phases)])
             for name in OF_A_PHASE]  # fmt: skip
    return (
        f'{SCROLL}<table class="plain"><thead><tr><th>against {escape(found.phases[before])}</th>{head}'
        f'</tr></thead><tbody>{"".join(rows)}</tbody></table></div><p class="key">Means over n = {found.n} pairs; '
        f"between samples, over {found.spreads['between_image'].n} pairs of samples. Point at a name for what it "
        "means, at a number for its 95 % interval.</p>"
    )


def meanings() -> str:
    """What each number means, for those who cannot point."""
    rows = "".join(f"<dt><b>{escape(m.title)}</b></dt><dd>{escape(m.about)}</dd>" for m in MEASURES.values())
    return f"<dl>{rows}</dl>"


def _row(name: str, cells: list[str]) -> str:
    of = MEASURES[name]
    told = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in cells)
    label = f"{escape(of.title)}{f' ({of.unit})' if of.unit else ''}"
    return f'<tr><th scope="row" tabindex="0" title="{escape(of.about)}">{label}</th>{told}</tr>'


def _spread_cell(name: str, of: "Spread", s: int, t: int) -> str:
    unit = MEASURES[name].unit
    shown = _number(of.mean[s, t], unit)
    if math.isnan(of.low[s, t]):
        return shown
    return f'<td title="95 % interval {_number(of.low[s, t], unit)} to {_number(of.high[s, t], unit)}">{shown}</td>'


def _number(value: float, unit: str = "") -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.{1 if unit else 3}f}{unit}".replace("-", "−")

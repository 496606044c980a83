"""How the parts look: heat maps of movement, of key elements in common and of drift, and what returns, part by part."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import IMAGE, SERIES, figure, reach
from analysis.wording import change, percent, plural

if TYPE_CHECKING:
    from analysis.forgetting.parts.places import Place
    from analysis.forgetting.parts.result import Drift, KeyOverlap, Movement, Patching, Returned

_SCALE = [[0, "#E6F0F7"], [1, IMAGE]]  # opaque: numbers in the cells are dark or white by what they stand on
_ROW, _TITLE, _AXIS = 32, 40, 58  # pixels: of a row, of a panel's title, of its axis
_NUMBERED = 8  # columns up to which a number fits into a cell; beyond them colours have a scale beside


def movement(found: "Movement") -> go.Figure | None:
    """|dW| / |W|, %: a panel a part of the model, a row a kind of module, a column a layer. None where none differs."""
    layered, panels = {p.part for p in found.places if p.layer is not None}, {}
    for i, place in enumerate(found.places):
        outside = place.layer is None and place.part in layered
        panels.setdefault(f"{place.part}, outside of its layers" if outside else place.part, []).append(i)
    if not panels:
        return None
    relative = 100 * found.relative
    most = float(np.nanmax(relative, initial=0.0)) or 1.0
    rows = {name: list(dict.fromkeys(found.places[i].called for i in some)) for name, some in panels.items()}
    heights = {name: _TITLE + _AXIS + _ROW * len(rows[name]) for name in panels}
    total, left, traces, layout, notes = sum(heights.values()), 1.0, [], {}, []
    for n, (name, some) in enumerate(panels.items()):
        axis, share = "" if n == 0 else str(n + 1), heights[name] / total
        high, low = left - _TITLE / total, left - share + _AXIS / total
        left -= share
        layers = sorted({_column(found.places[i]) for i in some})
        z = np.full((len(rows[name]), len(layers)), np.nan)
        for i in some:
            z[rows[name].index(found.places[i].called), layers.index(_column(found.places[i]))] = relative[i]
        traces.append(_heat(
            z, [str(layer) if layer else " " for layer in layers], rows[name], most, axis, "|dW| / |W|, %",
            "%{y}" + (", layer %{x}" if layers[-1] else "") + ": %{z:.2f} %<extra></extra>",
        ))  # fmt: skip
        layout[f"xaxis{axis}"] = {
            "title": "Layer (|dW| / |W|, %)" if layers[-1] else "|dW| / |W|, %", "type": "category",
            "anchor": f"y{axis}", "showgrid": False,
        }  # fmt: skip
        layout[f"yaxis{axis}"] = {
            "domain": [max(low, 0.0), high], "autorange": "reversed", "anchor": f"x{axis}", "showgrid": False,
        }  # fmt: skip
        modules = sum(len(found.modules[i]) for i in some)
        counted = f"n = {plural(modules, 'module')}"
        notes.append({
            "text": f"<b>{escape(name[0].upper() + name[1:])}</b> ({counted})", "x": 0, "xref": "paper",
            "xanchor": "left", "y": high, "yref": "paper", "yanchor": "bottom", "showarrow": False,
        })  # fmt: skip
    return figure(total + 20, *traces, **layout, annotations=notes, margin={"l": 8, "r": 8, "t": 20, "b": 0})


def _column(place: "Place") -> int:
    return 0 if place.layer is None else place.layer + 1


def overlap(found: "KeyOverlap", kind: str = "") -> go.Figure | None:
    """Key elements in common, %, of every two tasks, for matrices of one ``kind`` (default: all); None for one task."""
    k, tasks = found.kinds.index(kind) if kind in found.kinds else 0, found.tasks
    if len(tasks) < 2:
        return None
    z = np.full((len(tasks) - 1, len(tasks) - 1), np.nan)
    by_chance = np.full((*z.shape, 3), np.nan)
    for i, j in found.pairs():
        z[i - 1, j] = 100 * found.overlap[k, i, j]
        by_chance[i - 1, j] = 100 * np.array([found.expected[k, i, j], found.low[k, i, j], found.high[k, i, j]])
    which = "all" if k == 0 else found.kinds[k]
    heat = _heat(
        z, list(tasks[:-1]), list(tasks[1:]), max(float(np.nanmax(z, initial=0.0)), 1.0), "", "In common, %",
        "%{y} and %{x}: %{z:.1f} % in common<br>by chance %{customdata[0]:.1f} % (95 %: %{customdata[1]:.1f} to "
        "%{customdata[2]:.1f})<extra></extra>", by_chance,
    )  # fmt: skip
    return figure(
        _TITLE + _AXIS + 60 + 40 * len(z), heat,
        xaxis={
            "title": f"Earlier task<br>({which}, n = {found.matrices[k]:.0f} matrices; in %)",
            "showgrid": False, "type": "category",
        },
        yaxis={
            "title": {"text": "Later task", "standoff": 12}, "autorange": "reversed", "showgrid": False,
            "type": "category",
        },
    )  # fmt: skip


def drift(found: "Drift") -> go.Figure:
    """Linear CKA of hidden states with those right after the task's own training: a row a later checkpoint."""
    names, layers = list(found.checkpoints[1:]), [str(i + 1) for i in range(found.cka.shape[1])]
    heat = _heat(
        found.cka[1:], layers, [f"after {name}" for name in names], 1.0, "", "CKA",
        "%{y}, layer %{x}: CKA %{z:.3f}<br>items shuffled: %{customdata[0]:.3f}<extra></extra>",
        found.chance[1:, :, None], decimals=2,
    )  # fmt: skip
    return figure(
        _TITLE + _AXIS + 30 + 40 * len(names), heat,
        xaxis={
            "title": f"Layer of the text decoder<br>(CKA, n = {found.n} items)", "showgrid": False, "type": "category",
        },
        yaxis={"autorange": "reversed", "showgrid": False, "type": "category"},
    )  # fmt: skip


def _heat(z, x, y, most, axis, title, hover, beside=None, decimals=1) -> go.Heatmap:
    """A heat map from 0 to ``most`` with its numbers in the cells where they fit, else with a scale beside."""
    fits = len(x) <= _NUMBERED
    text = [["" if np.isnan(v) else f"{v:.{decimals if v < 10 else 0}f}" for v in row] for row in z] if fits else None
    return go.Heatmap(
        z=np.round(z, decimals + 2), x=[escape(v) for v in x], y=[escape(v) for v in y], zmin=0, zmax=most, text=text,
        texttemplate="%{text}" if fits else None, colorscale=_SCALE, customdata=beside, hoverongaps=False,
        xaxis=f"x{axis}", yaxis=f"y{axis}", xgap=2, ygap=2, showscale=not fits, hovertemplate=hover,
        colorbar={"title": {"text": title, "side": "right"}, "thickness": 14},
    )  # fmt: skip


def patching(found: "Patching") -> go.Figure:
    """What each part, put back, changes on the old task and on the last one: points with their 95 % intervals."""
    titles = [f"everything (= {found.donor})", *(p.title for p in found.portions)]
    rows = [len(titles) - 1 - i for i in range(len(titles))]
    traces = [_points(rows, titles, (found.whole, *found.returned), f"{found.task} (n = {found.n})", 0, 0.0)]
    if found.whole_last is not None:
        told = f"{found.last} (n = {found.n_last})"
        traces.append(_points(rows, titles, (found.whole_last, *found.cost), told, 4, -0.28))
    return figure(
        100 + len(titles) * max(18, min(34, 250 // len(titles))), *traces, margin={"l": 8, "r": 16, "t": 40, "b": 8},
        xaxis={"title": "Change of the score, points<br>(a sample of the items)", "zeroline": True, "zerolinewidth": 2},
        yaxis={
            "tickvals": rows, "ticktext": [escape(t) for t in titles], "range": [-0.8, len(titles) - 0.5],
            "showgrid": False, "zeroline": False,
        },
    )  # fmt: skip


def _points(
    rows: list[int], titles: list[str], each: "tuple[Returned, ...]", name: str, colour: int, shift: float
) -> go.Scatter:
    told = [
        f"{escape(title)}: {change(r.change, '95 % ')}, to a score of {percent(r.score)}"
        for title, r in zip(titles, each, strict=True)
    ]
    return go.Scatter(
        x=[100 * r.change.value for r in each], y=[row + shift for row in rows], mode="markers",
        name=escape(name), text=told,
        marker={"color": SERIES[colour], "size": 10, "symbol": "circle" if colour == 0 else "diamond"},
        error_x={
            **reach(r.change for r in each), "thickness": 2, "width": 4, "color": SERIES[colour],
        },
        hovertemplate="%{text}<extra>%{fullData.name}</extra>",
    )  # fmt: skip

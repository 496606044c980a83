"""How the parts look, and what they say: heat maps of movement, of key elements in common and of drift, and what
returns, part by part; each with its sentence, true whatever the numbers are."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ACROSS, DOWN, IMAGE, SERIES, figure, reach, rows
from analysis.wording import change, percent, plural

if TYPE_CHECKING:
    from analysis.forgetting.parts.measure import Drift, KeyOverlap, Movement, Parts, Patching, Returned

_SCALE = [[0, "#E6F0F7"], [1, IMAGE]]  # opaque: numbers in the cells are dark or white by what they stand on
_ROW, _TITLE, _AXIS = 32, 40, 58  # pixels: of a row, of a panel's title, of its axis
_SYMBOLS = ("circle", "diamond")  # of the old task, of the last one
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
    kinds = {name: list(dict.fromkeys(found.places[i].called for i in some)) for name, some in panels.items()}
    heights = {name: _TITLE + _AXIS + _ROW * len(kinds[name]) for name in panels}
    total, left, traces, layout, notes = sum(heights.values()), 1.0, [], {}, []
    for n, (name, some) in enumerate(panels.items()):
        axis, share = str(n + 1) if n else "", heights[name] / total
        high, low = left - _TITLE / total, left - share + _AXIS / total
        left -= share
        layers = sorted({found.places[i].number for i in some})
        z = np.full((len(kinds[name]), len(layers)), np.nan)
        for i in some:
            z[kinds[name].index(found.places[i].called), layers.index(found.places[i].number)] = relative[i]
        traces.append(_heat(
            z, [str(layer) if layer else " " for layer in layers], kinds[name], most, axis, "|dW| / |W|, %",
            "%{y}" + (", layer %{x}" if layers[-1] else "") + ": %{z:.2f} %<extra></extra>",
        ))
        title = "Layer (|dW| / |W|, %)" if layers[-1] else "|dW| / |W|, %"
        layout[f"xaxis{axis}"] = {**ACROSS, "title": title, "anchor": f"y{axis}"}
        layout[f"yaxis{axis}"] = {**DOWN, "domain": [max(low, 0.0), high], "anchor": f"x{axis}"}
        counted = f"n = {plural(sum(len(found.modules[i]) for i in some), 'module')}"
        notes.append({
            "text": f"<b>{escape(name[0].upper() + name[1:])}</b> ({counted})", "x": 0, "xref": "paper",
            "xanchor": "left", "y": high, "yref": "paper", "yanchor": "bottom", "showarrow": False,
        })
    return figure(total + 20, *traces, **layout, annotations=notes, margin={"l": 8, "r": 8, "t": 20, "b": 0})


def overlap(found: "KeyOverlap", kind: str = "") -> go.Figure | None:
    """Key elements in common, %, of every two tasks, for matrices of one ``kind`` (default: all); None for one task."""
    k, tasks = found.kinds.index(kind) if kind in found.kinds else 0, found.tasks
    if len(tasks) < 2:
        return None
    z = np.full((len(tasks) - 1, len(tasks) - 1), np.nan)
    by_chance = np.full((*z.shape, 3), np.nan)
    for i, j in found.pairs:
        z[i - 1, j] = 100 * found.overlap[k, i, j]
        by_chance[i - 1, j] = 100 * np.array([found.expected[k, i, j], found.low[k, i, j], found.high[k, i, j]])
    which = "all" if k == 0 else found.kinds[k]
    heat = _heat(
        z, list(tasks[:-1]), list(tasks[1:]), max(float(np.nanmax(z, initial=0.0)), 1.0), "", "In common, %",
        "%{y} and %{x}: %{z:.1f} % in common<br>by chance %{customdata[0]:.1f} % (95 %: %{customdata[1]:.1f} to "
        "%{customdata[2]:.1f})<extra></extra>", by_chance,
    )
    title = f"Earlier task<br>({which}, n = {found.matrices[k]:.0f} matrices; in %)"
    down = {**DOWN, "title": {"text": "Later task", "standoff": 12}}
    return figure(_TITLE + _AXIS + 60 + 40 * len(z), heat, xaxis={**ACROSS, "title": title}, yaxis=down)


def drift(found: "Drift") -> go.Figure:
    """Linear CKA of hidden states with those right after the task's own training: a row a later checkpoint."""
    names, layers = list(found.checkpoints[1:]), [str(i + 1) for i in range(found.cka.shape[1])]
    heat = _heat(
        found.cka[1:], layers, [f"after {name}" for name in names], 1.0, "", "CKA",
        "%{y}, layer %{x}: CKA %{z:.3f}<br>items shuffled: %{customdata[0]:.3f}<extra></extra>",
        found.chance[1:, :, None], decimals=2,
    )
    title = f"Layer of the text decoder<br>(CKA, n = {found.n} items)"
    return figure(_TITLE + _AXIS + 30 + 40 * len(names), heat, xaxis={**ACROSS, "title": title}, yaxis=DOWN)


def _heat(z, x, y, most, axis, title, hover, beside=None, decimals=1) -> go.Heatmap:
    """A heat map from 0 to ``most`` with its numbers in the cells where they fit, else with a scale beside."""
    fits = len(x) <= _NUMBERED
    text = [["" if np.isnan(v) else f"{v:.{decimals if v < 10 else 0}f}" for v in row] for row in z] if fits else None
    return go.Heatmap(
        z=np.round(z, decimals + 2), x=[escape(v) for v in x], y=[escape(v) for v in y], zmin=0, zmax=most, text=text,
        texttemplate="%{text}" if fits else None, colorscale=_SCALE, customdata=beside, hoverongaps=False,
        xaxis=f"x{axis}", yaxis=f"y{axis}", xgap=2, ygap=2, showscale=not fits, hovertemplate=hover,
        colorbar={"title": {"text": title, "side": "right"}, "thickness": 14},
    )


def patching(found: "Patching") -> go.Figure:
    """What each part, put back, changes on the old task and on the last one: points with their 95 % intervals."""
    titles = [f"everything (= {found.donor})", *(p.title for p in found.portions)]
    traces = []
    for n, (task, items, each) in enumerate(found.told):
        colour = SERIES[(0, 4)[n]]
        traces.append(go.Scatter(
            x=[100 * r.change.value for r in each], y=[row + 0.28 * n for row in range(len(titles))], mode="markers",
            name=escape(f"{task} (n = {items})"), marker={"color": colour, "size": 10, "symbol": _SYMBOLS[n]},
            text=[
                f"{escape(title)}: {_points(r)}, to a score of {percent(r.score)}"
                for title, r in zip(titles, each, strict=True)
            ],
            error_x={**reach(r.change for r in each), "thickness": 2, "width": 4, "color": colour},
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
        ))
    across = {"title": "Change of the score, points<br>(a sample of the items)", "zeroline": True, "zerolinewidth": 2}
    height = 100 + len(titles) * max(18, min(34, 250 // len(titles)))
    return figure(height, *traces, margin={"t": 40}, xaxis=across, yaxis=rows(titles, below=0.8))


def sentence(found: "Parts") -> str:
    """What was measured, what returns first; nothing where nothing was."""
    tellers = {"patching": _patching_said, "moved": _movement_said, "keys": _overlap_said, "drift": _drift_said}
    made = [(tell, part) for name, tell in tellers.items() if (part := getattr(found, name)) is not None]
    said = " ".join(filter(None, (tell(part) for tell, part in made)))
    if said and found.moved is None:
        said += " What returns and what moved was not measured yet with these choices: press Measure."
    return said


def _movement_said(found: "Movement") -> str:
    """Which module moved most."""
    relative = found.relative
    if not found.change.any():
        return f"No weight differs between {found.before} and {found.after}."
    most, n = int(np.nanargmax(relative)), sum(map(len, found.modules))
    return (
        f"From {found.before} to {found.after}, {found.places[most]} moved most: by {_share(relative[most])} of the "
        f"size of its weights. The median over {n} modules is {_share(np.nanmedian(relative))} (|dW| / |W|)."
    )


def _overlap_said(found: "KeyOverlap") -> str:
    """Whether tasks changed the same elements most."""
    pairs = [(i, j) for i, j in found.pairs if not np.isnan(found.overlap[0, i, j])]
    if not pairs:
        return ""
    shares = [found.overlap[0, i, j] for i, j in pairs]
    chance = float(np.mean([found.expected[0, i, j] for i, j in pairs]))
    i, j = pairs[int(np.argmax(shares))]
    start = "checkpoint before it" if found.since == "previous" else "base"
    keys = (
        f"Key elements are the {percent(found.share)} of a matrix that a task changed most since the {start} "
        f"({plural(int(found.matrices[0]), 'matrix', 'matrices')})."
    )
    said = (
        f"Two tasks share {_share(np.mean(shares))} of their key elements on average, where independent ones would "
        f"share {_share(chance)}."
    )
    of = f"Of {plural(len(pairs), 'pair')} of tasks"
    if not found.above:
        below = sum(bool(found.overlap[0, i, j] < found.low[0, i, j]) for i, j in pairs)
        fewer = f", and {below} fewer" if below else ""
        return f"{said} {of} none shares more than chance explains{fewer}. {keys}"
    most = f"{found.tasks[i]} and {found.tasks[j]}"
    return f"{said} {of} {found.above} share more than chance explains, most of all {most}. {keys}"


def _drift_said(found: "Drift") -> str:
    """Where hidden states of old items ended up."""
    last = found.cka[-1]
    if np.isnan(last).all():
        return f"The hidden states of {found.n} {found.task} items are all the same, so their drift cannot be told."
    least = int(np.nanargmin(last))
    return (
        f"On {found.n} items of {found.task}, hidden states after {found.checkpoints[-1]} differ most from those right "
        f"after {found.checkpoints[0]} in layer {least + 1}: CKA {last[least]:.2f}, where 1 is the same up to rotation "
        f"and size, and shuffled items give {found.chance[-1, least]:.2f}."
    )


def _patching_said(found: "Patching") -> str:
    """Which part brings the old task back, and what that costs."""
    whole, tried = found.whole.change, len(found.portions)
    basis = (
        f"On {found.n} items of {found.task}, a sample of those of the matrix, the checkpoint {found.base} scores "
        f"{percent(found.score)} and {found.donor} {percent(found.whole.score)}."
    )
    if not whole.low > 0:
        return (
            f"There is nothing to bring back: {found.donor} scores not clearly more than {found.base} on {found.task}, "
            f"{_points(found.whole)}. {basis}"
        )
    best = max(range(tried), key=lambda i: found.returned[i].change.value) if found.best is None else found.best
    back, title = found.returned[best], found.portions[best].title
    if found.best is None:
        said = "No part put back alone clearly brings anything back"
        return f"{said}: of {tried} tried, most returns with “{title}”, {_points(back)}. {basis}"
    said = (
        f"Of {tried} parts put back alone, “{title}” returns most: {_points(back)}, "
        f"{_share(back.change.value / whole.value)} of what was lost."
    )
    if found.cost:
        cost, where = found.cost[best], f"{found.n_last} items of {found.last}"
        if cost.change.clear:
            said += f" It {'costs' if cost.change.value < 0 else 'brings'} {_points(cost)} on {where}."
        else:
            said += f" On {where} it neither clearly loses nor gains ({_points(cost)})."
    return f"{said} {basis}"


def _points(of: "Returned") -> str:
    return change(of.change, "95 % ")


def _share(share: float) -> str:
    """In per cent, above 100 too, with a decimal where a whole number would hide it."""
    return f"{100 * share:.{1 if share < 0.1 else 0}f} %"

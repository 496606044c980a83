"""How methods look side by side: a metric with intervals, and what another order of tasks changes."""

from html import escape
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.charts import IMAGE, NEUTRAL, RIGHT, TEXT, WRONG, empty, figure, reach
from analysis.forgetting.methods.terms import BETTER, NAMES, WORSE, order_name, verdict
from analysis.wording import estimate, percent, plural

if TYPE_CHECKING:
    from analysis.forgetting.methods.measure import Methods, Row

_ROW = 44  # pixels


def dots(found: "Methods | None", metric: str) -> go.Figure:
    """One metric of every method with its 95 % interval; small marks are seeds, the dotted line is plain training."""
    rows = [row for row in found.rows if row.estimates[metric].known] if found else []
    if not rows:
        why = "Superficial and essential losses were not told apart yet" if found else "No set was measured yet"
        return empty(why)
    name, unit, _ = NAMES[metric]
    colours = [_colour(row, metric) for row in rows]
    estimates = [row.estimates[metric] for row in rows]
    means = go.Scatter(
        x=[100 * e.value for e in estimates], y=list(range(len(rows))), mode="markers", showlegend=False,
        marker={"size": 12, "color": colours}, cliponaxis=False, text=[_told(row, metric) for row in rows],
        hovertemplate="%{text}<extra></extra>",
        error_x={
            **reach(estimates), "thickness": 2, "width": 5, "color": NEUTRAL,
        },
    )  # fmt: skip
    several = [(i, v) for i, e in enumerate(estimates) if len(e.seeds) > 1 for v in e.seeds]
    seeds = go.Scatter(
        x=[100 * v for _, v in several], y=[i + 0.3 for i, _ in several], mode="markers", name="single seeds",
        showlegend=False, hovertemplate="one seed: %{x:.1f}<extra></extra>", cliponaxis=False,
        marker={"size": 9, "symbol": "line-ns-open", "color": NEUTRAL, "line": {"width": 2}},
    )  # fmt: skip
    plain = next((row.estimates[metric].value for row in rows if row.method == found.plain), None)
    lines, notes = [], []
    marks = {found.plain: plain} | ({n: e.value for n, e in found.references.items()} if metric == "mfn" else {})
    for place, (label, at) in enumerate((label, at) for label, at in marks.items() if at is not None):
        lines.append({
            "type": "line", "x0": 100 * at, "x1": 100 * at, "y0": -0.6, "y1": len(rows) - 0.4,
            "line": {"dash": "dot" if label == found.plain else "dash", "width": 1.5, "color": NEUTRAL},
        })  # fmt: skip
        notes.append({
            "x": 100 * at, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "text": escape(label),
            "yshift": 16 * (place % 2), "font": {"size": 12},
        })  # fmt: skip
    labels = [f"{escape(r.method)}<br>{plural(len(r.seeds), 'seed')}" for r in rows]
    return figure(
        120 + _ROW * len(rows), means, seeds, shapes=lines, annotations=notes,
        margin={"l": 8, "r": 24, "t": 48, "b": 8},
        xaxis={"title": f"{name}, {unit}, with 95 % intervals<br>(n = {sum(found.n)} items)", "zeroline": False},
        yaxis={"tickvals": list(range(len(rows))), "ticktext": labels, "range": [len(rows) - 0.4, -0.6],
               "zeroline": False},
    )  # fmt: skip


def _told(row: "Row", metric: str) -> str:
    name, unit, _ = NAMES[metric]
    change = row.changes[metric]
    against = "" if change is None else f"<br>minus plain: {estimate(change, 1, sign=True)} points"
    return f"{escape(row.method)}, {name}: {estimate(row.estimates[metric], 1)} {unit}{against}"


def _colour(row: "Row", metric: str) -> str:
    return {BETTER: RIGHT, WORSE: WRONG}.get(verdict(row, metric), NEUTRAL)


def orders(found: "Methods | None", method: str | None = None) -> go.Figure:
    """Accuracy at the end of every task in the usual order and in another one, with 95 % intervals."""
    turned = next((t for t in found.orders if t.method == (method or t.method)), None) if found else None
    if turned is None:
        return empty("No set was trained in another order of tasks")
    places = list(range(len(found.order)))
    traces = [
        go.Scatter(
            x=[100 * e.value for e in ends], y=[p + shift for p in places], mode="markers", name=name,
            marker={"size": 12, "symbol": symbol, "color": colour}, cliponaxis=False,
            error_x={
                **reach(ends), "thickness": 2, "width": 4, "color": colour,
            },
            text=[f"{escape(task)}, {name}: {percent(e.value)}" for task, e in zip(found.order, ends, strict=True)],
            hovertemplate="%{text}<extra></extra>",
        )
        for name, ends, shift, symbol, colour in (
            (f"usual: {found.order[0]} first", turned.usual, -0.14, "circle", IMAGE),
            (f"{order_name(turned.order, found.order)}: {turned.order[0]} first", turned.here, 0.14, "diamond", TEXT),
        )
    ]  # fmt: skip
    labels = [f"{escape(task)}<br>n = {n}" for task, n in zip(found.order, found.n, strict=True)]
    return figure(
        130 + _ROW * len(places), *traces, margin={"l": 8, "r": 24, "t": 64, "b": 8},
        xaxis={"title": f"Accuracy at the end, %, {escape(turned.method)}, seed {turned.seeds[0]}",
               "range": [-2, 102]},
        yaxis={"tickvals": places, "ticktext": labels, "range": [len(places) - 0.5, -0.5], "zeroline": False},
    )  # fmt: skip

"""How methods look side by side: a metric with intervals, and what another order of tasks changes."""

from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.charts import IMAGE, NEUTRAL, RIGHT, TEXT, WRONG, figure
from analysis.forgetting.methods.terms import BETTER, NAMES, WORSE, order_name, verdict
from analysis.wording import estimate, plural, share

if TYPE_CHECKING:
    from analysis.forgetting.methods.measure import Methods, Row
    from analysis.statistics import Estimate

_ROW = 22  # pixels: ten methods stay below 360


def _errors(estimates: "list[Estimate]", colour: str) -> dict:
    above, below = zip(*(e.reach for e in estimates), strict=True)
    return {
        "type": "data",
        "symmetric": False,
        "thickness": 2,
        "width": 4,
        "color": colour,
        "array": [100 * v for v in above],
        "arrayminus": [100 * v for v in below],
    }


def dots(found: "Methods", metric: str) -> go.Figure | None:
    """One metric of every method with its 95 % interval; small marks are seeds, the dotted line is plain training."""
    rows = [row for row in found.rows if row.estimates[metric].known]
    if not rows:
        return None
    name = NAMES[metric]
    estimates = [row.estimates[metric] for row in rows]
    means = go.Scatter(
        x=[100 * e.value for e in estimates],
        y=list(range(len(rows))),
        mode="markers",
        showlegend=False,
        marker={"size": 11, "color": [_colour(row, metric) for row in rows]},
        cliponaxis=False,
        text=[_told(row, metric) for row in rows],
        hovertemplate="%{text}<extra></extra>",
        error_x=_errors(estimates, NEUTRAL),
    )
    several = [(i, v) for i, e in enumerate(estimates) if len(e.seeds) > 1 for v in e.seeds]
    single = go.Scatter(
        x=[100 * v for _, v in several],
        y=[i + 0.34 for i, _ in several],
        mode="markers",
        showlegend=False,
        hovertemplate="one seed: %{x:.1f}<extra></extra>",
        cliponaxis=False,
        marker={"size": 7, "symbol": "line-ns-open", "color": NEUTRAL, "line": {"width": 2}},
    )
    marks = {r.method: r.estimates[metric].value for r in rows if r.method == found.plain}
    marks |= {n: e.value for n, e in found.references.items()} if metric == "mfn" else {}
    lines, notes = [], []
    for place, (label, at) in enumerate(marks.items()):
        dash = {"dash": "dot" if label == found.plain else "dash", "width": 1.5, "color": NEUTRAL}
        lines.append({"type": "line", "x0": 100 * at, "x1": 100 * at, "y0": -0.6, "y1": len(rows) - 0.4, "line": dash})
        notes.append(
            {
                "x": 100 * at,
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "text": escape(label),
                "yshift": 14 * (place % 2),
                "font": {"size": 12},
            }
        )
    runs = {len(r.seeds) for r in rows}
    each = ["" if len(runs) == 1 else f" ({plural(len(r.seeds), 'seed')})" for r in rows]
    of = plural(runs.pop(), "run") if len(runs) == 1 else "the runs"
    title = [*wrap(name.text, 30), f"mean of {of}, n = {sum(found.n)} items"]  # in lines that fit a phone
    return figure(
        136 + _ROW * len(rows),
        means,
        single,
        shapes=lines,
        annotations=notes,
        margin={"l": 8, "r": 24, "t": 34, "b": 8},
        xaxis={
            "title": "<br>".join(title),
            "zeroline": False,
        },
        yaxis={
            "tickvals": list(range(len(rows))),
            "ticktext": [escape(r.method) + of_seeds for r, of_seeds in zip(rows, each, strict=True)],
            "range": [len(rows) - 0.4, -0.6],
            "zeroline": False,
        },
    )


def _told(row: "Row", metric: str) -> str:
    name, change = NAMES[metric], row.changes[metric]
    against = "" if change is None else f"<br>minus plain: {estimate(change, 1, sign=True)} points"
    return f"{escape(row.method)}, {name.title}: {estimate(row.estimates[metric], 1)} {name.unit}{against}"


def _colour(row: "Row", metric: str) -> str:
    return {BETTER: RIGHT, WORSE: WRONG}.get(verdict(row, metric), NEUTRAL)


def orders(found: "Methods", method: str | None = None) -> go.Figure | None:
    """Accuracy at the end of every task in the usual order and in another one, with 95 % intervals."""
    turned = next((t for t in found.orders if t.method == (method or t.method)), None)
    if turned is None:
        return None
    places = list(range(len(found.order)))
    traces = [
        go.Scatter(
            x=[100 * e.value for e in ends],
            y=[p + shift for p in places],
            mode="markers",
            name=name,
            marker={"size": 12, "symbol": symbol, "color": colour},
            cliponaxis=False,
            error_x=_errors(list(ends), colour),
            text=[f"{escape(task)}, {name}: {share(e)}" for task, e in zip(found.order, ends, strict=True)],
            hovertemplate="%{text}<extra></extra>",
        )
        for name, ends, shift, symbol, colour in (
            (f"usual: {found.order[0]} first", turned.usual, -0.14, "circle", IMAGE),
            (f"{order_name(turned.order, found.order)}: {turned.order[0]} first", turned.here, 0.14, "diamond", TEXT),
        )
    ]
    return figure(
        130 + 34 * len(places),
        *traces,
        margin={"l": 8, "r": 24, "t": 64, "b": 8},
        xaxis={
            "title": f"Accuracy at the end, %, {escape(turned.method)}, seed {turned.seeds[0]}",
            "range": [-2, 102],
        },
        yaxis={
            "tickvals": places,
            "ticktext": [f"{escape(task)} (n = {n})" for task, n in zip(found.order, found.n, strict=True)],
            "range": [len(places) - 0.5, -0.5],
            "zeroline": False,
        },
    )

"""How conflicts look: one lead from layer to layer, many answers against relative uncertainty, tables."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import IMAGE, NEUTRAL, TEXT, figure, reach
from analysis.statistics import Estimate
from analysis.table import Head, Table
from analysis.wording import between, percent, share, signed

if TYPE_CHECKING:
    from analysis.interference.conflict.measure import Conflicts
    from analysis.interference.conflict.single import Conflict

_POINTS = 121
_SURER = "−2: surer in text, +2: in picture"
_FROM = ("The text alone", "The picture alone", "Both")


def oscillation(found: "Conflict") -> go.Figure | None:
    """Who leads after each layer: the margin between the two answers, nats, changes of the lead marked; None where no
    lens can tell.
    """
    if found.unread:
        return None
    layers = np.arange(1, len(found.margin) + 1)
    colours = np.where(found.margin > 0, TEXT, IMAGE)
    changed = found.switched
    line = go.Scatter(
        x=layers, y=found.margin, mode="lines+markers", line={"color": NEUTRAL, "width": 2},
        marker={"size": 11, "color": colours}, hovertemplate="layer %{x}: %{y:+.2f} nats<extra></extra>",
        showlegend=False,
    )
    names = ((TEXT, f"the text's “{found.told[:24]}”"), (IMAGE, f"the picture's “{found.seen[:24]}”"))
    keys = [
        go.Scatter(x=[None], y=[None], mode="markers", marker={"size": 11, "color": c}, name=f"ahead: {escape(name)}")
        for c, name in names
    ]
    marks = go.Scatter(
        x=layers[changed], y=found.margin[changed], mode="markers", name="the lead changes",
        marker={"size": 22, "color": "rgba(0,0,0,0)", "line": {"width": 2.5, "color": NEUTRAL}}, hoverinfo="skip",
    )
    reach = 1.15 * max(float(np.abs(found.margin).max()), 1e-3)
    zero = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 0, "y1": 0, "line": {"width": 1, "color": NEUTRAL}}
    return figure(
        330, line, *keys, *([marks] if changed.any() else []), showlegend=True, shapes=[zero],
        margin={"l": 8, "r": 16, "t": 72, "b": 8},
        xaxis={"title": "Layer of the decoder (n = 1 conflict)", "dtick": max(len(layers) // 8, 1)},
        yaxis={"title": "Lead of the text's answer, nats", "range": [-reach, reach]},
    )


def sides(found: "Conflict") -> str:
    """From the text alone, the picture alone, both: the answer, how unsure, and the two answers' chances."""
    heads = [Head(f"“{side[:40]}”", unit="%") for side in (found.seen, found.told)]
    unsure = "Entropy of the first token: 0 is certain; 0.69 nats is a toss-up between two"
    rows = [
        [title, answer.strip() or "–", entropy, *map(percent, chances)]
        for title, answer, entropy, chances in zip(
            _FROM, found.answers, found.entropy, found.probability, strict=True
        )
    ]
    table = Table(["From", "Answer", Head("Unsure, nats", unsure, digits=2), *heads], rows)
    known = "known to be true" if found.truth_known else "as far as is known: nobody has checked it"
    return (
        f'<div class="card">{table.html()}'
        f'<p class="key">The text says: {escape(found.text)} · What the picture says is {known}. The two answers’ '
        "chances are compared with each other alone.</p></div>"
    )


def law(found: "Conflicts") -> go.Figure | None:
    """Share that follows the text against relative uncertainty, %: points of nearly equal number with Wilson intervals,
    the logistic curve with its band, the balance point with its interval.
    """
    if not found.bins:
        return None
    spans = [Estimate((b.start + b.end) / 2, b.start, b.end) for b in found.bins]
    bars = {"color": TEXT, "width": 0}
    dots = go.Scatter(
        x=[s.value for s in spans], y=[100 * b.share.value for b in found.bins], mode="markers", name="measured",
        marker={"size": 11, "color": TEXT}, error_x={**reach(spans, 1), **bars, "thickness": 1},
        error_y={**reach(b.share for b in found.bins), **bars, "thickness": 2},
        customdata=[[b.share.n, b.start, b.end] for b in found.bins],
        hovertemplate="%{customdata[1]:.2f} to %{customdata[2]:.2f}: %{y:.0f} % of %{customdata[0]}<extra></extra>",
    )
    traces, layout = [dots], {"shapes": [_level(50)], "annotations": []}
    curve = found.fitted
    if not curve.reason:
        at = np.linspace(-2, 2, _POINTS)
        least, most = curve.band(at)
        band = go.Scatter(
            x=[*at, *at[::-1]], y=[*(100 * most), *(100 * least[::-1])], fill="toself", line={"width": 0},
            fillcolor="rgba(138,143,152,0.22)", name="95 % band", hoverinfo="skip",
        )
        line = go.Scatter(
            x=at, y=100 * curve.probability(at), mode="lines", name="logistic fit",
            line={"color": NEUTRAL, "width": 2.5},
            hovertemplate="at %{x:.2f}: %{y:.0f} %<extra></extra>",
        )
        traces = [band, line, dots]
        if not np.isnan(curve.balance.low) and not curve.beyond:
            _mark(layout, curve)
    return figure(
        350, *traces, showlegend=True, margin={"l": 8, "r": 16, "t": 72, "b": 8}, **layout,
        xaxis={"title": f"Relative uncertainty (n = {int(found.counted.sum())})<br>{_SURER}", "range": [-2.1, 2.1]},
        yaxis={"title": "Follows the text, %", "range": [-4, 104]},
    )


def _level(y: float) -> dict:
    return {
        "type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": y, "y1": y,
        "line": {"width": 1, "dash": "dot", "color": NEUTRAL},
    }


def _mark(layout: dict, curve) -> None:
    """The balance point and its interval, drawn into ``layout``."""
    of = curve.balance
    layout["shapes"] += [
        {"type": "rect", "x0": max(of.low, -2.1), "x1": min(of.high, 2.1), "y0": 0, "y1": 1, "yref": "paper",
         "fillcolor": "rgba(138,143,152,0.14)", "line": {"width": 0}},
        {"type": "line", "x0": of.value, "x1": of.value, "y0": 0, "y1": 1, "yref": "paper",
         "line": {"width": 2, "dash": "dash", "color": NEUTRAL}},
    ]
    layout["annotations"].append(
        {"x": of.value, "y": 0.02, "yref": "paper", "yanchor": "bottom", "showarrow": False,
         "text": f"balance point {signed(of.value)}"}
    )


def inside(found: "Conflicts") -> go.Figure | None:
    """Mean changes of the lead between layers, near the balance point and far from it; None where nothing is near."""
    compared = found.oscillation
    if compared is None:
        return None
    bars = go.Bar(
        x=[compared.near, compared.far], y=["near", "far"], orientation="h", marker_color=[TEXT, NEUTRAL],
        text=[f"{compared.near:.2f}", f"{compared.far:.2f}"], textposition="outside", cliponaxis=False,
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    span = f"near − far: {between(compared.difference, 2, sign=True, times=1)} (95 %)"
    return figure(
        230, bars, bargap=0.4, margin={"l": 8, "r": 40, "t": 32, "b": 8},
        xaxis={"title": f"Changes of the lead, mean; {span}; n = {compared.difference.n} each", "rangemode": "tozero"},
        yaxis={"title": "Balance point", "autorange": "reversed"},
    )


def tier_table(found: "Conflicts") -> Table:
    """Each difficulty of either side: right from that side alone, and how many follow the text; 95 % intervals."""
    rows = [
        [f"{t.side}: {t.name.replace('%', ' %')}", t.n, share(t.right), t.counted, share(t.followed)]
        for t in found.by_tier
    ]
    return Table(["Difficulty", "n", "Right from that side alone", "Count", "Follow the text"], rows)


def tiers(found: "Conflicts") -> str:
    """The same on the page."""
    return (
        f'<div class="card">{tier_table(found).html()}<p class="key">An item counts where the text alone and the '
        "picture alone are both answered rightly and the answer from both names one of the two. In brackets: 95 % "
        "intervals.</p></div>"
    )

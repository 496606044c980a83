"""How attention looks: by layer, its decay, layer by head, from token to token."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ANSWER, DASHES, IMAGE, NEUTRAL, SERIES, TEXT, WRONG, empty, figure

if TYPE_CHECKING:
    from analysis.attention.measure import Attention

KINDS = (
    ("image", "the picture", IMAGE, "solid"), ("question", "the question", TEXT, "dash"),
    ("instruction", "the template", NEUTRAL, "dot"), ("answer", "its earlier answer", ANSWER, "dashdot"),
)  # fmt: skip
"""Kinds of tokens in the order of every axis of kinds: name, what it is called, colour, dash."""
_LINKS = {
    "text-to-image": (IMAGE, "circle"), "image-to-image": (SERIES[5], "square"), "image-to-text": (TEXT, "diamond"),
    "text-to-text": (NEUTRAL, "x"),
}  # fmt: skip
_READABLE = 12  # heads whose cells have room for a number


def layer_axis(layers: int, what: str = "Layer") -> dict:
    """A horizontal axis of layers, counted from 1."""
    return {"title": what, "dtick": max(1, round(layers / 8)), "tick0": 1, "range": [0.8, layers + 0.2]}


def headline(found: "Attention", per_key: bool = False) -> go.Figure:
    """Attention of the chosen token to each kind of token by layer, %: all of it, or what one key gets (log axis)."""
    values = 100 * (found.per_key if per_key else found.mass)
    layers = np.arange(1, found.layers + 1)
    types = found.layer_types or ("",) * found.layers
    lines = []
    for k, (kind, called, colour, dash) in enumerate(KINDS):
        if not found.keys[:, k].any():
            continue
        shown = np.where(values[:, k] > 0, values[:, k], np.nan) if per_key else values[:, k]
        lines.append(
            go.Scatter(
                x=layers, y=shown, name=f"{called} ({found.keys[:, k].max():.0f})", mode="lines+markers",
                line={"color": colour, "width": 3 if kind == "image" else 2, "dash": dash}, marker={"size": 8},
                customdata=np.stack([found.keys[:, k].astype(object), np.array(types, dtype=object)], 1),
                hovertemplate="layer %{x}: %{y:.3g} % on %{customdata[0]:.0f} tokens %{customdata[1]}",
            )
        )  # fmt: skip
    title = "Attention per key token, % (log)" if per_key else "Share of attention, %"
    limits = {"type": "log"} if per_key else {"range": [-2, 102]}
    return figure(
        380, *lines, showlegend=True, margin={"l": 8, "r": 16, "t": 76, "b": 8},
        xaxis=layer_axis(found.layers, f"Layer (n = {found.heads} heads)"),
        yaxis={"title": title, **limits},
    )  # fmt: skip


def disparity(found: "Attention") -> go.Figure:
    """How far apart self- and cross-modal attention are in each layer, %: as shares, and per key token."""
    layers = np.arange(1, found.layers + 1)
    bars = []
    for name, per_key, colour in (("share of attention", False, NEUTRAL), ("per key token", True, IMAGE)):
        values = 100 * found.disparity(per_key)
        if np.isnan(values).all():
            return empty("Only one modality can be attended to, so there is nothing to compare", 160)
        bars.append(go.Bar(x=layers, y=values, name=name, marker_color=colour, hovertemplate="layer %{x}: %{y:.0f} %"))
    return figure(
        320, *bars, barmode="group", showlegend=True,
        xaxis={**layer_axis(found.layers, f"Layer (n = {found.heads} heads)"),
               "range": [0.4, found.layers + 0.6]},
        yaxis={"title": "Disparity, %", "range": [0, 102]},
    )  # fmt: skip


def decay(found: "Attention") -> go.Figure:
    """What one key gets in each layer, %, for each link of the prompt (log axis), with the fitted exponential."""
    layers, drawn = np.arange(1, found.layers + 1), []
    for link in found.links:
        colour, symbol = _LINKS[link.name]
        if not np.nan_to_num(link.score).any():
            continue
        shown = np.where(link.score > 0, link.score, np.nan)
        drawn.append(
            go.Scatter(
                x=layers, y=100 * shown, name=link.name, mode="markers", legendgroup=link.name,
                marker={"color": colour, "size": 10, "symbol": symbol}, hovertemplate="layer %{x}: %{y:.3g} % a key",
            )
        )  # fmt: skip
        if not np.isnan(link.decay.gamma):
            drawn.append(
                go.Scatter(
                    x=layers, y=100 * link.decay.at(layers), mode="lines", legendgroup=link.name, showlegend=False,
                    line={"color": colour, "width": 2, "dash": "dash"}, hoverinfo="skip",
                )
            )  # fmt: skip
    if not drawn:
        return empty("No layer could be read", 160)
    return figure(
        360, *drawn, showlegend=True, margin={"l": 8, "r": 16, "t": 76, "b": 8},
        xaxis=layer_axis(found.layers, f"Layer (n = {found.layers})"),
        yaxis={"title": "Attention per key token, % (log)", "type": "log"},
    )  # fmt: skip


def heads(found: "Attention", layer: int = 0, head: int = 0, by_value: bool = False) -> str:
    """Layer by head: the share of attention on the picture, as a grid of buttons; one is chosen (0: none).

    With ``by_value`` keys are weighted by the norms of their values.
    ``data-pick`` is "layer,head", both from 1.
    """
    share = (found.contribution if by_value else found.share)[:, :, 0]
    most, wide = float(share.max()) or 1.0, found.heads > _READABLE
    # many buttons would each be a stop for the Tab key: the two menus beside the grid are the way then
    reach = ' tabindex="-1"' if share.size > 64 else ""
    rows = [
        "<span></span>" + "".join(f"<span>{h + 1 if not wide or h % 4 == 3 else ''}</span>" for h in range(found.heads))
    ]
    for i in range(found.layers):
        cells = [f"<span>{i + 1}</span>"]
        for j in range(found.heads):
            chosen = " class=chosen" if (i + 1, j + 1) == (layer, head) else ""
            strong = share[i, j] / most
            cells.append(
                f'<button type="button" data-pick="{i + 1},{j + 1}"{chosen}{reach} style="--a:{strong:.2f}" '
                f'title="layer {i + 1}, head {j + 1}: {100 * share[i, j]:.1f} % on the picture" aria-label="layer '
                f'{i + 1}, head {j + 1}: {100 * share[i, j]:.0f} % of its attention is on the picture">'
                f"{'' if wide else f'{100 * share[i, j]:.0f}'}</button>"
            )
        rows.append("".join(cells))
    columns = f"grid-template-columns:2em repeat({found.heads},minmax(0,1fr))"
    return (
        f'<div class="card"><div class="heads{" wide" if wide else ""}" style="{columns}" '
        f'role="group" aria-label="Attention to the picture by layer and head">{"".join(rows)}</div>'
        '<p class="key">Rows: layers. Columns: heads. Darker: a larger share of the attention is on the picture, in % '
        f"(darkest: {100 * most:.0f} %). Choose one to see where it looks.</p></div>"
    )


def by_token(found: "Attention") -> go.Figure:
    """Share of attention on the picture while each token is written, %: each layer thin, their mean thick."""
    if not found.written:
        return empty("The model answers nothing", 160)
    if not found.picture:
        return empty("No picture, so no attention to one", 160)
    values, places = 100 * found.written_share[:, :, 0], list(range(1, len(found.written) + 1))
    thin = [
        go.Scatter(
            x=places, y=row, mode="lines+markers", name=f"layer {i + 1}", showlegend=False, opacity=0.5,
            line={"color": NEUTRAL, "width": 1}, marker={"size": 4},
            hovertemplate=f"layer {i + 1}, token %{{x}}: %{{y:.1f}} %<extra></extra>",
        )
        for i, row in enumerate(values)
    ]  # fmt: skip
    mean = values.mean(0)
    thick = go.Scatter(
        x=places, y=mean, mode="lines+markers", name="mean of layers", line={"color": IMAGE, "width": 3},
        marker={"size": 8}, customdata=[escape(t) for t in found.written],
        hovertemplate="“%{customdata}”: %{y:.1f} %",
    )  # fmt: skip
    wrong = [i for i, bad in enumerate(found.invented) if bad]
    marks = go.Scatter(
        x=[places[i] for i in wrong], y=[mean[i] for i in wrong], mode="markers", name="named, but not there",
        marker={"color": WRONG, "size": 14, "symbol": "x"}, hoverinfo="skip",
    )  # fmt: skip
    every = max(1, round(len(places) / 14))
    names = [escape(t.strip()[:14]) or "␣" for t in found.written]
    return figure(
        360, *thin, thick, *([marks] if wrong else []), showlegend=True,
        xaxis={
            "title": f"Token (n = {len(places)})",
            "tickvals": places[::every], "ticktext": names[::every], "tickangle": -60 if len(places) > 6 else 0,
        },
        yaxis={"title": "Attention to the picture, %", "rangemode": "tozero"},
    )  # fmt: skip


def compared(curves: dict[str, np.ndarray], what: str, spread: dict[str, tuple] | None = None) -> go.Figure:
    """One line a name over layers, %; ``curves`` are shares 0 to 1 ``[layers]``, ``spread`` their intervals."""
    colours = (IMAGE, TEXT, ANSWER, *SERIES[3:])
    lines = []
    for i, (name, values) in enumerate(curves.items()):
        low, high = (spread or {}).get(name, (None, None))
        bars = None
        if low is not None:
            bars = {"type": "data", "array": 100 * (high - values), "arrayminus": 100 * (values - low), "width": 5}
        lines.append(
            go.Scatter(
                x=np.arange(1, len(values) + 1), y=100 * values, name=escape(name), mode="lines+markers", error_y=bars,
                line={"color": colours[i % len(colours)], "width": 2.5, "dash": DASHES[i // 2 % len(DASHES)]},
                marker={"size": 8}, hovertemplate="layer %{x}: %{y:.1f} %",
            )
        )  # fmt: skip
    count = max(map(len, curves.values()))
    rows = -(-len(curves) // 3)
    return figure(
        340 + 22 * rows, *lines, showlegend=True, margin={"l": 8, "r": 16, "t": 32 + 26 * rows, "b": 8},
        xaxis=layer_axis(count), yaxis={"title": what, "rangemode": "tozero"},
    )  # fmt: skip

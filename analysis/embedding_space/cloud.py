"""How a cloud of pairs looks: one figure a view, phase by phase, pictures and texts told apart, true pairs joined."""

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import NEUTRAL, SERIES, figure

if TYPE_CHECKING:
    from analysis.embedding_space.project import Cloud
    from analysis.embedding_space.result import Space

HEIGHT = 520
_SVG = 1200  # points above which WebGL draws them
_JOINED = 600  # pairs above which the lines between them hide everything, so they start switched off
_AXES = "xyz"
_MARKS = {"images": "circle", "words": "diamond-open"}
_CLEAR = "rgba(0,0,0,0)"
_GRID = "#80868F"


def draw(found: "Space", seen: "Cloud", span: np.ndarray, title: str, phase: int = 0) -> go.Figure:
    """One view of the pairs shown, at ``phase``; ``span`` ``[2, dimensions]`` is what the axes cover (``spans``).

    ``layout.meta`` holds every phase for the page's player: ``labels``, how many ``pairs`` and ``dimensions``, where
    ``images`` and ``words`` lie (float32 ``[phases, pairs, dimensions]`` as base64: lists of thousands of places are
    slow), and ``rows``: which pairs each trace draws, and of what kind. The last trace is for a chosen pair.
    """
    rows = _rows(found)
    traces = [_trace(kind, name, pairs, found, seen, phase) for kind, name, pairs in rows]
    meta = {
        "labels": list(found.phases),
        "pairs": len(found.shown),
        "dimensions": seen.dimensions,
        "images": _packed(seen.images),
        "words": _packed(seen.words),
        "rows": [{"kind": kind, "pairs": pairs.tolist()} for kind, _, pairs in rows],
    }
    named = {"text": f"{title}, n = {len(found.shown)}", "font": {"size": 15}, "x": 0, "xanchor": "left"}
    return figure(
        HEIGHT, *traces, meta=meta, title=named, showlegend=True, margin={"l": 8, "r": 8, "t": 40, "b": 8},
        legend={"itemsizing": "constant", "orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        **_axes(seen, span),
    )  # fmt: skip


def _packed(places: np.ndarray) -> str:
    return base64.b64encode(places.astype("<f4").tobytes()).decode()


def spans(*clouds: "Cloud") -> np.ndarray:
    """What axes must cover, ``[2, dimensions]``, to hold every phase of all ``clouds``: they can then be compared."""
    points = np.concatenate([part.reshape(-1, c.dimensions) for c in clouds for part in (c.images, c.words)])
    low, high = points.min(0), points.max(0)
    edge = 0.05 * np.maximum(high - low, 1e-6)
    return np.stack([low - edge, high + edge])


def animated(found: "Space", seen: "Cloud", span: np.ndarray, title: str) -> go.Figure:
    """``draw`` with Plotly's own slider and play button, for a page of its own."""
    whole = draw(found, seen, span, title)
    rows = _rows(found)
    whole.frames = [
        go.Frame(
            name=label, data=[_trace(kind, name, pairs, found, seen, i) for kind, name, pairs in rows],
            traces=list(range(len(rows))),
        )
        for i, label in enumerate(found.phases)
    ]  # fmt: skip
    now = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"method": "animate", "label": label, "args": [[label], now]} for label in found.phases]
    play = {"frame": {"duration": 900, "redraw": True}, "transition": {"duration": 0}, "fromcurrent": True}
    button = {"method": "animate", "label": "▶ Play", "args": [None, play]}
    whole.update_layout(
        meta=None, height=HEIGHT + 130,
        sliders=[{"steps": steps, "currentvalue": {"prefix": "Phase: "}, "pad": {"t": 70}}],
        updatemenus=[{"type": "buttons", "buttons": [button], "x": 1, "y": 1.12, "xanchor": "right"}],
    )  # fmt: skip
    return whole


def joined(pairs: int) -> bool:
    """Whether lines between so many pairs are drawn before anyone asks."""
    return pairs <= _JOINED


def _rows(found: "Space") -> list[tuple[str, str, np.ndarray]]:
    """What is drawn, in order: lines, then pictures and texts of each domain, then the chosen pair (still none)."""
    domains = np.array([found.domains[i] for i in found.shown])
    rows = [("lines", "true pairs", np.arange(len(domains)))]
    for domain in dict.fromkeys(domains.tolist()):
        here = np.flatnonzero(domains == domain)
        rows += [("images", domain, here), ("words", domain, here)]
    return [*rows, ("chosen", "chosen", np.array([], dtype=int))]


def _trace(kind: str, name: str, pairs: np.ndarray, found: "Space", seen: "Cloud", phase: int):
    """The trace of one row of ``_rows``."""
    flat = seen.dimensions == 2
    large = 2 * len(found.shown) > _SVG
    make = (go.Scattergl if large else go.Scatter) if flat else go.Scatter3d
    if kind in ("lines", "chosen"):
        faint = "rgba(128,134,143,0.45)" if flat else NEUTRAL  # WebGL in 3-D knows no transparent lines
        width, colour = (1, faint) if kind == "lines" else (3, NEUTRAL)
        if not joined(len(found.shown)):
            pairs = pairs[:0]  # the player draws them when they are switched on
        at = _ends(seen.images[phase, pairs], seen.words[phase, pairs])
        return make(
            **_places(at), mode="lines" if kind == "lines" else "lines+markers", name=name, hoverinfo="skip",
            line={"width": width, "color": colour}, showlegend=False,
            marker={"size": 16 if flat else 9, "color": _CLEAR if flat else colour,
                    "line": {"width": 3, "color": NEUTRAL}},
            visible=kind == "chosen" or joined(len(found.shown)),
        )  # fmt: skip
    order = list(found.domain_names)
    points = (seen.images if kind == "images" else seen.words)[phase, pairs]
    said = "picture" if kind == "images" else "text"
    size = (4 if large else 8) if flat else 4
    return make(
        **_places(points), mode="markers", name=name, legendgroup=name, showlegend=kind == "images",
        text=[found.texts[found.shown[i]] for i in pairs], customdata=pairs,
        marker={"symbol": _MARKS[kind], "size": size, "opacity": 0.85,
                "color": SERIES[order.index(name) % len(SERIES)]},
        hovertemplate=f"<b>%{{text}}</b><br>{said} · {name}<extra></extra>",
    )  # fmt: skip


def _places(points: np.ndarray) -> dict:
    return {axis: points[:, i] for i, axis in enumerate(_AXES[: points.shape[1]])}


def _ends(images: np.ndarray, words: np.ndarray) -> np.ndarray:
    """From picture to text and a gap, for every pair: ``[3 * pairs, dimensions]``."""
    gap = np.full_like(images, np.nan)
    return np.stack([images, words, gap], 1).reshape(-1, images.shape[1])


def _axes(seen: "Cloud", span: np.ndarray) -> dict:
    """Equal scales, the same in every phase; where the axes mean something they say what."""
    of = " of phase 0" if seen.method == "pca" and seen.dimensions == 2 else ""
    titles = [f"axis {i + 1}{of}" for i in range(seen.dimensions)]
    if seen.dimensions == 2:
        common = {"zeroline": False, "showticklabels": False}
        return {
            "xaxis": {"title": titles[0], "range": span[:, 0].tolist(), "constrain": "domain", **common},
            "yaxis": {"title": titles[1], "range": span[:, 1].tolist(), "scaleanchor": "x", **common},
        }
    plain = {"backgroundcolor": _CLEAR, "gridcolor": _GRID, "gridwidth": 1, "zeroline": False, "showspikes": False,
             "showticklabels": False}  # fmt: skip
    axes = {
        f"{axis}axis": {"title": {"text": title, "font": {"size": 12}}, "range": span[:, i].tolist(), **plain}
        for i, (axis, title) in enumerate(zip(_AXES, titles, strict=True))
    }
    return {"scene": {"aspectmode": "cube", "bgcolor": _CLEAR, "dragmode": "orbit", **axes}}


def held(seen: "Cloud", phases: Sequence[str]) -> str:
    """How much of each phase the picture holds, in words; empty where that cannot be said."""
    if np.isnan(seen.explained).any():
        return ""
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(phases, seen.explained, strict=True))
    return f"Share of the variance that the picture holds: {shares}."

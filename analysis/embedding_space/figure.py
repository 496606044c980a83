"""The charts of the room: a cloud of pairs at one phase, the contrastive matrix, and recall phase by phase."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import DASHES, IMAGE, NEUTRAL, SERIES, WRONG, figure, tint

if TYPE_CHECKING:
    from analysis.embedding_space.contrast import Contrast
    from analysis.embedding_space.maps import Cloud
    from analysis.embedding_space.result import Space
    from analysis.embedding_space.retrieval import Recalls, Repeated

LINES = {"trails": "where they came from", "pairs": "each picture to its name", "none": "none"}
_HEIGHT = 350
_SVG = 1200  # points above which WebGL draws them
_AXES = "xyz"
_MARKS = {"images": "circle", "words": "diamond-open"}
_CLEAR = "rgba(0,0,0,0)"
_GRID = "#80868F"
_SCALE = [[0, "rgba(0,114,178,0.05)"], [1, IMAGE]]
_CHANGE = [[0, WRONG], [0.5, "rgba(138,143,152,0.08)"], [1, IMAGE]]


def draw(
    found: "Space", seen: "Cloud", span: np.ndarray, title: str, phase: int, lines: str = "trails", chosen: int = -1
) -> go.Figure:
    """The pairs shown, at ``phase``; ``span`` ``[2, dimensions]`` is what the axes cover (``spans``), ``lines`` one of
    ``LINES``, ``chosen`` the place of a pair that is ringed, below 0 for none.

    A click on a mark sets the control ``pair`` to what ``names`` calls it. Every phase has the same traces with as many
    points, so that Plotly moves them from one to the next.
    """
    named = {"text": title, "font": {"size": 14}, "x": 0, "xanchor": "left", "y": 0.93}
    return figure(
        _HEIGHT, *_traces(found, seen, phase, lines, chosen), meta={"set": "pair"}, title=named, showlegend=False,
        margin={"l": 4, "r": 4, "t": 52, "b": 4}, transition={"duration": 500, "easing": "cubic-in-out"},
        **_axes(seen, span),
    )


def animated(found: "Space", seen: "Cloud", span: np.ndarray, title: str) -> go.Figure:
    """All phases, with Plotly's own slider and play button, for a page of its own."""
    whole = draw(found, seen, span, title, 0)
    whole.frames = [
        go.Frame(name=label, data=_traces(found, seen, i, "trails", -1)) for i, label in enumerate(found.phases)
    ]
    now = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"method": "animate", "label": label, "args": [[label], now]} for label in found.phases]
    play = {"frame": {"duration": 900, "redraw": True}, "transition": {"duration": 0}, "fromcurrent": True}
    button = {"method": "animate", "label": "▶ Play", "args": [None, play]}
    whole.update_layout(
        meta=None, height=_HEIGHT + 250,
        sliders=[{"steps": steps, "currentvalue": {"prefix": "Phase: "}, "pad": {"t": 70}}],
        updatemenus=[{"type": "buttons", "buttons": [button], "x": 1, "y": 1.12, "xanchor": "right"}],
    )
    return whole


def spans(*clouds: "Cloud") -> np.ndarray:
    """What axes must cover, ``[2, dimensions]``, to hold every phase of all ``clouds``: they can then be compared."""
    points = np.concatenate([part.reshape(-1, c.dimensions) for c in clouds for part in (c.images, c.words)])
    low, high = points.min(0), points.max(0)
    edge = 0.05 * np.maximum(high - low, 1e-6)
    return np.stack([low - edge, high + edge])


def names(found: "Space") -> list[str]:
    """What each of the pairs shown is called: its text, with its number where others have the same."""
    texts = [found.texts[i] for i in found.shown]
    often = Counter(texts)
    return [f"{text} ({i + 1})" if often[text] > 1 else text for i, text in enumerate(texts)]


def _traces(found: "Space", seen: "Cloud", phase: int, lines: str, chosen: int) -> list:
    """Lines of each domain; its pictures and texts; the way of each domain's middle, named; the chosen pair."""
    flat, large = seen.dimensions == 2, 2 * len(found.shown) > _SVG
    make = (go.Scattergl if large else go.Scatter) if flat else go.Scatter3d
    domains, called = np.array([found.domains[i] for i in found.shown]), np.array(names(found))
    size = (4 if large else 6) if flat else 3
    middles = {d: seen.images[:, domains == d].mean(1, keepdims=True) for d in found.domain_names if d in domains}
    colours = {d: SERIES[j % len(SERIES)] for j, d in enumerate(found.domain_names)}
    below, marks = [], []
    for domain in middles:
        here, colour = np.flatnonzero(domains == domain), colours[domain]
        if lines != "none":
            both = np.concatenate([seen.images[:, here], seen.words[:, here]], axis=1)
            at = _joined(seen, here, phase) if lines == "pairs" else _way(both, phase)
            faint = tint(colour, 0.35) if flat else colour  # WebGL in 3-D knows no transparent lines
            below.append(make(**_places(at), mode="lines", hoverinfo="skip", line={"width": 1, "color": faint}))
        for kind, said in (("images", "picture"), ("words", "name")):
            points = getattr(seen, kind)[phase, here]
            marks.append(make(
                **_places(points), mode="markers", text=called[here].tolist(), customdata=called[here].tolist(),
                name=domain, marker={"symbol": _MARKS[kind], "size": size, "opacity": 0.7, "color": colour},
                hovertemplate=f"<b>%{{text}}</b><br>{said} · {domain}<extra></extra>",
            ))
    ways = [
        make(**_places(_way(of, phase)), mode="lines", hoverinfo="skip", line={"width": 4, "color": colours[domain]})
        for domain, of in middles.items()
    ]
    ends = np.concatenate([of[phase] for of in middles.values()])
    edge, colour = {"width": 1, "color": "#fff"}, [colours[d] for d in middles]
    dots = {"size": 13 if flat else 5, "color": colour, "line": edge}
    ways.append(make(
        **_places(ends), mode="markers", marker=dots, hovertemplate="middle of the pictures of %{text}<extra></extra>",
        text=list(middles),
    ))
    ways.append(make(
        **_places(_apart(ends, np.ptp(seen.images[0], axis=0))), mode="text", text=[f"<b>{d}</b>" for d in middles],
        textposition="middle right", hoverinfo="skip", **({"cliponaxis": False} if make is go.Scatter else {}),
    ))
    ring = {"size": 16 if flat else 9, "color": _CLEAR if flat else NEUTRAL, "line": {"width": 3, "color": NEUTRAL}}
    picked = make(
        **_places(_joined(seen, np.array([chosen] if chosen >= 0 else [], dtype=int), phase)), mode="lines+markers",
        hoverinfo="skip", line={"width": 3, "color": NEUTRAL}, marker=ring,
    )
    return [*below, *marks, *ways, picked]


def _apart(ends: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Places of labels, right of ``ends`` ``[labels, dimensions]`` and so far above each other that all can be read."""
    at = ends.copy()
    at[:, 0] += 0.035 * size[0]
    order, step = np.argsort(at[:, 1]), 0.075 * size[1]
    for below, above in zip(order, order[1:], strict=False):
        at[above, 1] = max(at[above, 1], at[below, 1] + step)
    at[:, 1] -= (at[:, 1] - ends[:, 1]).mean()
    return at


def _way(points: np.ndarray, phase: int) -> np.ndarray:
    """From the first phase to this one, and a gap, for each of ``points`` ``[phases, points, dimensions]``:
    ``[points * (phases + 1), dimensions]``. Phases still to come lie where this one does."""
    at = points[[*range(phase), *[phase] * (len(points) - phase)]]
    gap = np.full_like(at[:1], np.nan)
    return np.concatenate([at, gap]).transpose(1, 0, 2).reshape(-1, at.shape[2])


def _joined(seen: "Cloud", pairs: np.ndarray, phase: int) -> np.ndarray:
    """From picture to text and a gap, for every pair: ``[3 * pairs, dimensions]``."""
    images, words = seen.images[phase, pairs], seen.words[phase, pairs]
    return np.stack([images, words, np.full_like(images, np.nan)], 1).reshape(-1, images.shape[1])


def _places(points: np.ndarray) -> dict:
    return {axis: points[:, i] for i, axis in enumerate(_AXES[: points.shape[1]])}


def _axes(seen: "Cloud", span: np.ndarray) -> dict:
    """Equal scales, the same in every phase; where the axes mean something they say what."""
    of = " of the first phase" if seen.method == "pca" and seen.dimensions == 2 else ""
    titles = [{"text": f"axis {i + 1}{of}", "font": {"size": 12}} for i in range(seen.dimensions)]
    if seen.dimensions == 2:
        common = {"zeroline": False, "showticklabels": False}
        return {
            "xaxis": {"title": titles[0], "range": span[:, 0].tolist(), "constrain": "domain", **common},
            "yaxis": {"title": titles[1], "range": span[:, 1].tolist(), "scaleanchor": "x", **common},
        }
    plain = {
        "backgroundcolor": _CLEAR, "gridcolor": _GRID, "gridwidth": 1, "zeroline": False, "showspikes": False,
        "showticklabels": False,
    }
    axes = {
        f"{axis}axis": {"title": title, "range": span[:, i].tolist(), **plain}
        for i, (axis, title) in enumerate(zip(_AXES, titles, strict=True))
    }
    return {"scene": {"aspectmode": "cube", "bgcolor": _CLEAR, "dragmode": "orbit", **axes}}


def heat(found: "Contrast") -> go.Figure:
    """M = V T' in both phases and the change, cosines, rows pictures; rows that went wrong are named with ✗."""
    names = [short(text) for text in found.texts]
    rows = [f"{'✗ ' if i in found.wrong else ''}{name}" for i, name in enumerate(names)]
    told = [[f"picture {row}, text {column}" for column in names] for row in rows]
    at, change = list(range(len(names))), found.after - found.before
    both = np.stack([found.before, found.after])
    low, high = float(both.min()), float(both.max())
    most = max(1e-6, float(np.abs(change).max()))
    parts = (found.before, found.phases[0]), (found.after, found.phases[1]), (change, "change")
    gap, width = 0.03, (1 - 2 * 0.03) / 3
    ticks = {"tickvals": at, "showgrid": False, "zeroline": False, "tickfont": {"size": 11}}
    traces, layout = [], {}
    for k, (i, (z, title)) in enumerate(zip(("", 2, 3), parts, strict=True)):
        start = k * (width + gap)
        traces.append(go.Heatmap(
            z=z.round(3).tolist(), x=at, y=at, coloraxis="coloraxis2" if k == 2 else "coloraxis", text=told,
            xaxis=f"x{i}", yaxis=f"y{i}", hovertemplate=f"{title}: %{{text}}<br>%{{z:.3f}}<extra></extra>",
        ))
        layout[f"xaxis{i}"] = {"domain": [start, start + width], "title": {"text": f"texts, {title}"},
                               "ticktext": names, "tickangle": -60, "anchor": f"y{i}", **ticks}
        layout[f"yaxis{i}"] = {"autorange": "reversed", "ticktext": rows, "showticklabels": k == 0, "anchor": f"x{i}",
                               "title": {"text": "pictures" if k == 0 else ""}, **ticks}
    bar = {"orientation": "h", "thickness": 12, "y": 1.02, "yanchor": "bottom"}
    return figure(
        460, *traces, margin={"l": 8, "r": 8, "t": 70, "b": 8},
        coloraxis={"colorscale": _SCALE, "cmin": low, "cmax": high,
                   "colorbar": {"title": "cosine", "x": 0.25, "len": 0.45, **bar}},
        coloraxis2={"colorscale": _CHANGE, "cmin": -most, "cmax": most,
                    "colorbar": {"title": "change", "x": 0.83, "len": 0.3, **bar}}, **layout,
    )


def short(text: str, most: int = 22) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def course(found: "Recalls", title: str) -> go.Figure:
    """Recall of each domain phase by phase, per cent; the large marker is the domain's own phase."""
    lines = [
        go.Scatter(
            x=list(found.phases), y=100 * found.matrix[:, j], name=f"{domain} (n = {found.n[j]})", mode="lines+markers",
            line={"color": SERIES[j % len(SERIES)], "width": 2.5, "dash": DASHES[j % len(DASHES)]},
            marker={"size": [13 if i == found.own[j] else 6 for i in range(len(found.phases))]},
            customdata=100 * np.stack([found.low[:, j], found.high[:, j]], 1),
            hovertemplate="%{y:.0f} % (95 %: %{customdata[0]:.0f} to %{customdata[1]:.0f})",
        )
        for j, domain in enumerate(found.domains)
    ]
    return figure(
        400, *lines, hovermode="x unified", margin={"l": 8, "r": 16, "t": 84, "b": 8},
        xaxis={"title": f"Phase of {title}, in the order of training"},
        yaxis={"title": f"R@{found.k}, %", "rangemode": "tozero"},
    )


def averages(found: "dict[str, Repeated]") -> go.Figure | None:
    """Mean recall over domains, phase by phase, a line for each method; a method with other phases is a marker at the
    end. Of a method trained more than once: the mean over its seeds, with bars from the smallest to the largest. None
    where there is no method."""
    if not found:
        return None
    longest, lines = max((of.each[0].phases for of in found.values()), key=len), []
    for i, (title, of) in enumerate(found.items()):
        whole, colour = of.each[0].phases == longest, SERIES[i % len(SERIES)]
        at = slice(None) if whole else [0, -1]
        mean, least, most = (100 * side[at] for side in (of.average.mean, of.average.least, of.average.most))
        bars = {"symmetric": False, "array": most - mean, "arrayminus": mean - least, "thickness": 1.5, "width": 5}
        lines.append(go.Scatter(
            x=list(longest) if whole else [longest[0], longest[-1]], y=mean,
            mode="lines+markers" if whole else "markers", hovertemplate="%{y:.1f} %",
            name=title if of.seeds == 1 else f"{title} ({of.seeds} seeds)",
            line={"color": colour, "width": 2.5, "dash": DASHES[i % len(DASHES)]},
            marker={"size": 8 if whole else 13, "color": colour, "symbol": "circle" if whole else "diamond"},
            error_y={"visible": of.seeds > 1, **bars},
        ))
    first = next(iter(found.values())).each[0]
    return figure(
        360, *lines, hovermode="x unified", margin={"l": 8, "r": 16, "t": 64, "b": 8},
        xaxis={"title": f"Phase (n = {int(first.n.sum())} pairs)"},
        yaxis={"title": f"R@{first.k}, mean of domains, %", "rangemode": "tozero"},
    )

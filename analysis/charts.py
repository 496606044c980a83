"""One look for every figure: colours that mean the same everywhere, one Plotly template, empty states."""

import base64
import io
import math
import textwrap
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from PIL import Image

if TYPE_CHECKING:
    from analysis.statistics import Estimate

# Okabe and Ito's colours, told apart by colour-blind readers; mid-tones that read on white and on black.
IMAGE, TEXT, ANSWER, NEUTRAL = "#0072B2", "#E69F00", "#009E73", "#8A8F98"
RIGHT, WRONG = ANSWER, "#D55E00"
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A8F98", "#B8A800")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

_LINE = 46  # letters of an axis' title in a line
_INK, _GRID, _CLEAR = "#80868F", "rgba(128,134,143,0.25)", "rgba(0,0,0,0)"
_AXIS = {
    "title": {"font": {"size": 14}}, "gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID,
    "automargin": True, "fixedrange": True,
}
_UNUSED = ["zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale", "resetScale"]

TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
        "font": {"color": _INK, "size": 14, "family": "system-ui, -apple-system, 'Segoe UI', sans-serif"},
        "colorway": list(SERIES),
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "margin": {"l": 8, "r": 16, "t": 32, "b": 8},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "modebar": {"bgcolor": _CLEAR, "color": _INK, "activecolor": IMAGE, "remove": _UNUSED},
        "hoverlabel": {"font": {"size": 14}},
    }
)


def figure(height: int, *traces, **layout) -> go.Figure:
    """A figure of ``height`` pixels in Crosstalk's template, the title below it in lines that fit a phone."""
    below = layout.get("xaxis", {})
    if isinstance(title := below.get("title"), str):
        lines = [line for part in title.split("<br>") for line in textwrap.wrap(part, _LINE, break_long_words=False)]
        layout["xaxis"] = below | {"title": "<br>".join(lines)}
    return go.Figure(data=list(traces), layout={"template": TEMPLATE, "height": height, **layout})


def empty(message: str, height: int = 140) -> go.Figure:
    """A figure that says why there is nothing to draw, in lines that fit a phone."""
    lines = [line for part in message.split("<br>") for line in textwrap.wrap(part, 30)]
    note = {"text": "<br>".join(lines), "showarrow": False, "x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
    hidden = {"visible": False, "fixedrange": True}
    return figure(height, annotations=[note], xaxis=hidden, yaxis=hidden)


def bars(
    names: Sequence[str], values, colours, title: str, hover: str = "", row: int = 30, axis: dict | None = None, **bar
) -> go.Figure:
    """A horizontal bar for each name, the first on top, in rows of ``row`` pixels.

    ``title`` is the axis', ``axis`` what else it is set to; ``hover``: how a value is told where it is pointed at;
    ``bar`` as of ``go.Bar``.
    """
    places = list(range(len(names)))
    drawn = go.Bar(
        x=values, y=places, orientation="h", marker_color=colours, customdata=[escape(name) for name in names],
        hovertemplate=f"%{{customdata}}: {hover}<extra></extra>" if hover else None, **bar,
    )
    return figure(
        90 + row * len(names), drawn, bargap=0.3, margin={"l": 8, "r": 16, "t": 8, "b": 8},
        xaxis={"title": title, **(axis or {})},
        yaxis={"tickvals": places, "ticktext": [escape(n[:32]) for n in names], "autorange": "reversed"},
    )


def tint(colour: str, opacity: float) -> str:
    """``"#RRGGBB"`` at an opacity of 0 to 1, as CSS and Plotly write it."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:.2f})"


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on ``"#RRGGBB"`` (contrast as WCAG 2 defines it: always 4.5 or more)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return "#000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#fff"


ACROSS = {"type": "category", "showgrid": False}
"""The axis of a heat map's columns, in their order."""

DOWN = {**ACROSS, "autorange": "reversed"}
"""The axis of rows, the first on top."""


def rows(labels: Iterable[str], above: float = 0.5, below: float = 0.5, **more) -> dict:
    """The axis of rows at 0, 1, ..., the first on top, by their ``labels``; with so much room above and below them."""
    told = [escape(label) for label in labels]
    return {
        "tickvals": list(range(len(told))), "ticktext": told, "range": [len(told) - 1 + below, -above],
        "showgrid": False, "zeroline": False, **more,
    }  # fmt: skip


def reach(of: "Iterable[Estimate]", times: float = 100) -> dict:
    """Plotly's error bars from the ends of estimates."""
    up, down = times * np.array([e.reach for e in of]).T
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down}


def upright(x: float, low: float = 0, high: float = 1, dash: str = "dash", width: float = 2, **more) -> dict:
    """A grey line at ``x`` from ``low`` to ``high``, as a shape; ``more`` as of Plotly's shapes, such as ``yref``."""
    line = {"width": width, "dash": dash, "color": NEUTRAL}
    return {"type": "line", "x0": x, "x1": x, "y0": low, "y1": high, "line": line, **more}


def cells(box: tuple[float, float, float, float], rows: int, columns: int) -> dict:
    """Where a ``go.Heatmap`` has its cells, for ``rows`` x ``columns`` of them in a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    across, down = (right - left) / columns, (bottom - top) / rows
    return {"x0": left + across / 2, "dx": across, "y0": top + down / 2, "dy": down}


def over_picture(height: int, traces, uri: str | None, size: tuple[int, int]) -> go.Figure:
    """Traces in fractions of a picture (from its top left corner) over the picture itself, a ``data:`` address or
    None, of ``size`` (width, height)."""
    axis = {"visible": False, "fixedrange": True, "constrain": "domain"}
    picture = {
        "source": uri, "xref": "x", "yref": "y", "x": 0, "y": 0, "sizex": 1, "sizey": 1, "sizing": "stretch",
        "layer": "below",
    }
    return figure(
        height, *traces, images=[picture] if uri else [], margin={"l": 0, "r": 0, "t": 0, "b": 0},
        xaxis={**axis, "range": [0, 1]},
        yaxis={**axis, "range": [1, 0], "scaleanchor": "x", "scaleratio": size[1] / size[0]},
    )


def source(by) -> str:
    """A line of HTML that says what computed a result; ``by`` is its ``Provenance``."""
    computed = f"{by.dtype}, {by.bits} bits a weight" if by.bits else by.dtype
    versions = (f"{library} {version}" for library, version in by.versions.items())
    parts = filter(None, (by.model, by.device, computed, *versions, f"{by.seconds:.2f} s", by.note))
    return f'<p class="key">Measured: {escape(" · ".join(parts))}</p>'


def said(answer: str) -> str:
    """An answer as HTML."""
    return escape(answer) if answer.strip() else "<i>nothing</i>"


def mark(score: float) -> str:
    """Right, wrong, or how much of a sentence was right, as HTML; empty where the truth is not known."""
    if math.isnan(score):
        return ""
    css, told = {1: ("right", "✓ right"), 0: ("wrong", "✗ wrong")}.get(score, ("partly", f"◐ {score:.2f}"))
    how = f"How right: {score:.2f} of 1; of sentences, F1 of the things named"
    return f'<span class="{css}" title="{how}">{told.replace(" ", "&nbsp;")}</span>'


def data_uri(image: Image.Image, side: int = 448) -> str:
    """The picture, its longer side at most ``side`` pixels, as a WebP ``data:`` address for HTML."""
    image = image.copy()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()

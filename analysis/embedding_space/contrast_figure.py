"""How the contrastive matrix of chosen pairs looks before and after, and a row of it: who is preferred to whom."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import IMAGE, SCROLL, WRONG, figure
from analysis.wording import signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.embedding_space.contrast import Contrast

_SCALE = [[0, "rgba(0,114,178,0.05)"], [1, IMAGE]]
_CHANGE = [[0, WRONG], [0.5, "rgba(138,143,152,0.08)"], [1, IMAGE]]


def heat(found: "Contrast") -> go.Figure:
    """M = V T' in both phases and the change, cosines, rows pictures; rows that went wrong are named with ✗."""
    names = [_short(text) for text in found.texts]
    rows = [f"{'✗ ' if i in found.wrong else ''}{name}" for i, name in enumerate(names)]
    at = list(range(len(names)))
    both = np.stack([found.before, found.after])
    low, high = float(both.min()), float(both.max())
    most = max(1e-6, float(np.abs(found.after - found.before).max()))
    parts = (
        (found.before, found.phases[0], "coloraxis"),
        (found.after, found.phases[1], "coloraxis"),
        (found.after - found.before, "change", "coloraxis2"),
    )
    traces = [
        go.Heatmap(
            z=z.round(3).tolist(), x=at, y=at, coloraxis=axis, xaxis=f"x{i or ''}", yaxis=f"y{i or ''}",
            text=[[f"picture {row}, text {column}" for column in names] for row in rows],
            hovertemplate=f"{title}: %{{text}}<br>%{{z:.3f}}<extra></extra>",
        )
        for i, (z, title, axis) in zip(("", 2, 3), parts, strict=True)
    ]  # fmt: skip
    gap, width = 0.03, (1 - 2 * 0.03) / 3
    layout: dict = {}
    for i, (_, title, _) in zip(("", 2, 3), parts, strict=True):
        k = int(i or 1) - 1
        start = k * (width + gap)
        ticks = {"tickvals": at, "showgrid": False, "zeroline": False, "tickfont": {"size": 11}}
        layout[f"xaxis{i}"] = {"domain": [start, start + width], "title": {"text": f"texts, {title}"},
                               "ticktext": names, "tickangle": -60, "anchor": f"y{i}", **ticks}  # fmt: skip
        layout[f"yaxis{i}"] = {"autorange": "reversed", "ticktext": rows, "showticklabels": k == 0, "anchor": f"x{i}",
                               "title": {"text": "pictures" if k == 0 else ""}, **ticks}  # fmt: skip
    bar = {"orientation": "h", "thickness": 12, "y": 1.02, "yanchor": "bottom"}
    return figure(
        460, *traces, margin={"l": 8, "r": 8, "t": 70, "b": 8},
        coloraxis={"colorscale": _SCALE, "cmin": low, "cmax": high,
                   "colorbar": {"title": "cosine", "x": 0.25, "len": 0.45, **bar}},
        coloraxis2={"colorscale": _CHANGE, "cmin": -most, "cmax": most,
                    "colorbar": {"title": "change", "x": 0.83, "len": 0.3, **bar}}, **layout,
    )  # fmt: skip


VIEWS = ("after", "before", "change")


def table(found: "Contrast", uris: "Sequence[str]", view: str = "after", chosen: int | None = None) -> str:
    """The matrix of one of ``VIEWS`` as a table; pictures are buttons, ``data-pick`` the row, those gone wrong marked.

    ``uris`` are the pictures of the rows.
    """
    values = {"after": found.after, "before": found.before, "change": found.after - found.before}[view]
    low, high = (0.0, float(np.abs(values).max())) if view == "change" else (float(values.min()), float(values.max()))
    shades = (np.abs(values) if view == "change" else values - low) / max(1e-9, high - low)
    head = "".join(
        f'<th scope="col" title="{escape(text)}"><span>{escape(_short(text, 16))}</span></th>' for text in found.texts
    )
    rows = []
    for i, text in enumerate(found.texts):
        state = "gone wrong" if i in found.wrong else "right" if found.right_after[i] else "wrong before and after"
        cells = "".join(_cell(found, i, j, values[i], shades[i, j], view) for j in range(len(found.texts)))
        label = escape(f"{text}: {state}. Show what is preferred now.")
        pressed = ' aria-pressed="true"' if i == chosen else ""
        sign = "✗ " if i in found.wrong else ""
        rows.append(
            f'<tr class="{"lost" if sign else ""}"><th scope="row"><button type="button" data-pick="{i}" '
            f'aria-label="{label}" title="{label}"{pressed}><img src="{uris[i]}" alt="">'
            f"<span>{sign}{escape(_short(text))}</span></button></th>{cells}</tr>"
        )
    what = {"after": f"after {found.phases[1]}", "before": f"in {found.phases[0]}"}.get(
        view, f"change of cosine from {found.phases[0]} to {found.phases[1]}; orange: less"
    )
    return (
        f'{SCROLL}<table class="contrast"><thead><tr><th>picture</th>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="key">Cosines, {escape(what)}. Rows are pictures, '
        f"columns texts, n = {len(found.texts)} pairs. Outlined: a picture's own text. Bold: the row's largest. ✗: was "
        f"right in {escape(found.phases[0])}, and is not any more. Choose a picture to see what is preferred to its "
        "own text.</p>"
    )


def _cell(found: "Contrast", i: int, j: int, values: np.ndarray, shade: float, view: str) -> str:
    css = [c for c, on in (("own", j == i), ("best", view != "change" and values[j] == values.max()),
                           ("less", view == "change" and values[j] < 0)) if on]  # fmt: skip
    told = (
        f"picture {found.texts[i]}, text {found.texts[j]}: {_cosine(found.before[i, j])} → {_cosine(found.after[i, j])}"
    )
    shown = _cosine(values[j], "+" if view == "change" else "")
    return f'<td class="{" ".join(css)}" style="--a:{shade:.2f}" title="{escape(told)}">{shown}</td>'


def row(found: "Contrast", i: int, uri: str) -> str:
    """One picture, its right text, and what is preferred to it now."""
    if found.right_after[i]:
        verdict = '<span class="right">✓ its own text is the nearest</span>'
    else:
        verdict = '<span class="wrong">✗ others are nearer than its own text</span>'
    others = found.preferred[i][:5]
    listed = "".join(
        f"<p>{escape(found.texts[j])} <small>{_cosine(found.before[i, j])} → {_cosine(found.after[i, j])}</small></p>"
        for j in others
    )
    more = f"<p><small>preferred now</small></p>{listed}" if others else ""
    return (
        f'<ul class="items"><li><img src="{uri}" alt=""><div><p><small>its text</small> '
        f"<b>{escape(found.texts[i])}</b> <small>{_cosine(found.before[i, i])} → {_cosine(found.after[i, i])}</small>"
        f"</p><p>{verdict}</p>{more}</div></li></ul>"
    )


def sentence(found: "Contrast") -> str:
    """What became of the diagonal, of the rest and of the rows, in plain words."""
    k = len(found.texts)
    before, after = int(found.right_before.sum()), int(found.right_after.sum())
    return (
        f"From {found.phases[0]} to {found.phases[1]} true pairs change by {signed(found.diagonal, 3)} in cosine, all "
        f"others by {signed(found.off_diagonal, 3)}. Of {k} pictures {before} had their own text nearest before, "
        f"{after} after; {len(found.wrong)} went wrong."
    )


def _cosine(value: float, sign: str = "") -> str:
    return f"{round(float(value), 2) + 0.0:{sign}.2f}".replace("-", "−")


def _short(text: str, most: int = 22) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

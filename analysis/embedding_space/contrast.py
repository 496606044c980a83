"""The contrastive matrix of a few chosen pairs, before and after: the rows that went wrong, and how it looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import IMAGE, WRONG, figure
from analysis.table import SCROLL
from analysis.wording import number, signed
from models.errors import InputError

if TYPE_CHECKING:
    from analysis.embedding_space.result import Space

MOST = 40
"""Chosen pairs above which a matrix cannot be read."""

_SAME = 1e-6  # of a cosine, below which two are as near


@dataclass(frozen=True)
class Contrast:
    """Cosines M = V T' ``[k, k]`` of k chosen pairs, rows pictures, columns texts, in two phases.

    ``chosen`` are places among the pairs shown. ``right_before`` and ``right_after``: whether a row's largest entry is
    its own text's (or that of a pair with the same text); ties count as wrong. ``wrong``: rows that were right before
    and are not after. ``preferred[i]``: columns now at least as near to picture i as its own text, nearest first.
    ``diagonal`` and ``off_diagonal``: mean change of the cosine of true pairs, and of all others.
    """

    phases: tuple[str, str]
    chosen: tuple[int, ...]
    texts: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray
    right_before: np.ndarray
    right_after: np.ndarray
    wrong: tuple[int, ...]
    preferred: tuple[tuple[int, ...], ...]
    diagonal: float
    off_diagonal: float


def contrast(space: "Space", chosen: Sequence[int], before: int = 0, after: int = -1) -> Contrast:
    """The matrices of the pairs at places ``chosen`` of those shown.

    Raises ``InputError`` for fewer than 2 pairs, more than ``MOST``, the same one twice, or one that is not shown.
    """
    places = [int(c) for c in chosen]
    if not 2 <= len(places) <= MOST or len(set(places)) < len(places):
        raise InputError(f"Choose 2 to {MOST} different pairs, not {len(places)}.")
    if not all(0 <= p < len(space.shown) for p in places):
        raise InputError(f"There are {len(space.shown)} pairs to choose from, numbered from 0.")
    texts = tuple(space.texts[space.shown[p]] for p in places)
    old, new = (space.images[phase, places] @ space.words[phase, places].T.astype(float) for phase in (before, after))
    names = np.asarray(texts, dtype=str)
    own = names[:, None] == names[None, :]
    nearer = [_nearer(matrix, own) for matrix in (old, new)]
    right = [~n.any(1) for n in nearer]
    pairs = zip(new, nearer[1], strict=True)
    true = np.eye(len(places), dtype=bool)
    return Contrast(
        (space.phases[before], space.phases[after]), tuple(places), texts, old, new, *right,
        tuple(np.flatnonzero(right[0] & ~right[1]).tolist()),
        tuple(tuple(j for j in np.argsort(-row, kind="stable").tolist() if n[j]) for row, n in pairs),
        float((new - old)[true].mean()), float((new - old)[~true].mean()),
    )


def _nearer(matrix: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Which wrong columns are at least as near as the best right one."""
    best = np.where(own, matrix, -np.inf).max(1, keepdims=True)
    return (matrix >= best - _SAME) & ~own


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
    ]
    gap, width = 0.03, (1 - 2 * 0.03) / 3
    layout: dict = {}
    for i, (_, title, _) in zip(("", 2, 3), parts, strict=True):
        k = int(i or 1) - 1
        start = k * (width + gap)
        ticks = {"tickvals": at, "showgrid": False, "zeroline": False, "tickfont": {"size": 11}}
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
            f'<tr class="{"lost" if sign else ""}"><th scope="row"><button type="button" data-to="row" '
            f'data-set=\'{{"row": "{i}"}}\' '
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
                           ("less", view == "change" and values[j] < 0)) if on]
    told = f"picture {found.texts[i]}, text {found.texts[j]}: {_went(found, i, j)}"
    shown = number(values[j], 2, sign=view == "change")
    return f'<td class="{" ".join(css)}" style="--a:{shade:.2f}" title="{escape(told)}">{shown}</td>'


def row(found: "Contrast", i: int, uri: str) -> str:
    """One picture, its right text, and what is preferred to it now."""
    if found.right_after[i]:
        verdict = '<span class="right">✓ its own text is the nearest</span>'
    else:
        verdict = '<span class="wrong">✗ others are nearer than its own text</span>'
    others = found.preferred[i][:5]
    listed = "".join(
        f"<p>{escape(found.texts[j])} <small>{_went(found, i, j)}</small></p>"
        for j in others
    )
    more = f"<p><small>preferred now</small></p>{listed}" if others else ""
    return (
        f'<ul class="items"><li><img src="{uri}" alt=""><div><p><small>its text</small> '
        f"<b>{escape(found.texts[i])}</b> <small>{_went(found, i, i)}</small>"
        f"</p><p>{verdict}</p>{more}</div></li></ul>"
    )


def sentence(found: "Contrast") -> str:
    """What became of the diagonal, of the rest and of the rows, in plain words."""
    k = len(found.texts)
    before, after = int(found.right_before.sum()), int(found.right_after.sum())
    return (
        f"Of {k} pictures {before} had their own name nearest in {found.phases[0]}, {after} after {found.phases[1]}; "
        f"{len(found.wrong)} went wrong. The cosine of true pairs changes by {signed(found.diagonal, 3)}, that of all "
        f"others by {signed(found.off_diagonal, 3)}."
    )


def _went(found: "Contrast", i: int, j: int) -> str:
    """A cosine before and after."""
    return f"{number(found.before[i, j], 2)} → {number(found.after[i, j], 2)}"


def _short(text: str, most: int = 22) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

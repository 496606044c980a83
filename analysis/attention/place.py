"""How one token's attention looks: on the picture, at the model's own grid, and over the words."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import IMAGE, NEUTRAL, cells, empty, over_picture, tint

if TYPE_CHECKING:
    from analysis.attention.where import Patches, Where

_STRONG = 0.8  # opacity of the largest share
_CALLED = {
    "raw": "attention as it is",
    "value_norm": "attention weighted by the norm of the values",
    "rollout": "attention rollout through all layers",
}


def overlay(found: "Where", uri: str | None) -> go.Figure:
    """The picture (``uri``) with each patch shaded by its share of the attention an area; no shade: none."""
    if not found.patches:
        why = "The picture's tokens have no known places" if found.size else "No picture, so there are no patches"
        return empty(why, 160)
    density = [p.values / _area(p) for p in found.patches]
    most = max(float(d.max()) for d in density) or 1.0
    traces = [_heat(p, d, most) for p, d in zip(found.patches, density, strict=True)]
    return over_picture(360, traces, uri, found.size)


def _area(patches: "Patches") -> float:
    left, top, right, bottom = patches.box
    return (right - left) * (bottom - top) / patches.values.size


def _heat(patches: "Patches", density: np.ndarray, most: float) -> go.Heatmap:
    return go.Heatmap(
        z=density, **cells(patches.box, *patches.values.shape), zmin=0, zmax=most, showscale=False,
        colorscale=[[0, tint(IMAGE, 0)], [1, tint(IMAGE, _STRONG)]], customdata=100 * patches.values,
        hovertemplate="%{customdata:.2f} % of the attention<extra></extra>",
    )  # fmt: skip


def words(found: "Where") -> str:
    """All tokens in their order, the picture as one, each shaded by its share of the attention; numbers on pointing."""
    most = max(float(found.weights.max(initial=0.0)), found.image) or 1.0
    spans, shown = [], False
    for word, share in zip(found.words, found.weights, strict=True):
        if found.size and not shown and word.position > found.picture_at:
            spans.append(_span("the picture", found.image, most, IMAGE))
            shown = True
        spans.append(_span(word.text.strip() or "␣", float(share), most, NEUTRAL, word.position == found.position))
    if found.size and not shown:
        spans.append(_span("the picture", found.image, most, IMAGE))
    return (
        f'<div class="card"><p class="attributed" style="line-height:2.1">{" ".join(spans)}</p><p class="key">'
        f"{escape(_CALLED[found.mode].capitalize())}. Grey: text tokens, the template's included. Blue: the picture as "
        "a whole. The darkest is the largest share; point at one for its number.</p></div>"
    )


def _span(text: str, share: float, most: float, colour: str, own: bool = False) -> str:
    told = f"{100 * share:.1f} %"
    edge = "outline:2px solid var(--text);" if own else ""
    return (
        f'<span tabindex="0" title="{told}" aria-label="{escape(text)}: {told}" style="background:'
        f'{tint(colour, _STRONG * share / most)};{edge}border-radius:4px;padding:2px 4px">{escape(text)}</span>'
    )


def sentence(found: "Where") -> str:
    """Where it looks, in plain words."""
    if found.mode == "rollout":
        who = f"Followed through all layers, the attention of “{found.token.strip()}”"
    else:
        head = f"head {found.head}" if found.head else "the mean of all heads"
        who = f"In layer {found.layer}, {head}, the attention of “{found.token.strip()}”"
    how = ", weighted by the values' norms," if found.mode == "value_norm" else ""
    if not found.size:
        said = f"{who}{how} has no picture to go to."
    else:
        said = f"{who}{how} is {100 * found.image:.0f} % on the picture"
        best = max((p for p in found.patches), key=lambda p: p.values.max(), default=None)
        if best is not None and best.values.max() > 0:
            row, column = np.unravel_index(int(best.values.argmax()), best.values.shape)
            said += f", {100 * best.values.max():.1f} % on one patch alone, {_corner(best, row, column)}"
        said += "."
    if len(found.weights):
        top = int(found.weights.argmax())
        word = found.words[top]
        name = f"“{word.text.strip() or '␣'}”"
        said += f" Of the text, {name} gets most ({100 * found.weights[top]:.0f} %)"
        said += ", the prompt's first token: often a sink that means nothing." if word.position == 0 else "."
    return said


def _corner(patches: "Patches", row: int, column: int) -> str:
    (left, top, right, bottom), (rows, columns) = patches.box, patches.values.shape
    x, y = left + (column + 0.5) * (right - left) / columns, top + (row + 0.5) * (bottom - top) / rows
    down, across = (min(max(int(3 * v), 0), 2) for v in (y, x))
    named = " ".join(filter(None, (("top", "", "bottom")[down], ("left", "", "right")[across])))
    return f"at the {named} of the picture" if named else "in the middle of the picture"

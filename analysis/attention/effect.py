"""How interventions look, and the trained comparison: charts and their sentences."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.attention.figure import compared, layer_axis
from analysis.attention.sentence import percent
from analysis.charts import ANSWER, IMAGE, NEUTRAL, WRONG, empty, figure

if TYPE_CHECKING:
    from analysis.attention.probe import Carried, WhatIf
    from analysis.attention.trained import Trained

_WHO = {"answering": "of the tokens that write the answer", "text": "of all text tokens"}
_CLEAR = 0.05  # nats: a smaller change of a log-probability is called none
_ARMS = ("control (plain attention)", "MODA")


def carried(found: "Carried") -> go.Figure:
    """Probability of the target while attention to the picture is cut in a window of layers, %, against where."""
    middle = found.first + (found.width - 1) / 2
    values = 100 * found.chance(found.cut)
    spans = [f"{f} to {f + found.width - 1}" if found.width > 1 else str(f) for f in found.first]
    bars = go.Bar(
        x=middle, y=values, name="cut in these layers", customdata=spans, width=0.8,
        marker_color=[WRONG if lost > _CLEAR else NEUTRAL for lost in found.lost],
        hovertemplate="cut in layers %{customdata}: %{y:.1f} %<extra></extra>",
    )  # fmt: skip
    lines = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y,
         "line": {"color": colour, "dash": dash, "width": 2}}
        for y, colour, dash in (
            (100 * found.chance(found.plain), ANSWER, "solid"), (100 * found.chance(found.without), IMAGE, "dash")
        )
    ]  # fmt: skip
    return figure(
        340, bars, shapes=lines,
        xaxis={**layer_axis(found.layers, f"Layers cut (n = {len(found.first)})"),
               "range": [0.4, found.layers + 0.6]},
        yaxis={"title": "Probability per token, %", "range": [0, 102]},
    )  # fmt: skip


def scaled(found: "Carried") -> go.Figure:
    """Probability of the target, %, against the weight of attention to the picture in all layers."""
    line = go.Scatter(
        x=found.weights, y=100 * found.chance(found.scaled), mode="lines+markers", line={"color": IMAGE, "width": 3},
        marker={"size": 9}, hovertemplate="× %{x}: %{y:.1f} %<extra></extra>",
    )  # fmt: skip
    return figure(
        320, line,
        xaxis={"title": f"Times the attention (n = {len(found.weights)})"},
        yaxis={"title": "Probability per token, %", "range": [0, 102]},
    )  # fmt: skip


def carried_sentence(found: "Carried") -> str:
    """Which layers carry the picture to the answer, in plain words."""
    whose = "the right answer" if found.truth_known else "the model's own answer"
    each = f" for each of its {found.tokens} tokens (geometric mean)" if found.tokens > 1 else ""
    said = f"Attention {_WHO[found.who]} to the picture: as it is, {whose}, “{found.target}”, has "
    said += f"{percent(found.chance(found.plain))}{each}; with the picture cut off in all {found.layers} layers "
    said += f"{percent(found.chance(found.without))}."
    most = int(found.lost.argmax())
    if found.lost[most] <= _CLEAR:
        if found.plain - found.without > _CLEAR:
            return f"{said} No {_window(found)} alone is needed, but all together they are."
        return f"{said} No {_window(found)} is needed, and not even all together."
    where = f"layer {found.first[most]}"
    if found.width > 1:
        where = f"layers {found.first[most]} to {found.first[most] + found.width - 1}"
    said += f" Cutting {where} costs most: {percent(found.chance(found.cut[most]))} is left."
    if len(found.first) > 1:
        carry = int((found.lost > _CLEAR).sum())
        windows = "layers" if found.width == 1 else f"windows of {found.width} layers"
        said += f" Cut alone, {carry} of {len(found.first)} {windows} cost anything."
    best = int(found.scaled.argmax())
    if found.scaled[best] - found.plain > _CLEAR:
        said += f" It is most probable with {found.weights[best]:g} times the attention to the picture."
    return said


def _window(found: "Carried") -> str:
    return f"{found.width} layers" if found.width > 1 else "one layer"


def what_if(found: "WhatIf") -> go.Figure:
    """Attention to the picture by layer when the answer begins, before and after the change, %."""
    curves = {"as it is": found.before.mass[:, 0], f"with {found.change}": found.after.mass[:, 0]}
    return compared(curves, "Attention to the picture, %")


def what_if_links(found: "WhatIf") -> go.Figure:
    """What one image token gets from text tokens of the prompt by layer, before and after, %."""
    curves = {
        "as it is": found.before.link("text-to-image").score,
        f"with {found.change}": found.after.link("text-to-image").score,
    }
    return compared(curves, "Text to picture, % per key token")


def what_if_sentence(found: "WhatIf") -> str:
    """What the change does to the answer and to where it looks."""
    before, after = found.before, found.after
    if before.answer == after.answer:
        said = f"With {found.change} the answer stays “{before.answer}”"
    else:
        said = f"With {found.change} the answer turns from “{before.answer}” into “{after.answer}”"
    first, then = (math.exp(c) if not math.isnan(c) else float("nan") for c in found.chance)
    if not math.isnan(first):
        said += f"; the probability of “{before.answer}”, per token, goes from {percent(first)} to {percent(then)}"
    said += "."
    if before.picture:
        looks = [100 * a.mass[:, 0].mean() for a in (before, after)]
        said += f" When it begins, {looks[0]:.1f} % of the attention was on the picture, now {looks[1]:.1f} %."
        text = [100 * a.link("text-to-image").share.mean() for a in (before, after)]
        said += f" Of the attention of the prompt's text tokens it was {text[0]:.1f} %, now {text[1]:.1f} %."
    if found.change.beta is not None:
        drained = [percent(_drained(after, side)) for side in (("text", "image") if before.picture else ("text",))]
        said += f" Pseudo-scores drain {drained[0]} of the attention of the prompt's text tokens"
        said += f" and {drained[1]} of its image tokens'." if before.picture else "."
        said += " Nothing comes after the prompt's last token, so it is not drained itself."
    return f"{said} The model was not trained for this."


def _drained(found, side: str) -> float:
    """Share of the attention of the prompt's text or image tokens that goes nowhere, mean over layers."""
    return max(0.0, 1 - sum(float(link.share.mean()) for link in found.links if link.query == side))


def trained_attention(found: "Trained") -> go.Figure:
    """Attention to the picture by layer in both arms, %: mean of seeds, bars from the lowest to the highest seed."""
    curves = {name: found.image[a].mean(0) for a, name in enumerate(_ARMS)}
    spread = {name: (found.image[a].min(0), found.image[a].max(0)) for a, name in enumerate(_ARMS)}
    return compared(curves, "Attention to the picture, %", spread)


def trained_accuracy(found: "Trained") -> go.Figure:
    """Accuracy of both arms by task, %: mean of seeds, bars from the lowest to the highest seed."""
    bars = []
    for a, (name, colour) in enumerate(zip(_ARMS, (NEUTRAL, IMAGE), strict=True)):
        values = 100 * found.accuracy[a].mean(0)
        low, high = 100 * found.accuracy[a].min(0), 100 * found.accuracy[a].max(0)
        spread = {"type": "data", "array": high - values, "arrayminus": values - low}
        bars.append(
            go.Bar(x=found.tasks, y=values, name=name, marker_color=colour, error_y=spread,
                   hovertemplate="%{x}: %{y:.0f} %")
        )  # fmt: skip
    return figure(
        360, *bars, barmode="group", showlegend=True,
        xaxis={"title": f"Task (n = {min(found.n)} each)", "tickangle": -40},
        yaxis={"title": "Right, %", "range": [0, 102]},
    )  # fmt: skip


def trained_table(found: "Trained | None") -> str:
    """A table of both arms: accuracy by task with the paired difference, disparity, decay."""
    if found is None:
        return '<div class="card quiet">Not measured yet.</div>'

    def spread(values) -> str:
        each = f"{100 * np.mean(values):.0f} %"
        return each if len(values) < 2 else f"{each} ({100 * np.min(values):.0f} to {100 * np.max(values):.0f})"

    rows = []
    for i, (task, gain) in enumerate(zip((*found.tasks, "all"), found.gains, strict=True)):
        arms = [found.accuracy[a].mean(1) if task == "all" else found.accuracy[a][:, i] for a in range(2)]
        told = f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        rows.append((f"right, {task}", spread(arms[0]), spread(arms[1]), told))
    for name, values in (("disparity of shares", found.apart), ("disparity per token", found.apart_per_key)):
        rows.append((name, spread(values[0]), spread(values[1]), ""))
    for link, values in found.gamma.items():
        told = [f"{np.mean(v):.2f}" + (f" ({np.min(v):.2f} to {np.max(v):.2f})" if len(v) > 1 else "") for v in values]
        rows.append((f"γ, {link}", *told, ""))
    body = "".join(
        f'<tr><th scope="row">{escape(r[0])}</th>{"".join(f"<td>{escape(c)}</td>" for c in r[1:])}</tr>' for r in rows
    )
    head = "".join(f"<th>{h}</th>" for h in ("", "Control", "MODA", "Difference, points (95 % over items)"))
    return (
        f'<div class="card scroll"><table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f'<p class="key">Brackets behind an arm: lowest to highest of {len(found.seeds)} seeds.</p></div>'
    )


def nothing(why: str) -> go.Figure:
    """An empty chart that says why."""
    return empty(why, 160)

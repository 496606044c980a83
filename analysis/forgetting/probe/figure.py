"""How one question through time looks: a row for each checkpoint, the course of the truth, where attention went."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ANSWER, IMAGE, NEUTRAL, SCROLL, TEXT, empty, figure
from analysis.wording import percent

if TYPE_CHECKING:
    from analysis.forgetting.probe.measure import Probe

_KINDS = (("the picture", IMAGE), ("the question", TEXT), ("the template", NEUTRAL), ("its earlier answer", ANSWER))
"""Kinds of tokens, in the order of every axis of kinds: what they are called, and their colour."""
_RIVALS = 3  # first tokens that are told
_WIDTH = 720  # pixels of the table, below which it scrolls instead of breaking words
_UNKNOWN = "Tell the true answer above<br>to see how likely it stays"


def _labels(found: "Probe") -> list[str]:
    """``base``, ``after naming`` ..., and the names of references."""
    after = [f"after {escape(name)}" for name in found.checkpoints[1 : found.trained]]
    return [found.checkpoints[0], *after, *map(escape, found.checkpoints[found.trained :])]


def strip(found: "Probe | None", uri: str | None = None) -> str:
    """What was asked, the picture (``uri``, or none), and a row for each checkpoint in the order of training."""
    if found is None:
        return '<div class="card quiet">Every checkpoint answers here, in the order of training.</div>'
    seen = f'<img src="{uri}" alt="The picture asked about">' if uri else '<span class="none">text only</span>'
    asked = f'<div class="asked">{seen}<p>{escape(found.question)}</p></div>'
    if found.truth:
        asked += f'<p class="truth">The true answer: <b>{escape(found.truth)}</b> ({escape(found.style)})</p>'
    columns = _columns(found)
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Checkpoint", *columns))
    rows = []
    for i, label in enumerate(_labels(found)):
        cells = "".join(f"<td>{cell(i)}</td>" for cell in columns.values())
        rows.append(f'<tr><th scope="row">{label}</th>{cells}</tr>')
    if found.trained < len(rows):
        told = "References, which are no step of the training:"
        rows.insert(found.trained, f'<tr><td colspan="{len(columns) + 1}" class="key">{told}</td></tr>')
    table = (
        f'<table class="checkpoints" style="min-width: {_WIDTH}px"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return f'<div class="card">{asked}{SCROLL}{table}</div>{_key(found)}</div>'


def _columns(found: "Probe") -> dict[str, Callable[[int], str]]:
    """The columns behind the checkpoint's: title, and the HTML of a checkpoint's cell by its place."""
    columns = {
        "Answer": lambda i: f'<div style="min-width: 9em">{escape(found.answers[i]) or "<i>nothing</i>"}</div>',
        "Form": lambda i: f'<span class="kind">{escape(found.styles[i])}</span>',
    }
    if found.truth:
        columns["Right?"] = lambda i: _mark(found.scores[i])
        columns["Truth first"] = lambda i: _whole(percent(found.probability[i]))
    if found.options and found.truth:
        columns[f"Truth among {len(found.options)}"] = lambda i: _whole(percent(found.among[i, 0]))
    elif found.options:
        columns["Likeliest option"] = lambda i: _share(found.options[found.among[i].argmax()], found.among[i].max())
    columns["First token, likeliest"] = lambda i: " · ".join(_share(*rival) for rival in found.first[i][:_RIVALS])
    return columns


def _key(found: "Probe") -> str:
    told = []
    if found.truth:
        told.append("Truth first: the probability that the answer begins with the true one.")
    if found.options:
        options = ", ".join(map(escape, found.options))
        told.append(f"Among: its share where the model has to choose between {options}.")
    return f'<p class="key">{" ".join(told)}</p>'


def _share(text: str, share: float) -> str:
    return _whole(f"{escape(text.strip()) or '␣'} {percent(share)}")


def _whole(text: str) -> str:
    """HTML that stays on one line."""
    return f'<span style="white-space: nowrap">{text}</span>'


def _mark(score: float) -> str:
    css, sign = {0: ("wrong", "✗ wrong"), 1: ("right", "✓ right")}.get(score, ("partly", f"◐ {score:.2f}"))
    return f'<span class="{css}" style="white-space: nowrap" title="How right: {score:.2f} of 1">{sign}</span>'


def course(found: "Probe | None") -> go.Figure:
    """Probability of the truth at each checkpoint, in per cent: as the beginning of the answer, and among the options.

    Circles: the answer is right; crosses: it is wrong. References are not joined by a line.
    """
    if found is None or not found.truth:
        return empty(_UNKNOWN if found else "The probability of the true answer, checkpoint by checkpoint")
    lines = [("as the beginning of the answer", found.probability, ANSWER, "solid")]
    if found.options:
        lines.append((f"among {len(found.options)} options", found.among[:, 0], IMAGE, "dash"))
    traces = [
        _line(found, *line, some) for line in lines for some in (slice(found.trained), slice(found.trained, None))
    ]
    return figure(
        380, *(trace for trace in traces if len(trace.x)), hovermode="x unified",
        margin={"l": 8, "r": 16, "t": 60, "b": 8},
        xaxis={"title": "Checkpoint, in training order<br>(n = 1 question)", "type": "category",
               "tickangle": -40},
        yaxis={"title": "Probability of the truth, %", "range": [-3, 103]},
    )  # fmt: skip


def _line(found: "Probe", name: str, values: np.ndarray, colour: str, dash: str, some: slice) -> go.Scatter:
    training = some.start is None
    answers = [escape(f"“{a}” ({s})") for a, s in zip(found.answers[some], found.styles[some], strict=True)]
    return go.Scatter(
        x=[escape(name) for name in found.checkpoints[some]], y=100 * values[some], name=name, legendgroup=name,
        showlegend=training, mode="lines+markers" if training else "markers",
        line={"color": colour, "width": 2.5, "dash": dash},
        marker={"size": 11, "color": colour, "symbol": ["circle" if r else "x" for r in found.right[some]]},
        customdata=answers, hovertemplate="%{y:.1f} %, %{customdata}",
    )  # fmt: skip


def attention(found: "Probe | None") -> go.Figure:
    """Where the tokens that write the answer look at each checkpoint: share of attention by kind of token, per cent."""
    if found is None:
        return empty("Where attention goes while each checkpoint answers")
    if np.isnan(found.attention).all():
        return empty("The attention of this model cannot be read")
    labels = _labels(found)
    bars = [
        go.Bar(
            x=100 * found.attention[:, k], y=labels, name=called, orientation="h", marker_color=colour,
            hovertemplate=f"%{{y}}, {called}: %{{x:.1f}} %<extra></extra>",
        )
        for k, (called, colour) in enumerate(_KINDS)
        if found.attention[:, k].any()
    ]  # fmt: skip
    return figure(
        120 + 34 * len(labels), *bars, barmode="stack", bargap=0.3, margin={"l": 8, "r": 16, "t": 60, "b": 8},
        legend={"traceorder": "normal"}, showlegend=True,
        xaxis={
            "title": "Attention while it answers, %<br>(n = 1 question; mean over<br>layers, heads, tokens)",
            "range": [0, 100],
        },
        yaxis={"autorange": "reversed", "showgrid": False, "type": "category"},
    )  # fmt: skip

"""How one question through time looks: a row for each checkpoint, the course of the truth, where attention went."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ANSWER, IMAGE, NEUTRAL, TEXT, figure, mark, said
from analysis.table import Html, Table
from analysis.wording import listed, percent

if TYPE_CHECKING:
    from analysis.forgetting.probe.measure import Probe

_KINDS = (("the picture", IMAGE), ("the question", TEXT), ("the template", NEUTRAL), ("its earlier answer", ANSWER))
"""Kinds of tokens, in the order of every axis of kinds: what they are called, and their colour."""
_RIVALS = 2  # first tokens that are told


def _labels(found: "Probe") -> list[str]:
    """``base``, ``after naming`` ..., and the names of references."""
    after = [f"after {name}" for name in found.checkpoints[1 : found.trained]]
    return [found.checkpoints[0], *after, *found.checkpoints[found.trained :]]


def strip(found: "Probe") -> str:
    """What was asked, and a row for each checkpoint in the order of training; references stand apart."""
    truth = f" The true answer: <b>{escape(found.truth)}</b> ({escape(found.style)})." if found.truth else ""
    columns = _columns(found)
    rows = [[label, *(cell(i) for cell in columns.values())] for i, label in enumerate(_labels(found))]
    marks = dict.fromkeys(range(found.trained, len(rows)), "reference")
    table = Table(["Checkpoint", *columns], rows, marks).html("checkpoints")
    return f'<div class="card"><p>{escape(found.question)}{truth}</p>{table}{_key(found)}</div>'


def _columns(found: "Probe") -> dict[str, Callable[[int], Html | str]]:
    """The columns behind the checkpoint's: title, and the cell of a checkpoint by its place."""
    columns: dict[str, Callable[[int], Html | str]] = {
        "Answer": lambda i: Html(f'<div class="said">{said(found.answers[i])}</div>'),
        "Form": lambda i: Html(f'<span class="kind">{escape(found.styles[i])}</span>'),
    }
    if found.truth:
        columns["Right?"] = lambda i: Html(mark(found.scores[i]))
        columns["Begins with the truth"] = lambda i: percent(found.probability[i])
    if found.options and found.truth:
        columns[f"Truth among {len(found.options)}"] = lambda i: percent(found.among[i, 0])
    elif found.options:
        columns["Likeliest option"] = lambda i: _share(found.options[found.among[i].argmax()], found.among[i].max())
    columns["Likeliest beginnings"] = lambda i: " · ".join(_share(*rival) for rival in found.first[i][:_RIVALS])
    return columns


def _key(found: "Probe") -> str:
    told = "Begins with the truth: the probability that the answer starts as the true one. " if found.truth else ""
    if found.options:
        told += f"Among: its share where the model has to choose between {listed(found.options)}."
    return f'<p class="key">{escape(told)}</p>' if told else ""


def _share(text: str, share: float) -> str:
    return f"{text.strip() or '␣'} {percent(share)}".replace(" ", "\u00a0")


def course(found: "Probe") -> go.Figure | None:
    """Probability of the truth at each checkpoint, in per cent: as the beginning of the answer, and among the options.

    Circles: the answer is right; crosses: it is wrong. References are not joined by a line. None without a truth.
    """
    if not found.truth:
        return None
    lines = [("as the beginning of the answer", found.probability, ANSWER, "solid")]
    if found.options:
        lines.append((f"among {len(found.options)} options", found.among[:, 0], IMAGE, "dash"))
    traces = [
        _line(found, *line, some) for line in lines for some in (slice(found.trained), slice(found.trained, None))
    ]
    return figure(
        310,
        *(trace for trace in traces if len(trace.x)),
        hovermode="x unified",
        margin={"l": 8, "r": 16, "t": 48, "b": 8},
        xaxis={"title": "Checkpoint, in training order<br>(n = 1 question)", "type": "category", "tickangle": -40},
        yaxis={"title": "Probability of the truth, %", "range": [-3, 103]},
    )


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


def attention(found: "Probe") -> go.Figure | None:
    """Where the tokens that write the answer look at each checkpoint: share of attention by kind of token, per cent.

    None where the model's attention cannot be read.
    """
    if np.isnan(found.attention).all():
        return None
    labels = list(map(escape, _labels(found)))
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

"""How the path between checkpoints looks, and what it says: accuracy and loss along it, merges side by side, one
question's answers; in plain words, true whatever the numbers are."""

import math
from collections.abc import Callable
from html import escape
from itertools import cycle
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ANSWER, DASHES, IMAGE, NEUTRAL, SERIES, TEXT, figure, mark, reach, said, tint
from analysis.table import Head, Html, Table
from analysis.wording import UNKNOWN, between, change, estimate, listed, percent, verdict

if TYPE_CHECKING:
    from analysis.forgetting.path.measure import Asked, Merged, Path, Standing

WAYS = ("better", "worse", "no clear difference")
_LETTERS = 17  # of a label, beside a chart on a phone
_WORDS = 6  # of an answer that is quoted: the table has all of it


def path(found: "Path", alpha: float) -> go.Figure:
    """Accuracy, %, by alpha; bands are 95 % intervals. The best mean is marked, and where one stands (``alpha``)."""
    traces = _curves(found, 100 * found.accuracy, 100 * found.accuracy_bounds, "%", 0)
    if len(found.tasks) > 1:
        traces.append(go.Scatter(
            x=found.alpha, y=100 * found.mean, name="mean of both", mode="lines",
            line={"color": NEUTRAL, "width": 2}, hovertemplate="%{y:.0f} %",
        ))
    lines, notes = [], []
    for text, x, colour in (("best mean", found.best.alpha, ANSWER), ("you are here", alpha, NEUTRAL)):
        dashed = {"color": colour, "width": 1.5, "dash": "dash"}
        lines.append({"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": dashed})
        notes.append({
            "text": text, "x": x, "y": 1 - 0.08 * len(notes), "yref": "paper", "yanchor": "top", "showarrow": False,
            "font": {"color": colour}, "xanchor": "left" if x < 0.8 else "right",
        })
    return _by_alpha(found, traces, "Accuracy, %", shapes=lines, annotations=notes, range=[-3, 103])


def loss(found: "Path") -> go.Figure:
    """Loss, nats an answer, by alpha; bands are 95 % intervals, dotted the straight line between the ends' losses."""
    traces = _curves(found, found.loss, found.loss_bounds, "nats", 2, found.line)
    return _by_alpha(found, traces, "Loss, nats an answer", rangemode="tozero")


def _by_alpha(found: "Path", traces: list, title: str, shapes=(), annotations=(), **axis) -> go.Figure:
    return figure(
        350, *traces, shapes=shapes, annotations=annotations, hovermode="x unified",
        margin={"l": 8, "r": 16, "t": 40, "b": 8}, yaxis={"title": title, **axis},
        xaxis={"title": f"alpha: 0 is {escape(found.a)}, 1 is {escape(found.b)}", "dtick": 0.2, "range": [-0.03, 1.03]},
    )


def _curves(found: "Path", values, bounds, unit: str, digits: int, straight=None) -> list[go.Scatter]:
    """A line a task with its band; dotted, the line that is ``straight``."""
    traces, x = [], found.alpha
    told = f"%{{y:.{digits}f}} {unit} (95 %: %{{customdata[0]:.{digits}f}} to %{{customdata[1]:.{digits}f}})"
    silent = {"showlegend": False, "hoverinfo": "skip"}
    for t, task in enumerate(found.tasks):
        low, high = bounds[:, t]
        traces.append(go.Scatter(
            x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself",
            fillcolor=tint(SERIES[t], 0.16), line={"width": 0}, **silent,
        ))
        traces.append(go.Scatter(
            x=x, y=values[t], name=f"{escape(task)} (n = {found.n}, a sample)", mode="lines+markers",
            line={"color": SERIES[t], "width": 2.5, "dash": DASHES[t]}, marker={"size": 7},
            customdata=np.stack([low, high], 1), hovertemplate=told,
        ))
        if straight is not None:
            dotted = {"color": SERIES[t], "width": 1.5, "dash": "dot"}
            traces.append(go.Scatter(x=x, y=straight[t], mode="lines", line=dotted, **silent))
    return traces


def merged(found: "Merged") -> go.Figure:
    """Accuracy over all tasks, %, with its 95 % interval: a row a candidate."""
    names, means = [_broken(row.label) for row in found.rows], [row.mean for row in found.rows]
    places = list(range(len(names)))
    colours = [IMAGE if row.merged else NEUTRAL if row.gain is None else TEXT for row in found.rows]
    dots = go.Scatter(
        x=[100 * of.value for of in means], y=places, mode="markers",
        marker={"size": 12, "color": colours}, error_x={**reach(means), "color": NEUTRAL, "thickness": 1.5},
        text=[f"{escape(r.label)}: {estimate(r.mean, 1, unit=' %')}" for r in found.rows],
        hovertemplate="%{text}<extra></extra>", showlegend=False,
    )
    return figure(
        90 + 40 * len(names), dots, margin={"l": 8, "r": 16, "t": 8, "b": 8},
        xaxis={"title": f"Accuracy, % (n = {len(found.tasks)} × {found.n}, a sample)", "range": [-2, 102], "dtick": 25},
        yaxis={"tickvals": places, "ticktext": names, "range": [len(names) - 0.5, -0.5], "zeroline": False},
    )


def merges(found: "Merged") -> Table:
    """Accuracy of every candidate on every task, and what it gains over the last checkpoint."""
    heads = [Head(task, shares=True) for task in (*found.tasks, "all")]
    heads.append(Head(f"against {found.rows[0].label}", unit="points", sign=True))
    return Table(["Accuracy, %", *heads], [[r.label, *r.accuracy, r.mean, r.gain or UNKNOWN] for r in found.rows])


def answers(found: "Asked") -> str:
    """What each of the weights answers: its form, its probability, and whether it is right."""
    rows = []
    for i, (name, answer) in enumerate(zip(found.labels, found.answers, strict=True)):
        told = Html(f'{said(answer)} <span class="kind">{escape(found.styles[i])}</span>', answer)
        rows.append([name, told, Html(f"{percent(math.exp(found.logprob[i]))}<br>{mark(found.scores[i])}")])
    truth = "" if found.truth is None else f" The true answer: <b>{escape(found.truth)}</b>"
    table = Table(["Weights", "Answer, its form", "Its probability"], rows, {found.here: "chosen"})
    return f'<div class="card"><p>{escape(found.question)}{truth}</p>{table.html("checkpoints")}</div>'


def options(found: "Asked") -> go.Figure | None:
    """Probability of each option, %, under each of the weights; None where there is nothing to choose between."""
    if not found.options:
        return None
    colours = cycle((SERIES[0], SERIES[1], *SERIES[3:]))
    bars = [
        go.Bar(
            x=100 * found.probability[i], y=list(range(len(found.options))), name=escape(name), orientation="h",
            marker_color=ANSWER if i == found.here else next(colours), cliponaxis=False,
            hovertemplate="%{x:.1f} %", text=[percent(p) for p in found.probability[i]], textposition="outside",
        )
        for i, name in enumerate(found.labels)
    ]
    return figure(
        120 + (20 * len(bars) + 14) * len(found.options), *bars, barmode="group", bargap=0.25,
        margin={"l": 8, "r": 56, "t": 24 + 16 * len(bars), "b": 8},
        xaxis={"title": "Probability among these, %", "range": [0, 100]},
        yaxis={"tickvals": list(range(len(found.options))), "autorange": "reversed",
               "ticktext": [_broken(o[:60]) for o in found.options]},
    )


def _broken(label: str) -> str:
    """A long label over several lines, at its spaces."""
    lines = wrap(" ".join(label.split()), _LETTERS, break_long_words=False, break_on_hyphens=False)
    return "<br>".join(map(escape, lines))


def standing_said(found: "Standing", told: Callable, what: str) -> str:
    """``told`` of what was measured of ``what``, and what one of the weights answers."""
    said = f"{what} was not measured yet: press Measure." if found.measured is None else told(found.measured)
    return f"{said} {asked_said(found.here)}" if found.here else said


def path_said(found: "Path") -> str:
    """Whether there is a barrier between the two checkpoints, and which alpha is the best compromise."""
    hills, best = [b for b in found.barriers if b.height.clear], found.best
    i = int(abs(found.alpha - best.alpha).argmin())
    barrier = f"No barrier can be told between {found.a} and {found.b}"
    if hills:
        barrier = f"Between {found.a} and {found.b} there is a barrier on {listed([b.task for b in hills])}"
    average = " on average" if len(found.tasks) > 1 else ""
    end = {0.0: found.a, 1.0: found.b}[best.end]
    if best.gain.clear:
        first = f"{barrier}; alpha {best.alpha:g} is clearly better than either end: {percent(best.accuracy)}{average}."
    else:
        accuracy = found.mean[-1 if best.end else 0]
        first = f"{barrier}; no point between is clearly better than {end}: {percent(accuracy)}{average}."
    each = listed([f"{task} {percent(found.accuracy[t, i])}" for t, task in enumerate(found.tasks)])
    at = f"Of {len(found.alpha)} points alpha {best.alpha:g} is best ({each}; {change(best.gain)} against {end})"
    each_loss = zip(found.tasks, found.loss, strict=True)
    went = [f"from {of[0]:.2f} to {of[-1]:.2f} nats an answer on {task}" for task, of in each_loss]
    rises = [
        f"by up to {b.height.value:.2f} nats ({between(b.height, 2, sign=True, times=1)}) on {b.task}, "
        f"at alpha {b.alpha:g}"
        for b in found.barriers if b.height.value
    ]
    above = f"and rises above a straight line between its ends {listed(rises)}"
    above = above if rises else "nowhere above a straight line between its ends"
    n = f"n = {found.n} items of {'each task' if len(found.tasks) > 1 else found.tasks[0]}"
    return f"{first} {at}. The loss goes {listed(went)}, {above}; {n}, a sample of those of the matrix."


def merged_said(found: "Merged") -> str:
    """How the best merge compares with the last checkpoint and with joint training."""
    last, *others = found.rows
    merges, references = [r for r in others if r.merged], [r for r in others if not r.merged]
    of = f"{len(found.tasks)} tasks with {found.n} items each" if len(found.tasks) > 1 else f"{found.n} items"
    first = f"The last checkpoint, {last.label}, reaches {percent(last.mean.value)} over {of}"
    beside = f"; {listed([f'{r.label} {percent(r.mean.value)}' for r in references])}" if references else ""
    basis = f"{first}{beside} (a sample of the items of the matrix)."
    if not merges:
        return basis
    best = max(merges, key=lambda row: row.mean.value)
    which = f"Of {len(merges)} merges the best" if len(merges) > 1 else "The merge"
    gain = f"{change(best.gain)} against the last checkpoint: {best_of(found)}"
    return f"{which} reaches {percent(best.mean.value)}, {gain}. It is “{best.label}”. {basis}"


def best_of(found: "Merged") -> str | None:
    """How the best merge compares with the last checkpoint: one of ``WAYS``; None without a merge."""
    merges = [row for row in found.rows if row.merged]
    return verdict(max(merges, key=lambda row: row.mean.value).gain, *WAYS) if merges else None


def asked_said(found: "Asked") -> str:
    """What the weights asked about answer, beside the checkpoints."""
    here = found.answers[found.here]
    words = here.split()
    quoted = " ".join(words[:_WORDS]) + ("…" if len(words) > _WORDS else "")
    p = percent(math.exp(found.logprob[found.here]))
    said = f"With {found.labels[found.here]} the model answers “{quoted}” with a probability of {p}"
    if found.truth is not None:
        right = found.scores[found.here]
        said += f", which is {'right' if right == 1 else 'wrong' if right == 0 else 'partly right'}"
    same = [name for i, name in enumerate(found.labels) if i != found.here and found.answers[i].lower() == here.lower()]
    others = len(found.labels) - 1
    if len(same) == others:
        told = " as well" if others == 1 else ""
        return f"{said}; {listed(same)} {'says' if others == 1 else 'say'} the same{told}."
    return f"{said}; {listed(same)} says the same." if same else f"{said}; no other says the same."

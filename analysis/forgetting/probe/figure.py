"""How one question through time looks, and what it says: a row for each checkpoint, the course of the truth, where
attention went."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ANSWER, DOWN, IMAGE, NEUTRAL, TEXT, figure, mark, said
from analysis.forgetting.terms import ESSENTIAL, KEPT, NEVER, OPEN, SUPERFICIAL
from analysis.table import Html, Table
from analysis.wording import listed, percent

if TYPE_CHECKING:
    from analysis.forgetting.probe.measure import Probe

_KINDS = (("the picture", IMAGE), ("the question", TEXT), ("the template", NEUTRAL), ("its earlier answer", ANSWER))
"""Kinds of tokens, in the order of every axis of kinds: what they are called, and their colour."""
_RIVALS = 2  # first tokens that are told
_WORDS = 6  # of an answer that is quoted: the table has all of it
_MOVED = 0.03  # of the attention: less is about as much


def _labels(found: "Probe") -> list[str]:
    """``base``, ``after naming`` ..., and the names of references."""
    after = [f"after {name}" for name in found.checkpoints[1 : found.trained]]
    return [found.checkpoints[0], *after, *found.checkpoints[found.trained :]]


def strip(found: "Probe") -> str:
    """What was asked, and a row for each checkpoint in the order of training; references stand apart."""
    truth = f" The true answer: <b>{escape(found.truth)}</b> ({escape(found.style)})." if found.truth else ""
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
    rows = [[label, *(cell(i) for cell in columns.values())] for i, label in enumerate(_labels(found))]
    marks = dict.fromkeys(range(found.trained, len(rows)), "reference")
    table = Table(["Checkpoint", *columns], rows, marks).html("checkpoints")
    told = "Begins with the truth: the probability that the answer starts as the true one. " if found.truth else ""
    if found.options:
        told += f"Among: its share where the model has to choose between {listed(found.options)}."
    key = f'<p class="key">{escape(told)}</p>' if told else ""
    return f'<div class="card"><p>{escape(found.question)}{truth}</p>{table}{key}</div>'


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
    answers = np.array([escape(f"“{a}” ({s})") for a, s in zip(found.answers, found.styles, strict=True)])
    symbols, traces = np.where(found.right, "circle", "x"), []
    for name, values, colour, dash in lines:
        for some, mode in ((slice(found.trained), "lines+markers"), (slice(found.trained, None), "markers")):
            traces.append(go.Scatter(
                x=[escape(name) for name in found.checkpoints[some]], y=100 * values[some], name=name,
                legendgroup=name, showlegend=mode != "markers", mode=mode,
                line={"color": colour, "width": 2.5, "dash": dash},
                marker={"size": 11, "color": colour, "symbol": symbols[some].tolist()},
                customdata=answers[some].tolist(), hovertemplate="%{y:.1f} %, %{customdata}",
            ))
    across = {"title": "Checkpoint, in training order<br>(n = 1 question)", "type": "category", "tickangle": -40}
    return figure(
        310, *(trace for trace in traces if len(trace.x)), hovermode="x unified", margin={"t": 48}, xaxis=across,
        yaxis={"title": "Probability of the truth, %", "range": [-3, 103]},
    )


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
    ]
    title = "Attention while it answers, %<br>(n = 1 question; mean over<br>layers, heads, tokens)"
    return figure(
        120 + 34 * len(labels), *bars, barmode="stack", bargap=0.3, margin={"t": 60}, yaxis=DOWN,
        legend={"traceorder": "normal"}, showlegend=True, xaxis={"title": title, "range": [0, 100]},
    )


def sentence(found: "Probe") -> str:
    """When the answer was lost, to which form, and whether the truth stays likely; then where attention went."""
    told = _of_truth(found) if found.truth else _of_answers(found)
    first, last = found.attention[[0, found.last], 0]
    if not found.picture or np.isnan([first, last]).any():
        return told
    change = "about as much as" if abs(last - first) < _MOVED else "more than" if last > first else "less than"
    return (
        f"{told} While it answers it looks at the picture with {percent(last)} of its attention at the end, {change} "
        f"the base ({percent(first)})."
    )


def _of_answers(found: "Probe") -> str:
    """What can be said without knowing what is true."""
    last, forms = found.last, found.styles[: found.trained]
    said = f"{_quoted(found, 0, 'The base answers')}; {_quoted(found, last, f'after {found.checkpoints[last]} it is')}."
    steps = [
        f"{found.checkpoints[i]} ({forms[i - 1]} to {forms[i]})"
        for i in range(1, found.trained) if forms[i] != forms[i - 1]
    ]
    said += f" The form changes with {listed(steps)}." if steps else " No task changed its form."
    return f"{said} Tell the true answer to see whether it stays likely."


def _of_truth(found: "Probe") -> str:
    last, right, where = found.last, found.right, found.checkpoints
    truth = f"the truth, “{found.truth}”,"
    if found.verdict == NEVER:
        best = int(np.argmax(found.probability[: found.trained]))
        return (
            "No checkpoint of the training answers this right, so nothing could be lost. The answer begins with "
            f"{truth} with a probability of at most {percent(found.probability[best])} ({_at(found, best)})."
        )
    if found.verdict == KEPT:
        wrong = [_at(found, i) for i in range(int(np.argmax(right)) + 1, last) if not right[i]]
        between = f", though it is wrong {listed(wrong)}" if wrong else ""
        return (
            f"Not lost: after {where[last]}, the last task, the answer is right{between}. There it begins with {truth} "
            f"with a probability of {percent(found.probability[last])} ({percent(found.probability[0])} "
            f"{_at(found, 0)})."
        )
    before, lost = found.lost - 1, found.lost
    said = f"Last right {_at(found, before)} and wrong since {_quoted(found, lost, f'{where[lost]}, which answers')}."
    if lost != last:
        said += f" {_quoted(found, last, f'At the end, {_at(found, last)}, it is')}."
    said += (
        f" There the answer begins with {truth} with a probability of {percent(found.probability[last])} "
        f"({percent(found.probability[before])} {_at(found, before)})."
    )
    form, share, count = found.styles[last], percent(found.among[last, 0]) if found.options else "", len(found.options)
    if form == found.style:
        said += f" The asked form ({form}) stayed and the fact is wrong: for this item the loss is {ESSENTIAL}."
        if found.likeliest[last]:
            said += f" Among {count} options the true one is still the likeliest ({share})"
            among = found.answers[last].lower() in [option.lower() for option in found.options]
            said += "." if among else ", and its answer is none of them."
        return said
    said += f" It is in another form than asked ({form} in place of {found.style})"
    if found.verdict == OPEN:
        return f"{said}; give options to see whether the truth still is the likeliest among them."
    among = f"among {count} options the true one"
    if found.verdict == SUPERFICIAL:
        return f"{said}, and {among} is still the likeliest ({share}): for this item the loss is {SUPERFICIAL}."
    return f"{said}, and even {among} ({share}) is not the likeliest: for this item the loss is {ESSENTIAL}."


def _quoted(found: "Probe", i: int, who: str) -> str:
    words = found.answers[i].split()
    told = " ".join(words[:_WORDS]) + ("…" if len(words) > _WORDS else "")
    return f"{who} {f'“{told}”' if told else 'nothing'} ({found.styles[i]})"


def _at(found: "Probe", i: int) -> str:
    """``at the base`` or ``after naming``."""
    return f"after {found.checkpoints[i]}" if i else "at the base"

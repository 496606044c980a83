"""How an answer looks: its tokens, its options, every checkpoint beside it, boxes on the picture, one sentence."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ANSWER, NEUTRAL, bars, empty, mark, said
from analysis.table import Html, Table
from analysis.wording import percent

if TYPE_CHECKING:
    from analysis.ask.measure import Answer

_STYLE_HINTS = {
    "word": "one word", "numeral": "a number", "yes/no": "yes or no", "letter": "the letter of an option",
    "box": "a box: left, top, right, bottom in hundredths of the picture's side", "sentence": "a sentence",
    "other": "none of the known forms",
}


def answer(found: "Answer") -> str:
    """The question and its answer; a token's shade is its probability."""
    tokens = "".join(_token(*step) for step in zip(found.tokens, found.logprob, found.top, strict=True))
    waiting = "" if found.checkpoints or found.done else '<span class="caret" aria-hidden="true"></span>'
    verdict = mark(found.score) if found.done else ""
    lines = [
        f'<p class="asked">{escape(found.question)}</p>',
        f'<p class="answer" aria-live="polite">{tokens}{waiting} {verdict}</p>',
    ]
    if found.done and found.truth is not None and found.score < 1:
        lines.append(f'<p class="truth">The true answer: <b>{escape(found.truth)}</b></p>')
    if found.done and found.contents is not None and found.truth is None:
        listed = ", ".join(f"{count} {name}" for name, count in found.contents)
        lines.append(f'<p class="truth">In the scene: <b>{escape(listed)}</b></p>')
    if found.invented:
        lines.append(f'<p class="truth wrong">Named, but not there: <b>{escape(", ".join(found.invented))}</b></p>')
    if found.missing:
        lines.append(f'<p class="truth">There, but not named: <b>{escape(", ".join(found.missing))}</b></p>')
    return f'<div class="card answer-card">{"".join(lines)}</div>'


def _token(token: str, logprob: float, top) -> str:
    p = math.exp(logprob)
    rows = "".join(f"<span><i>{escape(t.strip()) or '␣'}</i><b>{percent(q)}</b></span>" for t, q in top)
    return (
        f'<span class="token" tabindex="0" style="--p:{p:.3f}">{escape(token)}'
        f'<span class="tip" role="tooltip">{rows}</span></span>'
    )


def certain(found: "Answer") -> bool:
    """Whether one option, or first token, has more than 99 %."""
    chances = found.option_probability if found.options else [p for _, p in found.top[0]] if found.top else [1.0]
    return max(chances) > 0.99


def options(found: "Answer") -> go.Figure:
    """Probability of each option, in per cent; without options, of the likeliest first tokens."""
    if found.options:
        names, values = found.option_labels, found.option_probability
        title = "Probability among the options, %"
    elif found.top:
        names = tuple(t.strip() or "␣" for t, _ in found.top[0])
        values = np.array([p for _, p in found.top[0]])
        title = "Probability of the first token, %"
    else:
        return empty("No options yet", 160)
    colours = [ANSWER if i == int(np.argmax(values)) else NEUTRAL for i in range(len(values))]
    return bars(
        names, 100 * values, colours, title, "%{x:.2f} %", row=38, axis={"range": [0, 100]}, cliponaxis=False,
        text=[percent(v) for v in values], textposition="outside",
    ).update_layout(margin_r=56)  # room for the text


def checkpoints(found: "Answer") -> str:
    """A table: what every checkpoint answers to the same input, in which form, and whether it is right."""
    if not found.checkpoints:
        return '<div class="card quiet">Every checkpoint answers the same question here.</div>'
    kinds = [f'<span class="kind" title="{_STYLE_HINTS.get(s, "")}">{escape(s)}</span>' for s in found.styles]
    columns = ["Checkpoint", "Answer", "Form", *(["Right?"] if found.truth is not None else [])]
    rows = [
        [name, Html(said(given)), Html(kind), Html(mark(score))][: len(columns)]
        for name, given, kind, score in zip(found.checkpoints, found.answers, kinds, found.scores, strict=True)
    ]
    chosen = {i: "chosen" for i, name in enumerate(found.checkpoints) if name == found.checkpoint}
    return f'<div class="card">{Table(columns, rows, chosen).html("checkpoints")}</div>'


def picture(found: "Answer", uri: str | None) -> str:
    """The picture (``uri``) with the boxes of the answers; empty where no checkpoint answers with a box."""
    if uri is None or not any(found.boxes):
        return ""
    box = dict(zip(found.checkpoints, found.boxes, strict=True))
    drawn = [(place, "other", name) for name, place in box.items() if name != found.checkpoint]
    drawn += [(found.truth_box, "true", "true box"), (box.get(found.checkpoint), "own", found.checkpoint)]
    boxes = []
    for place, css, title in drawn:
        if place:
            left, top, right, bottom = (100 * v for v in place)
            boxes.append(
                f'<rect class="{css}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
                f'height="{bottom - top:.1f}"><title>{escape(title)}</title></rect>'
            )
    key = '<p class="key"><b class="own">▢</b> this checkpoint · <b class="true">▢</b> true box · thin: others</p>'
    return (
        f'<h3>Where the boxes are</h3><div class="card picture-card"><div class="asked-picture"><img src="{uri}" '
        'alt="The picture asked about, with boxes"><svg viewBox="0 0 100 100" preserveAspectRatio="none" '
        f'aria-hidden="true">{"".join(boxes)}</svg></div>{key}</div>'
    )


def sentence(found: "Answer") -> str:
    """What was seen, in plain words."""
    if not found.tokens:
        return f"The checkpoint {found.checkpoint} answers nothing to this."
    p = percent(math.exp(found.logprob.sum()))
    told = f"The checkpoint {found.checkpoint} answers “{found.answer}” with a probability of {p}"
    if found.truth is not None and found.done:
        told += {1.0: ", which is right", 0.0: ", which is wrong"}.get(found.score, ", which is partly right")
    others = [i for i, name in enumerate(found.checkpoints) if name != found.checkpoint]
    if not others:
        return f"{told}."
    own = found.checkpoints.index(found.checkpoint)
    same = sum(found.answers[i].lower() == found.answers[own].lower() for i in others)
    other_form = sum(found.styles[i] != found.styles[own] for i in others)
    told += f". Of the {len(others)} other checkpoints, {same or 'none'} {'says' if same == 1 else 'say'} the same"
    if other_form:
        told += f" and {other_form} {'answers' if other_form == 1 else 'answer'} in another form"
    if found.truth is not None:
        right = int((found.scores == 1).sum())
        told += f"; {right} of all {len(found.checkpoints)} {'is' if right == 1 else 'are'} right"
    return f"{told}."


PREDICTED = ("all of them", "some of them", "none of them")
"""What ``outcome`` can be."""


def outcome(found: "Answer") -> str | None:
    """How many of the later checkpoints answer as the first does, case apart; None until all have answered."""
    first, *others = [answer.strip().lower() for answer in found.answers] or [""]
    if not found.done or not others:
        return None
    same = sum(answer == first for answer in others)
    return PREDICTED[0] if same == len(others) else PREDICTED[1] if same else PREDICTED[2]

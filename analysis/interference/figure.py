"""How interference looks: option probabilities side by side, what was done, dose and response, one sentence each."""

import math
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ANSWER, DASHES, IMAGE, NEUTRAL, SERIES, TEXT, WRONG, data_uri, empty, figure, ink_on
from analysis.table import Head, Html, Table
from analysis.wording import listed, percent, signed

if TYPE_CHECKING:
    from analysis.interference.dose import Dose
    from analysis.interference.measure import Effect, Interference

_SIDES = {"text": TEXT, "image": IMAGE, "adversarial": NEUTRAL}
_RIVALS = (WRONG, *(c for c in SERIES if c not in (ANSWER, IMAGE, TEXT, WRONG, NEUTRAL)))
_SHOWN = len(_RIVALS) + 1  # options with a colour of their own
_LABELLED = 0.14  # a narrower part of a bar has no room for its name
_CLEARLY = 0.02  # of probability: less is no change
_CLEAR_ODDS = 0.1  # nats of log-odds: less is no change
_ORIGIN = "As asked"


def options(found: "Interference") -> go.Figure:
    """Probability of each option, %: the question as asked on top, a row for each perturbation below; flips marked.

    The option that changes are told of stands first in each row, and a dashed line carries its undisturbed
    probability down. Options beyond the likeliest few share one part.
    """
    rows = [found.probability, *(e.probability for e in found.effects)]
    values = np.stack(rows)
    rest = [i for i in np.argsort(-values.max(axis=0), kind="stable").tolist() if i != found.target]
    own, others = [found.target, *rest[: _SHOWN - 1]], rest[_SHOWN - 1 :]
    parts = [
        (found.labels[i], values[:, i], ANSWER if i == found.target else _RIVALS[n - 1]) for n, i in enumerate(own)
    ]
    if others:
        parts.append((f"{len(others)} other options", values[:, others].sum(axis=1), NEUTRAL))
    places = list(range(len(rows)))
    bars = [
        go.Bar(
            x=100 * part, y=places, orientation="h", marker_color=colour,
            name=escape(label if len(label) <= 32 else f"{label[:31]}…"),
            text=[f"{escape(label[:18])} {percent(p)}" if p >= _LABELLED else "" for p in part],
            textposition="inside", insidetextanchor="middle", textfont={"color": ink_on(colour)},
            customdata=[escape(label)] * len(rows), hovertemplate="%{customdata}: %{x:.1f} %<extra></extra>",
        )
        for label, part, colour in parts
    ]  # fmt: skip
    before = 100 * values[0, found.target]
    line = {
        "type": "line", "x0": before, "x1": before, "y0": 0.5, "y1": len(rows) - 0.5,
        "line": {"dash": "dash", "width": 2, "color": NEUTRAL},
    }  # fmt: skip
    names = [f"<b>{_ORIGIN}</b>", *(_narrow(e.title) + _flip(found, e) for e in found.effects)]
    row = 18 * max(2, *(name.count("<br>") + 1 for name in names)) + 8
    return figure(
        150 + row * len(rows), *bars, barmode="stack", bargap=0.3,
        shapes=[line] if found.effects else [], margin={"l": 8, "r": 16, "t": 64, "b": 8},
        xaxis={"title": "Probability, % (n = 1)", "range": [0, 100]},
        yaxis={"tickvals": places, "ticktext": names, "autorange": "reversed"}, legend={"traceorder": "normal"},
    )  # fmt: skip


def _flip(found: "Interference", effect: "Effect") -> str:
    """The mark of a flip under a row's title; beside the bars it would leave them no room on a phone."""
    if not effect.flipped:
        return ""
    return f'<br><b><span style="color:{WRONG}">⇄ {escape(found.labels[effect.best][:14])}</span></b>'


def _narrow(title: str) -> str:
    """A title in lines short enough for a phone."""
    return "<br>".join(map(escape, wrap(title, 16)))


def changes(found: "Interference") -> go.Figure:
    """Change of the target's log-probability under each perturbation, nats; beside it the divergence, bits."""
    if not found.effects:
        return empty("Nothing was disturbed")
    values = [e.delta_logprob for e in found.effects]
    places = list(range(len(values)))
    told = [f"{signed(e.delta_logprob)} nats · {e.js:.2f} bits" for e in found.effects]
    labels = [f"{_narrow(e.title)}<br>{text}" for e, text in zip(found.effects, told, strict=True)]
    bars = go.Bar(
        x=values, y=places, orientation="h", marker_color=[_SIDES[e.side] for e in found.effects],
        customdata=told, hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
    title = f"Change of the<br>log-probability of<br>“{escape(found.labels[found.target][:24])}”, nats"
    return figure(
        110 + 64 * len(values), bars, bargap=0.35, margin={"l": 8, "r": 16, "t": 8, "b": 8}, xaxis={"title": title},
        yaxis={"tickvals": places, "ticktext": labels, "autorange": "reversed"},
    )  # fmt: skip


def attacks(found: "Interference") -> go.Figure:
    """Loss of each attack step by step, nats; a message where nothing was attacked."""
    attacked = [e for e in found.effects if e.loss is not None]
    if not attacked:
        return empty("No attack was chosen", 120)
    lines = [
        go.Scatter(
            x=list(range(len(e.loss))), y=e.loss, name=e.title, mode="lines+markers",
            line={"color": _SIDES["image" if "image" in e.name else "text"], "width": 2.5, "dash": DASHES[i]},
            hovertemplate="step %{x}: %{y:.2f} nats<extra></extra>",
        )
        for i, e in enumerate(attacked)
    ]  # fmt: skip
    title = f"Loss of “{escape(found.labels[found.target][:24])}”, nats"
    return figure(
        300, *lines, showlegend=True, xaxis={"title": "Step of the attack", "dtick": 1}, yaxis={"title": title}
    )


def table(found: "Interference") -> str:
    """What was done, and the answer, divergence and change that came of it."""
    js = "Jensen-Shannon divergence between the option probabilities: 0 is no change, 1 bit is all"
    change = (
        "Change of the log-probability of the right option, or of the first answer where the right one is not known"
    )
    columns = [
        "Perturbation", "What was done", "Answer", Head("Divergence, bits", js, digits=2),
        Head("Change, nats", change, digits=2, sign=True),
    ]  # fmt: skip
    asked = f"{found.labels[found.best]}, {percent(found.probability.max())}"
    rows = [[_ORIGIN, None, asked, None, None], *(_row(found, e) for e in found.effects)]
    left = "".join(f"<li>{escape(title)}: {escape(reason)}.</li>" for title, reason in found.left_out)
    left = f'<p class="key">Left out:</p><ul class="key">{left}</ul>' if left else ""
    return f'<div class="card">{Table(columns, rows).html()}{left}</div>'


def _row(found: "Interference", effect: "Effect") -> list:
    done = effect.text
    if effect.picture is not None:
        size = f'alt="{escape(effect.title)}" width="56" height="56" style="object-fit: contain"'
        done = Html(f'<img src="{data_uri(effect.picture, 96)}" {size}>')
    elif effect.loss is not None:
        done = f"loss {effect.loss[0]:.2f} → {effect.loss.max():.2f} nats"
    answer = f"{found.labels[effect.best]}, {percent(effect.probability.max())}"
    if effect.flipped:
        answer = Html(f'<span class="wrong">⇄ {escape(answer)}</span>', answer)
    return [effect.title, done, answer, effect.js, effect.delta_logprob]


def sentence(found: "Interference") -> str:
    """What happened, in plain words; as long as attacks are waiting, what is known so far."""
    before, target = found.labels[found.best], found.labels[found.target]
    said = f"As asked, the answer is “{before}” ({percent(found.probability[found.best])})"
    if found.truth_known:
        said += ", which is right." if found.best == found.target else f"; the right one is “{target}”."
    else:
        said += "."
    if found.proposed:
        said += " No options were given: these are the model's own likeliest answers."
    missing = f" Not measured yet: {listed([_low(w) for w in found.waiting])}." if found.waiting else ""
    if not found.effects:
        return f"{said}{missing}" if missing else f"{said} Nothing could be disturbed here."
    return f"{said} {_disturbed(found)}{missing}"


def _low(title: str) -> str:
    return title[0].lower() + title[1:]


def _disturbed(found: "Interference") -> str:
    """What the perturbations did; there is at least one."""
    before, so_far = found.labels[found.best], " so far" if found.waiting else ""
    strongest = max(found.effects, key=lambda e: (e.flipped, e.js))
    under = f"Under “{strongest.title}”"
    if len(found.labels) == 1:
        most = max(found.effects, key=lambda e: abs(e.delta_logprob))
        return (
            "With one option nothing can flip; what changes is its log-probability, most under "
            f"“{most.title}”{so_far}: {signed(most.delta_logprob)} nats."
        )
    flips = [e for e in found.effects if e.flipped]
    total = len(found.effects)
    if not flips:
        how = "The perturbation does not change it" if total == 1 else f"None of the {total} perturbations changes it"
        return (
            f"{how}{so_far}. {under} the probabilities move most ({strongest.js:.2f} bits): “{before}” goes "
            f"to {percent(strongest.probability[found.best])}."
        )
    said = (
        f"{under} it flips to “{found.labels[strongest.best]}” ({percent(strongest.probability.max())}). "
        f"{len(flips)} of {total} perturbations {'flips' if len(flips) == 1 else 'flip'} the answer{so_far}"
    )
    parts = []
    for side, what in (("text", "in the text"), ("image", "in the picture"), ("adversarial", "by attack")):
        of_side = [e for e in found.effects if e.side == side]
        if of_side:
            parts.append(f"{sum(e.flipped for e in of_side)} of {len(of_side)} {what}")
    return f"{said}: {listed(parts)}." if len(parts) > 1 else f"{said}."


def response(found: "Dose") -> go.Figure:
    """Probability of the target, and of each option that leads at first, after the flip or at the end (where the target
    alone does: of the strongest other), against strength, %; the flip point is marked.
    """
    answers = found.logprob.argmax(axis=1).tolist()
    leading = [found.best, answers[found.flipped or 0], answers[-1]]
    rivals = [i for i in dict.fromkeys(leading) if i != found.target]
    others = [i for i in range(len(found.labels)) if i != found.target]
    if others and not rivals:
        rivals = [max(others, key=lambda i: found.probability[:, i].max())]
    lines = [_line(found, found.target, ANSWER, "solid")]
    lines += [_line(found, rival, _RIVALS[n], DASHES[n + 1]) for n, rival in enumerate(rivals)]
    marks = {}
    if not math.isnan(found.flip):
        marks = {
            "shapes": [{
                "type": "line", "x0": found.flip, "x1": found.flip, "y0": 0, "y1": 1, "yref": "paper",
                "line": {"dash": "dot", "width": 2, "color": NEUTRAL},
            }],
            "annotations": [{
                "x": found.flip, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False,
                "text": f"flips {_where(found)}" if found.counted else f"flips at {found.flip:.2f}",
            }],
        }  # fmt: skip
    return figure(
        380, *lines, margin={"l": 8, "r": 16, "t": 84, "b": 8}, legend={"y": 1.1}, showlegend=True, **marks,
        xaxis={"title": _axis(found), "range": [-0.02, 1.02]},
        yaxis={"title": "Probability among the options, %", "range": [-3, 103]},
    )  # fmt: skip


def _where(found: "Dose") -> str:
    """Where the answer flips."""
    if found.counted:
        few, more = found.amount[found.flipped - 1 : found.flipped + 1]
        return f"between {few:.0f} and {more:.0f} {found.unit}"
    most = found.amount[-1] / found.strength[-1]
    return f"at strength {found.flip:.2f} ({found.flip * most:.3g} {found.unit})"


def _line(found: "Dose", option: int, colour: str, dash: str) -> go.Scatter:
    return go.Scatter(
        x=found.strength, y=100 * found.probability[:, option], name=escape(found.labels[option][:32]),
        mode="lines+markers", customdata=found.amount,
        line={"color": colour, "width": 2.5, "dash": dash}, marker={"size": 8},
        hovertemplate=f"strength %{{x:.2f}} (%{{customdata:.3g}} {escape(found.unit)}): %{{y:.1f}} %",
    )  # fmt: skip


def _axis(found: "Dose") -> str:
    most = found.amount[-1] / found.strength[-1] if found.strength[-1] else 0.0
    return f"Strength: {found.title.lower()} (1 = {most:.3g} {found.unit}; n = {len(found.strength)} strengths)"


def effectiveness(found: "Dose") -> go.Figure:
    """What the hint adds, in points, against the probability from the picture alone, %; a marker is a strength."""
    if not found.gain.size:
        return empty("Only for noise in the picture and covered parts: they weaken what a sentence can help", 160)
    dots = go.Scatter(
        x=100 * found.cue, y=100 * found.gain, mode="markers", customdata=found.strength,
        marker={
            "size": 12, "color": found.strength, "colorscale": [[0, "rgba(0,114,178,0.25)"], [1, IMAGE]], "cmin": 0,
            "cmax": 1, "colorbar": {"title": "Strength"}, "line": {"width": 1, "color": IMAGE},
        },
        hovertemplate="strength %{customdata:.2f}: %{x:.0f} % alone, %{y:+.0f} points with the hint<extra></extra>",
    )  # fmt: skip
    return figure(
        360, dots,
        xaxis={"title": "From the weakened picture alone, %", "range": [-3, 103]},
        yaxis={"title": "Added by the hint, points", "zeroline": True},
    )  # fmt: skip


def response_sentence(found: "Dose") -> str:
    """Where the answer flips, and whether the second modality helps a weak cue more than a strong one."""
    target, before = found.labels[found.target], found.labels[found.best]
    whose = f"the right “{target}”" if found.truth_known else f"“{target}”, the model's own answer,"
    end = "full strength" if found.done else f"strength {found.strength[-1]:.2f} (not yet more)"
    first, last = found.cue[0], found.cue[-1]
    said = f"From none to {end} of {_low(found.title)}, {whose} goes from {percent(first)} to {percent(last)}"
    if len(found.labels) == 1:
        said += "; one option cannot flip."
    elif found.flipped is None:
        said += f"; the answer “{before}” {'never flips' if found.done else 'has not flipped so far'}."
    else:
        after = found.labels[int(found.logprob[found.flipped].argmax())]
        said += f"; the answer “{before}” flips to “{after}” {_where(found)}."
    return f"{said} {_helped(found)}".strip()


def _helped(found: "Dose") -> str:
    if not found.gain.size:
        return ""
    if not found.odds_gain.size:
        return "With one option a hint has nothing to add."
    weak = int(np.argmin(found.cue))
    if found.cue[0] - found.cue[weak] < _CLEARLY:
        return "The picture's cue does not weaken, so nothing can be said about help for a weak cue."
    adds = (
        f"The hint “{found.hint}” adds {signed(100 * found.gain[0], 0)} points where the picture is clear "
        f"and {signed(100 * found.gain[weak], 0)} where it is weakest"
    )
    if found.gain[weak] - found.gain[0] < _CLEARLY:
        return f"{adds}: no inverse effectiveness here."
    odds = f"{signed(found.odds_gain[0], 1)} and {signed(found.odds_gain[weak], 1)} nats of log-odds"
    if found.odds_gain[weak] - found.odds_gain[0] >= _CLEAR_ODDS:
        return f"{adds} ({odds}): in this one question the weaker cue gains more, as inverse effectiveness has it."
    return f"{adds}, but in log-odds it does not clearly gain more ({odds}): the ceiling at 100 % explains it."


PREDICTED = ("every one of them", "some of them", "none of them")
"""What ``outcome`` can be."""


def outcome(found: "Interference") -> str | None:
    """How many of the changes flip the answer; None while some are still to come, or none was made."""
    if found.waiting or not found.effects:
        return None
    flips = sum(effect.flipped for effect in found.effects)
    return PREDICTED[0] if flips == len(found.effects) else PREDICTED[1] if flips else PREDICTED[2]

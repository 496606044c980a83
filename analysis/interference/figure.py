"""How interference looks: option probabilities side by side, what was done, dose and response, one sentence each."""

import math
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ANSWER, DASHES, IMAGE, NEUTRAL, SERIES, TEXT, WRONG, data_uri, figure, ink_on, upright
from analysis.table import Head, Html, Table
from analysis.wording import brief, listed, percent, plural, signed

if TYPE_CHECKING:
    from analysis.interference.dose import Dose
    from analysis.interference.measure import Interference

_SIDES = {"text": TEXT, "image": IMAGE, "adversarial": NEUTRAL}
_RIVALS = (WRONG, *(c for c in SERIES if c not in (ANSWER, IMAGE, TEXT, WRONG, NEUTRAL)))
_SHOWN = len(_RIVALS) + 1  # options with a colour of their own
_LIKELY = 0.02  # an option that never has more shares one part with its like
_LABELLED = 0.14  # a narrower part of a bar has no room for its name
_CLEARLY = 0.02  # of probability: less is no change
_CLEAR_ODDS = 0.1  # nats of log-odds: less is no change
_LINE, _HEAD = 17, 26  # pixels: of a line beside a bar, of a group's title
_ORIGIN = "As asked"
_COUNTED = "sentences"  # there is nothing between two of them


def options(found: "Interference") -> go.Figure:
    """Probability of each option, %: the question as asked on top, below it what should not change the answer, then
    what should or may; flips are marked.

    The option that changes are told of stands first in each row, and a dashed line carries its undisturbed
    probability down. Options beyond the likeliest few, and those that are never likely, share one part.
    """
    others = [e for e in found.effects if e.should is not False]
    kinds = {e.should for e in others}  # nothing is taken away for sure where ``should`` is None
    expected = "May change it:" if kinds == {None} else f"Should{' or may' * (None in kinds)} change it:"
    rows, titles, places, heights, heads, down = [], [], [], [], {}, 0
    for head, some in (("", [found]), ("Should not change it:", found.idle), (expected, others)):
        if head and some:
            heads[down + _HEAD / 2] = f"<b>{head}</b>"
            down += _HEAD
        for row in some:
            title = f"<b>{_ORIGIN}</b>"
            if row is not found:  # in lines short enough for a phone; for a sentence its kind and words
                kind = "Yours" if row.name == "own-sentence" else row.title.split()[0]
                what = f"{kind}: “{row.text}”" if row.text else row.title + " (may)" * (row.should is None)
                title = "<br>".join(map(escape, wrap(what, 24, max_lines=3, placeholder="…")))
                colour = WRONG if row.should is False else NEUTRAL
                title += f' <b><span style="color:{colour}">⇄</span></b>' * row.flipped
            titles.append(title)
            heights.append(_LINE * max(title.count("<br>") + 1, 1.4) + 10)
            places.append(down + heights[-1] / 2)
            down += heights[-1]
            rows.append(row.probability)
    values = np.stack(rows)
    rest = [i for i in np.argsort(-values.max(axis=0), kind="stable").tolist() if i != found.target]
    likely = [i for i in rest if values[:, i].max() >= _LIKELY][: _SHOWN - 1]
    own, left = [found.target, *likely], [i for i in rest if i not in likely]
    parts = [
        (found.labels[i], values[:, i], ANSWER if i == found.target else _RIVALS[n - 1]) for n, i in enumerate(own)
    ]
    if left:
        parts.append((plural(len(left), "other option"), values[:, left].sum(axis=1), NEUTRAL))
    bars = [
        go.Bar(
            x=100 * part, y=places, width=[h - 12 for h in heights], orientation="h", marker_color=colour,
            name=escape(label if len(label) <= 24 else f"{label[:23]}…"),
            text=[f"{escape(label[:18])} {percent(p)}" if p >= _LABELLED else "" for p in part],
            textposition="inside", insidetextanchor="middle", textfont={"color": ink_on(colour)},
            customdata=[escape(label)] * len(rows), hovertemplate="%{customdata}: %{x:.1f} %<extra></extra>",
        )
        for label, part, colour in parts
    ]
    line = upright(100 * values[0, found.target], heights[0], down)
    return figure(
        int(92 + down), *bars, barmode="stack", shapes=[line] if found.effects else [],
        margin={"l": 8, "r": 16, "t": 44, "b": 8}, showlegend=True, legend={"traceorder": "normal"},
        xaxis={"title": "Probability, % (n = 1)", "range": [0, 100]},
        yaxis={
            "tickvals": [*places, *heads], "ticktext": [*titles, *heads.values()], "range": [down, 0],
            "tickfont": {"size": 13}, "showgrid": False, "zeroline": False,
        },
    )


def changes(found: "Interference") -> go.Figure | None:
    """Change of the target's log-probability under each perturbation, nats; beside it the divergence, bits."""
    if not found.effects:
        return None
    values = [e.delta_logprob for e in found.effects]
    places = list(range(len(values)))
    told = [f"{signed(e.delta_logprob)} nats · {e.js:.2f} bits" for e in found.effects]
    narrow = ["<br>".join(map(escape, wrap(e.title, 16))) for e in found.effects]
    bars = go.Bar(
        x=values, y=places, orientation="h", marker_color=[_SIDES[e.side] for e in found.effects],
        customdata=told, hovertemplate="%{customdata}<extra></extra>",
    )
    title = f"Change of the<br>log-probability of<br>“{escape(found.labels[found.target][:24])}”, nats"
    return figure(
        110 + 64 * len(values), bars, bargap=0.35, margin={"l": 8, "r": 16, "t": 8, "b": 8}, xaxis={"title": title},
        yaxis={
            "tickvals": places, "ticktext": [f"{n}<br>{t}" for n, t in zip(narrow, told, strict=True)],
            "autorange": "reversed",
        },
    )


def attacks(found: "Interference") -> go.Figure | None:
    """Loss of each attack step by step, nats; None where nothing was attacked."""
    attacked = [e for e in found.effects if e.loss is not None]
    if not attacked:
        return None
    lines = [
        go.Scatter(
            x=list(range(len(e.loss))), y=e.loss, name=e.title, mode="lines+markers",
            line={"color": _SIDES["image" if "image" in e.name else "text"], "width": 2.5, "dash": DASHES[i]},
            hovertemplate="step %{x}: %{y:.2f} nats<extra></extra>",
        )
        for i, e in enumerate(attacked)
    ]
    title = f"Loss of “{escape(found.labels[found.target][:24])}”, nats"
    return figure(
        300, *lines, showlegend=True, xaxis={"title": "Step of the attack", "dtick": 1}, yaxis={"title": title}
    )


def put_in(found: "Interference") -> str:
    """The pictures that were put in the picture's place, small; nothing where there is none."""
    pictures = "".join(
        f'<figure><img src="{data_uri(e.picture, 96)}" alt=""><figcaption>{escape(e.title)}</figcaption></figure>'
        for e in found.effects
        if e.picture is not None
    )
    return f'<div class="put-in">{pictures}</div>' if pictures else ""


def table(found: "Interference") -> str:
    """What was done, and the answer, divergence and change that came of it."""
    rows = [[_ORIGIN, "", "", f"{found.labels[found.best]}, {percent(found.probability.max())}", None, None]]
    for e in found.effects:
        done = e.text if e.loss is None else f"loss {e.loss[0]:.2f} → {e.loss.max():.2f} nats"
        if e.picture is not None:
            done = Html(f'<img src="{data_uri(e.picture, 96)}" alt="{escape(e.title)}" width="56" height="56">')
        answer = escape(f"{found.labels[e.best]}, {percent(e.probability.max())}")
        if e.flipped:
            answer = f'<span class="{"right" if e.should else "wrong"}">⇄ {answer}</span>'
        should = {True: "yes", False: "no", None: "it may"}[e.should]
        rows.append([e.title, done, should, Html(answer), e.js, e.delta_logprob])
    head = (
        "Perturbation", "What was done", "Should it change?", "Answer",
        Head("Divergence", "Jensen-Shannon divergence between the option probabilities: 0 is no change, 1 bit is all",
             unit="bits", digits=2),
        Head("Change", "Change of the log-probability of the right option, or of the first answer where the right one "
             "is not known", unit="nats", digits=2, sign=True),
    )
    left = "".join(f"<li>{escape(title)}: {escape(reason)}.</li>" for title, reason in found.left_out)
    left = f'<p class="key">Left out:</p><ul class="key">{left}</ul>' if left else ""
    return f'<div class="card">{Table(head, rows).html()}{left}</div>'


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
    missing = f" Not measured yet: {listed([w[0].lower() + w[1:] for w in found.waiting])}." if found.waiting else ""
    if not found.effects:
        return f"{said}{missing}" if missing else f"{said} Nothing could be disturbed here."
    so_far = " so far" if found.waiting else ""
    if len(found.labels) == 1:
        most = max(found.effects, key=lambda e: abs(e.delta_logprob))
        return (
            f"With one option nothing can flip. {said} What changes is its log-probability, most under "
            f"“{most.title}”{so_far}: {signed(most.delta_logprob)} nats.{missing}"
        )
    idle, short = found.idle, brief(before)
    some = idle or found.effects
    total, flips = len(some), [e for e in some if e.flipped]
    most = max(some, key=lambda e: (e.flipped, e.js))
    if not idle:
        of = "the one change" if total == 1 else f"the {total} changes"
        first = f"{len(flips) or 'None'} of {of} made here, which should or may change the answer “{short}”, does"
    elif not flips:
        of = "The change" if total == 1 else f"None of the {total} changes"
        first = f"{of} that should not matter {'does not flip' if total == 1 else 'flips'} the answer “{short}”"
    else:
        flip = "flips" if len(flips) == 1 else "flip"
        of = f": {len(flips)} of {total} changes that should not matter {flip} it"
        many = of if total > 1 else ", and should not"
        first = f"“{most.title}” flips “{short}” to “{brief(found.labels[most.best])}”{many}"
    after = f", “{found.labels[most.best]}” has {percent(most.probability.max())}" if most.flipped else ""
    moved = (
        f"The probabilities move most under “{most.title}” ({most.js:.2f} bits): “{before}” goes to "
        f"{percent(most.probability[found.best])}{after}."
    )
    others = []  # what should change the answer, and what may: told apart, for there a flip is no interference
    for should, which in ((True, "should"), (None, "may")):
        changed = [e.flipped for e in found.effects if e.should is should]
        if changed and idle:
            others.append(f"{sum(changed)} of {len(changed)} that {which}")
    also = f" Of the other changes, the answer is changed by {listed(others)}." if others else ""
    return f"{first}{so_far}. {said} {moved}{also}{missing}"


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
    looks = [(found.target, ANSWER), *zip(rivals, _RIVALS, strict=False)]
    lines = [
        go.Scatter(
            x=found.strength, y=100 * found.probability[:, option], name=escape(found.labels[option][:32]),
            mode="lines+markers", customdata=found.amount, marker={"size": 8},
            line={"color": colour, "width": 2.5, "dash": DASHES[n]},
            hovertemplate=f"strength %{{x:.2f}} (%{{customdata:.3g}} {escape(found.unit)}): %{{y:.1f}} %",
        )
        for n, (option, colour) in enumerate(looks)
    ]
    marks = {}
    if not math.isnan(found.flip):
        told = f"flips {_where(found)}" if found.unit == _COUNTED else f"flips at {found.flip:.2f}"
        note = {"x": found.flip, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "text": told}
        marks = {"shapes": [upright(found.flip, dash="dot", yref="paper")], "annotations": [note]}
    most = found.amount[-1] / found.strength[-1] if found.strength[-1] else 0.0
    full = "" if most == 1 else f"1 = {most:.3g} {found.unit}; "
    title = f"Strength: {found.title.lower()}<br>({full}n = {len(found.strength)} strengths)"
    return figure(
        345, *lines, margin={"l": 8, "r": 16, "t": 64, "b": 8}, legend={"y": 1.1}, showlegend=True, **marks,
        xaxis={"title": title, "range": [-0.02, 1.02]},
        yaxis={"title": "Probability among the options, %", "range": [-3, 103]},
    )


def _where(found: "Dose") -> str:
    """Where the answer flips."""
    if found.unit == _COUNTED:
        few, more = found.amount[found.flipped - 1 : found.flipped + 1]
        return f"between {few:.0f} and {more:.0f} {found.unit}"
    most = found.amount[-1] / found.strength[-1]
    return f"at strength {found.flip:.2f}" + ("" if most == 1 else f" ({found.flip * most:.3g} {found.unit})")


def effectiveness(found: "Dose") -> go.Figure | None:
    """What the hint adds, in points, against the probability from the picture alone, %; a marker is a strength."""
    if not found.gain.size:
        return None  # only what weakens the picture leaves something that a sentence can help
    dots = go.Scatter(
        x=100 * found.cue, y=100 * found.gain, mode="markers", customdata=found.strength,
        marker={
            "size": 12, "color": found.strength, "colorscale": [[0, "rgba(0,114,178,0.25)"], [1, IMAGE]], "cmin": 0,
            "cmax": 1, "colorbar": {"title": "Strength"}, "line": {"width": 1, "color": IMAGE},
        },
        hovertemplate="strength %{customdata:.2f}: %{x:.0f} % alone, %{y:+.0f} points with the hint<extra></extra>",
    )
    return figure(
        360, dots,
        xaxis={"title": "From the weakened picture alone, %", "range": [-3, 103]},
        yaxis={"title": "Added by the hint, points", "zeroline": True},
    )


def response_sentence(found: "Dose") -> str:
    """Where the answer flips, and whether the second modality helps a weak cue more than a strong one."""
    target, before = found.labels[found.target], brief(found.labels[found.best])
    whose = f"the right “{target}”" if found.truth_known else f"“{target}”, the model's own answer,"
    end = "full strength" if found.done else f"strength {found.strength[-1]:.2f} (not yet more)"
    raised = f"Raising “{found.title[0].lower()}{found.title[1:]}”"
    if len(found.labels) == 1:
        said = f"{raised} cannot flip the answer: there is one option."
    elif found.flipped is None:
        said = f"{raised}, the answer “{before}” {'never flips' if found.done else 'has not flipped so far'}."
    else:
        after = brief(found.labels[int(found.logprob[found.flipped].argmax())])
        said = f"{raised}, the answer “{before}” flips to “{after}” {_where(found)}."
    went = f"From none to {end}, {whose} goes from {percent(found.cue[0])} to {percent(found.cue[-1])}."
    told = f"{said} {went}"
    if not found.gain.size:
        return told
    if not found.odds_gain.size:
        return f"{told} With one option a hint has nothing to add."
    weak = int(np.argmin(found.cue))
    if found.cue[0] - found.cue[weak] < _CLEARLY:
        return f"{told} The picture's cue does not weaken, so nothing can be said about help for a weak cue."
    adds = (
        f"The hint “{found.hint}” adds {signed(100 * found.gain[0], 0)} points where the picture is clear "
        f"and {signed(100 * found.gain[weak], 0)} where it is weakest"
    )
    odds = f"{signed(found.odds_gain[0], 1)} and {signed(found.odds_gain[weak], 1)} nats of log-odds"
    if found.gain[weak] - found.gain[0] < _CLEARLY:
        helped = ": no inverse effectiveness here."
    elif found.odds_gain[weak] - found.odds_gain[0] >= _CLEAR_ODDS:
        helped = f" ({odds}): in this one question the weaker cue gains more, as inverse effectiveness has it."
    else:
        helped = f", but in log-odds it does not clearly gain more ({odds}): the ceiling at 100 % explains it."
    return f"{told} {adds}{helped}"


DOSES = ("in the first half", "in the second half", "never")
"""What ``flips_at`` can be."""


def flips_at(found: "Dose") -> str | None:
    """In which half of the dose the answer flips; None until it is whole."""
    if not found.done:
        return None
    return DOSES[2] if found.flipped is None else DOSES[int(found.flip > 0.5)]


PREDICTED = ("every one of them", "some of them", "none of them")
"""What ``outcome`` can be."""


def outcome(found: "Interference") -> str | None:
    """How many of the changes that should not matter flip the answer; None while some are still to come, or none was
    made."""
    if found.waiting or not found.idle:
        return None
    flips = sum(effect.flipped for effect in found.idle)
    return PREDICTED[0] if flips == len(found.idle) else PREDICTED[1] if flips else PREDICTED[2]

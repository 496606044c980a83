"""How one step looks as a game: its strongest words, the split of one word, the picture's regions, the sum worked."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import IMAGE, SERIES, TEXT, WRONG, cells, empty, figure, over_picture, tint
from analysis.decoding.figure import TOGETHER, shown
from analysis.wording import number, signed

if TYPE_CHECKING:
    from analysis.decoding.game import Moment, Regions

_CLOSE = 0.005  # nats: shown as zero
_OPACITY = 0.75


def strongest(moment: "Moment | None") -> go.Figure:
    """The words of the whole vocabulary with the largest interaction, nats."""
    if moment is None:
        return empty("Words with the largest interaction", 180)
    words = [shown(token) for token, _ in moment.strongest]
    values = [value for _, value in moment.strongest]
    places = list(range(len(words)))
    bars = go.Bar(
        x=values, y=places, orientation="h", marker_color=TOGETHER, customdata=[escape(w) for w in words],
        hovertemplate="%{customdata}: %{x:+.2f} nats<extra></extra>",
    )  # fmt: skip
    return figure(
        90 + 30 * len(words), bars, bargap=0.3, margin={"l": 8, "r": 16, "t": 8, "b": 8},
        xaxis={"title": f"Interaction, nats ({len(words)} largest)"},
        yaxis={"tickvals": places, "ticktext": [escape(w[:24]) for w in words], "autorange": "reversed"},
    )  # fmt: skip


def split(moment: "Moment | None") -> go.Figure:
    """The chosen token's log-probability, shared out: dividends of picture, question and both; then Shapley values."""
    if moment is None:
        return empty("Shares of the chosen word", 180)
    shares, owed = moment.dividends, moment.shapley
    rows = [
        ("picture alone", shares["picture"], IMAGE), ("question alone", shares["question"], TEXT),
        ("both together", shares["together"], TOGETHER), ("picture, Shapley", owed["picture"], IMAGE),
        ("question, Shapley", owed["question"], TEXT),
    ]  # fmt: skip
    places, values = list(range(len(rows))), [v for _, v, _ in rows]
    bars = go.Bar(
        x=values, y=places, orientation="h", marker_color=[c for _, _, c in rows],
        hoverinfo="skip", marker_opacity=[1, 1, 1, 0.6, 0.6],
    )  # fmt: skip
    return figure(
        250, bars, bargap=0.25, margin={"l": 8, "r": 16, "t": 8, "b": 8},
        xaxis={"title": f"For “{escape(shown(moment.token))}”, nats"},
        yaxis={
            "tickvals": places, "ticktext": [f"{name} {signed(v)}" for name, v, _ in rows], "autorange": "reversed",
        },
    )  # fmt: skip


def worked(moment: "Moment | None") -> str:
    """The game of the chosen token with its own numbers, each line of the sum written out."""
    if moment is None:
        return '<div class="card quiet">Press Decode with a picture, then choose a step: its sum is worked here.</div>'
    both, question, picture, neither = moment.values
    shares, owed, word = moment.dividends, moment.shapley, escape(shown(moment.token))
    told = dict(zip(("both", "question", "picture", "neither"), (number(v, 2) for v in moment.values), strict=True))
    lines = [
        f"v(nobody) = {_logp(neither)}: a random picture and no question.",
        f"v(picture) = {_logp(picture)}: the picture, no question.",
        f"v(question) = {_logp(question)}: a random picture, the question.",
        f"v(both) = {_logp(both)}.",
        f"Picture alone adds v(picture) − v(nobody) = {told['picture']} − ({told['neither']}) = "
        f"<b>{_nats(shares['picture'])}</b>.",
        f"Question alone adds v(question) − v(nobody) = {told['question']} − ({told['neither']}) = "
        f"<b>{_nats(shares['question'])}</b>.",
        f"What is left is the dividend of both: v(both) − v(picture) − v(question) + v(nobody) = {told['both']} − "
        f"({told['picture']}) − ({told['question']}) + ({told['neither']}) = <b>{_nats(shares['together'])}</b>. "
        f"That is the interaction for “{word}”.",
        f"Shapley gives each player its own and half of the rest: picture {_nats(owed['picture'])}, question "
        f"{_nats(owed['question'])}; together {_nats(owed['picture'] + owed['question'])} = v(both) − v(nobody).",
    ]
    items = "".join(f"<li>{line}</li>" for line in lines)
    return (
        f'<div class="card"><p>The game for the word <b>“{word}”</b>. v is the logarithm of its probability, in '
        f"nats.</p><ol>{items}</ol></div>"
    )


def reading(moment: "Moment") -> str:
    """One sentence: who is behind the chosen word."""
    shares, word = moment.dividends, shown(moment.token)
    names = {"picture": "the picture alone", "question": "the question alone", "together": "the two together"}
    parts = {names[key]: value for key, value in shares.items() if key in names}
    strong = max(parts, key=lambda name: abs(parts[name]))
    if abs(parts[strong]) < _CLOSE:
        return f"Neither the picture nor the question changes how likely “{word}” is at this step."
    effect = "makes" if strong != names["together"] else "make"
    way = "likelier" if parts[strong] > 0 else "less likely"
    others = ", ".join(f"{name} {_nats(value)}" for name, value in parts.items() if name != strong)
    return f"Most of all, {strong} {effect} “{word}” {way} ({_nats(parts[strong])}); {others}."


def overlay(found: "Regions | None", uri: str | None, size: tuple[int, int] | None) -> go.Figure:
    """The picture (``uri``) with its blocks shaded by what the interaction loses when a block is covered."""
    if found is None or size is None:
        return empty("The map appears here", 120)
    side, most = len(found.losses), float(np.abs(found.losses).max()) or 1.0
    tints = [[0, tint(WRONG, _OPACITY)], [0.5, tint(WRONG, 0)], [0.5, tint(SERIES[5], 0)]]
    heat = go.Heatmap(
        z=found.losses, **cells((0, 0, 1, 1), side, side), zmin=-most, zmax=most, showscale=False,
        colorscale=[*tints, [1, tint(SERIES[5], _OPACITY)]], hovertemplate="%{z:+.3f} nats<extra></extra>",
    )  # fmt: skip
    return over_picture(340, [heat], uri, size)


def where(found: "Regions") -> str:
    """Which part of the picture carries the interaction for the word, and how to read the map."""
    word, blocks, (place, loss) = shown(found.token), found.losses.size, found.strongest
    said = f"With the whole picture the interaction for “{word}” is {_nats(found.whole)}."
    if abs(loss) < _CLOSE:
        return f"{said} Covering any one of {blocks} blocks changes nothing."
    return (
        f"{said} Of {blocks} blocks, one at the {place} matters most: covered, it leaves {_nats(found.whole - loss)}. "
        "Sky blue: covering a block makes the interaction smaller; vermilion: larger."
    )


def _logp(value: float) -> str:
    p = math.exp(value)
    return f"ln {p:.3g} = {number(value, 2)}"


def _nats(value: float) -> str:
    return f"{signed(value)} nats"

"""How decoding looks: answers side by side, one answer's steps coloured by interaction, the locator's readings."""

import math
from html import escape
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.charts import NEUTRAL, SERIES, WRONG, empty, figure
from analysis.wording import percent, plural, signed

if TYPE_CHECKING:
    from analysis.decoding.game import Moment
    from analysis.decoding.measure import Decoding, Played, Written

TOGETHER = SERIES[3]  # of what picture and question say together; neither's own colour
CONTEXTS = ("picture and question", "question alone", "picture alone", "neither")
_FEWEST = 8  # steps that an axis has room for at least
_LABELLED = 24  # steps: more have no room for their words on an axis


def shown(token: str) -> str:
    """A token as a person can see it: white space alone as a sign."""
    return token.strip() or ("↵" if "\n" in token else "␣")


def side_by_side(found: "Decoding") -> str:
    """A card for each strategy: its words, where answers part, what is not there, its speed."""
    cards = [_card(found, w) for w in found.strategies]
    legend = ["Dashed: where not all answers go on alike."] if found.first_divergence is not None else []
    if found.there is not None:
        legend.append(f"Wavy underline: not in the picture, where there is {', '.join(found.there) or 'nothing'}.")
    return f'<div class="dec-cards">{"".join(cards)}</div><p class="key">{escape(" ".join(legend))}</p>'


def _card(found: "Decoding", w: "Written") -> str:
    words = []
    for i, step in enumerate(w.steps):
        marks = [c for c, on in (("dec-apart", i == found.first_divergence), ("dec-wrong", w.touched(i))) if on]
        told = f' title="not in the picture: {escape(", ".join(w.touched(i)))}"' if w.touched(i) else ""
        words.append(
            f'<span class="{" ".join(marks)}"{told}>{escape(step.token)}</span>' if marks else escape(step.token)
        )
    if not w.ended:
        words.append('<span class="caret" aria-hidden="true"></span>')
    elif len(w.steps) == found.first_divergence:
        words.append('<span class="dec-apart" title="this answer ends here">&nbsp;■</span>')
    numbers = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in w.parameters.items())
    count = plural(len(w.steps), "token")
    speed = "" if math.isnan(w.tokens_per_second) else f"{count}, {w.tokens_per_second:.0f} a second"
    foot = " · ".join(escape(part) for part in (speed, w.note) if part)
    if numbers and w.ended:
        foot += f"<details><summary>parameters</summary>{escape(numbers)}</details>"
    text = "".join(words) or ("<i>nothing</i>" if w.ended else "")
    return (
        f'<div class="card"><h4>{escape(w.title)}</h4><p class="dec-text" aria-live="off">{text}</p>'
        f'<p class="key">{foot}</p></div>'
    )


def timeline(found: "Decoding", name: str) -> str:
    """One answer's steps: probability below, shaded by the interaction's variance; nothing for an answer of none."""
    w = found.of(name)
    if w is None or not w.steps:
        return ""
    fires, most = w.fired(found.threshold), max((m.variance for m in w.moments), default=0.0)
    steps = [_step(w, i, fires, most) for i in range(len(w.steps))]
    if w.moments:
        key = (
            f"Shade: variance of the interaction over the vocabulary, full at {most:.2g}. Thick line below: a key "
            f"step, where it reaches k = {found.threshold:g}. Below each word: its probability. Point at a step, or "
            "tab to it, for the four contexts."
        )
    else:
        key = "Below each word: its probability. There is no picture, so there is no interaction to shade."
    return f'<div class="card"><div class="dec-line">{"".join(steps)}</div><p class="key">{escape(key)}</p></div>'


def _step(w: "Written", i: int, fires: list[bool], most: float) -> str:
    step, moment = w.steps[i], w.moments[i] if w.moments else None
    label, share, tip = f"Step {i + 1}: {shown(step.token)}, {percent(math.exp(step.logprob))}", 0.0, ""
    if moment:
        share = moment.variance / most if most else 0.0
        label += f", variance of the interaction {moment.variance:.2g}" + (", a key step" if fires[i] else "")
        tip = f'<span class="dec-tip">{contexts(moment)}</span>'
    css = "fired" if moment and fires[i] else ""
    word = f'<span class="dec-wrong">{escape(shown(step.token))}</span>' if w.touched(i) else escape(shown(step.token))
    return (
        f'<button type="button" class="dec-step {css}" style="--v:{share:.3f}" data-go="decoding/game" '
        f'aria-label="{escape(label)}">{word}<small>{percent(math.exp(step.logprob))}</small>{tip}</button>'
    )


def words(found: "Played") -> str:
    """The answer's words as buttons, each with its game; the one that is played is marked."""
    buttons = "".join(
        f'<button type="button" data-set=\'{{"step": "{i}"}}\' aria-pressed="{str(i == found.step).lower()}">'
        f"{escape(shown(step.token))}</button>"
        for i, step in enumerate(found.written.steps)
    )
    return f'<div class="chips" role="group" aria-label="Words of the answer">{buttons}</div>'


def contexts(moment: "Moment") -> str:
    """The likeliest words in the four contexts, the interaction of each of them, what greedy takes and what INTER takes
    where its locator fires."""
    columns = []
    for name, rows in zip(CONTEXTS, moment.tops, strict=True):
        cells = "".join(f"<span><i>{escape(shown(token))}</i><b>{percent(p)}</b></span>" for token, p in rows)
        columns.append(f'<span class="dec-column"><span class="dec-head">{name}</span>{cells}</span>')
    ranked = sorted(moment.interactions.items(), key=lambda item: -item[1])
    told = [f"{escape(shown(token))} {signed(value, 1)}" for token, value in ranked]
    takes = [f"<b>{escape(shown(token))}</b>" for token in (moment.greedy, moment.modified)]
    return (
        f'<span class="dec-grid">{"".join(columns)}</span><span class="dec-told">Interaction of these words, nats: '
        f"{', '.join(told)}.<br>Greedy takes {takes[0]}; INTER, where its locator fires, {takes[1]}.</span>"
    )


def strip(found: "Decoding | None", name: str) -> go.Figure:
    """The variance of the interaction at each step of one answer, with the threshold line."""
    w = found.of(name) if found else None
    if w is None or not w.moments:
        why = "No picture, no interaction" if found and not found.picture else "The locator's readings appear here"
        return empty(why, 160)
    values, fires = [m.variance for m in w.moments], w.fired(found.threshold)
    places = list(range(1, len(values) + 1))
    words = [shown(s.token) for s in w.steps]
    bars = go.Bar(
        x=places, y=values, width=0.75, marker_color=[TOGETHER if f else NEUTRAL for f in fires],
        customdata=[escape(t) for t in words], hovertemplate="step %{x}, “%{customdata}”: %{y:.3g}<extra></extra>",
    )  # fmt: skip
    line = {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": found.threshold, "y1": found.threshold,
        "line": {"color": WRONG, "dash": "dash", "width": 2},
    }  # fmt: skip
    note = {
        "xref": "paper", "x": 1, "y": found.threshold, "text": f"k = {found.threshold:g}", "showarrow": False,
        "xanchor": "right", "yanchor": "bottom",
    }  # fmt: skip
    ticks = {"tickvals": places, "ticktext": [escape(t[:14]) for t in words]} if len(words) <= _LABELLED else {}
    across = [0.4, max(len(places), _FEWEST) + 0.6]  # a single bar need not fill the page
    top = 1.15 * max(max(values), found.threshold) or 1.0
    return figure(
        280, bars, shapes=[line], annotations=[note],
        xaxis={"title": f"Step (n = {len(values)})", "range": across, **ticks},
        margin={"l": 8, "r": 16, "t": 16, "b": 8},
        yaxis={"title": "Variance of interaction", "range": [0, top]},
    )  # fmt: skip


def if_moved(found: "Decoding", name: str, threshold: float) -> str:
    """What another k would do along an answer as it stands: which steps would fire, and what the first change is."""
    w = found.of(name)
    if w is None or not w.moments:
        return "There is no interaction to set a threshold on."
    fires, changed = w.fired(threshold), w.changed(threshold)
    said = f"With k = {threshold:g} the locator fires at {sum(fires)} of {len(fires)} steps of this answer"
    if not sum(fires):
        return f"{said}: INTER would be greedy here."
    if not changed:
        return f"{said}, and INTER would change no word of it."
    first = w.moments[changed[0]]
    return (
        f"{said}. INTER would take another word than greedy at step {changed[0] + 1}: “{shown(first.modified)}” for "
        f"“{shown(first.greedy)}”; what comes after it would have to be written anew."
    )

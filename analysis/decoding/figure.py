"""How decoding looks and is told: answers side by side, one answer's steps coloured by interaction, the locator's
readings; one step as a game: its strongest words, the split of one word, the picture's regions, the sum worked."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis import charts
from analysis.charts import IMAGE, NEUTRAL, SERIES, TEXT, WRONG, cells, figure, over_picture, tint
from analysis.wording import listed, nats, number, percent, plural, rough, signed

if TYPE_CHECKING:
    from analysis.decoding.measure import Decoding, Moment, Played, Regions

TOGETHER = SERIES[3]  # of what picture and question say together; neither's own colour
CONTEXTS = ("picture and question", "question alone", "picture alone", "neither")
PREDICTED = ("yes", "no")
"""What ``outcome`` can be."""
_CLOSE = 0.005  # nats: shown as zero
_OPACITY = 0.75
_FEWEST = 8  # steps that an axis has room for at least
_LABELLED = 24  # steps: more have no room for their words on an axis


def shown(token: str) -> str:
    """A token as a person can see it: white space alone as a sign."""
    return token.strip() or ("↵" if "\n" in token else "␣")


def side_by_side(found: "Decoding") -> str:
    """A card for each strategy: its words, where answers part, what is not there, its speed."""
    cards = []
    for w in found.strategies:
        words = []
        for i, step in enumerate(w.steps):
            marks = [c for c, on in (("dec-apart", i == found.first_divergence), ("dec-wrong", w.touched(i))) if on]
            told = f' title="not in the picture: {escape(", ".join(w.touched(i)))}"' if w.touched(i) else ""
            word = escape(step.token)
            words.append(f'<span class="{" ".join(marks)}"{told}>{word}</span>' if marks else word)
        if not w.ended:
            words.append('<span class="caret" aria-hidden="true"></span>')
        elif len(w.steps) == found.first_divergence:
            words.append('<span class="dec-apart" title="this answer ends here">&nbsp;■</span>')
        speed = f"{plural(len(w.steps), 'token')}, {w.tokens_per_second:.0f} a second"
        told = ("" if math.isnan(w.tokens_per_second) else speed, w.note)
        foot = " · ".join(escape(part) for part in told if part)
        if w.parameters and w.ended:
            numbers = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in w.parameters.items())
            foot += f"<details><summary>parameters</summary>{escape(numbers)}</details>"
        text = "".join(words) or ("<i>nothing</i>" if w.ended else "")
        cards.append(
            f'<div class="card"><h4>{escape(w.title)}</h4><p class="dec-text" aria-live="off">{text}</p>'
            f'<p class="key">{foot}</p></div>'
        )
    legend = ["Dashed: where not all answers go on alike."] if found.first_divergence is not None else []
    if found.there is not None:
        legend.append(f"Wavy underline: not in the picture, where there is {', '.join(found.there) or 'nothing'}.")
    return f'<div class="dec-cards">{"".join(cards)}</div><p class="key">{escape(" ".join(legend))}</p>'


def timeline(found: "Decoding", name: str) -> str:
    """One answer's steps: probability below, shaded by the interaction's variance; nothing for an answer of none."""
    w = found.of(name)
    if w is None or not w.steps:
        return ""
    fires, most = w.fired(found.threshold), max((m.variance for m in w.moments), default=0.0)
    steps = []
    for i, step in enumerate(w.steps):
        word, chance = escape(shown(step.token)), percent(math.exp(step.logprob))
        label, share, tip, css = f"Step {i + 1}: {shown(step.token)}, {chance}", 0.0, "", ""
        if w.moments:
            variance = w.moments[i].variance
            css, share = "fired" if fires[i] else "", variance / most if most else 0.0
            label += f", variance of the interaction {rough(variance)}" + (", a key step" if fires[i] else "")
            tip = f'<span class="dec-tip">{contexts(w.moments[i])}</span>'
        word = f'<span class="dec-wrong">{word}</span>' if w.touched(i) else word
        steps.append(
            f'<button type="button" class="dec-step {css}" style="--v:{share:.3f}" data-go="decoding/game" '
            f'aria-label="{escape(label)}">{word}<small>{chance}</small>{tip}</button>'
        )
    if w.moments:
        key = (
            f"Shade: variance of the interaction over the vocabulary, full at {rough(most)}. Thick line below: a key "
            f"step, where it reaches k = {found.threshold:g}. Below each word: its probability. Point at a step, or "
            "tab to it, for the four contexts."
        )
    else:
        key = "Below each word: its probability. There is no picture, so there is no interaction to shade."
    return f'<div class="card"><div class="dec-line">{"".join(steps)}</div><p class="key">{escape(key)}</p></div>'


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


def strip(found: "Decoding", name: str) -> go.Figure | None:
    """The variance of the interaction at each step of one answer, with the threshold line; None where there is no
    picture to interact with."""
    w = found.of(name)
    if w is None or not w.moments:
        return None
    values, fires = [m.variance for m in w.moments], w.fired(found.threshold)
    places, words = list(range(1, len(values) + 1)), [escape(shown(s.token)) for s in w.steps]
    bars = go.Bar(
        x=places, y=values, width=0.75, marker_color=[TOGETHER if f else NEUTRAL for f in fires],
        customdata=words, hovertemplate="step %{x}, “%{customdata}”: %{y:.3g}<extra></extra>",
    )
    ticks = {"tickvals": places, "ticktext": [escape(shown(s.token)[:14]) for s in w.steps]}
    across = [0.4, max(len(places), _FEWEST) + 0.6]  # a single bar need not fill the page
    top = 1.15 * max(max(values), found.threshold) or 1.0
    drawn = figure(
        280, bars, margin={"l": 8, "r": 16, "t": 16, "b": 8},
        xaxis={"title": f"Step (n = {len(values)})", "range": across, **(ticks if len(words) <= _LABELLED else {})},
        yaxis={"title": "Variance of interaction", "range": [0, top]},
    )
    return drawn.add_hline(
        found.threshold, line={"color": WRONG, "dash": "dash", "width": 2}, annotation_text=f"k = {found.threshold:g}"
    )


def if_moved(found: "Decoding", name: str) -> str:
    """What the threshold k does along an answer as it stands: which steps fire, and what the first change is."""
    w = found.of(name)
    if w is None or not w.moments:
        return "There is no interaction to set a threshold on."
    fires, changed = w.fired(found.threshold), w.changed(found.threshold)
    said = f"With k = {found.threshold:g} the locator fires at {sum(fires)} of {len(fires)} steps of this answer"
    if not sum(fires):
        return f"{said}: INTER would be greedy here."
    if not changed:
        return f"{said}, and INTER would change no word of it."
    first = w.moments[changed[0]]
    return (
        f"{said}. INTER would take another word than greedy at step {changed[0] + 1}: “{shown(first.modified)}” for "
        f"“{shown(first.greedy)}”; what comes after it would have to be written anew."
    )


def sentence(found: "Decoding") -> str:
    """What was seen, in plain words, whatever it was."""
    wrong = {w.title: sorted({m.name for m in w.invented}) for w in found.strategies if w.steps}
    guilty = [f"{title} ({', '.join(names)})" for title, names in wrong.items() if names]
    clean = [title for title, names in wrong.items() if not names]
    if found.there is None:
        true = "What is in the picture is not known here, so no word is marked as wrong."
    elif guilty:
        true = f"Said to be there although it is not: by {listed(guilty)}"
        true += f"; by {listed(clean)}, nothing." if clean else "."
    else:
        one = "It says of nothing that it is there when it is not."
        true = "None of them says that something is there that is not." if len(clean) > 1 else one
    parts = [_apart(found), true, _locator(found)]
    parts += [f"{w.title}: {w.note}" for w in found.strategies if w.note and not w.steps]
    return " ".join(p for p in parts if p)


def _apart(found: "Decoding") -> str:
    written = [w for w in found.strategies if w.steps or not w.note]
    if not written:
        return ""
    if len(written) == 1:
        return f"{written[0].title} answers “{written[0].text}”."
    at = found.first_divergence
    if at is None:
        return f"All {len(written)} strategies write the same: “{written[0].text}”."
    groups: dict[str, list[str]] = {}
    for w in written:
        going = f"“{w.steps[at].token.strip() or '␣'}”" if at < len(w.steps) else "the end"
        groups.setdefault(going, []).append(w.title)
    told = "; ".join(f"{listed(titles)} with {token}" for token, titles in groups.items())
    return f"The answers part at word piece {at + 1}: {told}."


def _locator(found: "Decoding") -> str:
    inter, greedy = found.of("inter"), found.of("greedy")
    if inter is None or not inter.steps:
        return ""
    if not found.picture:
        return "There is no picture, so picture and question cannot interact, and INTER answers as greedy does."
    fires, changed = inter.fired(found.threshold), inter.changed(found.threshold)
    k = f"k = {found.threshold:g}"
    if not any(fires):
        most = max(m.variance for m in inter.moments)
        return f"INTER's locator never fires: the variance of the interaction stays below {k} (largest: {rough(most)})."
    said = f"INTER's locator fires at {sum(fires)} of {plural(len(fires), 'step')} ({k})"
    if not changed:
        return (
            f"{said}, and changes no word: picture and question together only strengthen what was the likeliest anyway."
        )
    said += f" and changes the choice at {len(changed)} of them"
    # whether that helped, where greedy is there to compare with
    before, after = ({m.name for m in w.invented} for w in (greedy if greedy and greedy.steps else inter, inter))
    gone, new = sorted(before - after), sorted(after - before)
    parts = [f"which takes back {listed(gone)}"] if gone else []
    parts += [f"which brings in {listed(new)}, not there"] if new else []
    return f"{said}{', ' if parts else ''}{' and '.join(parts)}."


def outcome(found: "Decoding") -> str | None:
    """Whether INTER's answer is another than greedy's; None until both are there."""
    inter, greedy = found.of("inter"), found.of("greedy")
    if not found.done or inter is None or greedy is None:
        return None
    return PREDICTED[0] if inter.text != greedy.text else PREDICTED[1]


def strongest(moment: "Moment") -> go.Figure:
    """The words of the whole vocabulary with the largest interaction, nats."""
    words, values = [shown(token) for token, _ in moment.strongest], [value for _, value in moment.strongest]
    return charts.bars(words, values, TOGETHER, f"Interaction, nats ({len(words)} largest)", "%{x:+.2f} nats")


def split(moment: "Moment") -> go.Figure:
    """The chosen token's log-probability, shared out: dividends of picture, question and both; then Shapley values."""
    shares, owed = moment.dividends, moment.shapley
    rows = [
        ("picture alone", shares["picture"], IMAGE), ("question alone", shares["question"], TEXT),
        ("both together", shares["together"], TOGETHER), ("picture, Shapley", owed["picture"], IMAGE),
        ("question, Shapley", owed["question"], TEXT),
    ]
    names, values, colours = zip(*((f"{name} {signed(v)}", v, colour) for name, v, colour in rows), strict=True)
    title = f"For “{escape(shown(moment.token))}”, nats"
    return charts.bars(names, values, colours, title, row=32, hoverinfo="skip", marker_opacity=[1, 1, 1, 0.6, 0.6])


def worked(moment: "Moment") -> str:
    """The game of the chosen token with its own numbers, each line of the sum written out."""
    shares, owed, word = moment.dividends, moment.shapley, escape(shown(moment.token))
    chances = [f"ln {math.exp(v):.3g} = {number(v, 2)}" for v in moment.values]
    both, question, picture, neither = (number(v, 2) for v in moment.values)
    lines = [
        f"v(nobody) = {chances[3]}: a random picture and no question.",
        f"v(picture) = {chances[2]}: the picture, no question.",
        f"v(question) = {chances[1]}: a random picture, the question.",
        f"v(both) = {chances[0]}.",
        f"Picture alone adds v(picture) − v(nobody) = {picture} − ({neither}) = <b>{nats(shares['picture'])}</b>.",
        f"Question alone adds v(question) − v(nobody) = {question} − ({neither}) = <b>{nats(shares['question'])}</b>.",
        f"What is left is the dividend of both: v(both) − v(picture) − v(question) + v(nobody) = {both} − ({picture}) "
        f"− ({question}) + ({neither}) = <b>{nats(shares['together'])}</b>. That is the interaction for “{word}”.",
        f"Shapley gives each player its own and half of the rest: picture {nats(owed['picture'])}, question "
        f"{nats(owed['question'])}; together {nats(owed['picture'] + owed['question'])} = v(both) − v(nobody).",
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
    others = ", ".join(f"{name} {nats(value)}" for name, value in parts.items() if name != strong)
    return f"Most of all, {strong} {effect} “{word}” {way} ({nats(parts[strong])}); {others}."


def overlay(found: "Regions", uri: str | None, size: tuple[int, int]) -> go.Figure:
    """The picture (``uri``) with its blocks shaded by what the interaction loses when a block is covered."""
    side, most = len(found.losses), float(np.abs(found.losses).max()) or 1.0
    tints = [[0, tint(WRONG, _OPACITY)], [0.5, tint(WRONG, 0)], [0.5, tint(SERIES[5], 0)]]
    heat = go.Heatmap(
        z=found.losses, **cells((0, 0, 1, 1), side, side), zmin=-most, zmax=most, showscale=False,
        colorscale=[*tints, [1, tint(SERIES[5], _OPACITY)]], hovertemplate="%{z:+.3f} nats<extra></extra>",
    )
    return over_picture(340, [heat], uri, size)


def where(found: "Regions") -> str:
    """Which part of the picture carries the interaction for the word, and how to read the map."""
    word, blocks, (place, loss) = shown(found.token), found.losses.size, found.strongest
    said = f"With the whole picture the interaction for “{word}” is {nats(found.whole)}."
    if abs(loss) < _CLOSE:
        return f"{said} Covering any one of {blocks} blocks changes nothing."
    return (
        f"{said} Of {blocks} blocks, one at the {place} matters most: covered, it leaves {nats(found.whole - loss)}. "
        "Sky blue: covering a block makes the interaction smaller; vermilion: larger."
    )

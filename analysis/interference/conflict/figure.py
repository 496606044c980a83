"""How conflicts look: one lead from layer to layer, many answers against relative uncertainty, tables; and what they
show, in plain words, whether or not the paper's law holds.
"""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import IMAGE, NEUTRAL, TEXT, figure, reach, upright
from analysis.statistics import Estimate
from analysis.table import Head, Table
from analysis.wording import between, brief, listed, percent, plural, share, signed, verdict

if TYPE_CHECKING:
    from analysis.interference.conflict.measure import Conflicts
    from analysis.interference.conflict.single import Conflict

_POINTS = 121
_SURER = "−2: surer in text, +2: in picture"
_CLEARLY = 0.05  # of relative uncertainty: less is no difference
_NAMED = 3  # things that are told by name
_FLAT = 0.1  # between shares right of the text tiers: closer, they are one difficulty


def oscillation(found: "Conflict") -> go.Figure | None:
    """Who leads after each layer: the margin between the two answers, nats, changes of the lead marked; None where no
    lens can tell.
    """
    if found.unread:
        return None
    layers = np.arange(1, len(found.margin) + 1)
    changed = found.switched
    drawn = [go.Scatter(
        x=layers, y=found.margin, mode="lines+markers", line={"color": NEUTRAL, "width": 2}, showlegend=False,
        marker={"size": 11, "color": np.where(found.margin > 0, TEXT, IMAGE)},
        hovertemplate="layer %{x}: %{y:+.2f} nats<extra></extra>",
    )]
    for colour, whose in ((TEXT, f"the text's “{found.told[:24]}”"), (IMAGE, f"the picture's “{found.seen[:24]}”")):
        key = {"mode": "markers", "marker": {"size": 11, "color": colour}, "name": f"ahead: {escape(whose)}"}
        drawn.append(go.Scatter(x=[None], y=[None], **key))
    if changed.any():
        ring = {"size": 22, "color": "rgba(0,0,0,0)", "line": {"width": 2.5, "color": NEUTRAL}}
        drawn.append(go.Scatter(
            x=layers[changed], y=found.margin[changed], mode="markers", name="the lead changes", marker=ring,
            hoverinfo="skip",
        ))
    reach = 1.15 * max(float(np.abs(found.margin).max()), 1e-3)
    zero = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 0, "y1": 0, "line": {"width": 1, "color": NEUTRAL}}
    return figure(
        330, *drawn, showlegend=True, shapes=[zero],
        margin={"l": 8, "r": 16, "t": 72, "b": 8},
        xaxis={"title": "Layer of the decoder (n = 1 conflict)", "dtick": max(len(layers) // 8, 1)},
        yaxis={"title": "Lead of the text's answer, nats", "range": [-reach, reach]},
    )


def sides(found: "Conflict") -> str:
    """From the text alone, the picture alone, both: the answer, how unsure, and the two answers' chances."""
    heads = [Head(f"“{side[:40]}”", unit="%") for side in (found.seen, found.told)]
    unsure = "Entropy of the first token: 0 is certain; 0.69 nats is a toss-up between two"
    told = zip(
        ("The text alone", "The picture alone", "Both"), found.answers, found.entropy, found.probability, strict=True
    )
    rows = [[title, answer.strip() or "–", entropy, *map(percent, both)] for title, answer, entropy, both in told]
    table = Table(["From", "Answer", Head("Unsure, nats", unsure, digits=2), *heads], rows)
    known = "known to be true" if found.truth_known else "as far as is known: nobody has checked it"
    return (
        f'<div class="card">{table.html()}'
        f'<p class="key">The text says: {escape(found.text)} · What the picture says is {known}. The two answers’ '
        "chances are compared with each other alone.</p></div>"
    )


def law(found: "Conflicts") -> go.Figure | None:
    """Share that follows the text against relative uncertainty, %: points of nearly equal number with Wilson intervals,
    the logistic curve with its band, the balance point with its interval.
    """
    if not found.bins:
        return None
    spans = [Estimate((b.start + b.end) / 2, b.start, b.end) for b in found.bins]
    bars = {"color": TEXT, "width": 0}
    dots = go.Scatter(
        x=[s.value for s in spans], y=[100 * b.share.value for b in found.bins], mode="markers", name="measured",
        marker={"size": 11, "color": TEXT}, error_x={**reach(spans, 1), **bars, "thickness": 1},
        error_y={**reach(b.share for b in found.bins), **bars, "thickness": 2},
        customdata=[[b.share.n, b.start, b.end] for b in found.bins],
        hovertemplate="%{customdata[1]:.2f} to %{customdata[2]:.2f}: %{y:.0f} % of %{customdata[0]}<extra></extra>",
    )
    half = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 50, "y1": 50}
    traces, shapes, notes = [dots], [{**half, "line": {"width": 1, "dash": "dot", "color": NEUTRAL}}], []
    curve = found.fitted
    if not curve.reason:
        at = np.linspace(-2, 2, _POINTS)
        least, most = curve.band(at)
        band = go.Scatter(
            x=[*at, *at[::-1]], y=[*(100 * most), *(100 * least[::-1])], fill="toself", line={"width": 0},
            fillcolor="rgba(138,143,152,0.22)", name="95 % band", hoverinfo="skip",
        )
        line = go.Scatter(
            x=at, y=100 * curve.probability(at), mode="lines", name="logistic fit",
            line={"color": NEUTRAL, "width": 2.5},
            hovertemplate="at %{x:.2f}: %{y:.0f} %<extra></extra>",
        )
        traces = [band, line, dots]
        if not np.isnan(curve.balance.low) and not curve.beyond:
            of = curve.balance
            shapes += [
                {"type": "rect", "x0": max(of.low, -2.1), "x1": min(of.high, 2.1), "y0": 0, "y1": 1, "yref": "paper",
                 "fillcolor": "rgba(138,143,152,0.14)", "line": {"width": 0}},
                upright(of.value, yref="paper"),
            ]
            notes.append({
                "x": of.value, "y": 0.02, "yref": "paper", "yanchor": "bottom", "showarrow": False,
                "text": f"balance point {signed(of.value)}",
            })
    return figure(
        350, *traces, showlegend=True, margin={"l": 8, "r": 16, "t": 72, "b": 8}, shapes=shapes, annotations=notes,
        xaxis={"title": f"Relative uncertainty (n = {int(found.counted.sum())})<br>{_SURER}", "range": [-2.1, 2.1]},
        yaxis={"title": "Follows the text, %", "range": [-4, 104]},
    )


def inside(found: "Conflicts") -> go.Figure | None:
    """Mean changes of the lead between layers, near the balance point and far from it; None where nothing is near."""
    compared = found.oscillation
    if compared is None:
        return None
    bars = go.Bar(
        x=[compared.near, compared.far], y=["near", "far"], orientation="h", marker_color=[TEXT, NEUTRAL],
        text=[f"{compared.near:.2f}", f"{compared.far:.2f}"], textposition="outside", cliponaxis=False,
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    span = f"near − far: {between(compared.difference, 2, sign=True, times=1)} (95 %)"
    return figure(
        230, bars, bargap=0.4, margin={"l": 8, "r": 40, "t": 32, "b": 8},
        xaxis={"title": f"Changes of the lead, mean; {span}; n = {compared.difference.n} each", "rangemode": "tozero"},
        yaxis={"title": "Balance point", "autorange": "reversed"},
    )


def tier_table(found: "Conflicts") -> Table:
    """Each difficulty of either side: right from that side alone, and how many follow the text; 95 % intervals."""
    rows = [
        [f"{t.side}: {t.name.replace('%', ' %')}", t.right.n, share(t.right), t.followed.n, share(t.followed)]
        for t in found.by_tier
    ]
    return Table(["Difficulty", "n", "Right from that side alone", "Count", "Follow the text"], rows)


def tiers(found: "Conflicts") -> str:
    """The same on the page."""
    return (
        f'<div class="card">{tier_table(found).html()}<p class="key">An item counts where the text alone and the '
        "picture alone are both answered rightly and the answer from both names one of the two. In brackets: 95 % "
        "intervals.</p></div>"
    )


def sentence(found: "Conflicts") -> str:
    """What many conflicts show: who is followed, whether relative uncertainty tells, what happens between layers."""
    counted, total = int(found.counted.sum()), len(found.seen)
    if not counted:
        told = [*found.unseen[:_NAMED], *["others"] * (len(found.unseen) > _NAMED)]
        why = f" The checkpoint {found.provenance.checkpoint} was not yet shown {listed(told)}." if told else ""
        return (
            f"None of the {total} conflicts counts, so nothing can be told. For one to count, the text alone and the "
            f"picture alone must each be answered rightly ({percent(found.right_text.mean())} and "
            f"{percent(found.right_image.mean())} are), and the answer from both must name one of the two.{why}"
        )
    tfr, curve, compared = found.following_text, found.fitted, found.oscillation
    parts = [
        f"The answer follows the text in {percent(tfr.value)} of {plural(counted, 'conflict')} (95 % interval "
        f"{percent(tfr.low)} to {percent(tfr.high)}): {_LEANING[lean(found)]}. Of {total} drawn, only those count "
        "that are answered rightly from either side alone, and then follow one."
    ]
    of = curve.balance
    place = f"the balance point is at {signed(of.value)} (95 % {between(of, 2, sign=True, times=1)})"
    if curve.beyond:
        measured = f"beyond what was measured ({signed(curve.start)} to {signed(curve.end)})"
        place = f"{place.replace(' is ', ' would be ')}, {measured}"
    law = f"As in the paper, the surer the text, the more it is followed; {place}"
    if curve.reason:
        parts.append(f"No curve was fitted: {curve.reason}.")
    elif np.isnan(of.low):
        cannot = "Whether relative uncertainty matters cannot be told"
        parts.append(f"{cannot}: the slope could be zero, so no balance point.")
    elif curve.slope > 0:
        parts.append(f"Against the paper's law, the text is followed more where it is less sure; {place}.")
    elif curve.start > 0 or curve.end < 0:
        sure = "less sure" if curve.start > 0 else "surer"
        parts.append(f"{law}. Every item is {sure} in the text, so nothing is known of equal certainty.")
    else:
        leans = verdict(of, "towards the text", "towards the picture", "to neither side clearly")
        parts.append(f"{law}: at equal certainty it leans {leans}.")
    right = [tier.right.value for tier in found.by_tier if tier.side == "text"]
    if len(right) > 1 and max(right) - min(right) < _FLAT and lean(found) != LEANS[2]:
        shares = f"{percent(min(right))} to {percent(max(right))} right alone"
        parts.append(f"All wordings of the text are about as easy ({shares}), so its preference says little.")
    known = found.switches[found.counted & ~np.isnan(found.switches)]
    if compared:
        how = verdict(
            compared.difference,
            "Near the balance point the lead changes more often between layers than far from it",
            "Against the paper, the lead changes less often near the balance point than far from it",
            "Changes of the lead between layers do not differ clearly near the balance point and far from it",
        )
        numbers = f"{compared.near:.2f} against {compared.far:.2f} (n = {compared.difference.n} each)"
        parts.append(f"{how}: {numbers}.")
    elif len(known):
        parts.append(
            f"Between layers the lead changes {known.mean():.2f} times on average (n = {len(known)}); near and far "
            "cannot be compared, for no balance point is located among enough items."
        )
    return " ".join(parts)


LEANS = ("the text", "the picture", "neither clearly")
"""What ``lean`` can be."""
_LEANING = dict(zip(LEANS, ("mostly the text", "mostly the picture", "no clear preference"), strict=True))


def lean(found: "Conflicts") -> str | None:
    """Which of ``LEANS`` is mostly followed; None where no item counts."""
    if not found.counted.any():
        return None
    tfr = found.following_text
    return LEANS[0] if tfr.low > 0.5 else LEANS[1] if tfr.high < 0.5 else LEANS[2]


SIDES = ("the picture", "the text", "neither")
"""Which side the answer from both follows, by ``followed``."""


def single(found: "Conflict") -> str:
    """What one conflict shows: who is followed, which side was surer alone, and who led between the layers."""
    answer, chance = brief(found.answers[2].strip()), found.probability[2, 1]
    said = f"From both, the model answers “{answer}”" if answer else "From both, the model answers nothing"
    ahead = f"Of the two, “{found.told if chance > 0.5 else found.seen}” has {percent(max(chance, 1 - chance))} of the"
    whom = "neither side alone is followed" if found.followed < 0 else f"it follows {SIDES[found.followed]}"
    parts = [f"{said}: {whom}.", f"{ahead} probability."]
    wrong = [side for side, right in zip(("the text", "the picture"), found.right, strict=True) if not right]
    if wrong:
        fails = "does not give" if len(wrong) == 1 else "do not give"
        parts.append(
            f"Beware: {' and '.join(wrong)} alone {fails} the answer that {'it' if len(wrong) == 1 else 'they'} "
            "should, so this is no clean conflict."
        )
    text, picture, relative = found.entropy[0], found.entropy[1], found.relative
    numbers = f"{text:.2f} nats from the text alone, {picture:.2f} from the picture alone, relative {signed(relative)}"
    surer, follows = ("text", 1) if relative < 0 else ("picture", 0)
    how = "as the paper's law has it" if found.followed == follows else "yet the other side wins here"
    if abs(relative) < _CLEARLY:
        parts.append(f"It is equally sure of either ({numbers}).")
    else:
        parts.append(f"Alone, it is surer of the {surer} ({numbers}){f', {how}' if found.followed >= 0 else ''}.")
    places = np.flatnonzero(found.switched) + 1
    if found.unread:
        parts.append(f"What happens between the layers cannot be told: {found.unread}.")
    else:
        last = found.told if found.margin[-1] > 0 else found.seen
        changes = "once" if len(places) == 1 else f"{len(places)} times"
        parts.append(
            f"Between the layers the lead changes {changes} (at layer {', '.join(map(str, places))} of "
            f"{len(found.margin)}); “{last}” has it at the end."
            if len(places) else f"Between the layers no struggle is visible: “{last}” leads after every layer."
        )
    return " ".join(parts)

"""How an attribution looks: the picture under its cells, the words shaded, picture against words, one sentence."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis import charts
from analysis.charts import IMAGE, SERIES, TEXT, WRONG, cells, over_picture, tint
from analysis.wording import brief, nats, ninth, percent, rough

if TYPE_CHECKING:
    from analysis.attribution.measure import Attribution

FOR, AGAINST = SERIES[5], WRONG  # sky blue and vermilion: told apart by colour-blind readers, and neither is a modality
_STRONG, _CLOSE = 0.75, 0.05  # opacity of the largest score; share of the whole that a sum may miss
_NAMES = {
    "integrated_gradients": "integrated gradients",
    "ablation": "hiding one part at a time",
    "shapley": "Shapley values",
}


def overlay(found: "Attribution", uri: str | None) -> go.Figure | None:
    """The picture (``uri``) with its cells shaded by nats an area: sky blue for the answer, vermilion against it; None
    where there is no picture, or its tokens have no known places.
    """
    if not found.patches:
        return None
    boxes = [p.box for p in found.patches]
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in boxes]
    density = [p.values * p.values.size / area for p, area in zip(found.patches, areas, strict=True)]
    most = max(float(np.abs(d).max()) for d in density) or 1.0
    shades = [[0, tint(AGAINST, _STRONG)], [0.5, tint(FOR, 0)], [0.5, tint(FOR, 0)], [1, tint(FOR, _STRONG)]]
    traces = [
        go.Heatmap(
            z=d, **cells(p.box, *p.values.shape), zmin=-most, zmax=most, showscale=False, colorscale=shades,
            customdata=p.values, hovertemplate="%{customdata:+.3f} nats<extra></extra>",
        )
        for p, d in zip(found.patches, density, strict=True)
    ]
    return over_picture(340, traces, uri, found.size)


def words(found: "Attribution") -> str:
    """The question as HTML, each word shaded as the cells are, on a scale of its own; the score on pointing."""
    most = max((abs(w.score) for w in found.words), default=0.0) or 1.0
    spans = [
        f'<span tabindex="0" title="{nats(w.score)}" aria-label="{escape(w.text)}: {nats(w.score)}" '
        f'style="background:{tint(FOR if w.score > 0 else AGAINST, _STRONG * abs(w.score) / most)};'
        f'border-radius:4px;padding:2px 4px">{escape(w.text)}</span>'
        for w in found.words
    ]
    key = (
        f'<p class="key"><b style="color:{FOR}">■</b> for the answer · <b style="color:{AGAINST}">■</b> against it · '
        "words and picture each have a scale of their own</p>"
    )
    return f'<div class="card"><p class="attributed">{" ".join(spans)}</p>{key}</div>'


def bars(found: "Attribution") -> go.Figure | None:
    """The picture as a whole and each word: scores in nats; None where there is neither."""
    names, values, colours = [w.text for w in found.words], [w.score for w in found.words], [TEXT] * len(found.words)
    if found.size:
        names, values, colours = ["the picture", *names], [found.image, *values], [IMAGE, *colours]
    if not names:
        return None
    title = f"For “{escape(found.answer)}” by {_NAMES[found.method]}, nats"
    return charts.bars(names, values, colours, title, "%{x:+.3f} nats")


CARRIERS = ("the picture", "the words")
"""What ``carrier`` can be."""


def carrier(found: "Attribution") -> str | None:
    """What carries more of the attribution; None where nothing does, or there is no picture."""
    if math.isnan(found.image_share) or found.size is None:
        return None
    return CARRIERS[int(found.image_share <= 0.5)]


def sentence(found: "Attribution") -> str:
    """What was seen, in plain words: picture against words, the strongest parts, and whether the parts add up. Scores
    that do not add up say so first.
    """
    said = f"the answer “{brief(found.answer)}”"
    if found.cut:
        said = f"the beginning of the answer, “{brief(found.answer)}”,"
    if math.isnan(found.image_share):
        return f"Neither the picture nor any word changes the probability of {said.rstrip(',')}."
    if found.size is None:
        share = f"There was no picture: words alone stand behind {said.rstrip(',')}."
    else:
        share = (
            f"Behind {said} the picture carries {percent(found.image_share)} of the attribution, counting for and "
            "against alike, and the words the rest."
        )
    places: dict[str, float] = {}  # scores of all cells added up by the ninth of the picture that they are in
    for patches in found.patches:
        (left, top, right, bottom), (rows, columns) = patches.box, patches.values.shape
        for (row, column), score in np.ndenumerate(patches.values):
            place = ninth(left + (column + 0.5) * (right - left) / columns, top + (row + 0.5) * (bottom - top) / rows)
            places[place] = places.get(place, 0.0) + float(score)
    scores = [(score, f"the picture's {place}") for place, score in places.items()]
    scores += [(w.score, f"the word “{w.text}”") for w in found.words]
    most, least = max(scores, default=(0.0, "")), min(scores, default=(0.0, ""))
    strongest = f"Most for it is {most[1]} ({nats(most[0])})" if most[0] > 0 else "Nothing is for it"
    against = f"most against it {least[1]} ({nats(least[0])})" if least[0] < 0 else "nothing is against it"
    parts = [share, f"{strongest}, {against}."]
    whole, total = found.value - found.baseline, found.image + sum(w.score for w in found.words)
    missed = abs(found.convergence_delta)
    if found.method == "ablation":
        alone = f"Hidden one at a time, parts need not add up: they make {nats(total)}"
        parts.append(f"{alone} where all hidden at once make {nats(whole)}.")
    elif found.method == "shapley":
        orders = f"{found.effort} random orders of showing the parts"
        parts.append(f"Together they make {nats(whole)}, shared out by {orders}.")
    elif missed > _CLOSE * abs(whole):  # by too much to be believed; not-a-number is no miss
        beware = f"Beware: the scores add up to {nats(total)} where they should make {nats(whole)}"
        parts.insert(0, f"{beware}: check them with ablation.")
    else:
        parts.append(f"Together they make {nats(total)}; the integral misses the whole by {rough(missed)} nats.")
    if found.size and not found.patches:
        parts.append("The picture's tokens have no known places, so it cannot be shaded.")
    return " ".join(parts)

"""How an attribution looks: the picture under its cells, the words shaded, picture against words, one sentence."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import IMAGE, SERIES, TEXT, WRONG, cells, empty, figure, over_picture, tint

if TYPE_CHECKING:
    from analysis.attribution.measure import Attribution

FOR, AGAINST = SERIES[5], WRONG  # sky blue and vermilion: told apart by colour-blind readers, and neither is a modality
_STRONG, _CLOSE = 0.75, 0.05  # opacity of the largest score; share of the whole that a sum may miss
_NAMES = {
    "integrated_gradients": "integrated gradients",
    "ablation": "hiding one part at a time",
    "shapley": "Shapley values",
}


def overlay(found: "Attribution", uri: str | None) -> go.Figure:
    """The picture (``uri``) with its cells shaded by nats an area: sky blue for the answer, vermilion against it."""
    if not found.patches:
        why = "The picture's tokens have no known places" if found.size else "No picture: only words were asked about"
        return empty(why, 160)
    density = [p.values / _area(p) for p in found.patches]
    most = max(float(np.abs(d).max()) for d in density) or 1.0
    traces = [_heat(p, d, most) for p, d in zip(found.patches, density, strict=True)]
    return over_picture(360, traces, uri, found.size)


def _area(patches) -> float:
    left, top, right, bottom = patches.box
    return (right - left) * (bottom - top) / patches.values.size


def _heat(patches, density: np.ndarray, most: float) -> go.Heatmap:
    return go.Heatmap(
        z=density, **cells(patches.box, *patches.values.shape), zmin=-most, zmax=most, showscale=False,
        colorscale=[[0, tint(AGAINST, _STRONG)], [0.5, tint(FOR, 0)], [0.5, tint(FOR, 0)], [1, tint(FOR, _STRONG)]],
        customdata=patches.values, hovertemplate="%{customdata:+.3f} nats<extra></extra>",
    )  # fmt: skip


def words(found: "Attribution") -> str:
    """The question as HTML, each word shaded as the cells are, on a scale of its own; the score on pointing."""
    most = max((abs(w.score) for w in found.words), default=0.0) or 1.0
    spans = [
        f'<span tabindex="0" title="{_nats(w.score)}" aria-label="{escape(w.text)}: {_nats(w.score)}" '
        f'style="background:{tint(FOR if w.score > 0 else AGAINST, _STRONG * abs(w.score) / most)};'
        f'border-radius:4px;padding:2px 4px">{escape(w.text)}</span>'
        for w in found.words
    ]
    key = (
        f'<p class="key"><b style="color:{FOR}">■</b> for the answer · <b style="color:{AGAINST}">■</b> against it · '
        "words and picture each have a scale of their own</p>"
    )
    return f'<div class="card"><p class="attributed">{" ".join(spans)}</p>{key}</div>'


def bars(found: "Attribution") -> go.Figure:
    """The picture as a whole and each word: scores in nats."""
    names, values, colours = [w.text for w in found.words], [w.score for w in found.words], [TEXT] * len(found.words)
    if found.size:
        names, values, colours = ["the picture", *names], [found.image, *values], [IMAGE, *colours]
    if not names:
        return empty("Nothing to explain the answer by", 160)
    places = list(range(len(names)))
    drawn = go.Bar(
        x=values, y=places, orientation="h", marker_color=colours, customdata=[escape(n) for n in names],
        hovertemplate="%{customdata}: %{x:+.3f} nats<extra></extra>",
    )  # fmt: skip
    return figure(
        90 + 30 * len(names), drawn, bargap=0.3,
        xaxis={"title": f"For “{escape(found.answer)}” by {_NAMES[found.method]}, nats"},
        yaxis={"tickvals": places, "ticktext": [escape(n[:32]) for n in names], "autorange": "reversed"},
    )  # fmt: skip


def sentence(found: "Attribution") -> str:
    """What was seen, in plain words: picture against words, the strongest parts, and whether the parts add up."""
    said = f"the beginning of the answer, “{found.answer}”," if found.cut else f"the answer “{found.answer}”"
    if math.isnan(found.image_share):
        return f"Neither the picture nor any word changes the probability of {said.rstrip(',')}."
    share = f"{100 * found.image_share:.0f} %"
    if found.size is None:
        parts = [f"There was no picture: words alone stand behind {said.rstrip(',')}."]
    else:
        parts = [
            f"Behind {said} the picture carries {share} of the attribution, counting for and against alike, and the "
            "words the rest."
        ]
    parts.append(_strongest(found))
    return " ".join([*parts, _adding(found)])


def _strongest(found: "Attribution") -> str:
    scores = [(score, f"the picture's {place}") for place, score in _places(found).items()]
    scores += [(w.score, f"the word “{w.text}”") for w in found.words]
    most, least = max(scores, default=(0.0, "")), min(scores, default=(0.0, ""))
    said = f"Most for it is {most[1]} ({_nats(most[0])})" if most[0] > 0 else "Nothing is for it"
    against = f"most against it {least[1]} ({_nats(least[0])})" if least[0] < 0 else "nothing is against it"
    return f"{said}, {against}."


def _places(found: "Attribution") -> dict[str, float]:
    """Scores of all cells added up by the ninth of the picture that they are in, nats."""
    scores: dict[str, float] = {}
    for patches in found.patches:
        (left, top, right, bottom), (rows, columns) = patches.box, patches.values.shape
        for (row, column), score in np.ndenumerate(patches.values):
            x, y = left + (column + 0.5) * (right - left) / columns, top + (row + 0.5) * (bottom - top) / rows
            down, across = (min(max(int(3 * v), 0), 2) for v in (y, x))
            place = " ".join(filter(None, (("top", "", "bottom")[down], ("left", "", "right")[across]))) or "middle"
            scores[place] = scores.get(place, 0.0) + float(score)
    return scores


def _adding(found: "Attribution") -> str:
    whole, total = found.value - found.baseline, found.image + found.text
    if found.method == "ablation":
        return (
            f"Hidden one at a time, parts need not add up: they make {_nats(total)} where all hidden at once make "
            f"{_nats(whole)}."
        )
    if found.method == "shapley":
        return f"Together they make {_nats(whole)}, shared out by {found.effort} random orders of showing the parts."
    missed = abs(found.convergence_delta)
    if missed <= _CLOSE * abs(whole):
        return f"Together they make {_nats(total)}; the integral misses the whole by {missed:.2g} nats."
    return (
        f"Beware: the scores add up to {_nats(total)} where they should make {_nats(whole)} (convergence delta "
        f"{found.convergence_delta:+.2f}). Take more steps, or check them with ablation."
    )


def _nats(score: float) -> str:
    return f"{score:+.2f} nats"

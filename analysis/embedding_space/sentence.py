"""One plain reading of a space in phases, of whatever numbers were measured."""

from typing import TYPE_CHECKING

import numpy as np

from analysis.embedding_space.retrieval import recalls
from analysis.wording import percent

if TYPE_CHECKING:
    from analysis.embedding_space.result import Space, Spread

_STILL = 0.05  # degrees, that are told as none


def sentence(space: "Space", before: int = 0, after: int = -1) -> str:
    """How far images and texts turned between two phases, what of it is no rotation, and what retrieval lost by it."""
    count = len(space.phases)
    s, t = range(count)[before], range(count)[after]
    if s >= t:
        return "There is only one phase here, so nothing has turned." if count == 1 else "Choose an earlier phase."
    turned = {side: space.spreads[f"rotation_{side}"].mean[s, t] for side in ("image", "text")}
    if max(turned.values()) < _STILL:
        return f"From {space.phases[s]} to {space.phases[t]} nothing has turned. {_recall(space, t)}"
    left = {side: space.spreads[f"residual_{side}"].mean[s, t] for side in ("image", "text")}
    rigid = [space.likeness[f"rigid_{side}"][s, t] for side in ("image", "text")]
    shares = [share for share in rigid if not np.isnan(share)]  # a side that did not move says nothing
    kind = "part of it is the whole space turning, the rest is disorder, samples moving against each other"
    if min(shares) > 0.9:
        kind = "almost all of it is the whole space turning, which harms nothing by itself"
    elif max(shares) < 0.5:
        kind = "most of it is disorder, samples moving against each other"
    told = ["none (nothing moved)" if np.isnan(share) else percent(share) for share in rigid]
    apart: Spread = space.spreads["deviation"]
    drift: Spread = space.spreads["pair"]
    chance, change = space.likeness["floor"][s, t], drift.mean[s, t]
    together = "The rotations of the two modalities are no further apart than chance makes them"
    if apart.low[s, t] > chance:
        together = f"The rotations of the two modalities are {_deg(apart.mean[s, t])} apart ({_deg(chance)} by chance)"
    pairs = "; a picture and its own text keep their distance on average."
    if drift.low[s, t] > 0:
        pairs = f", and a picture and its own text drift apart by {_deg(change)}."
    elif drift.high[s, t] < 0:
        pairs = f", and a picture and its own text come closer by {_deg(-change)}."
    return (
        f"From {space.phases[s]} to {space.phases[t]} a picture's embedding turns by {_deg(turned['image'])} on "
        f"average and a text's by {_deg(turned['text'])}. One rotation of all pictures and one of all texts explain "
        f"{told[0]} and {told[1]} of these shifts and leave {_deg(left['image'])} and {_deg(left['text'])}: {kind}. "
        f"{together}{pairs} {_recall(space, t)}"
    )


def _recall(space: "Space", t: int) -> str:
    """What retrieval of the domains trained before a phase became by then."""
    found = recalls(space)
    old, first, now, n = found.earlier(t)
    if not old:
        return ""
    taught = any(found.own[j] for j in old)
    when = "right after the training of its own domain" if taught else f"in {space.phases[0]}"
    which = f"domains trained before {space.phases[t]}" if len(old) < len(found.domains) else "all domains"
    return (
        f"Among the names of its domain the right one comes first for {percent(first)} of the pictures {when}, and "
        f"for {percent(now)} after {space.phases[t]} ({which}, n = {n})."
    )


def _deg(value: float) -> str:
    return f"{value:.1f}°" if abs(value) < 10 else f"{value:.0f}°"


PREDICTED = ("pictures", "texts", "both alike, within 1°")
"""What ``outcome`` can be."""


def outcome(space: "Space") -> str | None:
    """Which modality's embeddings turn further from the first phase to the last, on average; None with one phase."""
    if len(space.phases) < 2:
        return None
    image, text = (space.spreads[f"rotation_{side}"].mean[0, -1] for side in ("image", "text"))
    return PREDICTED[2] if abs(image - text) <= 1 else PREDICTED[0] if image > text else PREDICTED[1]

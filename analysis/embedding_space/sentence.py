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
    rigid = {side: space.likeness[f"rigid_{side}"][s, t] for side in ("image", "text")}
    return (
        f"From {space.phases[s]} to {space.phases[t]} a picture's embedding turns by {_deg(turned['image'])} on "
        f"average and a text's by {_deg(turned['text'])}. One rotation of all pictures and one of all texts explain "
        f"{_share(rigid['image'])} and {_share(rigid['text'])} of these shifts and leave {_deg(left['image'])} and "
        f"{_deg(left['text'])}: {_kind(rigid)}. "
        f"{_together(space, s, t)} {_recall(space, t)}"
    )


def _kind(rigid: dict[str, float]) -> str:
    """What the shares say; a side that did not move (not-a-number) says nothing."""
    shares = [share for share in rigid.values() if not np.isnan(share)]
    if min(shares) > 0.9:
        return "almost all of it is the whole space turning, which harms nothing by itself"
    if max(shares) < 0.5:
        return "most of it is disorder, samples moving against each other"
    return "part of it is the whole space turning, the rest is disorder, samples moving against each other"


def _share(value: float) -> str:
    return "none (nothing moved)" if np.isnan(value) else percent(value)


def _together(space: "Space", s: int, t: int) -> str:
    apart: Spread = space.spreads["deviation"]
    drift: Spread = space.spreads["pair"]
    chance = space.likeness["floor"][s, t]
    if apart.low[s, t] > chance:
        told = f"The rotations of the two modalities are {_deg(apart.mean[s, t])} apart ({_deg(chance)} by chance)"
    else:
        told = "The rotations of the two modalities are no further apart than chance makes them"
    change = drift.mean[s, t]
    if drift.low[s, t] > 0:
        return f"{told}, and a picture and its own text drift apart by {_deg(change)}."
    if drift.high[s, t] < 0:
        return f"{told}, and a picture and its own text come closer by {_deg(-change)}."
    return f"{told}; a picture and its own text keep their distance on average."


def _recall(space: "Space", t: int) -> str:
    """What retrieval of the domains trained before a phase became by then."""
    found = recalls(space)
    old = [j for j, own in enumerate(found.own) if own < t]
    if not old:
        return ""
    first, now = (
        float(np.average([found.matrix[row(j), j] for j in old], weights=found.n[old]))
        for row in (lambda j: found.own[j], lambda j: t)
    )
    taught = any(found.own[j] for j in old)
    when = "right after the training of its own domain" if taught else f"in {space.phases[0]}"
    which = f"domains trained before {space.phases[t]}" if len(old) < len(found.domains) else "all domains"
    return (
        f"Among the names of its domain the right one comes first for {percent(first)} of the pictures {when}, and "
        f"for {percent(now)} after {space.phases[t]} ({which}, n = {int(found.n[old].sum())})."
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

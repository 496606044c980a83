"""What is measured of a space in phases, what each number means, what all say, and how it is packed for keeping."""

import base64
from dataclasses import dataclass, fields

import numpy as np

from analysis.embedding_space.retrieval import recalls
from analysis.result import Provenance, Result, plain
from analysis.statistics import Estimate
from analysis.table import Table
from analysis.wording import percent

PERCENTILES = np.arange(101)
_STILL = 0.05  # degrees, that are told as none


@dataclass(frozen=True)
class Measure:
    """How a measure is called, its unit (empty for a plain number), and what is computed, for whoever asks."""

    title: str
    unit: str
    about: str


def _both(kind: str, title: str, unit: str, about: str) -> dict[str, Measure]:
    """The same measure of images and of texts; words in brackets are those of images, and become those of texts."""
    image = {"images": "images", "pictures": "pictures", "picture": "picture", "v": "v"}
    sides = {"image": image, "text": {"images": "texts", "pictures": "texts", "picture": "text", "v": "t"}}
    return {f"{kind}_{side}": Measure(title.format(**w), unit, about.format(**w)) for side, w in sides.items()}


BETWEEN_PHASES = {
    **_both(
        "rotation", "Rotation of {images}", "°",
        "Angle between a {picture}'s embedding before and after: arccos({v}_before · {v}_after).",
    ),
    **_both(
        "between", "Change between {images}", "°",
        "How much the angle between two {pictures} changed, |after − before|. A space that only turned has 0 "
        "everywhere.",
    ),
    **_both(
        "residual", "Disorder of {images}", "°",
        "Angle between a {picture}'s embedding before, turned by the one rotation that fits all {pictures} best "
        "(orthogonal Procrustes), and after. What the rotation explains is harmless; this is what is left.",
    ),
    "deviation": Measure(
        "Inter-modal deviation", "°",
        "Images turn by one rotation, texts by another (each by orthogonal Procrustes): the angle between where the "
        "two rotations carry the same embedding, mean over all images and texts. 0 where both turn together.",
    ),
    "pair": Measure(
        "Change of pairs", "°",
        "How much the angle between a picture and its own text changed: arccos(v · t) after − before. Positive: the "
        "two drift apart.",
    ),
    "disagreement": Measure(
        "Disagreement of shifts", "",
        "Shift: embedding after − before. Length of the difference between a picture's shift and its text's, 0 to 4.",
    ),
}
"""Measures of a phase against an earlier one that are a distribution: over pairs, or over pairs of samples."""

LIKENESS = {
    "floor": Measure(
        "Deviation by chance", "°",
        "The same angle between two rotations of one modality, each fitted on another half of its samples: what the "
        "choice of samples alone gives. A deviation that is not clearly above it says nothing.",
    ),
    **_both(
        "rigid", "Rotation's share of the {images}' shift", "",
        "1 − (squared distance left after the best rotation) / (squared distance before it), over all {pictures}: 1 "
        "where the {images} turned as a whole, 0 where no rotation explains anything.",
    ),
    **_both(
        "cka", "CKA of {images}", "",
        "Linear centred kernel alignment of the {images} before and after, 0 to 1: 1 where one is the other turned, "
        "moved and scaled.",
    ),
}
"""Measures of a phase against an earlier one that are one number."""

OF_A_PHASE = {
    "angle": Measure("Angle of pairs", "°", "Mean angle between a picture and its own text: arccos(v · t)."),
    "gap": Measure("Modality gap", "", "Distance between the mean image and the mean text embedding, 0 to 2."),
    "alignment": Measure(
        "Alignment", "", "Mean squared distance between a picture and its own text, 0 to 4: less is closer."
    ),
    **_both(
        "uniformity", "Uniformity of {images}", "",
        "log of the mean of exp(−2 · squared distance) over pairs of {pictures}, at most 0: lower is more evenly "
        "spread.",
    ),
}
"""Measures of one phase."""

MEASURES = BETWEEN_PHASES | LIKENESS | OF_A_PHASE


@dataclass(frozen=True)
class Spread:
    """A distribution for phase ``t`` against ``s``, all arrays ``[s, t]``; not-a-number for t < s, 0 for t = s.

    ``mean`` with its 95 % interval ``low`` to ``high`` (bootstrap over pairs; not-a-number where what is averaged is
    not independent), and ``percentiles`` ``[s, t, 101]``: the 0th to the 100th. ``n`` values each.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    percentiles: np.ndarray
    n: int

    def at(self, s: int, t: int) -> Estimate:
        """The mean for phase ``t`` against ``s``."""
        return Estimate(float(self.mean[s, t]), float(self.low[s, t]), float(self.high[s, t]), self.n)


@dataclass(frozen=True, kw_only=True)
class Space(Result):
    """``n`` pairs of picture and text in every phase of training; phase 0 is before any.

    ``phases`` are labels, ``trained`` the domain that each phase trained on (empty: none of them, or all). ``texts``
    and ``domains`` are of all pairs. ``shown`` ``[m]`` are the pairs whose embeddings are kept, for clouds and
    contrastive matrices: ``images`` and ``words``, float32 unit vectors ``[phases, m, d]``. ``gallery`` holds the
    pictures of all pairs for words to be searched among, ``coarse`` int8 ``[phases, n, d]``; None where all are shown.

    ``spreads``, ``likeness`` (float64 ``[phases, phases]``, s then t) and ``numbers`` (float64 ``[phases]``) hold what
    ``BETWEEN_PHASES``, ``LIKENESS`` and ``OF_A_PHASE`` explain, measured on all pairs.

    ``ranks`` are int64 ``[phases, n]``, 1 is best: ``"i2t"`` of the right text for each picture, ``"t2i"`` of the
    right picture for each text, among all pairs; ``"i2t_domain"`` and ``"t2i_domain"`` among those of its own domain.
    """

    method: str
    phases: tuple[str, ...]
    trained: tuple[str, ...]
    texts: tuple[str, ...]
    domains: tuple[str, ...]
    shown: np.ndarray
    images: np.ndarray
    words: np.ndarray
    gallery: np.ndarray | None
    spreads: dict[str, Spread]
    likeness: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    ranks: dict[str, np.ndarray]

    @property
    def n(self) -> int:
        """How many pairs were measured."""
        return len(self.texts)

    @property
    def domain_names(self) -> tuple[str, ...]:
        """Every domain once, in the order of the pairs."""
        return tuple(dict.fromkeys(self.domains))

    def table(self) -> Table:
        head = ["measure", "unit", "before", "after", "mean", "low", "high", "n"]
        earlier = [(s, t) for t in range(len(self.phases)) for s in range(t)]
        nan, rows = float("nan"), []
        for name, m in (BETWEEN_PHASES | LIKENESS).items():
            for s, t in earlier:
                if of := self.spreads.get(name):
                    told = [of.mean[s, t], of.low[s, t], of.high[s, t], of.n]
                else:
                    told = [self.likeness[name][s, t], nan, nan, self.n]
                rows.append([m.title, m.unit, self.phases[s], self.phases[t], *told])
        for name, m in OF_A_PHASE.items():
            told = zip(self.phases, self.numbers[name], strict=True)
            rows += [[m.title, m.unit, "", phase, value, nan, nan, self.n] for phase, value in told]
        return Table(head, rows)

    def to_json(self) -> dict:
        """Without the embeddings, which no file of a visitor needs."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.name not in _LARGE}


_LARGE = ("images", "words", "gallery")
_HALF = ("images", "words", "percentiles")  # kept in half precision: 0.02 degrees of a direction, 0.06 of an angle
_GIVEN = ("texts", "domains", "provenance", "method", "phases", "trained")  # known without measuring, or plain texts


def packed(space: Space) -> dict:
    """What ``unpacked`` needs beside the pairs and what they were measured with, as JSON."""
    return {f.name: _packed(f.name, getattr(space, f.name)) for f in fields(space) if f.name not in _GIVEN} | {
        "provenance": {f.name: getattr(space.provenance, f.name) for f in fields(Provenance)}
    }


def unpacked(value: dict, **given) -> Space:
    """The ``Space`` that was ``packed``; ``given`` are method, phases, trained, texts and domains."""
    read = {name: _unpacked(part) for name, part in value.items() if name != "provenance"}
    spreads = {name: Spread(**parts) for name, parts in read.pop("spreads").items()}
    return Space(provenance=Provenance(**value["provenance"]), spreads=spreads, **read, **given)


def _packed(name: str, value):
    if isinstance(value, Spread):
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, dict):
        return {k: _packed(k, v) for k, v in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    whole = "<i1" if value.dtype == np.int8 else "<i4"
    kind = whole if value.dtype.kind == "i" else "<f2" if name in _HALF else "<f8"
    return {"kind": kind, "shape": value.shape, "base64": base64.b64encode(value.astype(kind).tobytes()).decode()}


def _unpacked(part):
    if not isinstance(part, dict):
        return part
    if "base64" not in part:
        return {name: _unpacked(inner) for name, inner in part.items()}
    flat = np.frombuffer(base64.b64decode(part["base64"]), part["kind"]).reshape(part["shape"])
    return flat.astype({"<i1": np.int8, "<i4": np.int64, "<f2": np.float32, "<f8": np.float64}[part["kind"]])


def sentence(space: Space, before: int = 0, after: int = -1) -> str:
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


def _recall(space: Space, t: int) -> str:
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


def outcome(space: Space) -> str | None:
    """Which modality's embeddings turn further from the first phase to the last, on average; None with one phase."""
    if len(space.phases) < 2:
        return None
    image, text = (space.spreads[f"rotation_{side}"].mean[0, -1] for side in ("image", "text"))
    return PREDICTED[2] if abs(image - text) <= 1 else PREDICTED[0] if image > text else PREDICTED[1]

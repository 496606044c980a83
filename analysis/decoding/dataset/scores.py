"""POPE and CHAIR: the numbers of object hallucination, with 95 % intervals and paired tests."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.statistics import Difference, Estimate, mean

_DRAWS = 2000
_ROWS = 500  # draws at a time: of many items all at once would be gigabytes


@dataclass(frozen=True)
class Pope:
    """POPE (Li et al. 2023, arXiv 2305.10355, section 4): *yes* is the positive class.

    ``accuracy``, ``precision``, ``recall`` and ``yes`` (the share of questions answered *yes*) with Wilson's interval,
    ``f1`` with a bootstrap over questions. ``n`` questions.
    """

    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    yes: Estimate
    n: int


@dataclass(frozen=True)
class Chair:
    """CHAIR (Rohrbach et al. 2018, arXiv 1809.02156, eqs. 1 and 2), over ``n`` captions.

    ``objects`` (CHAIR_i): mentions of objects that are not there / all mentions of objects; ``sentences`` (CHAIR_s):
    captions with at least one / captions; ``recall``: objects there that are mentioned / objects there. Intervals:
    bootstrap over captions, Wilson for ``sentences``.
    """

    objects: Estimate
    sentences: Estimate
    recall: Estimate
    n: int


def says_yes(answer: str) -> bool:
    """POPE's own reading of an answer: no where its first sentence has the word *no* or *not*, else yes."""
    words = re.findall(r"\w+", answer.split(".")[0].lower())
    return not {"no", "not"} & set(words)


def ratio(above: Sequence[float], below: Sequence[float], seed: int = 0) -> Estimate:
    """sum(above) / sum(below) over items, with a percentile bootstrap over items (seeded)."""
    above, below = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    if not len(below) or below.sum() == 0:
        return Estimate()
    low, high = _spread(_resampled([above, below], seed), lambda a, b: a / b)
    return Estimate(float(above.sum() / below.sum()), low, high, len(above))


def ratio_difference(a: tuple[Sequence[float], Sequence[float]], b, seed: int = 0) -> Difference:
    """Ratio of ``a`` minus ratio of ``b`` over the same items, each (above, below), with a paired bootstrap."""
    parts = [np.asarray(v, dtype=float) for v in (*a, *b)]
    if any(not len(p) for p in parts) or 0 in (parts[1].sum(), parts[3].sum()):
        return Difference()
    apart = float(parts[0].sum() / parts[1].sum() - parts[2].sum() / parts[3].sum())
    low, high = _spread(_resampled(parts, seed), lambda a, b, c, d: a / b - c / d)
    return Difference(apart, low, high, len(parts[0]))


def _resampled(parts: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Sums of each part over items drawn with replacement, the same draws for all parts."""
    rng, n = np.random.default_rng(seed), len(parts[0])
    sums = []
    for first in range(0, _DRAWS, _ROWS):
        drawn = rng.integers(n, size=(min(_ROWS, _DRAWS - first), n))
        sums.append([part[drawn].sum(1) for part in parts])
    return [np.concatenate(found) for found in zip(*sums, strict=True)]


def _spread(sums: list[np.ndarray], combine) -> tuple[float, float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        values = combine(*sums)
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)


def pope(said: Sequence[bool], truth: Sequence[bool]) -> Pope:
    """POPE's numbers of the answers ``said`` (yes is True) to questions whose true answers are ``truth``."""
    said, truth = np.asarray(said, dtype=bool), np.asarray(truth, dtype=bool)
    return Pope(
        accuracy=mean(said == truth),
        precision=mean(truth[said]),
        recall=mean(said[truth]),
        f1=ratio(*f1_parts(said, truth)),
        yes=mean(said),
        n=len(truth),
    )


def f1_parts(said: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F1 as a ratio of sums over questions: 2 TP / (2 TP + FP + FN)."""
    hits, misses = said & truth, said != truth
    return 2.0 * hits, 2.0 * hits + misses


@dataclass(frozen=True)
class Counts:
    """Of each caption: mentions of objects, those of objects not there, objects there, and those that are mentioned;
    float64 ``[captions]``."""

    mentions: np.ndarray
    invented: np.ndarray
    there: np.ndarray
    found: np.ndarray


def counts(mentioned: Sequence[Sequence[str]], there: Sequence[Collection[str]]) -> Counts:
    """``mentioned`` are the objects that each caption names, as often as it names them."""
    pairs = list(zip(mentioned, map(set, there), strict=True))
    return Counts(
        np.array([len(said) for said, _ in pairs], dtype=float),
        np.array([sum(name not in true for name in said) for said, true in pairs], dtype=float),
        np.array([len(true) for _, true in pairs], dtype=float),
        np.array([len(true & set(said)) for said, true in pairs], dtype=float),
    )


def chair(of: Counts) -> Chair:
    """CHAIR's numbers."""
    return Chair(ratio(of.invented, of.mentions), mean(of.invented > 0), ratio(of.found, of.there), len(of.mentions))

"""A number with its interval, and paired comparisons, the same in every room."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from scipy.stats import binomtest, bootstrap

from models.evaluation import FEW, interval

__all__ = [
    "FEW", "Difference", "Estimate", "cka", "difference", "ends", "interval", "mean", "ratio", "ratio_difference",
    "share", "spread",
]

_DRAWS = 2000
_AT_ONCE = 500  # draws: of many items all at once would be gigabytes
_NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval ``low`` to ``high``, from ``n`` items; not-a-number where it is not known."""

    value: float = _NAN
    low: float = _NAN
    high: float = _NAN
    n: int = 0

    @property
    def known(self) -> bool:
        return not math.isnan(self.value)

    @property
    def count(self) -> int:
        """How many of the items a share is."""
        return round(self.value * self.n) if self.known else 0

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    @property
    def reach(self) -> tuple[float, float]:
        """How far the interval goes above and below the value."""
        return self.high - self.value, self.value - self.low

    def __neg__(self) -> Self:
        return replace(self, value=-self.value, low=-self.high, high=-self.low)

    def to_json(self) -> dict:
        return vars(self)


@dataclass(frozen=True)
class Difference(Estimate):
    """Mean of a - b over the same items, and the ``p`` of McNemar's exact test (not-a-number where scores are not 0 or
    1). Its value is called ``mean`` in JSON."""

    p: float = _NAN

    def to_json(self) -> dict:
        return {"mean": self.value, **{name: v for name, v in vars(self).items() if name != "value"}}


def ends(*names: str, **settings):
    """A field that holds an ``Estimate`` and is told flat in JSON: its value by the field's name, then by ``names`` the
    lower and the upper end, and its n where a third is given; ``settings`` as of any field."""
    return field(metadata={"ends": names}, **settings)


def mean(scores: Sequence[float]) -> Estimate:
    """Mean of ``scores`` ``[items]`` with ``interval``'s interval; unknown without items."""
    scores = np.asarray(scores, dtype=float)
    if not len(scores):
        return Estimate()
    return Estimate(float(scores.mean()), *map(float, interval(scores)), len(scores))


def share(count: int, of: int) -> Estimate:
    """``count`` of ``of`` items, with Wilson's interval."""
    return mean(np.repeat([1.0, 0.0], [count, of - count]))


def difference(a: np.ndarray, b: np.ndarray, seed: int = 0) -> Difference:
    """Paired difference of scores ``a`` and ``b`` ``[items]``: percentile bootstrap over items (seeded).

    Where a - b is the same for every item the interval has no width; of fewer than ``FEW`` items there is none. Raises
    ``ValueError`` for no items or for different numbers of them.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"scores of the same items are needed, not {a.shape} and {b.shape}")
    return Difference(float((a - b).mean()), *spread(a - b, seed), len(a), _mcnemar(a, b))


def spread(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of ``values`` ``[items]``; without width where all are equal, and
    not-a-number where they are fewer than ``FEW``."""
    values = np.asarray(values, dtype=float)
    if len(values) < FEW:
        return _NAN, _NAN
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    draws = bootstrap((values,), np.mean, n_resamples=_DRAWS, method="percentile", rng=np.random.default_rng(seed))
    return float(draws.confidence_interval.low), float(draws.confidence_interval.high)


def ratio(above: Sequence[float], below: Sequence[float], seed: int = 0) -> Estimate:
    """sum(above) / sum(below) over items, with a percentile bootstrap over items (seeded)."""
    return Estimate(*_ratio(lambda a, b: a / b, (above, below), seed))


def ratio_difference(a: tuple[Sequence[float], Sequence[float]], b, seed: int = 0) -> Difference:
    """Ratio of ``a`` minus ratio of ``b`` over the same items, each (above, below), with a paired bootstrap."""
    return Difference(*_ratio(lambda a, b, c, d: a / b - c / d, (*a, *b), seed))


def _ratio(combine: Callable, parts: Sequence[Sequence[float]], seed: int) -> tuple:
    """What ``combine`` makes of the sums of ``parts`` (each an above, then its below) over items, its interval over
    items drawn with replacement, the same for all parts (none of fewer than ``FEW``), and n; nothing where something
    would be divided by nothing.
    """
    parts = [np.asarray(part, dtype=float) for part in parts]
    rng, n = np.random.default_rng(seed), len(parts[0])
    if not n or any(below.sum() == 0 for below in parts[1::2]):
        return ()
    sums = []
    for first in range(0, _DRAWS, _AT_ONCE):
        drawn = rng.integers(n, size=(min(_AT_ONCE, _DRAWS - first), n))
        sums.append([part[drawn].sum(1) for part in parts])
    with np.errstate(divide="ignore", invalid="ignore"):
        values = combine(*(np.concatenate(found) for found in zip(*sums, strict=True)))
    low, high = np.nanpercentile(values, (2.5, 97.5)) if n >= FEW else (_NAN, _NAN)
    return float(combine(*(part.sum() for part in parts))), float(low), float(high), n


def cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear CKA (Kornblith et al., arXiv 1905.00414): |Y'X|_F^2 / (|X'X|_F |Y'Y|_F) of centred columns, 0 to 1.

    Rows are the same samples, ``[n, d]`` and ``[n, e]``. Where there are fewer of them than dimensions it is computed
    from the kernels XX' and YY', which is the same. Not-a-number where all samples of one side are the same.
    """
    x, y = x - x.mean(0), y - y.mean(0)
    if len(x) < min(x.shape[1], y.shape[1]):
        of_x, of_y = x @ x.T, y @ y.T
        shared = float((of_x * of_y).sum())
    else:
        of_x, of_y = x.T @ x, y.T @ y
        shared = float(np.linalg.norm(y.T @ x) ** 2)
    own = float(np.linalg.norm(of_x) * np.linalg.norm(of_y))
    return float("nan") if own < 1e-20 else shared / own


def _mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact two-sided p of McNemar's test: items that only one gets right are a fair coin's throws."""
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        return float("nan")
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0

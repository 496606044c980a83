"""The law of relative uncertainty: a logistic curve, its balance point, and what lies near and far from it."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import bootstrap, norm

from analysis.statistics import Estimate, ends, mean

_FEWEST = 8  # items below which no curve is fitted
_BINS = 6


@dataclass(frozen=True)
class Fit:
    """Maximum likelihood of P(1) = 1 / (1 + exp(-(``intercept`` + ``slope`` x))) from ``n`` items.

    ``balance`` is the x where P is 1/2, its 95 % interval all x whose fitted log-odds are not
    significantly away from 0 (Fieller 1954, which is the delta method without its linear approximation of a ratio);
    not-a-number where the slope could be 0, for then every x could be it. The items' x go from ``start`` to ``end``.
    Where there is no fit, ``reason`` says why and the numbers are not-a-number.
    """

    n: int
    intercept: float = float("nan")
    slope: float = float("nan")
    balance: Estimate = ends("low", "high", default=Estimate())
    reason: str = ""
    start: float = float("nan")
    end: float = float("nan")
    covariance: tuple[float, float, float] = (float("nan"),) * 3
    """Of the weights: var(intercept), cov(intercept, slope), var(slope)."""

    @property
    def beyond(self) -> bool:
        """Whether the balance point is outside of what was measured: the curve alone says that it is there."""
        return self.balance.value < self.start or self.balance.value > self.end

    def probability(self, x: np.ndarray) -> np.ndarray:
        """The fitted curve at ``x``."""
        return expit(self.intercept + self.slope * np.asarray(x, dtype=float))

    def band(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pointwise 95 % interval of the curve at ``x``: Wald's of the log-odds, carried over to probabilities."""
        x, (a, ab, b) = np.asarray(x, dtype=float), self.covariance
        half = norm.ppf(0.975) * np.sqrt(a + 2 * ab * x + b * x * x)
        middle = self.intercept + self.slope * x
        return expit(middle - half), expit(middle + half)


def fit(x: np.ndarray, outcome: np.ndarray) -> Fit:
    """Logistic regression of ``outcome`` (0 or 1) on ``x``, both ``[n]``."""
    x, y = np.asarray(x, dtype=float), np.asarray(outcome, dtype=float)
    if len(x) < _FEWEST:
        return Fit(len(x), reason=f"only {len(x)} items, at least {_FEWEST} are needed")
    if np.ptp(x) == 0:
        return Fit(len(x), reason="all items have the same relative uncertainty")
    zero, one = x[y == 0], x[y == 1]
    if not len(zero) or not len(one):
        return Fit(len(x), reason="all answers follow the same side")
    if zero.max() <= one.min() or one.max() <= zero.min():  # Albert and Anderson 1984: no finite maximum
        reason = "the two kinds of answers do not overlap, so the curve is a step of unknown steepness"
        return Fit(len(x), reason=reason)
    design = np.stack([np.ones_like(x), x], axis=1)

    def information(weights):
        p = expit(design @ weights)
        return design.T @ (design * (p * (1 - p))[:, None])

    found = minimize(
        lambda w: np.logaddexp(0, design @ w).sum() - y @ design @ w, np.zeros(2), method="trust-exact",
        jac=lambda w: design.T @ (expit(design @ w) - y), hess=information, options={"gtol": 1e-9 * len(x)},
    )
    (a, b), cov = found.x, np.linalg.inv(information(found.x))
    # Fieller: all x with (a + b x)^2 <= z^2 Var(a + b x), at 95 %; not-a-number where they have no end
    z2, low, high = float(norm.ppf(0.975)) ** 2, float("nan"), float("nan")
    square, linear, constant = b * b - z2 * cov[1, 1], a * b - z2 * cov[0, 1], a * a - z2 * cov[0, 0]
    if square > 0:
        root = float(np.sqrt(linear**2 - square * constant))
        low, high = float((-linear - root) / square), float((-linear + root) / square)
    return Fit(
        len(x), float(a), float(b), Estimate(float(-a / b), low, high, len(x)), "", float(x.min()), float(x.max()),
        (float(cov[0, 0]), float(cov[0, 1]), float(cov[1, 1])),
    )


@dataclass(frozen=True)
class Bin:
    """Items with relative uncertainty ``start`` to ``end``, and the ``share`` of them that follow the text."""

    start: float
    end: float
    share: Estimate = ends("low", "high", "n")


@dataclass(frozen=True)
class NearAndFar:
    """Mean number of switches in the third of the items ``near`` the balance point and in the third ``far`` from it.

    ``difference`` is near minus far, with a bootstrap interval, of n items in each third.
    """

    near: float
    far: float
    difference: Estimate = ends("low", "high", "n")


def binned(relative: np.ndarray, followed: np.ndarray, bins: int = _BINS) -> tuple[Bin, ...]:
    """Items in order of ``relative``, in ``bins`` groups of nearly equal number, with Wilson intervals."""
    order = np.argsort(relative, kind="stable")
    parts = [i for i in np.array_split(order, min(bins, len(order)) or 1) if len(i)]
    return tuple(Bin(float(relative[i].min()), float(relative[i].max()), mean(followed[i])) for i in parts)


def near_and_far(relative: np.ndarray, changes: np.ndarray, balance: float) -> NearAndFar | None:
    """Switches near the balance point and far from it; None where there is no balance point, none within the measured
    range of ``relative``, or fewer than 2 items a third have known switches."""
    known = ~np.isnan(changes)
    third = int(known.sum()) // 3
    if third < 2 or not relative.min() <= balance <= relative.max():  # not-a-number is in no range
        return None
    ranked = changes[known][np.argsort(np.abs(relative[known] - balance), kind="stable")]
    near, far = ranked[:third], ranked[-third:]
    apart = low = high = near.mean() - far.mean()
    if near.std() or far.std():
        low, high = bootstrap(
            (near, far), lambda a, b, axis=-1: a.mean(axis) - b.mean(axis), n_resamples=2000, method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
    return NearAndFar(float(near.mean()), float(far.mean()), Estimate(*map(float, (apart, low, high)), third))

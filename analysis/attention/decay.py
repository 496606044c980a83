"""Whether attention between two modalities fades exponentially with depth: score of layer l ~ gamma ** l (MODA)."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.statistics import Estimate

FEW = 8  # layers: with fewer the interval of a fit is wide
STRAIGHT = 0.8  # R2 from which a curve counts as exponential
_WHOLE = 0.95


@dataclass(frozen=True)
class Decay:
    """The fit log(score_l) = a + l log(gamma), least squares over layers (MODA, arXiv 2507.04635, section 3).

    ``gamma`` is the factor from one layer to the next, below 1 where attention fades (interval: Student's t with
    ``layers`` - 2 degrees of freedom, of the slope); ``r2`` 0 to 1, how much of the variation over layers the line
    explains; ``start`` the fitted score before layer 1. ``layers`` are those with a score above 0, since others have no
    logarithm. Not-a-number where there are fewer than two of them, for the interval and ``r2`` fewer than three.
    """

    gamma: Estimate
    r2: float
    start: float
    layers: int

    @property
    def kind(self) -> str:
        """ "none" (nothing to fit), "open" (two layers: no interval), "flat" (the interval holds 1), "fading" or
        "growing", and either of them with "unsteady " before it where ``r2`` is below 0.8: not exponential."""
        if not self.gamma.known:
            return "none"
        if np.isnan(self.gamma.low):
            return "open"
        if self.gamma.low <= 1 <= self.gamma.high:
            return "flat"
        trend = "fading" if self.gamma.value < 1 else "growing"
        return trend if self.r2 >= STRAIGHT else f"unsteady {trend}"

    def at(self, layers: np.ndarray) -> np.ndarray:
        """The fitted score in ``layers`` (counted from 1)."""
        return self.start * self.gamma.value ** np.asarray(layers, dtype=float)


def fit(scores: np.ndarray) -> Decay:
    """The decay of ``scores`` ``[layers]``, attention per key from the first layer to the last."""
    scores = np.asarray(scores, dtype=float)
    layers = np.arange(1, len(scores) + 1)
    some = np.nan_to_num(scores) > 0
    count, nothing = int(some.sum()), float("nan")
    if count < 2:
        return Decay(Estimate(), nothing, nothing, count)
    x, y = layers[some], np.log(scores[some])
    line = stats.linregress(x, y)
    gamma, start = float(np.exp(line.slope)), float(np.exp(line.intercept))
    if count < 3:
        return Decay(Estimate(gamma, n=count), nothing, start, count)
    # scipy's own error is 1 - r2, which cancels where the fit is good and is not there where all scores are equal
    missed = float(((y - line.intercept - line.slope * x) ** 2).sum())
    error = np.sqrt(missed / (count - 2) / ((x - x.mean()) ** 2).sum())
    reach = stats.t.ppf((1 + _WHOLE) / 2, count - 2) * error
    low, high = (float(np.exp(line.slope + side * reach)) for side in (-1, 1))
    spread = float(((y - y.mean()) ** 2).sum())
    r2 = 1 - missed / spread if spread else 1.0
    return Decay(Estimate(gamma, low, high, count), r2, start, count)

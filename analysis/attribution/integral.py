"""Integrated gradients along a straight path, with more points where more is missed."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

STEPS, ROWS = 48, 32
_EDGES = (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Stretches of the path to begin with. Decoders normalise what they read, so most happens just off the zero baseline,
at a scale that depends on the model: points on each decade find it, equal points on the whole path miss it."""
_POINTS = 2  # of the quadrature on each stretch
FEWEST_STEPS = _POINTS * (len(_EDGES) - 1)
_LARGE, _MORE = 0.08, 8  # of all change: stretches with more of it are halved before any gradient, at most so many
_CLOSE = 0.02  # of the whole: stretches are halved until they miss no more than this together

Value = Callable[[torch.Tensor], torch.Tensor]
"""Inputs of rows ``[rows, ...]`` to one number a row ``[rows]``."""


@dataclass(frozen=True)
class Integral:
    """Integrated gradients ``scores``, float64 of the inputs' shape, from ``steps`` gradients; ``value`` and
    ``baseline`` at the two ends of the path. ``delta`` is captum's convergence delta: the sum of the scores minus
    (``value`` - ``baseline``).
    """

    scores: np.ndarray
    value: float
    baseline: float
    steps: int

    @property
    def delta(self) -> float:
        return float(self.scores.sum() - (self.value - self.baseline))


def integrated_gradients(
    value: Value,
    inputs: torch.Tensor,
    baseline: torch.Tensor,
    steps: int = STEPS,
    rows: int = ROWS,
    held: Callable[[], AbstractContextManager] = nullcontext,
) -> Integral:
    """Integrated gradients of ``value`` along the straight path from ``baseline`` to ``inputs``.

    Gauss-Legendre quadrature on stretches of the path, which add up. What a stretch should make is known, for it costs
    no gradient: what ``value`` gains on it. Stretches that gain or lose most are halved (in the logarithm) at first;
    then those that miss most, until all together miss 2 % of the whole or ``steps`` gradients (at least 12) are spent.
    At most ``rows`` points are read at once; ``held()`` is entered around each forward with its backward pass.
    """
    from captum.attr import IntegratedGradients  # here, for it brings pyplot along

    method = IntegratedGradients(value)
    gradients = method.gradient_func

    def within(*args, **kwargs):
        with held():
            return gradients(*args, **kwargs)

    method.gradient_func = within

    def on_path(shares: Sequence[float]) -> torch.Tensor:
        weight = torch.tensor(shares, dtype=inputs.dtype, device=inputs.device)
        return torch.lerp(baseline[None], inputs[None], weight.reshape(-1, *[1] * inputs.ndim))

    values: dict[float, float] = {}
    scores: dict[tuple[float, float], np.ndarray] = {}
    missed: dict[tuple[float, float], float] = {}

    def look(shares: Sequence[float]) -> None:
        for some in _few([s for s in dict.fromkeys(shares) if s not in values], rows):
            with torch.no_grad():
                values.update(zip(some, value(on_path(some)).tolist(), strict=True))

    def gain(stretch: tuple[float, float]) -> float:
        return values[stretch[1]] - values[stretch[0]]

    look(_EDGES)
    new, spare = list(pairwise(_EDGES)), _spare(steps)
    while spare > 0:
        total = sum(abs(gain(stretch)) for stretch in new)
        large = sorted((s for s in new if abs(gain(s)) > _LARGE * total), key=lambda s: -abs(gain(s)))[:spare]
        if not large:
            break
        spare -= len(large)
        new = [s for s in new if s not in large] + _halves(large)
        look([share for stretch in new for share in stretch])
    spent, whole = 0, abs(gain((_EDGES[0], _EDGES[-1])))
    while new:
        look([share for stretch in new for share in stretch])
        for some in _few(new, max(rows // _POINTS, 1)):
            starts, ends = (on_path(shares) for shares in zip(*some, strict=True))
            found = method.attribute(ends, starts, n_steps=_POINTS, internal_batch_size=rows)
            scores |= zip(some, found.detach().double().cpu().numpy(), strict=True)
            missed |= {stretch: float(scores[stretch].sum() - gain(stretch)) for stretch in some}
        spent += _POINTS * len(new)
        room = max(steps - spent, 0) // (2 * _POINTS)
        worst = _worst(missed, _CLOSE * whole)[: room - room // 2]  # what is left is for halves that still miss
        for stretch in worst:
            del scores[stretch], missed[stretch]
        new = _halves(worst)
    return Integral(sum(scores.values()), values[_EDGES[-1]], values[_EDGES[0]], spent)


def _spare(steps: int) -> int:
    """How many stretches may be halved before any gradient."""
    return min(_MORE, max(steps - FEWEST_STEPS, 0) // _POINTS)


def _halves(stretches: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Each cut in two in the logarithm; the first, which begins at 0, at a tenth."""
    cut = [(start, (start * end) ** 0.5 if start else end / 10, end) for start, end in stretches]
    return [half for start, middle, end in cut for half in ((start, middle), (middle, end))]


def _worst(missed: dict[tuple[float, float], float], close: float) -> list[tuple[float, float]]:
    """The stretches to halve, worst first: those without which the others miss no more than ``close`` together."""
    ranked, left, found = sorted(missed, key=lambda s: -abs(missed[s])), sum(map(abs, missed.values())), []
    for stretch in ranked:
        if left <= close:
            break
        found.append(stretch)
        left -= abs(missed[stretch])
    return found


def _few(things: Sequence, count: int) -> list[Sequence]:
    return [things[i : i + count] for i in range(0, len(things), count)]


def forwards_of(steps: int) -> int:
    """The most rows that ``value`` is asked for: each gradient, and what the ends of stretches are worth."""
    first = _spare(steps)
    return steps + len(_EDGES) + first + max(steps - FEWEST_STEPS - _POINTS * first, 0) // (2 * _POINTS)

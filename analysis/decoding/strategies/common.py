"""What strategies share: what their numbers must be, which tokens are plausible, what is told of a choice."""

import math

import numpy as np
import torch

from models.errors import InputError
from models.generation import Choice


def number(name: str, value: float, low: float, high: float | None = None, above: bool = False) -> float:
    """``value`` where it lies in [low, high], or (low, high] with ``above``; without ``high`` any finite one will do.

    Raises ``InputError``; so does NaN.
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    fits = fits and (low < value if above else low <= value)
    if fits and (math.isfinite(value) if high is None else value <= high):
        return value
    least = f"above {low:g}" if above else f"at least {low:g}"
    most = " and finite" if high is None else "" if high == math.inf else f" and at most {high:g}"
    raise InputError(f"{name} is {value}: it must be {least}{most}.")


def whole(name: str, value: int, low: int, high: int | None = None) -> int:
    """``value`` where it is a whole number in [low, high]. Raises ``InputError``."""
    if number(name, value, low, high) != int(value):
        raise InputError(f"{name} is {value}: it must be a whole number.")
    return int(value)


def plausible(logits: torch.Tensor, beta: float) -> torch.Tensor:
    """Which tokens stay, ``[V]``: those with a logit of at least the largest + log ``beta`` (Li et al. 2023, eq. 2)."""
    return logits >= logits.max() + np.log(beta)


def choice(token: int, own: torch.Tensor, **details: object) -> Choice:
    """``token`` with what is told of the step: ``greedy_id``, the token that the prompt's own logits ``own`` ``[V]``
    would have taken, and ``details``."""
    return Choice(token, {"greedy_id": int(own.argmax()), **details})

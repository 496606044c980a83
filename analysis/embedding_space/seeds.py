"""What several trainings of a method say together: means over seeds, how far they spread, and paired comparisons.

An interval over pairs covers other pairs of picture and name, for these very trainings. How much another training
would change a number, only other seeds can tell; of three they tell little, and that is said where they are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from analysis.embedding_space.retrieval import Compared, Recalls, compared, recalls

if TYPE_CHECKING:
    from analysis.embedding_space.runs import Run


@dataclass(frozen=True)
class Over:
    """A number, or an array of them, over ``n`` trainings: ``mean``, smallest (``least``) and largest (``most``)."""

    n: int
    mean: np.ndarray
    least: np.ndarray
    most: np.ndarray


def over(values: Sequence) -> Over:
    """The same measure of every training, numbers or arrays of one shape."""
    every = np.array(values, dtype=float)
    return Over(len(every), every.mean(0), every.min(0), every.max(0))


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean over trainings by Student's t; not-a-number for fewer than two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


@dataclass(frozen=True)
class Repeated:
    """Recall of one method: of ``each`` training, the one that ships first, and over all, fields as in ``Recalls``."""

    each: tuple[Recalls, ...]
    matrix: Over
    average: Over
    forgetting: Over
    backward: Over

    @property
    def seeds(self) -> int:
        return len(self.each)


@lru_cache(maxsize=256)
def repeated(runs: "tuple[Run, ...]", direction: str = "i2t", k: int = 1, among: str = "domain") -> Repeated:
    """Recall over the trainings of one method. Raises ``InputError`` as ``recalls``."""
    each = tuple(recalls(run, direction, k, among) for run in runs)
    columns = ([getattr(of, name) for of in each] for name in ("matrix", "average", "forgetting", "backward"))
    return Repeated(each, *map(over, columns))


@dataclass(frozen=True)
class Versus:
    """One method against another by the seeds that both have: of ``each``, by its label, and of all, ``pooled``."""

    each: dict[str, Compared]
    pooled: Compared

    def between(self, which: str) -> tuple[float, float]:
        """``t_interval`` over the seeds of one of ``Compared``'s differences; not-a-number where there is none."""
        found = [getattr(of, which) for of in self.each.values()]
        return t_interval([of.value for of in found if of])


@lru_cache(maxsize=256)
def versus(
    a: "tuple[Run, ...]", b: "tuple[Run, ...]", direction: str = "i2t", k: int = 1, among: str = "domain"
) -> Versus:
    """``a`` against ``b``, of which at least the run that ships is in both. Raises ``InputError`` as ``compared``."""
    first, second = ({run.label: run for run in side} for side in (a, b))
    both = [label for label in first if label in second]
    each = {label: compared([first[label]], [second[label]], direction, k, among) for label in both}
    if len(each) == 1:
        return Versus(each, each[both[0]])
    return Versus(
        each, compared([first[label] for label in both], [second[label] for label in both], direction, k, among)
    )

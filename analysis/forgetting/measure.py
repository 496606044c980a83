"""The accuracy matrix of a checkpoint set and the numbers that the field reads from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from analysis.result import Provenance, Result, plain
from models.answers import style_of
from models.evaluation import interval

if TYPE_CHECKING:
    from models.evaluation import Evaluation

_RIGHT = 0.5  # a score above it counts as right where an item must be one or the other


@dataclass(frozen=True, kw_only=True)
class Forgetting(Result):
    """Accuracy of every checkpoint on every task, and what follows from it. All accuracies are 0 to 1.

    ``matrix``, with the 95 % interval ``low`` to ``high``: float64 ``[checkpoints, tasks]``, mean score on
    the ``n[j]`` items of task j; not-a-number where nothing was measured, and so is what depends on it.
    ``own[j]`` is the row of the checkpoint trained on task j; rows behind those are references.

    With A[i, j] the accuracy on task j after task i, b the base, T the last task:
    ``mft`` = mean of A[j, j]; ``mfn`` = mean of A[T, j]; ``maa`` = mean over i of the mean of A[i, :i];
    ``bwt`` = mean over j < T of A[T, j] - A[j, j]; ``fwt`` = mean over j > 1 of A[j - 1, j] - b[j];
    ``forgetting[j]`` = best A[i, j] over i >= j, minus A[T, j].

    ``superficial[j]`` and ``essential[j]`` split the share of items that were right after their own task
    and are wrong at the end: by the form of the answer alone. Another form than asked is superficial,
    the asked form with a wrong fact is essential. Whether the knowledge behind a wrong form is still
    there is not tested here.
    """

    method: str
    tasks: tuple[str, ...]
    checkpoints: tuple[str, ...]
    own: tuple[int, ...]
    matrix: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    mft: float
    mfn: float
    maa: float
    bwt: float
    fwt: float
    forgetting: np.ndarray
    superficial: np.ndarray
    essential: np.ndarray

    def table(self) -> tuple[list[str], list[list]]:
        rows = [
            [name, task, self.matrix[i, j], self.low[i, j], self.high[i, j], self.n[j]]
            for i, name in enumerate(self.checkpoints)
            for j, task in enumerate(self.tasks)
        ]
        return ["checkpoint", "task", "accuracy", "low", "high", "n"], rows

    def to_json(self) -> dict:
        return plain(self)


@dataclass(frozen=True)
class Shown:
    """One item of a cell: what was asked, what is true, what was answered, in which form, how right (0 to 1)."""

    image: Path | None
    question: str
    truth: str
    given: str
    style: str
    score: float

    def picture(self) -> Image.Image | None:
        return Image.open(self.image).convert("RGB") if self.image else None


def numbers(matrix: np.ndarray, base: np.ndarray) -> dict:
    """The summary numbers of ``Forgetting`` from ``matrix`` ``[T, T]`` (row i: after task i) and ``base`` ``[T]``."""
    tasks = len(matrix)
    own, last = np.diag(matrix), matrix[-1]
    nothing = float("nan")
    return {
        "mft": float(own.mean()),
        "mfn": float(last.mean()),
        "maa": float(np.mean([matrix[i, : i + 1].mean() for i in range(tasks)])),
        "bwt": float((last - own)[:-1].mean()) if tasks > 1 else nothing,
        "fwt": float(np.mean([matrix[j - 1, j] - base[j] for j in range(1, tasks)])) if tasks > 1 else nothing,
        "forgetting": np.array([matrix[j:, j].max() - last[j] for j in range(tasks)]),
    }


def measure(found: "Evaluation") -> Forgetting:
    """Everything from the raw answers of a checkpoint set."""
    shape = (len(found.checkpoints), len(found.tasks))
    matrix, low, high = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    for i, name in enumerate(found.checkpoints):
        for j, task in enumerate(found.tasks):
            if name in found.scores[task]:
                scores = found.scores[task][name]
                matrix[i, j] = scores.mean()
                low[i, j], high[i, j] = interval(scores)
    own = [found.checkpoints.index(found.trained[task]) for task in found.tasks]
    split = [_split(found, task) for task in found.tasks]
    return Forgetting(
        provenance=Provenance(**found.provenance),
        method=found.method,
        tasks=tuple(found.tasks),
        checkpoints=tuple(found.checkpoints),
        own=tuple(own),
        matrix=matrix,
        low=low,
        high=high,
        n=np.array([len(found.items[task]) for task in found.tasks]),
        **numbers(matrix[own], matrix[0]),
        superficial=np.array([s for s, _ in split]),
        essential=np.array([e for _, e in split]),
    )


def _split(found: "Evaluation", task: str) -> tuple[float, float]:
    after, last = found.trained[task], found.trained[found.tasks[-1]]
    scores = found.scores[task]
    if after not in scores or last not in scores:
        return float("nan"), float("nan")
    lost = (scores[after] >= _RIGHT) & (scores[last] < _RIGHT)
    answers = zip(found.items[task], found.given[task][last], strict=True)
    other_form = np.array([style_of(given) != item.style for item, given in answers])
    return float((lost & other_form).mean()), float((lost & ~other_form).mean())


def cell(found: "Evaluation", checkpoint: str, task: str, wrong_only: bool = False) -> list[Shown]:
    """The items of one cell, least right first."""
    rows = zip(found.items[task], found.given[task][checkpoint], found.scores[task][checkpoint], strict=True)
    shown = [Shown(i.image, i.question, i.answer, given, style_of(given), float(s)) for i, given, s in rows]
    return sorted((s for s in shown if not wrong_only or s.score < 1), key=lambda s: s.score)

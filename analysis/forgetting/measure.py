"""The accuracy matrix of a checkpoint set and the numbers that the field reads from it."""

import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from analysis import kept
from analysis.forgetting import sets
from analysis.forgetting.split.measure import Split
from analysis.forgetting.split.measure import load as load_split
from analysis.forgetting.terms import RIGHT
from analysis.result import Provenance, Result
from analysis.statistics import FEW, Estimate
from analysis.table import Head, Table, latex_text
from models.answers import style_of
from models.errors import CheckpointError
from models.evaluation import Evaluation, interval
from models.images import open_picture

SUMMARY = ("mft", "mfn", "maa", "bwt", "fwt")
"""The summary numbers, by their names in ``Forgetting``: the last two are differences."""

LISTED = ("all, wrong first", "only wrong", "right then, wrong now", "wrong then, right now")
"""Which items of a cell are listed."""

_DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Forgetting(Result):
    """Accuracy of every checkpoint on every task, and what follows from it. All accuracies are 0 to 1.

    ``matrix``, with the 95 % interval ``low`` to ``high``: float64 ``[checkpoints, tasks]``, mean score on
    the ``n[j]`` items of task j; not-a-number where nothing was measured, and so is what depends on it.
    ``own[j]`` is the row of the checkpoint trained on task j; rows behind those are references.

    With A[i, j] the accuracy on task j after task i, b the base, T the last task:
    ``mft`` = mean of A[j, j]; ``mfn`` = mean of A[T, j]; ``maa`` = mean over i of the mean of A[i, :i];
    ``bwt`` = mean over j < T of A[T, j] - A[j, j]; ``fwt`` = mean over j > 1 of A[j - 1, j] - b[j];
    ``forgetting[j]`` = best A[i, j] over i >= j, minus A[T, j]. ``intervals`` maps the name of a summary number to its
    95 % interval (low, high), and ``forgetting_low`` to ``forgetting_high`` is that of ``forgetting``: percentiles of
    ``resampled``. With one task there is no transfer, and ``bwt`` and ``fwt`` are not-a-number.

    ``superficial[j]`` and ``essential[j]``, as shares of the n[j] items: right after their own task and wrong at the
    end, though the true option is still the likeliest; or because it no longer is (``split.measure.Split``, SEFE).
    The form of an answer alone does not tell, so both are not-a-number until items were asked again; 0 for the last
    task, which nothing came after. ``became``: of all answers that were right after their own task, but the last one's,
    the shares that are kept, superficial and essential; empty until then.
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
    intervals: dict[str, tuple[float, float]]
    forgetting: np.ndarray
    forgetting_low: np.ndarray
    forgetting_high: np.ndarray
    superficial: np.ndarray
    essential: np.ndarray
    became: dict[str, Estimate] = field(default_factory=dict)

    def label(self, row: int) -> str:
        """``base``, ``after naming``, or the name of a reference."""
        name = self.checkpoints[row]
        return f"after {name}" if row in self.own else name

    def cell(self, row: int, task: int) -> Estimate:
        return Estimate(self.matrix[row, task], self.low[row, task], self.high[row, task], int(self.n[task]))

    def lost(self, task: int) -> Estimate:
        """``forgetting`` of a task."""
        ends = self.forgetting_low[task], self.forgetting_high[task]
        return Estimate(self.forgetting[task], *ends, int(self.n[task]))

    def number(self, name: str) -> Estimate:
        """One of ``SUMMARY``, of the items that take part: the last task's take none in BWT, the first one's in FWT."""
        n = {"bwt": self.n[:-1], "fwt": self.n[1:]}.get(name, self.n)
        return Estimate(getattr(self, name), *self.intervals[name], int(n.sum()))

    def matrix_table(self, digits: int = 0) -> Table:
        """The matrix, a row a checkpoint, a column a task, in %."""
        tasks, rows = range(len(self.tasks)), range(len(self.checkpoints))
        heads = [Head(f"{t} (n = {n})", shares=True, digits=digits) for t, n in zip(self.tasks, self.n, strict=True)]
        return Table(["", *heads], [[self.label(i), *(self.cell(i, j) for j in tasks)] for i in rows])

    def to_latex(self) -> str:
        """Two tables: every checkpoint's accuracy on every task, in %, with forgetting in points; and the summary
        numbers."""
        by, shown = self.provenance, self.matrix_table(1)
        lost = ["forgetting", *map(self.lost, range(len(self.tasks)))]
        heads = [Head(name.upper(), shares=True, digits=1) for name in SUMMARY]
        whole = Table(["Checkpoint", *shown.columns[1:]], [*shown.rows, lost], {len(shown.rows): "reference"})
        about = map(latex_text, (self.method, by.model, by.device, by.dtype))
        return (
            "% Accuracy in %, forgetting and transfer in points; brackets: 95 % intervals over items.\n"
            f"% Set {', '.join(about)}.\n\n"
            f"{whole.latex()}\n\n{Table(heads, [list(map(self.number, SUMMARY))]).latex()}\n"
        )

    def table(self) -> Table:
        rows = [
            [name, task, self.matrix[i, j], self.low[i, j], self.high[i, j], self.n[j]]
            for i, name in enumerate(self.checkpoints)
            for j, task in enumerate(self.tasks)
        ]
        return Table(["checkpoint", "task", "accuracy", "low", "high", "n"], rows)


@dataclass(frozen=True)
class Answer:
    """What a checkpoint said to an item, the form it has, and how right it is (0 to 1)."""

    given: str
    style: str
    score: float


@dataclass(frozen=True)
class Shown:
    """One item of a cell: what was asked, what is true in which form, and two answers.

    ``then`` is the answer right after the task's own training, None where that was not measured; ``now`` that of the
    chosen checkpoint.
    """

    image: Path | None
    question: str
    truth: str
    style: str
    then: Answer | None
    now: Answer

    def picture(self) -> Image.Image | None:
        return open_picture(self.image) if self.image else None


def numbers(matrix: np.ndarray, base: np.ndarray) -> dict:
    """The summary numbers of ``Forgetting`` from ``matrix`` ``[..., T, T]`` (row i: after task i) and ``base``
    ``[..., T]``; each ``[...]``, and ``forgetting`` ``[..., T]``."""
    tasks = matrix.shape[-1]
    own, last = np.diagonal(matrix, axis1=-2, axis2=-1), matrix[..., -1, :]
    nothing = np.full(matrix.shape[:-2], np.nan)[()]
    before = np.diagonal(matrix, offset=1, axis1=-2, axis2=-1)  # each task but the first, just before its training
    return {
        "mft": own.mean(-1),
        "mfn": last.mean(-1),
        "maa": np.mean([matrix[..., i, : i + 1].mean(-1) for i in range(tasks)], axis=0),
        "bwt": (last - own)[..., :-1].mean(-1) if tasks > 1 else nothing,
        "fwt": (before - base[..., 1:]).mean(-1) if tasks > 1 else nothing,
        "forgetting": np.stack([matrix[..., j:, j].max(-1) - last[..., j] for j in range(tasks)], -1),
    }


def resampled(found: Evaluation) -> np.ndarray:
    """Accuracy matrices of 2,000 sets of items drawn with replacement: float64 ``[draws, checkpoints, tasks]``.

    A draw takes the same items of a task for every checkpoint, and for every set of checkpoints that was asked as many
    items of a task of that name: differences of numbers made of these are paired. Not-a-number where nothing was
    measured.
    """
    drawn = np.full((_DRAWS, len(found.checkpoints), len(found.tasks)), np.nan)
    for j, task in enumerate(found.tasks):
        counts = drawn_items(task, len(found.items[task]))
        for i, name in enumerate(found.checkpoints):
            if name in found.scores[task]:
                drawn[:, i, j] = counts @ found.scores[task][name]
    return drawn


@lru_cache(maxsize=32)  # sets that are taught and compared have the same tasks and numbers of items
def drawn_items(task: str, n: int) -> np.ndarray:
    """Weights of a task's ``n`` items in 2,000 draws with replacement: float64 ``[draws, n]``, each row sums to 1."""
    rng = np.random.default_rng([0, zlib.crc32(task.encode())])
    return rng.multinomial(n, np.full(n, 1 / n), size=_DRAWS) / n


def measure(found: Evaluation, tested: Split | None = None) -> Forgetting:
    """Everything from the raw answers of a checkpoint set, and from what it had lost at the end, ``tested``."""
    matrix, low, high = np.full((3, len(found.checkpoints), len(found.tasks)), np.nan)
    for j, task in enumerate(found.tasks):
        for name, scores in found.scores[task].items():
            i = found.checkpoints.index(name)
            matrix[i, j], (low[i, j], high[i, j]) = scores.mean(), interval(scores)
    own = [found.checkpoints.index(found.trained[task]) for task in found.tasks]
    drawn = resampled(found)
    drawn = numbers(drawn[:, own], drawn[:, 0])
    n = np.array([len(found.items[task]) for task in found.tasks])
    few = {"bwt": n[:-1].sum(), "fwt": n[1:].sum(), "forgetting": n}  # items of each number, the others of all tasks
    spreads = {
        name: np.where(few.get(name, n.sum()) < FEW, np.nan, np.percentile(draws, (2.5, 97.5), axis=0))
        for name, draws in drawn.items()
    }
    split = np.full((2, len(found.tasks)), np.nan)
    if tested is not None and tested.checkpoint == found.trained[found.tasks[-1]]:
        split[:, -1] = 0.0
        for j, task in enumerate(found.tasks[:-1]):
            if became := tested.of(task):
                split[:, j] = became.superficial.count / became.n, became.essential.count / became.n
    else:
        tested = None
    return Forgetting(
        provenance=Provenance(**found.provenance), method=found.method, tasks=tuple(found.tasks),
        checkpoints=tuple(found.checkpoints), own=tuple(own), matrix=matrix, low=low, high=high,
        n=n, **numbers(matrix[own], matrix[0]),
        intervals={name: tuple(map(float, spreads[name])) for name in SUMMARY},
        forgetting_low=spreads["forgetting"][0], forgetting_high=spreads["forgetting"][1],
        superficial=split[0], essential=split[1], became=tested.all.parts if tested else {},
    )


@sets.remembered
def load(name: str) -> Forgetting:
    """The numbers of a set, of what is kept. Raises ``CheckpointError`` as ``sets.answers`` does."""
    answers = sets.answers(name)
    return measure(answers, load_split(name) if len(answers.tasks) > 1 else None)


def measured(name: str, progress: kept.Progress) -> Forgetting:
    """The same, and what is not kept is asked of the model, which is opened for it."""
    try:
        return load(name)
    except CheckpointError:
        sets.measured(name, sets.evaluate, progress)
        return load(name)


def cell(found: Evaluation, checkpoint: str, task: str, which: str = LISTED[0]) -> list[Shown]:
    """The items of one cell, least right now first; ``which`` of ``LISTED``."""

    def answers(name: str) -> list[Answer | None]:
        if name not in found.given[task]:
            return [None] * len(found.items[task])
        given, scores = found.given[task][name], found.scores[task][name]
        return [Answer(g, style_of(g), float(s)) for g, s in zip(given, scores, strict=True)]

    def wanted(item: Shown) -> bool:
        then, now = item.then and item.then.score >= RIGHT, item.now.score >= RIGHT
        fits = {LISTED[1]: item.now.score < 1, LISTED[2]: then and not now, LISTED[3]: then is False and now}
        return fits.get(which, True)

    rows = zip(found.items[task], answers(found.trained[task]), answers(checkpoint), strict=True)
    shown = [Shown(item.image, item.question, item.answer, item.style, *both) for item, *both in rows]
    return sorted(filter(wanted, shown), key=lambda s: s.now.score)

"""Accuracy and loss on the straight line between two checkpoints: linear mode connectivity, and its barrier.

Connectivity of two solutions by a straight line: Frankle et al., arXiv 1912.05671 (ICML 2020); between a network before
and after a further task: Mirzadeh et al., arXiv 2010.04495 (ICLR 2021); as a remedy for forgetting: I-LoRA, arXiv
2402.18865.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import bootstrap

from analysis import kept
from analysis.forgetting.path.points import ANSWERS, ITEMS, LOSS, SEED, Wanted, gathered, samples
from analysis.result import Provenance, Result, plain, together
from analysis.statistics import Estimate, ends, interval, spread
from analysis.table import Table
from models.checkpoints import BASE, Blend, Manifest, Weights
from models.errors import CheckpointError
from models.evaluation import Evaluation, scored

if TYPE_CHECKING:
    from models.mllm import MLLM

ALPHAS = tuple(i / 10 for i in range(11))
_LEAST = 1e-4  # nats: losses are kept no finer


@dataclass(frozen=True)
class Barrier:
    """How far the loss of a task rises above the straight line between its values at the ends (Entezari et al., arXiv
    2110.06296, def. 2.1): the largest over alpha of L(alpha) - ((1 - alpha) L(0) + alpha L(1)), nats, and where it
    is. ``alpha`` 0 and height 0 where the loss is nowhere above the line.
    """

    task: str
    alpha: float
    height: Estimate = ends("low", "high")

    @property
    def clear(self) -> bool:
        """Whether the interval is above zero: there is a barrier."""
        return self.height.low > 0


@dataclass(frozen=True)
class Best:
    """The point with the highest accuracy, mean over the tasks; ``gain`` over the better end."""

    alpha: float
    accuracy: float
    end: float
    gain: Estimate = ends("low", "high")

    @property
    def clear(self) -> bool:
        """Whether the interval of the gain is above zero: some point between is better than both ends."""
        return self.gain.low > 0


@dataclass(frozen=True, kw_only=True)
class Path(Result):
    """Weights (1 - alpha) W_a + alpha W_b, asked ``n`` items of each task (one task, or the old and the new one).

    ``accuracy`` and ``loss`` (nats an answer: -log p of the true answer, its end left out), with 95 % intervals
    ``accuracy_bounds`` and ``loss_bounds`` over items: float64 ``[tasks, alphas]`` and ``[2, tasks, alphas]``.
    Intervals of ``barriers`` (one a task) and of ``best`` are wider, since each is the highest of all points between:
    95 % for all of them at once (Bonferroni).
    """

    a: str
    b: str
    tasks: tuple[str, ...]
    n: int
    alpha: np.ndarray
    accuracy: np.ndarray
    accuracy_bounds: np.ndarray
    loss: np.ndarray
    loss_bounds: np.ndarray
    barriers: tuple[Barrier, ...]
    best: Best

    def scored(self, task: int, i: int) -> Estimate:
        """Accuracy of a task at an alpha."""
        return Estimate(self.accuracy[task, i], *self.accuracy_bounds[:, task, i], self.n)

    def lost(self, task: int, i: int) -> Estimate:
        """Loss of a task at an alpha, nats."""
        return Estimate(self.loss[task, i], *self.loss_bounds[:, task, i], self.n)

    @property
    def mean(self) -> np.ndarray:
        """Accuracy, mean over the tasks: ``[alphas]``."""
        return self.accuracy.mean(0)

    @property
    def line(self) -> np.ndarray:
        """The straight line between the losses at the ends: ``[tasks, alphas]``."""
        return _line(self.alpha, self.loss)

    def table(self) -> Table:
        rows = [
            [self.a, self.b, alpha, task, self.n, self.accuracy[t, i], *self.accuracy_bounds[:, t, i],
             self.loss[t, i], *self.loss_bounds[:, t, i]]
            for t, task in enumerate(self.tasks)
            for i, alpha in enumerate(self.alpha)
        ]  # fmt: skip
        header = ["from", "to", "alpha", "task", "n", "accuracy", "accuracy_low", "accuracy_high"]
        return Table([*header, "loss_nats", "loss_low", "loss_high"], rows)

    def to_json(self) -> dict:
        return {**plain(self), "mean_accuracy": plain(self.mean)}


def at(a: str, b: str, alpha: float) -> Weights:
    """The weights at ``alpha``; at the ends the checkpoints themselves."""
    return {0: a, 1: b}.get(alpha) or Blend(a, b, alpha)


def own(manifest: Manifest) -> dict[str, str]:
    """The checkpoint of each task, in the order of training."""
    found = {c.task: c.name for c in manifest.checkpoints}
    return {task: found[task] for task in manifest.order}


def ends(manifest: Manifest) -> tuple[str, str]:
    """The checkpoint of the first task and that of the last; of a set with one task, the base and its checkpoint."""
    names = list(own(manifest).values())
    return (names[0], names[-1]) if len(names) > 1 else (BASE, names[0])


def tasks_of(manifest: Manifest, a: str, b: str) -> tuple[str, str]:
    """The old and the new task: those that two checkpoints were trained on last; the first and the last task where
    one is the base, or a reference."""
    task = {name: task for task, name in own(manifest).items()}
    return task.get(a, manifest.order[0]), task.get(b, manifest.order[-1])


def known(evaluation: Evaluation, names: Iterable[str]) -> None:
    """Raises ``CheckpointError`` for a name that is no checkpoint of the set."""
    if unknown := [name for name in names if name not in evaluation.checkpoints]:
        raise CheckpointError(f"There is no checkpoint {unknown[0]!r}. There are: {', '.join(evaluation.checkpoints)}.")


def measure(
    model: "MLLM",
    a: str,
    b: str,
    tasks: tuple[str, ...],
    count: int = ITEMS,
    progress: kept.Progress = kept.quiet,
    only_kept: bool = False,
) -> Path | None:
    """Ask the weights at every alpha of ``ALPHAS`` the same ``count`` items of each of ``tasks`` (drawn by seed).

    Points measured before are loaded. ``progress(share, what)`` is told what comes next; what it raises stops the work.
    With ``only_kept`` nothing is asked, ``model`` may be unopened, and None stands for what is not all there. Raises
    ``CheckpointError`` for unknown tasks and checkpoints.
    """
    evaluation = Evaluation.unanswered(model.checkpoints.manifest)
    chosen = samples(evaluation, tuple(dict.fromkeys(tasks)), count)
    known(evaluation, (a, b))
    wanted = [
        Wanted(what, at(a, b, alpha), sample) for alpha in ALPHAS for sample in chosen for what in (ANSWERS, LOSS)
    ]
    found = gathered(model, wanted, progress, only_kept)
    if found is None:
        return None
    each = zip(wanted, found, strict=True)
    rows = [scored(w.sample.items, value[ANSWERS]) if w.what == ANSWERS else value[LOSS] for w, value in each]
    values = np.array(rows, dtype=float).reshape(len(ALPHAS), len(chosen), 2, -1)
    scores, nats = np.moveaxis(values, 2, 0).swapaxes(1, 2)
    provenance = Provenance(**together([value["provenance"] for value in found], model.name, f"{a} to {b}", SEED))
    return path(provenance, a, b, tuple(sample.task for sample in chosen), scores, nats)


def path(provenance: Provenance, a: str, b: str, tasks: tuple[str, ...], scores: np.ndarray, nats: np.ndarray) -> Path:
    """A path from raw numbers: ``scores`` (0 to 1) and ``nats`` are float64 ``[tasks, alphas, items]``."""
    alpha = np.array(ALPHAS)
    return Path(
        provenance=provenance,
        a=a,
        b=b,
        tasks=tasks,
        n=scores.shape[2],
        alpha=alpha,
        accuracy=scores.mean(2),
        accuracy_bounds=_bounds(scores, interval),
        loss=nats.mean(2),
        loss_bounds=_bounds(nats, spread),
        barriers=tuple(_barrier(task, alpha, rows) for task, rows in zip(tasks, nats, strict=True)),
        best=_best(alpha, scores),
    )


def _bounds(values: np.ndarray, of: Callable) -> np.ndarray:
    """Intervals of means over the last axis, ends first: ``[2, tasks, alphas]``."""
    return np.moveaxis(np.array([[of(items) for items in rows] for rows in values]), 2, 0)


def _line(alpha: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The straight line between the first and the last of ``values`` ``[..., alphas]``."""
    return (1 - alpha) * values[..., :1] + alpha * values[..., -1:]


def _barrier(task: str, alpha: np.ndarray, nats: np.ndarray) -> Barrier:
    above = nats.T - _line(alpha, nats.T)  # of every item
    top = int(above.mean(0).argmax())
    height = float(above.mean(0)[top])
    if top in (0, len(alpha) - 1) or height < _LEAST:
        return Barrier(task, 0.0, Estimate(0.0, 0.0, 0.0, len(nats.T)))
    return Barrier(task, float(alpha[top]), _surely(above[:, top], len(alpha) - 2))


def _best(alpha: np.ndarray, scores: np.ndarray) -> Best:
    means = scores.mean((0, 2))  # there are as many items of each task
    end = 0 if means[0] >= means[-1] else len(alpha) - 1
    top = int(means.argmax())
    if means[top] <= means[end]:
        top = end
    gains = (scores[:, top] - scores[:, end]).ravel()
    return Best(float(alpha[top]), float(means[top]), float(alpha[end]), _surely(gains, len(alpha) - 2))


def _surely(values: np.ndarray, tried: int) -> Estimate:
    """A mean that is the highest of ``tried``: its interval is 95 % for all of them at once, percentile bootstrap."""
    found = Estimate(float(values.mean()), float(values[0]), float(values[0]), len(values))
    if np.ptp(values) == 0:
        return found
    draws = bootstrap(
        (values,), np.mean, n_resamples=10_000, batch=1000, confidence_level=1 - 0.05 / tried, method="percentile",
        rng=np.random.default_rng(0),
    )  # fmt: skip
    low, high = map(float, draws.confidence_interval)
    return replace(found, low=low, high=high)

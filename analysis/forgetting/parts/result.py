"""What is known of the parts that forget: how far weights moved, whose key elements meet, which states drift, what
returns when a part is put back. Each is a measurement of its own; ``Parts`` holds those that were made."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.forgetting.parts.places import Place
from analysis.result import Result
from analysis.statistics import Difference
from analysis.table import Table

_NOTHING = float("nan")
_HEADER = [
    "measurement", "part", "layer", "module", "from", "to", "task", "value", "low", "high", "chance", "n",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Movement(Result):
    """How far the weights of each place are from one checkpoint (``before``) to another (``after``).

    ``change`` and ``norm``, float64 ``[places]``: |dW|_F and |W|_F, the Frobenius norms of W_after - W_before and of
    W_before, over all tensors in which either checkpoint is not the base. ``modules[i]`` are the names of the modules
    at ``places[i]``.
    """

    before: str
    after: str
    places: tuple[Place, ...]
    modules: tuple[tuple[str, ...], ...]
    change: np.ndarray
    norm: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """|dW|_F / |W|_F, not-a-number where W is zero."""
        return np.divide(self.change, self.norm, out=np.full(len(self.norm), np.nan), where=self.norm > 0)

    def table(self) -> Table:
        values = zip(self.places, self.relative, strict=True)
        return Table(_HEADER, [
            ["movement", p.part, _layer(p), p.kind, self.before, self.after, "", value, *[_NOTHING] * 3, ""]
            for p, value in values
        ])  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class KeyOverlap(Result):
    """Share of the key elements of one task's weight change that are key elements of another's, too.

    ``overlap`` float64 ``[kinds, tasks, tasks]``, 0 to 1: |K_i and K_j| / min(|K_i|, |K_j|), mean over the
    ``matrices[kind]`` matrices of a kind in which both tasks changed something; not-a-number where there is none.
    ``kinds[0]`` is all of them. ``expected`` is what sets drawn at random and independently, of the same sizes, would
    share (the hypergeometric mean, max(|K_i|, |K_j|) / N for a matrix of N elements), and ``low`` to ``high`` hold 95 %
    of such draws (exact variances added up over the matrices, normal). The large elements of a low-rank change cluster
    in a few rows and columns, so more in common than that need not be the tasks' doing alone. ``since`` says what
    counts as a task's change: against the checkpoint ``"previous"`` to it, or against the ``"base"``. ``share`` of each
    matrix is key.
    """

    tasks: tuple[str, ...]
    checkpoints: tuple[str, ...]
    since: str
    share: float
    kinds: tuple[str, ...]
    matrices: np.ndarray
    overlap: np.ndarray
    expected: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def table(self) -> Table:
        return Table(_HEADER, [
            [
                "key element overlap", "", "", kind, self.checkpoints[i], self.checkpoints[j], self.tasks[i],
                self.overlap[k, i, j], _NOTHING, _NOTHING, self.expected[k, i, j], self.matrices[k],
            ]
            for k, kind in enumerate(self.kinds) for i, j in self.pairs()
        ])  # fmt: skip

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every two different tasks, once, the later one first."""
        return ((i, j) for i in range(len(self.tasks)) for j in range(i))


@dataclass(frozen=True, kw_only=True)
class Drift(Result):
    """How alike hidden states of ``n`` of a task's items stay, after its own checkpoint (``checkpoints[0]``).

    ``cka``, float64 ``[checkpoints, layers]``: linear CKA of the last prompt token's states after each layer of the
    text decoder with those of the task's own checkpoint, 0 to 1 (the last after the final norm). ``chance``, of the
    same shape: its mean where the items of one side are shuffled, which is well above 0 for few items of many
    dimensions.
    """

    task: str
    n: int
    checkpoints: tuple[str, ...]
    cka: np.ndarray
    chance: np.ndarray

    def table(self) -> Table:
        rows, layers = self.cka.shape
        return Table(_HEADER, [
            [
                "CKA", "text decoder", i + 1, "", self.checkpoints[0], self.checkpoints[c], self.task, self.cka[c, i],
                _NOTHING, _NOTHING, self.chance[c, i], self.n,
            ]
            for c in range(rows) for i in range(layers)
        ])  # fmt: skip


@dataclass(frozen=True)
class Portion:
    """A part of the model that is put back as one: the names of its modules. ``group``: ``"layers"``, ``"kinds"``,
    ``"blocks"`` or ``"modules"``."""

    title: str
    group: str
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Returned:
    """What putting back one portion does to the mean score of a task's items, against the checkpoint as it was."""

    score: float
    change: Difference


@dataclass(frozen=True, kw_only=True)
class Patching(Result):
    """Checkpoint ``base`` with one portion at a time of checkpoint ``donor``, asked ``n`` items of an old ``task`` and
    ``n_last`` of the task that ``base`` was trained on last (``last``; None where that is no other task).

    ``whole`` and ``whole_last`` are the donor itself, all of it put back; ``returned`` and ``cost`` are in the order of
    ``portions``. Scores are 0 to 1; changes are paired by item, below zero is a loss.
    """

    task: str
    last: str | None
    base: str
    donor: str
    n: int
    n_last: int
    portions: tuple[Portion, ...]
    score: float
    score_last: float
    whole: Returned
    whole_last: Returned | None
    returned: tuple[Returned, ...]
    cost: tuple[Returned, ...]

    @property
    def best(self) -> int | None:
        """The portion that brings most back, of those that clearly bring something; None where none does."""
        clear = [i for i, r in enumerate(self.returned) if r.change.low > 0]
        return max(clear, key=lambda i: self.returned[i].change.value, default=None)

    def table(self) -> Table:
        told = [(self.task, self.n, self.whole, self.returned)]
        if self.last is not None:
            told.append((self.last, self.n_last, self.whole_last, self.cost))
        return Table(_HEADER, [
            ["put back", title, "", "", self.donor, self.base, task, r.change.value, r.change.low, r.change.high,
             _NOTHING, n]
            for task, n, whole, each in told
            for title, r in zip(("everything", *(p.title for p in self.portions)), (whole, *each), strict=True)
        ])  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Parts(Result):
    """All that was measured of one choice of task and checkpoints; None for what was not."""

    method: str
    moved: Movement | None = None
    keys: KeyOverlap | None = None
    drift: Drift | None = None
    patching: Patching | None = None

    def table(self) -> Table:
        made = [m for m in (self.moved, self.keys, self.drift, self.patching) if m is not None]
        return Table(_HEADER, [row for m in made for row in m.table().rows])


def _layer(place: Place) -> int | str:
    return "" if place.layer is None else place.layer + 1

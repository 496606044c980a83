"""Retrieval in every phase: ranks of the right answers, recall by phase and domain, what was lost, and comparisons.

An interval over pairs covers other pairs of picture and name, for these very trainings. How much another training
would change a number, only other seeds can tell; of three they tell little, and that is said where they are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from analysis.statistics import Difference, Estimate, difference, interval
from models.errors import InputError

if TYPE_CHECKING:
    from analysis.embedding_space.result import Space
    from analysis.embedding_space.runs import Run

    Ranked = Space | Run  # what recall is counted of: a space, or a training from another seed

DIRECTIONS = {"i2t": "image → text", "t2i": "text → image"}
KS = (1, 5, 10)
AMONG = {"domain": "its own domain", "all": "all domains"}
_ROWS = 1024  # queries whose similarities are in memory
_SAME = 1e-6  # of a cosine, below which two candidates are as near


def ranks(v: np.ndarray, t: np.ndarray, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Rank of the best right answer of every pair, 1 is best, int64 ``[n]``: ``"i2t"`` and ``"t2i"``.

    ``v`` and ``t`` are unit vectors ``[n, d]`` of the images and texts of the same pairs. Candidates of a picture are
    the different texts, those of a text all pictures. Pairs with one text are right for each other. A wrong candidate
    as near as the right one (to 1e-6) is counted before it.
    """
    _, first, meant = np.unique(np.asarray(texts, dtype=str), return_index=True, return_inverse=True)
    v, t = np.asarray(v, dtype=np.float32), np.asarray(t, dtype=np.float32)
    return {"i2t": _ranks(v, t[first], meant, meant[first]), "t2i": _ranks(t, v, meant, meant)}


def all_ranks(v: np.ndarray, t: np.ndarray, texts: Sequence[str], domains: Sequence[str]) -> dict[str, np.ndarray]:
    """``ranks`` among all pairs, and ``"i2t_domain"`` and ``"t2i_domain"`` among those of the pair's own domain."""
    found = ranks(v, t, texts)
    texts, domains = np.asarray(texts, dtype=str), np.asarray(domains, dtype=str)
    own = {name: of.copy() for name, of in found.items()}
    different = np.unique(domains)
    for domain in different if len(different) > 1 else ():
        here = np.flatnonzero(domains == domain)
        for name, of in ranks(v[here], t[here], texts[here]).items():
            own[name][here] = of
    return found | {f"{name}_domain": of for name, of in own.items()}


def _ranks(queries: np.ndarray, candidates: np.ndarray, meant: np.ndarray, says: np.ndarray) -> np.ndarray:
    found = []
    for start in range(0, len(queries), _ROWS):
        near = queries[start : start + _ROWS] @ candidates.T
        right = meant[start : start + _ROWS, None] == says
        best = np.where(right, near, -np.inf).max(1, keepdims=True)
        found.append(1 + ((near >= best - _SAME) & ~right).sum(1))
    return np.concatenate(found).astype(np.int64)


@dataclass(frozen=True)
class Recalls:
    """Recall at ``k``, 0 to 1, ``[phases, domains]``, with its 95 % Wilson interval ``low`` to ``high``.

    ``n`` ``[domains]`` are pairs. ``own[j]`` is the phase that trained on domain j: phase 0 where none did. With
    A the matrix and T its last row: ``average`` ``[phases]`` is the mean over domains; ``forgetting[j]`` = best
    A[i, j] over i >= own[j], minus A[T, j]; ``backward`` = mean of A[T, j] - A[own[j], j] over the domains whose own
    phase is not the last one (not-a-number where there is none): below 0 is forgetting.
    """

    direction: str
    k: int
    among: str
    phases: tuple[str, ...]
    domains: tuple[str, ...]
    n: np.ndarray
    matrix: np.ndarray
    low: np.ndarray
    high: np.ndarray
    own: tuple[int, ...]
    average: np.ndarray
    forgetting: np.ndarray
    backward: float

    def earlier(self, phase: int = -1) -> tuple[list[int], float, float, int]:
        """The domains whose own phase is before ``phase``, and of their pairs together: recall right after their own
        phase, recall in ``phase``, and how many they are; not-a-number where there is no such domain."""
        phase %= len(self.phases)
        old = [j for j, own in enumerate(self.own) if own < phase]
        if not old:
            return old, float("nan"), float("nan"), 0
        rows = ([self.matrix[self.own[j], j] for j in old], self.matrix[phase, old])
        return old, *(float(np.average(row, weights=self.n[old])) for row in rows), int(self.n[old].sum())

    def at(self, phase: int, domain: int) -> Estimate:
        ends = float(self.low[phase, domain]), float(self.high[phase, domain])
        return Estimate(float(self.matrix[phase, domain]), *ends, int(self.n[domain]))


def hits(space: "Ranked", direction: str = "i2t", k: int = 1, among: str = "domain") -> np.ndarray:
    """1 where the right answer is among the first ``k``, else 0: float64 ``[phases, n]``.

    Raises ``InputError`` for an unknown ``direction`` or ``among``, or a ``k`` below 1.
    """
    if direction not in DIRECTIONS or among not in AMONG:
        raise InputError(f"Recall is {' or '.join(DIRECTIONS)}, among {' or '.join(AMONG)}: not {direction}, {among}.")
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InputError(f"k is {k!r}: it must be a whole number of at least 1.")
    return (ranks_in(space, direction, among) <= k).astype(float)


def recalls(space: "Ranked", direction: str = "i2t", k: int = 1, among: str = "domain") -> Recalls:
    """Recall of every phase on every domain. Raises ``InputError`` as ``hits``."""
    right, domains = hits(space, direction, k, among), np.asarray(space.domains)
    names = space.domain_names
    columns = [right[:, domains == name] for name in names]
    matrix = np.stack([c.mean(1) for c in columns], 1)
    spans = np.array([[interval(row) for row in c] for c in columns])  # [domains, phases, 2]
    own = tuple(_own(space, names))
    lost = [matrix[own[j] :, j].max() - matrix[-1, j] for j in range(len(names))]
    earlier = [j for j in range(len(names)) if own[j] < len(matrix) - 1]
    changed = [matrix[-1, j] - matrix[own[j], j] for j in earlier]
    return Recalls(
        direction, k, among, space.phases, names, np.array([c.shape[1] for c in columns]), matrix,
        spans[..., 0].T, spans[..., 1].T, own, matrix.mean(1), np.array(lost),
        float(np.mean(changed)) if changed else float("nan"),
    )


def lost(space: "Ranked", direction: str, k: int, among: str, phase: int, domain: str = "") -> np.ndarray:
    """Places of the pairs that were found right after their own domain was trained (or before any training, where none
    was until then) and are not found in ``phase``, the worst first; of all domains, or of one."""
    right = hits(space, direction, k, among)
    phase = min(phase, len(right) - 1)
    since = [s if s < phase else 0 for s in _own(space, space.domains)]
    gone = (right[since, np.arange(right.shape[1])] == 1) & (right[phase] == 0)
    here = np.flatnonzero(gone & np.isin(space.domains, [domain] if domain else space.domain_names))
    return here[np.argsort(-ranks_in(space, direction, among)[phase, here], kind="stable")]


def ranks_in(space: "Ranked", direction: str, among: str) -> np.ndarray:
    """Ranks ``[phases, n]`` of the right answers in one direction, among one of ``AMONG``."""
    return space.ranks[direction if among == "all" else f"{direction}_domain"]


def _own(space: "Ranked", of: Sequence[str]) -> list[int]:
    """The phases that trained on the domains ``of``: phase 0 where none did."""
    return [space.trained.index(name) if name in space.trained else 0 for name in of]


@dataclass(frozen=True)
class Compared:
    """One method against another on the same pairs (the first minus the second), recall at ``k``, item by item.

    ``final``: after the last phase, on all pairs. ``earlier``: the same on pairs whose domain's own phase is not the
    last. ``kept``: on those, hit after the last phase minus hit right after their own, so what came later is all that
    counts. None where there are no such pairs. ``seeds``: how many trainings of each method the hits are means of.
    """

    n: int
    n_earlier: int
    seeds: int
    final: Difference
    earlier: Difference | None
    kept: Difference | None


def compared(
    a: "Sequence[Ranked]", b: "Sequence[Ranked]", direction: str = "i2t", k: int = 1, among: str = "domain"
) -> Compared:
    """The trainings ``a`` of one method against those of another, ``b``, seed by seed the same, paired by item.

    Of every pair the hits are averaged over the trainings first, so the intervals are over pairs: they cover other
    pairs, not other trainings. Raises ``InputError`` where the trainings are not of the same pairs, or not as many.
    """
    if not a or len(a) != len(b):
        raise InputError(f"{len(a)} and {len(b)} trainings cannot be compared: give as many of each method.")
    if any((of.texts, of.domains) != (a[0].texts, a[0].domains) for of in (*a, *b)):
        raise InputError(f"{a[0].method} and {b[0].method} were measured on different pairs: measure both on the same.")
    ends = []  # of every pair: hit after the last phase, its change since its own, and whether that is not the last
    for runs in (a, b):
        right = np.mean([hits(run, direction, k, among) for run in runs], axis=0)
        own = np.array(_own(runs[0], runs[0].domains))
        ends.append((right[-1], right[-1] - right[own, np.arange(right.shape[1])], own < len(right) - 1))
    (last, change, old), (other, before, too) = ends
    old = old & too
    return Compared(
        len(old), int(old.sum()), len(a), difference(last, other),
        difference(last[old], other[old]) if old.any() else None,
        difference(change[old], before[old]) if old.any() else None,
    )


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
    pooled = [[side[label] for label in both] for side in (first, second)]
    return Versus(each, each[both[0]] if len(each) == 1 else compared(*pooled, direction, k, among))

"""What the raw answers say: accuracy, drop, flips, divergence, and what a checkpoint gets back or costs."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from analysis.interference.dataset.measure import KINDS, ORIGIN, Block, Panel
from analysis.interference.measure import jensen_shannon, probability
from analysis.interference.perturbations import ALL
from analysis.result import Provenance, Result, plain, together
from analysis.statistics import Difference, Estimate, difference, ends, mean
from analysis.table import Table
from models.checkpoints import BASE

_NAN = float("nan")


@dataclass(frozen=True)
class Row:
    """One checkpoint on one set under one condition; ``segment`` None is all items, ``n`` how many were measured.

    ``accuracy`` 0 to 1 (interval: Wilson). Under a perturbation, over the items that could be disturbed: ``drop`` is
    accuracy as asked minus accuracy here (paired bootstrap); ``flip`` the share of items whose likeliest option is
    another one (Wilson); ``js`` the mean Jensen-Shannon divergence of the options' probabilities, bits;
    ``delta_logprob`` the mean change of the right option's log-probability, nats. ``chance`` is the accuracy of
    guessing.
    """

    panel: int
    kind: str
    set: str
    model: str
    checkpoint: str
    condition: str
    title: str
    segment: str | None
    chance: float
    accuracy: Estimate = ends("low", "high", "n")
    drop: Difference | None = None
    flip: Estimate = ends("flip_low", "flip_high", default=Estimate())
    js: float = _NAN
    delta_logprob: float = _NAN

    @property
    def n(self) -> int:
        return self.accuracy.n


@dataclass(frozen=True)
class Compared:
    """A checkpoint beside ``reference``, item by item, with the paired bootstrap interval of the difference.

    Under a perturbation ``difference`` is the recovery, the reference's drop minus the checkpoint's; as asked
    (condition ``origin``) it is the checkpoint's accuracy minus the reference's: below zero is a cost.
    """

    panel: int
    kind: str
    set: str
    model: str
    checkpoint: str
    reference: str
    condition: str
    title: str
    n: int
    difference: Difference


@dataclass(frozen=True)
class Shown:
    """A panel of the figure: one set. ``segments`` are those that its items have, ``about`` what is done to it."""

    kind: str
    set: str
    title: str
    about: str
    n: int
    segments: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Accuracies(Result):
    """All numbers that follow from ``blocks``. ``columns`` are (model, checkpoint), in the order in which they were
    measured; ``newest`` is what was measured last alone, where it is not all.
    """

    panels: tuple[Shown, ...]
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    compared: tuple[Compared, ...]
    blocks: tuple[Block, ...] = field(default=(), repr=False)
    newest: "Accuracies | None" = field(default=None, repr=False)

    @property
    def segments(self) -> tuple[str, ...]:
        """Every segment of some panel."""
        return tuple(dict.fromkeys(s for panel in self.panels for s in panel.segments))

    def table(self) -> Table:
        header = [
            "set", "kind", "model", "checkpoint", "segment", "condition", "n", "accuracy", "accuracy_low",
            "accuracy_high", "chance", "drop", "drop_low", "drop_high", "mcnemar_p", "flip_rate", "flip_low",
            "flip_high", "js_bits", "delta_logprob_nats", "recovery", "recovery_low", "recovery_high", "clean_change",
            "clean_change_low", "clean_change_high",
        ]  # fmt: skip
        beside = {(c.panel, c.model, c.checkpoint, c.condition): c.difference for c in self.compared}
        nothing = [_NAN] * 3
        rows = []
        for r in self.rows:
            drop = r.drop or Difference()
            change = beside.get((r.panel, r.model, r.checkpoint, r.condition)) if r.segment is None else None
            told = _ends(change) if change else nothing
            told = [*nothing, *told] if r.condition == ORIGIN else [*told, *nothing]
            rows.append([
                r.set, r.kind, r.model, r.checkpoint, r.segment or "all", r.condition, r.n, *_ends(r.accuracy),
                r.chance, *_ends(drop), drop.p, *_ends(r.flip), r.js, r.delta_logprob, *told,
            ])  # fmt: skip
        return Table(header, rows)

    def to_json(self) -> dict:
        return plain({
            "panels": self.panels, "rows": self.rows, "compared": self.compared, "provenance": self.provenance,
        })  # fmt: skip


def _ends(of: Estimate) -> list[float]:
    return [of.value, of.low, of.high]


@dataclass(frozen=True)
class _Read:
    """A block as arrays over items: whether it was ``made``, ``right`` (0 or 1), the likeliest option, its numbers."""

    made: np.ndarray
    right: np.ndarray
    best: np.ndarray
    logprob: tuple[np.ndarray | None, ...]


@lru_cache(maxsize=8)
def accuracies(blocks: tuple[Block, ...]) -> Accuracies | None:
    """All numbers that follow from measured blocks; None where there are none. The same for every visitor: cached.

    A checkpoint is compared with the base of the same model where that was measured. Rows of which no item could be
    made are left out.
    """
    if not blocks:
        return None
    panels = list(dict.fromkeys(b.panel for b in blocks))
    order = {kind: i for i, kind in enumerate(KINDS)}
    panels.sort(key=lambda p: order[p.kind])
    columns = tuple(dict.fromkeys((b.model, b.checkpoint) for b in blocks))
    read = {(b.panel, b.model, b.checkpoint, b.condition): _read(b) for b in blocks}
    rows, compared = [], []
    for place, panel in enumerate(panels):
        for condition in (ORIGIN, *KINDS[panel.kind].conditions):
            for column in columns:
                found = read.get((panel, *column, condition))
                if found is None:
                    continue
                origin = read[panel, *column, ORIGIN]
                about = {
                    "panel": place, "kind": panel.kind, "set": panel.name, "model": column[0], "checkpoint": column[1],
                    "condition": condition, "title": titled(condition),
                }  # fmt: skip
                of = (_row(panel, found, origin, segment, about) for segment in (None, *_segments(panel)))
                rows += [row for row in of if row is not None]
                base = read.get((panel, column[0], BASE, condition))
                if column[1] != BASE and base is not None:
                    first = read[panel, column[0], BASE, ORIGIN]
                    if beside := _beside(condition, found, origin, base, first, about):
                        compared.append(beside)
    shown = [
        Shown(p.kind, p.name, KINDS[p.kind].title, KINDS[p.kind].about, len(p.right), _segments(p)) for p in panels
    ]
    return Accuracies(
        provenance=Provenance(**together([block.provenance for block in blocks])), panels=tuple(shown),
        columns=columns, rows=tuple(rows), compared=tuple(compared), blocks=blocks,
    )


def titled(condition: str) -> str:
    """How a condition is called on the page."""
    return "As asked" if condition == ORIGIN else ALL[condition].title


def _segments(panel: Panel) -> tuple[str, ...]:
    return tuple(dict.fromkeys(s for s in panel.segments if s is not None))


def _read(block: Block) -> _Read:
    logprob = tuple(None if row is None else np.array(row) for row in block.logprob)
    best = np.array([-1 if row is None else int(row.argmax()) for row in logprob])
    right = (best == np.array(block.panel.right)).astype(float)
    return _Read(np.array([row is not None for row in logprob]), right, best, logprob)


def _row(panel: Panel, found: _Read, origin: _Read, segment: str | None, about: dict) -> Row | None:
    some = found.made & origin.made
    if segment is not None:
        some = some & np.array([s == segment for s in panel.segments])
    if not some.any():
        return None
    right = found.right[some]
    chance = float((1 / np.array(panel.choices)[some]).mean())
    row = {**about, "segment": segment, "accuracy": mean(right), "chance": chance}
    if about["condition"] == ORIGIN:
        return Row(**row)
    pairs = [(origin.logprob[i], found.logprob[i], panel.right[i]) for i in np.flatnonzero(some)]
    return Row(
        **row,
        drop=difference(origin.right[some], right),
        flip=mean((found.best != origin.best)[some]),
        js=float(np.mean([jensen_shannon(probability(a), probability(b)) for a, b, _ in pairs])),
        delta_logprob=float(np.mean([b[right_one] - a[right_one] for a, b, right_one in pairs])),
    )


def _beside(condition: str, found: _Read, origin: _Read, base: _Read, first: _Read, about: dict) -> Compared | None:
    """A checkpoint's block (``origin``: as asked) beside the base's (``first``: as asked)."""
    some = found.made & origin.made & base.made & first.made
    if not some.any():
        return None
    if condition == ORIGIN:
        change = difference(found.right[some], base.right[some])
    else:
        change = difference((first.right - base.right)[some], (origin.right - found.right)[some])
    return Compared(**about, reference=BASE, n=int(some.sum()), difference=change)

"""What the raw answers say: accuracy, drop, flips, divergence, and what a checkpoint gets back or costs."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product

import numpy as np

from analysis.interference.dataset.measure import KINDS, ORIGIN, TITLES, Block, Panel
from analysis.interference.measure import jensen_shannon, probability
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

    def table(self) -> Table:
        header = [
            "set", "kind", "model", "checkpoint", "segment", "condition", "n", "accuracy", "accuracy_low",
            "accuracy_high", "chance", "drop", "drop_low", "drop_high", "mcnemar_p", "flip_rate", "flip_low",
            "flip_high", "js_bits", "delta_logprob_nats", "recovery", "recovery_low", "recovery_high", "clean_change",
            "clean_change_low", "clean_change_high",
        ]  # fmt: skip
        beside = {(c.panel, c.model, c.checkpoint, c.condition, None): c.difference for c in self.compared}
        rows = []
        for r in self.rows:
            drop, nothing = r.drop or Difference(), Difference()
            change = beside.get((r.panel, r.model, r.checkpoint, r.condition, r.segment), nothing)
            told = [nothing, change] if r.condition == ORIGIN else [change, nothing]
            accuracy, dropped, flip, *told = ([of.value, of.low, of.high] for of in (r.accuracy, drop, r.flip, *told))
            rows.append([
                r.set, r.kind, r.model, r.checkpoint, r.segment or "all", r.condition, r.n, *accuracy, r.chance,
                *dropped, drop.p, *flip, r.js, r.delta_logprob, *told[0], *told[1],
            ])
        return Table(header, rows)

    def to_json(self) -> dict:
        return plain({name: getattr(self, name) for name in ("panels", "rows", "compared", "provenance")})


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
    kinds = list(KINDS)
    panels = sorted(dict.fromkeys(b.panel for b in blocks), key=lambda p: kinds.index(p.kind))
    columns = tuple(dict.fromkeys((b.model, b.checkpoint) for b in blocks))
    read, shown, rows, compared = {}, [], [], []
    for block in blocks:
        logprob = tuple(None if row is None else np.array(row) for row in block.logprob)
        best = np.array([-1 if row is None else int(row.argmax()) for row in logprob])
        right = (best == np.array(block.panel.right)).astype(float)
        read[block.panel, block.model, block.checkpoint, block.condition] = _Read(best >= 0, right, best, logprob)
    for place, panel in enumerate(panels):
        kind, segments = KINDS[panel.kind], tuple(dict.fromkeys(s for s in panel.segments if s is not None))
        shown.append(Shown(panel.kind, panel.name, kind.title, kind.about, len(panel.right), segments))
        for condition, (model, checkpoint) in product((ORIGIN, *kind.conditions), columns):
            found = read.get((panel, model, checkpoint, condition))
            if found is None:
                continue
            origin = read[panel, model, checkpoint, ORIGIN]
            about = {
                "panel": place, "kind": panel.kind, "set": panel.name, "model": model, "checkpoint": checkpoint,
                "condition": condition, "title": TITLES[condition],
            }
            of = (_row(panel, found, origin, segment, about) for segment in (None, *segments))
            rows += [row for row in of if row is not None]
            base = read.get((panel, model, BASE, condition))
            if checkpoint == BASE or base is None:
                continue
            first = read[panel, model, BASE, ORIGIN]
            some = found.made & origin.made & base.made & first.made
            pair = found.right, base.right
            if condition != ORIGIN:
                pair = first.right - base.right, origin.right - found.right
            if some.any():
                change = difference(pair[0][some], pair[1][some])
                compared.append(Compared(**about, reference=BASE, n=int(some.sum()), difference=change))
    return Accuracies(
        provenance=Provenance(**together([block.provenance for block in blocks])), panels=tuple(shown),
        columns=columns, rows=tuple(rows), compared=tuple(compared), blocks=blocks,
    )


def _row(panel: Panel, found: _Read, origin: _Read, segment: str | None, about: dict) -> Row | None:
    some = found.made & origin.made
    if segment is not None:
        some = some & np.array([s == segment for s in panel.segments])
    if not some.any():
        return None
    right = found.right[some]
    chance = float((1 / np.array(panel.choices)[some]).mean())
    row = Row(**about, segment=segment, accuracy=mean(right), chance=chance)
    if row.condition == ORIGIN:
        return row
    pairs = [(origin.logprob[i], found.logprob[i], panel.right[i]) for i in np.flatnonzero(some)]
    return replace(
        row, drop=difference(origin.right[some], right), flip=mean((found.best != origin.best)[some]),
        js=float(np.mean([jensen_shannon(probability(a), probability(b)) for a, b, _ in pairs])),
        delta_logprob=float(np.mean([b[right_one] - a[right_one] for a, b, right_one in pairs])),
    )

"""Methods side by side: every metric with its interval, against plain training; and what another order changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.forgetting import sets
from analysis.forgetting.methods import run
from analysis.forgetting.methods.estimates import ACCURACIES, METRICS, Draws, Seeded
from analysis.forgetting.methods.run import Run
from analysis.forgetting.methods.tables import metrics_table
from analysis.forgetting.split.measure import load as load_split
from analysis.result import Provenance, Result
from analysis.statistics import Difference, Estimate, difference, mean
from analysis.table import Table
from models.errors import CheckpointError, CrosstalkError

PLAIN = "sequential"
"""The set that others are compared with, where it is among them."""


@dataclass(frozen=True)
class Row:
    """A method's metrics over its ``seeds``, and by how much each differs from plain training (None for plain itself,
    or where no seed is shared). Of the items that were right after their own task (``right``), ``lost`` were lost: both
    are means over seeds.
    """

    method: str
    seeds: tuple[int, ...]
    right: float
    lost: float
    estimates: dict[str, Seeded]
    changes: dict[str, Seeded | None]


@dataclass(frozen=True)
class Turned:
    """A method trained in another ``order`` of tasks, against its runs in the usual one with the same seeds.

    ``changes``: metrics here minus metrics there, of ACCURACIES. ``usual`` and ``here``: accuracy at the end of each
    task of the usual order, in the first seed of both; ``ends`` are their paired differences.
    """

    method: str
    seeds: tuple[int, ...]
    order: tuple[str, ...]
    estimates: dict[str, Seeded]
    before: dict[str, Seeded]
    changes: dict[str, Seeded]
    usual: tuple[Estimate, ...]
    here: tuple[Estimate, ...]
    ends: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class Methods(Result):
    """Rows in the order in which sets are offered, plain training first. ``references``: mean accuracy on all tasks of
    checkpoints that are no step of a sequence (the base, and one trained on all tasks jointly). ``without``: why a set
    is not among the rows.
    """

    plain: str
    order: tuple[str, ...]
    n: tuple[int, ...]
    rows: tuple[Row, ...]
    references: dict[str, Seeded]
    orders: tuple[Turned, ...]
    without: dict[str, str]

    def to_latex(self) -> str:
        """Every metric of every method, in the style of booktabs."""
        return metrics_table(self).latex()

    def table(self) -> Table:
        header = [
            "method", "order", "metric", "value", "low", "high", "seeds", "seed_min", "seed_max", "difference",
            "difference_low", "difference_high", "against", "beyond_interval", "items",
        ]  # fmt: skip
        items, usual = sum(self.n), " > ".join(self.order)
        rows = [
            _line(r.method, usual, m, r.estimates[m], r.changes[m], self.plain, items)
            for r in self.rows
            for m in METRICS
        ]
        for name, estimate in self.references.items():
            rows.append(_line(name, "none", "mfn", estimate, None, "", items))
        for t in self.orders:
            named = " > ".join(t.order)
            rows += [
                _line(t.method, named, m, t.estimates[m], t.changes[m], "the usual order", items) for m in ACCURACIES
            ]
        return Table(header, rows)


def _line(method: str, order: str, metric: str, e: Seeded, change: Seeded | None, against: str, items: int) -> list:
    told = [None] * 3 if change is None else [change.value, change.low, change.high]
    clear = None if change is None else change.clear
    return [
        method, order, metric, e.value, e.low, e.high, len(e.seeds), min(e.seeds), max(e.seeds), *told,
        "" if change is None else against, clear, items,
    ]  # fmt: skip


def runs(progress: Callable[[float, str], None] = lambda share, what: None) -> tuple[list[Run], dict[str, str]]:
    """Every run of the sets on offer that can be read without opening a model: the one whose answers are kept, and
    those of ``runs.json``; and why sets have none. ``progress`` is told which set is read.
    """
    found, without, offered = [], {}, sets.offered()
    for i, (name, entry) in enumerate(offered.items()):
        progress(i / len(offered), f"reading {name}")
        try:
            found.append(_own(name))
            found += run.load(entry.checkpoint_folder, name)
        except CrosstalkError as error:
            without[name] = str(error)
    return found, without


_compared: dict[tuple, Methods] = {}


def compared(progress: Callable[[float, str], None]) -> Methods:
    """All runs of the sets on offer side by side; the same object until something changes on disk."""
    now = sets.stamps()
    found = _compared.get(now)
    if found is None:
        found = measure(*runs(progress))
        _compared.clear()
        _compared[now] = found
    return found


def load() -> Methods | None:
    """What ``compared`` found before, as long as nothing changed on disk; else None."""
    return _compared.get(sets.stamps())


@sets.remembered
def _own(name: str) -> Run:
    answers = sets.answers(name)
    return run.of(answers, load_split(name) if len(answers.tasks) > 1 else None, name)


def measure(runs: Sequence[Run], without: Mapping[str, str] | None = None) -> Methods:
    """Compare runs; those of ``PLAIN``, or else of the first method, are what others are compared with.

    Runs on other items than plain's cannot be compared item by item: they are left out, and told of in ``without``.
    Raises ``CheckpointError`` where there is no run.
    """
    if not runs:
        raise CheckpointError("No checkpoint set was measured yet: press Measure in the section Matrix.")
    names = list(dict.fromkeys(run.method for run in runs))
    plain = PLAIN if PLAIN in names else names[0]
    first = next(run for run in runs if run.method == plain)
    left = dict(without or {})
    left |= {run.method: "its questions are not those of the others" for run in runs if run.data != first.data}
    runs = [run for run in runs if run.data == first.data]
    draws = Draws(runs)
    usual = {name: _of(runs, name, first.order) for name in dict.fromkeys([plain, *names])}
    left = {name: "its tasks were trained in another order alone" for name, of in usual.items() if not of} | left
    rows = [_row(draws, name, of, None if name == plain else usual[plain]) for name, of in usual.items() if of]
    references = {"base": draws.mean({task: scores[0] for task, scores in first.scores.items()})}
    for one in runs:
        references |= {name: draws.mean(scores) for name, scores in one.references.items()}
    by = first.provenance
    seconds = sum(run.provenance.seconds for run in runs)
    return Methods(
        provenance=Provenance(by.model, "all", by.dtype, by.device, None, by.versions, seconds),
        plain=plain, order=first.order, n=tuple(first.scores[t].shape[1] for t in first.order), rows=tuple(rows),
        references=references, orders=tuple(_turned(draws, runs, usual)), without=left,
    )  # fmt: skip


def _of(runs: Sequence[Run], method: str, order: tuple[str, ...]) -> list[Run]:
    """A method's runs in one order, one a seed, by seed."""
    found = {run.seed: run for run in runs if run.method == method and run.order == order}
    return [found[seed] for seed in sorted(found)]


def _row(draws: Draws, name: str, runs: list[Run], plain: list[Run] | None) -> Row:
    return Row(
        name, tuple(run.seed for run in runs),
        float(np.mean([sum(items.sum() for items in run.right.values()) for run in runs])),
        float(np.mean([sum(items.sum() for items in run.lost.values()) for run in runs])),
        {metric: draws.estimate(runs, metric) for metric in METRICS},
        {metric: plain and draws.change(runs, plain, metric) for metric in METRICS},
    )  # fmt: skip


def _turned(draws: Draws, runs: Sequence[Run], usual: dict[str, list[Run]]) -> list[Turned]:
    """Each method's runs in each other order that share a seed with its runs in the usual one."""
    found = []
    for name, before in usual.items():
        seeds = {run.seed: run for run in before}
        for order in dict.fromkeys(r.order for r in runs if r.method == name and before and r.order != before[0].order):
            here = [run for run in _of(runs, name, order) if run.seed in seeds]
            if not here:
                continue
            there = [seeds[run.seed] for run in here]
            pairs = [(there[0].scores[t][-1], here[0].scores[t][-1]) for t in before[0].order]
            found.append(Turned(
                name, tuple(run.seed for run in here), order,
                {metric: draws.estimate(here, metric) for metric in ACCURACIES},
                {metric: draws.estimate(there, metric) for metric in ACCURACIES},
                {metric: draws.change(here, there, metric) for metric in ACCURACIES},
                tuple(mean(a) for a, _ in pairs), tuple(mean(b) for _, b in pairs),
                tuple(difference(b, a) for a, b in pairs),
            ))  # fmt: skip
    return found

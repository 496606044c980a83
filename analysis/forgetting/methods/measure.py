"""Methods side by side: every metric with its interval, against plain training; what another order changes; and what
each method does, in a sentence, how it was trained here, and where it comes from.

Intervals are of a bootstrap that draws the same items for every run. Every metric is a sum over tasks of means over
items (or a ratio of two), so a draw of items is one product.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from analysis import kept
from analysis.forgetting import sets
from analysis.forgetting.measure import SUMMARY, drawn_items
from analysis.forgetting.methods import runs as stored
from analysis.forgetting.methods.runs import Run
from analysis.forgetting.split.measure import load as load_split
from analysis.forgetting.terms import BETTER, LARGER, NAMES, SMALLER, WORSE
from analysis.result import Result
from analysis.statistics import FEW, Difference, Estimate, difference, mean
from analysis.table import Noted, Table
from analysis.wording import listed, percent, rough
from models.embedded.continual import METHODS
from models.embedded.continual.course import COURSES
from models.embedded.evalsets import BASE_KEPT, ORIGINAL, UNSEEN
from models.errors import CheckpointError, CrosstalkError
from models.manifest import BASE, Manifest

PLAIN = "sequential"
"""The set that others are compared with, where it is among them."""

ACCURACIES = SUMMARY
SHARES = ("superficial", "essential", "superficial_of_lost")
METRICS = (*ACCURACIES, *SHARES)
"""By name: MFT, MFN, MAA, BWT and FWT as in ``analysis.forgetting.measure``; of the items that were right after their
own task, the shares lost in form alone and in fact; and of those lost, the share lost in form alone."""

BESIDE = {"base_kept": (BASE_KEPT, ORIGINAL), "mfn_unseen": (UNSEEN,)}
"""Metrics of the last checkpoint on further evaluation sets, where a set has them: accuracy, the mean over tasks."""

_ANOTHER_SHAPE = (TypeError, ValueError, KeyError, AttributeError)
"""What reading a recipe raises that was not written by this trainer."""

_BETTER = {**dict.fromkeys((*ACCURACIES, *BESIDE), 1), "superficial": -1, "essential": -1}
"""On which side of plain training a method is better; nothing for a share that is neither."""

_DOES = {
    "sequential": ("plain", "One task after another, each on its own data alone. Nothing protects what was learnt "
        "before."),
    "joint": ("the upper bound", "All tasks in every batch: what there was to learn, not a way to learn one task "
        "after another."),
    "replay": ("experience replay", "Some examples of old tasks are kept and mixed into the batches of the new one."),
    "ewc": ("elastic weight consolidation", "A penalty holds each weight near its old value, as firmly as it mattered "
        "to old tasks (the diagonal of the Fisher information)."),
    "lwf": ("learning without forgetting", "On the new task's questions the model must also answer as it did before "
        "the task (distillation); no old examples are kept."),
    "asd": ("answer style diversification", "A share of each task's questions is rewritten for other forms of answer, "
        "so that no task's form takes over: against superficial forgetting."),
    "reglora": ("regularised LoRA", "After each task the largest elements of B A are marked, and later tasks pay for "
        "changing them: against essential forgetting."),
    "sefe": ("ASD and RegLoRA", "ASD against superficial and RegLoRA against essential forgetting, together."),
    "no-general": ("plain, no general data", "One task after another, each on its own data and nothing else: what the "
        "base could do is never shown again."),
    "full": ("full fine-tuning", "The matrices themselves are trained, no low-rank change of them."),
    "hft": ("half fine-tuning", "In each task half of what would be trained is frozen and stays as it is."),
    "whole": ("plain, norms and head too", "As plain training, but norms and the head learn too: the control of FPF, "
        "which may find any of them to be task-specific."),
    "i-lora": ("interpolated LoRA", "A slow average of the weights is what is kept; the weights in training must stay "
        "close to it on replayed examples."),
    "fpf": ("forgetting prioritised fine-tuning", "What a task moved most is tuned again, alone, on a small buffer of "
        "old examples."),
    "k-fpf": ("FPF after every task", "As FPF, but in short repairs after each task, and without any replay in "
        "between."),
}
"""The title of each method, and what it does."""


@dataclass(frozen=True)
class Seeded(Estimate):
    """A metric of a method, the mean over seeds, whose interval is over items, and the value in each seed (``seeds``),
    whose spread the interval does not have in it. Or the difference of two such means over the same items; ``seeds``
    are then the differences of every seed of one to every seed of the other. Seeds are no pairs: two trainings from one
    seed are no more alike than from two."""

    seeds: tuple[float, ...] = ()

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero, and so does every seed: of a difference, whether all seeds of one lie
        on that side of all seeds of the other, so that a single one must lie beyond the range of the others."""
        return super().clear and len({value > 0 for value in self.seeds}) == 1


@dataclass(frozen=True)
class Row:
    """A method's metrics over its ``seeds``, and by how much each differs from plain training (None for plain itself).
    """

    method: str
    seeds: tuple[int, ...]
    estimates: dict[str, Seeded]
    changes: dict[str, Seeded | None]

    def verdict(self, metric: str) -> str:
        """Whether the method is better or worse than plain training beyond the interval and the seeds of both; of a
        share that is neither, whether it is larger or smaller. Nothing where no difference can be told."""
        change, better = self.changes[metric], _BETTER.get(metric, 0)
        if change is None or not change.clear:
            return ""
        if not better:
            return LARGER if change.value > 0 else SMALLER
        return BETTER if change.value * better > 0 else WORSE


@dataclass(frozen=True)
class Turned:
    """A method trained in another ``order`` of tasks, against all its runs in the usual one (``before``).

    ``changes``: metrics here minus metrics there, of ACCURACIES. ``usual`` and ``here``: accuracy at the end of each
    task of the usual order, in the first seed that both have; ``ends`` are their paired differences.
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

    def named(self, usual: tuple[str, ...]) -> str:
        """``"reversed"``, or the tasks."""
        return "reversed" if self.order == usual[::-1] else ", ".join(self.order)


@dataclass(frozen=True, kw_only=True)
class Methods(Result):
    """Rows in the order in which sets are offered, plain training first. ``references``: mean accuracy on all tasks of
    checkpoints that are no step of a sequence (the base, and one trained on all tasks jointly). ``without``: why a set
    is not among the rows. ``before``: what the base itself reaches in the metrics of further sets."""

    plain: str
    order: tuple[str, ...]
    n: tuple[int, ...]
    rows: tuple[Row, ...]
    references: dict[str, Seeded]
    orders: tuple[Turned, ...]
    without: dict[str, str]
    before: dict[str, Seeded] = field(default_factory=dict)

    def counted(self, metric: str) -> str:
        """How many items a metric is of; ``"612 to 803"`` where these are other ones in every row."""
        found = {row.estimates[metric].n for row in self.rows if row.estimates[metric].known}
        return " to ".join(map(str, sorted({min(found, default=0), max(found, default=0)})))

    @property
    def shown(self) -> tuple[str, ...]:
        """The metrics that are told, in their order."""
        return tuple(metric for metric in NAMES if metric in self.rows[0].estimates)

    def to_latex(self) -> str:
        """Every metric of every method, in the style of booktabs."""
        return self.metrics().latex()

    def metrics(self) -> Table:
        """All metrics of all methods, and whether they differ from plain training."""
        rows = [[r.method, len(r.seeds), *(Noted(r.estimates[m], r.verdict(m)) for m in self.shown)] for r in self.rows]
        own = {name: {"mfn": of, **(self.before if name == BASE else {})} for name, of in self.references.items()}
        others = [[name, "reference", *(of.get(m) for m in self.shown)] for name, of in own.items()]
        marks = dict.fromkeys(range(len(rows), len(rows) + len(others)), "reference")
        dash = "not measured of this method"
        return Table(["Method", "Seeds", *(NAMES[m] for m in self.shown)], [*rows, *others], marks, dash)

    def table(self) -> Table:
        header = [
            "method", "order", "metric", "value", "low", "high", "seeds", "seed_min", "seed_max", "difference",
            "difference_low", "difference_high", "against", "beyond_interval", "items",
        ]
        usual, other = " > ".join(self.order), "the usual order"
        lines = [(r.method, usual, m, e, r.changes[m], self.plain) for r in self.rows for m, e in r.estimates.items()]
        lines += [(name, "none", "mfn", estimate, None, "") for name, estimate in self.references.items()]
        lines += [(BASE, "none", metric, estimate, None, "") for metric, estimate in self.before.items()]
        for t in self.orders:
            lines += [(t.method, " > ".join(t.order), m, t.estimates[m], t.changes[m], other) for m in ACCURACIES]
        rows = []
        for method, order, metric, e, change, against in lines:
            found = [None, None, None, "", None]
            if change is not None:
                found = [change.value, change.low, change.high, against, change.clear]
            spread = [len(e.seeds), min(e.seeds), max(e.seeds)]
            rows.append([method, order, metric, e.value, e.low, e.high, *spread, *found, e.n])
        return Table(header, rows)


class Draws:
    """What 2,000 bootstrap draws of items make of each run's metrics; items are drawn within tasks (seeded)."""

    def __init__(self, runs: Sequence[Run]):
        scores = dict(runs[0].scores)
        for run in runs:
            scores |= {_named(kind, task): rows for kind, by in run.also.items() for task, rows in by.items()}
        self._weights = {t: drawn_items(t, rows.shape[1]) for t, rows in scores.items()}  # as of the accuracy matrix
        self.of = cache(self.of)  # a run is known by its identity

    def of(self, run: Run, metric: str) -> tuple[float, float, np.ndarray]:
        """A metric's value, the number of items that it is of (of a ratio, those below the line), and what it is in
        each draw ``[draws]``; not-a-number where it is not known."""
        above, below = parts(run, metric)
        n, (value, drawn) = sum(map(len, above.values())), self.summed(above)
        if below is not None:
            n, of_whole = self.summed(below)
            value = value / n if n else np.nan
            with np.errstate(divide="ignore", invalid="ignore"):
                drawn = np.where(of_whole > 0, drawn / of_whole, np.nan)
        return value, n, drawn

    def summed(self, per_item: dict[str, np.ndarray]) -> tuple[float, np.ndarray]:
        """The sum over tasks of the mean over items, and what it is in each draw."""
        value = sum(float(items.mean()) for items in per_item.values())
        return value, sum(self._weights[task] @ items for task, items in per_item.items())

    def estimate(self, runs: Sequence[Run], metric: str) -> Seeded:
        """A metric over runs that differ in their seed."""
        return _seeded(*zip(*(self.of(run, metric) for run in runs), strict=True))

    def mean(self, scores: dict[str, np.ndarray]) -> Seeded:
        """The mean over tasks of the accuracy of one checkpoint; ``scores`` ``[items]`` by task."""
        value, drawn = self.summed({task: items / len(scores) for task, items in scores.items()})
        return _seeded([value], [sum(map(len, scores.values()))], [drawn])

    def change(self, runs: Sequence[Run], against: Sequence[Run], metric: str) -> Seeded:
        """A metric of ``runs`` minus that of ``against``: of the means over all seeds of each, over the same items."""
        pairs = [(self.of(run, metric), self.of(other, metric)) for run in runs for other in against]
        return _seeded(*zip(*((a[0] - b[0], min(a[1], b[1]), a[2] - b[2]) for a, b in pairs), strict=True))


def _seeded(values: Sequence[float], counts: Sequence[float], drawn: Sequence[np.ndarray]) -> Seeded:
    """The mean over seeds of ``values``, of the numbers of items, and of what each is in every draw."""
    drawn, n = np.mean(drawn, axis=0), round(np.mean(counts))
    low, high, known = np.nan, np.nan, drawn[np.isfinite(drawn)]
    if n >= FEW and len(known) >= len(drawn) / 2:
        low, high = map(float, np.quantile(known, (0.025, 0.975)))
    return Seeded(float(np.mean(values)), low, high, n, tuple(values))


def _named(kind: str, task: str) -> str:
    """How the items of a further set are called beside those of the tasks."""
    return f"{kind}: {task}"


def parts(run: Run, metric: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
    """What a metric is made of: numbers ``[items]`` by task, whose means over items sum to it, and where it is a ratio
    the same of what is below the line. Not-a-number where losses were not split, and where one task alone was taught
    what takes two."""
    if metric in BESIDE:
        for kind in run.also.keys() & BESIDE[metric]:
            by = run.also[kind]
            return {_named(kind, task): rows[-1] / len(by) for task, rows in by.items()}, None
        return {task: np.full(rows.shape[1], np.nan) for task, rows in run.scores.items()}, None
    if len(run.order) == 1 and metric not in ("mft", "mfn", "maa"):
        return {task: np.full(rows.shape[1], np.nan) for task, rows in run.scores.items()}, None
    if metric in SHARES:
        of, form = run.lost if metric == "superficial_of_lost" else run.right, run.superficial
        if form is None:
            above = {task: np.full(len(items), np.nan) for task, items in of.items()}
        else:
            above = {t: lost & (~form[t] if metric == "essential" else form[t]) for t, lost in run.lost.items()}
        # numbers whose mean over a task's items is their count
        return tuple({task: some * float(len(some)) for task, some in items.items()} for items in (above, of))
    tasks, found = len(run.order), {}
    for j, task in enumerate(run.order):
        rows = run.scores[task]
        own, last = rows[j + 1], rows[-1]
        if metric in ("mft", "mfn"):
            found[task] = (own if metric == "mft" else last) / tasks
        elif metric == "maa":
            found[task] = sum(rows[i + 1] / (i + 1) for i in range(j, tasks)) / tasks
        elif metric == "bwt" and j < tasks - 1:
            found[task] = (last - own) / (tasks - 1)
        elif metric == "fwt" and j:
            found[task] = (rows[j] - rows[0]) / (tasks - 1)
    return found, None


_compared: dict[tuple, Methods] = {}


def compared(progress: kept.Progress) -> Methods:
    """All runs of the sets on offer that can be read without opening a model, side by side: the one whose answers are
    kept, and those of ``runs.json``; the same object until something changes on disk. ``progress`` is told which set
    is read."""
    now = sets.stamps()
    if now not in _compared:
        found, without, offered = [], {}, sets.offered()
        for i, (name, entry) in enumerate(offered.items()):
            progress(i / len(offered), f"reading {name}")
            try:
                found.append(_own(name))
                found += stored.load(entry.checkpoint_folder, name)
            except CrosstalkError as error:
                without[name] = str(error)
        made = measure(found, without)
        _compared.clear()
        _compared[now] = made
    return _compared[now]


def load() -> Methods | None:
    """What ``compared`` found before, as long as nothing changed on disk; else None."""
    return _compared.get(sets.stamps())


@sets.remembered
def _own(name: str) -> Run:
    answers = sets.answers(name)
    lost = load_split(name) if len(answers.tasks) > 1 else None
    # empty: kept of this model in another dtype, perhaps
    more = sets.load(name, lambda model, only_kept: sets.beside(model, only_kept=only_kept) or None)
    return stored.of(answers, lost, name, more=more)


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
    draws, kinds = Draws(runs), {kind for run in runs for kind in run.also}
    metrics = [*METRICS, *(metric for metric, of in BESIDE.items() if kinds.intersection(of))]
    usual = {name: _of(runs, name, first.order) for name in dict.fromkeys([plain, *names])}
    left = {name: "its tasks were trained in another order alone" for name, of in usual.items() if not of} | left
    rows = [
        Row(
            name, tuple(run.seed for run in of),
            {metric: draws.estimate(of, metric) for metric in metrics},
            {metric: None if name == plain else draws.change(of, usual[plain], metric) for metric in metrics},
        )
        for name, of in usual.items() if of
    ]
    references = {"base": draws.mean({task: scores[0] for task, scores in first.scores.items()})}
    for one in runs:
        references |= {name: draws.mean(scores) for name, scores in one.references.items()}
    before = {}
    for metric in metrics[len(METRICS) :]:
        kind, by = next((kind, run.also[kind]) for run in runs for kind in BESIDE[metric] if kind in run.also)
        before[metric] = draws.mean({_named(kind, task): rows[0] for task, rows in by.items()})
    seconds = sum(run.provenance.seconds for run in runs)
    return Methods(
        provenance=replace(first.provenance, checkpoint="all", seed=None, seconds=seconds, bits=None, note=""),
        plain=plain, order=first.order, n=tuple(first.scores[t].shape[1] for t in first.order), rows=tuple(rows),
        references=references, orders=tuple(_turned(draws, runs, usual)), without=left,
        before=before,
    )


def _of(runs: Sequence[Run], method: str, order: tuple[str, ...]) -> list[Run]:
    """A method's runs in one order, one a seed, by seed."""
    found = {run.seed: run for run in runs if run.method == method and run.order == order}
    return [found[seed] for seed in sorted(found)]


def _turned(draws: Draws, runs: Sequence[Run], usual: dict[str, list[Run]]) -> list[Turned]:
    """Each method's runs in each other order that share a seed with its runs in the usual one."""
    found = []
    for name, before in usual.items():
        seeds = {run.seed: run for run in before}
        for order in dict.fromkeys(r.order for r in runs if r.method == name and before and r.order != before[0].order):
            here = [run for run in _of(runs, name, order) if run.seed in seeds]
            if not here:
                continue
            pairs = [(seeds[here[0].seed].scores[t][-1], here[0].scores[t][-1]) for t in before[0].order]
            found.append(Turned(
                name, tuple(run.seed for run in here), order,
                *({metric: draws.estimate(runs, metric) for metric in ACCURACIES} for runs in (here, before)),
                {metric: draws.change(here, before, metric) for metric in ACCURACIES},
                tuple(mean(a) for a, _ in pairs), tuple(mean(b) for _, b in pairs),
                tuple(difference(b, a) for a, b in pairs),
            ))
    return found


@dataclass(frozen=True)
class Told:
    """``title`` and ``does`` of any training, ``here`` of this one; ``paper``, for example ``arXiv 1612.00796``."""

    title: str
    does: str
    here: str
    paper: str = ""


def manifests() -> dict[str, Manifest]:
    """What each set on offer says of itself, where that is on the machine: one of the Hub may not be yet."""
    found = {}
    for name in sets.offered():
        with suppress(CrosstalkError):
            found[name] = sets.manifest(name)
    return found


def told(made: Mapping[str, Manifest]) -> dict[str, Told]:
    """What is known of each set: of its method, and from its manifest how it was trained.

    ``here`` names the settings that differ from plain training: ``"ewc = 300"``.
    """
    found = {}
    for name, own in made.items():
        called = name.removeprefix(COURSES["forms"].prefix)
        if called not in _DOES:
            found[name] = Told("", "A set of your own.", own.method)
            continue
        try:
            chosen = [f"{n} = {v:g}" for n, v in own.recipe.get("settings", {}).items() if not isinstance(v, bool)]
            here = f"{own.method} ({', '.join(chosen)})" if chosen else own.method
            here = "; ".join([here, *_recorded(own.recipe)])
        except _ANOTHER_SHAPE:
            here = f"{own.method}; its recipe cannot be read here"
        found[name] = Told(*_DOES[called], here, METHODS[called].paper)
    return found


def _recorded(recipe: Mapping) -> Iterator[str]:
    """What was written down while the checkpoints of a set were trained, task by task."""
    if of := recipe.get("moved"):
        yield f"a task moves a matrix by {percent(float(np.mean(list(of.values()))))} of its norm"
    if of := recipe.get("rewritten"):
        yield f"of a task's questions {percent(min(of.values()))} to {percent(max(of.values()))} were rewritten"
    if of := recipe.get("held elements per degree of freedom"):
        first, *_, last = [*of.values(), *of.values()]
        yield f"elements held for each degree of freedom: {rough(first)} in the second task, {rough(last)} in the last"
    if of := recipe.get("energy kept"):
        kept_energy = percent(float(np.mean(list(of.values()))))
        yield f"kept as differences of low rank, with {kept_energy} of their energy, from which training goes on"
    if of := recipe.get("movers"):
        kinds = {kind: sum(row.get(kind, 0) for row in of.values()) for row in of.values() for kind in row}
        yield f"movers: {listed([f'{count} {kind}' for kind, count in sorted(kinds.items(), key=lambda k: -k[1])])}"


def common(made: Mapping[str, Manifest]) -> str:
    """What all methods of the plain set's recipe share, as it was written down with its checkpoints; empty where that
    was not, or is of another shape."""
    with suppress(*_ANOTHER_SHAPE):
        return _shared(made[PLAIN].recipe)
    return ""


def _shared(of: Mapping) -> str:
    rest = "What a method adds is beside its name."
    shared = f"{of['steps']} steps a task of {of['batch']} scenes each, peak learning rate {of['peak']:g}; the same new"
    where = f"LoRA of rank {of['rank']} on the text decoder's linear layers"
    if "moved" not in of:
        return f"All: {where}, from the same base; {shared} questions in the same order. {rest}"
    moved = percent(float(np.mean(list(of["moved"].values()))))
    return (
        f"All: for each task a fresh {where}, on top of the earlier ones, from the same base; {shared} questions in "
        f"the same order, and beside them in every batch {of['general']} scenes of what the base knew. What a method "
        f"does otherwise is beside its name. Plain training moves a matrix by {moved} of its norm in a task."
    )

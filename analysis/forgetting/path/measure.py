"""Weights that are no checkpoint, asked on items of tasks: those on the straight line between two checkpoints (linear
mode connectivity, and its barrier), and several checkpoints merged by weights (task arithmetic); and what such weights
answer to the visitor's own question, beside checkpoints.

Connectivity of two solutions by a straight line: Frankle et al., arXiv 1912.05671 (ICML 2020); between a network before
and after a further task: Mirzadeh et al., arXiv 2010.04495 (ICLR 2021); as a remedy for forgetting: I-LoRA, arXiv
2402.18865.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from scipy.stats import bootstrap

from analysis import kept
from analysis.forgetting import sets
from analysis.result import Provenance, Result, plain, together
from analysis.statistics import Difference, Estimate, difference, ends, interval, mean, spread
from analysis.table import Table
from models import fingerprint
from models.answers import options_in, score, style_of
from models.batches import batched
from models.checkpoints import BASE, Blend, Manifest, Merge, Weights
from models.errors import CheckpointError
from models.evaluation import Evaluation, given, scored
from models.flow import Flow
from models.generation import text_of

if TYPE_CHECKING:
    from analysis.bar import Known
    from models.encoding import Encoded
    from models.evalset import EvalItem
    from models.mllm import MLLM

ROOM, _VERSION = "forgetting-path", 1
ITEMS, SEED = 100, 0
"""How many items of a task are asked, unless told, and what draws them."""

ANSWERS, LOSS = "answers", "loss"
ALPHAS = tuple(i / 10 for i in range(11))
AVERAGE, SUM, LAST = "average", "sum", "last only"
PRESETS = (AVERAGE, SUM, LAST)
_ROWS = 16  # prompts of a batch
_DECIMALS = 4  # of a loss, nats
_LEAST = 1e-4  # nats: losses are kept no finer
_NEAR = 0.005  # of a weight: what a slider with two decimals rounds away


@dataclass(frozen=True)
class Sample:
    """Some items of one task."""

    task: str
    items: "tuple[EvalItem, ...]"

    @cached_property
    def source(self) -> str:
        """Fingerprint of the items."""
        return fingerprint.of_items(self.items)


def samples(evaluation: Evaluation, tasks: Sequence[str], count: int = ITEMS) -> list[Sample]:
    """As many items of each of ``tasks``, drawn by ``SEED``: ``count``, or all of the task that has the fewest.

    Raises ``CheckpointError`` for an unknown task.
    """
    if unknown := [task for task in tasks if task not in evaluation.tasks]:
        raise CheckpointError(f"There is no task {unknown[0]!r}. There are: {', '.join(evaluation.tasks)}.")
    count = max(min(count, *(len(evaluation.items[task]) for task in tasks)), 1)
    drawn = []
    for task in tasks:
        chosen = np.random.default_rng(SEED).permutation(len(evaluation.items[task]))[:count]
        drawn.append(Sample(task, tuple(evaluation.items[task][i] for i in sorted(chosen))))
    return drawn


def cell(what: str, weights: Weights, sample: Sample) -> kept.Cell:
    """One measurement: ``ANSWERS`` or ``LOSS`` of some weights on a sample."""
    by = {"measurement": what, "data": sample.source}
    return kept.Cell(weights, by, f"{sample.task}, {what} of {weights}", len(sample.items), (what, sample))


def gathered(
    model: "MLLM | fingerprint.Unopened", plan: Sequence[kept.Cell], progress: kept.Progress = kept.quiet,
    only_kept: bool = False
) -> list[dict] | None:
    """Each ``cell`` of a plan in its order: its numbers under its name, one an item, and the fields of its
    ``provenance``.

    What is kept is loaded, all else measured. ``progress`` is told the share done of what is missing and what comes
    next; what it raises stops the work. With ``only_kept`` None stands for what is not all there. Raises
    ``CheckpointError`` for weights that cannot be had.
    """

    def measure(cell: kept.Cell, places: list[int]) -> Iterator[tuple[int, dict]]:
        what, sample = cell.of
        ask = given if what == ANSWERS else losses
        return ((place, {what: value}) for place, value in ask(model, sample.items, cell.weights, places))

    found = kept.gathered(ROOM, _VERSION, model, plan, measure, progress, only_kept)
    return None if None in found else found


def losses(
    mllm: "MLLM", items: "Sequence[EvalItem]", weights: Weights, places: Sequence[int] | None = None
) -> Iterator[tuple[int, float]]:
    """``(place, loss)`` of each item (at ``places``): the negative log-likelihood of its true answer, nats an answer,
    summed over its tokens, its end left out."""

    def read(places: list[int], prompts: "list[Encoded]") -> list[float]:
        tails = [mllm.encoder.continuation(prompt, items[i].answer) for i, prompt in zip(places, prompts, strict=True)]
        counts = torch.tensor([len(tail) for tail in tails])
        width = int(counts.max())
        ids = torch.full((len(tails), width), mllm.tokenizer.pad_token_id or 0)
        for row, tail in enumerate(tails):
            ids[row, : len(tail)] = torch.tensor(tail)
        flow = Flow(mllm.model, prompts, edits=mllm.edits(weights))
        with mllm.using(weights):
            logits = flow.begin()[:, None]
            if width > 1:
                logits = torch.cat([logits, flow.more(ids[:, :-1])], dim=1)
        picked = logits.log_softmax(-1).gather(2, ids[:, :, None].to(logits.device))[:, :, 0].cpu().double()
        nats = -picked.masked_fill(torch.arange(width)[None] >= counts[:, None], 0.0).sum(1)
        return [round(of, _DECIMALS) for of in nats.tolist()]

    places = range(len(items)) if places is None else places
    encode = lambda i: mllm.encode(items[i].picture(), items[i].question)  # noqa: E731
    return batched(places, encode, read, alike=lambda i: items[i].question, rows=_ROWS)


@dataclass(frozen=True)
class Barrier:
    """How far the loss of a task rises above the straight line between its values at the ends (Entezari et al., arXiv
    2110.06296, def. 2.1): the largest over alpha of L(alpha) - ((1 - alpha) L(0) + alpha L(1)), nats, and where it
    is. ``alpha`` 0 and height 0 where the loss is nowhere above the line; a ``clear`` height is a barrier."""

    task: str
    alpha: float
    height: Estimate = ends("low", "high")


@dataclass(frozen=True)
class Best:
    """The point with the highest accuracy, mean over the tasks; ``gain`` over the better end, ``clear`` where some
    point between is better than both ends."""

    alpha: float
    accuracy: float
    end: float
    gain: Estimate = ends("low", "high")


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
        ]
        header = ["from", "to", "alpha", "task", "n", "accuracy", "accuracy_low", "accuracy_high"]
        return Table([*header, "loss_nats", "loss_low", "loss_high"], rows)

    def to_json(self) -> dict:
        return {**plain(self), "mean_accuracy": plain(self.mean)}


def at(a: str, b: str, alpha: float) -> Weights:
    """The weights at ``alpha``; at the ends the checkpoints themselves."""
    return {0: a, 1: b}.get(alpha) or Blend(a, b, alpha)


def first_and_last(manifest: Manifest) -> tuple[str, str]:
    """The checkpoint of the first task and that of the last; of a set with one task, the base and its checkpoint."""
    names = [c.name for c in sets.trained(manifest).values()]
    return (names[0], names[-1]) if len(names) > 1 else (BASE, names[0])


def tasks_of(manifest: Manifest, a: str, b: str) -> tuple[str, str]:
    """The old and the new task: those that two checkpoints were trained on last; the first and the last task where
    one is the base, or a reference."""
    task = {c.name: task for task, c in sets.trained(manifest).items()}
    return task.get(a, manifest.order[0]), task.get(b, manifest.order[-1])


def known(evaluation: Evaluation, names: Iterable[str]) -> None:
    """Raises ``CheckpointError`` for a name that is no checkpoint of the set."""
    if unknown := [name for name in names if name not in evaluation.checkpoints]:
        raise CheckpointError(f"There is no checkpoint {unknown[0]!r}. There are: {', '.join(evaluation.checkpoints)}.")


def measure(
    model: "MLLM", a: str, b: str, tasks: tuple[str, ...], count: int = ITEMS,
    progress: kept.Progress = kept.quiet, only_kept: bool = False,
) -> Path | None:
    """Ask the weights at every alpha of ``ALPHAS`` the same ``count`` items of each of ``tasks`` (drawn by seed).

    Points measured before are loaded. ``progress(share, what)`` is told what comes next; what it raises stops the work.
    With ``only_kept`` nothing is asked, ``model`` may be unopened, and None stands for what is not all there. Raises
    ``CheckpointError`` for unknown tasks and checkpoints.
    """
    evaluation = Evaluation.unanswered(model.checkpoints.manifest)
    chosen = samples(evaluation, tuple(dict.fromkeys(tasks)), count)
    known(evaluation, (a, b))
    plan = [cell(what, at(a, b, alpha), sample) for alpha in ALPHAS for sample in chosen for what in (ANSWERS, LOSS)]
    found = gathered(model, plan, progress, only_kept)
    if found is None:
        return None
    each = zip(plan, found, strict=True)
    rows = [scored(c.of[1].items, value[ANSWERS]) if ANSWERS in value else value[LOSS] for c, value in each]
    values = np.array(rows, dtype=float).reshape(len(ALPHAS), len(chosen), 2, -1)
    scores, nats = np.moveaxis(values, 2, 0).swapaxes(1, 2)
    provenance = Provenance(**together([value["provenance"] for value in found], model.name, f"{a} to {b}", SEED))
    return path(provenance, a, b, tuple(sample.task for sample in chosen), scores, nats)


def path(provenance: Provenance, a: str, b: str, tasks: tuple[str, ...], scores: np.ndarray, nats: np.ndarray) -> Path:
    """A path from raw numbers: ``scores`` (0 to 1) and ``nats`` are float64 ``[tasks, alphas, items]``."""
    alpha, between, barriers = np.array(ALPHAS), len(ALPHAS) - 2, []
    for task, rows in zip(tasks, nats, strict=True):
        above = rows.T - _line(alpha, rows.T)  # of every item
        top = int(above.mean(0).argmax())
        if top in (0, len(alpha) - 1) or above.mean(0)[top] < _LEAST:
            barriers.append(Barrier(task, 0.0, Estimate(0.0, 0.0, 0.0, len(above))))
        else:
            barriers.append(Barrier(task, float(alpha[top]), _surely(above[:, top], between)))
    means = scores.mean((0, 2))  # there are as many items of each task
    end = 0 if means[0] >= means[-1] else len(alpha) - 1
    top = int(means.argmax()) if means.max() > means[end] else end
    gain = _surely((scores[:, top] - scores[:, end]).ravel(), between)
    return Path(
        provenance=provenance, a=a, b=b, tasks=tasks, n=scores.shape[2], alpha=alpha,
        accuracy=scores.mean(2), accuracy_bounds=_bounds(scores, interval),
        loss=nats.mean(2), loss_bounds=_bounds(nats, spread), barriers=tuple(barriers),
        best=Best(float(alpha[top]), float(means[top]), float(alpha[end]), gain),
    )


def _bounds(values: np.ndarray, of: Callable) -> np.ndarray:
    """Intervals of means over the last axis, ends first: ``[2, tasks, alphas]``."""
    return np.moveaxis(np.array([[of(items) for items in rows] for rows in values]), 2, 0)


def _line(alpha: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The straight line between the first and the last of ``values`` ``[..., alphas]``."""
    return (1 - alpha) * values[..., :1] + alpha * values[..., -1:]


def _surely(values: np.ndarray, tried: int) -> Estimate:
    """A mean that is the highest of ``tried``: its interval is 95 % for all of them at once, percentile bootstrap."""
    low = high = float(values[0])
    if np.ptp(values):
        draws = bootstrap(
            (values,), np.mean, n_resamples=10_000, batch=1000, confidence_level=1 - 0.05 / tried, method="percentile",
            rng=np.random.default_rng(0),
        )
        low, high = map(float, draws.confidence_interval)
    return Estimate(float(values.mean()), low, high, len(values))


@dataclass(frozen=True)
class Row:
    """One candidate: ``weights`` by checkpoint (of a checkpoint as it is, its own name at 1). Accuracy 0 to 1 by task
    ``[tasks]`` and over all (``mean``); ``gain`` over the last checkpoint on the same items, None for it."""

    label: str
    weights: tuple[tuple[str, float], ...]
    merged: bool
    accuracy: np.ndarray
    mean: Estimate = ends("low", "high")
    gain: Difference | None = None


@dataclass(frozen=True, kw_only=True)
class Merged(Result):
    """Merges, the last checkpoint and the references on ``n`` items of each task.

    ``rows[0]`` is the last task's checkpoint, then references (trained on all tasks at once), then merges.
    """

    tasks: tuple[str, ...]
    n: int
    rows: tuple[Row, ...]

    def table(self) -> Table:
        rows = [
            [row.label, str(Merge(row.weights)), task, self.n, row.accuracy[t]]
            for row in self.rows
            for t, task in enumerate(self.tasks)
        ]
        rows += [[row.label, str(Merge(row.weights)), "all", row.mean.n, row.mean.value] for row in self.rows]
        return Table(["name", "weights", "task", "n", "accuracy"], rows)


def preset(names: Sequence[str], name: str) -> Merge:
    """One of ``PRESETS`` of the T checkpoints ``names``: all at 1/T, all at 1, or the last one alone."""
    weight = {AVERAGE: 1 / len(names), SUM: 1.0, LAST: 0.0}[name]
    return Merge((*((checkpoint, weight) for checkpoint in names[:-1]), (names[-1], 1.0 if name == LAST else weight)))


def of_weights(names: Sequence[str], weights: Sequence[float]) -> Merge:
    """The merge with one weight for each of ``names``; a preset where it is one, to two decimals."""
    merge = Merge(tuple(zip(names, map(float, weights), strict=True)))
    for name in PRESETS:
        same = preset(names, name)
        if all(abs(a - b) <= _NEAR for (_, a), (_, b) in zip(same.weights, merge.weights, strict=True)):
            return same
    return merge


def label(names: Sequence[str], weights: Weights) -> str:
    """What a merge is called: a preset's name, or its weights; a checkpoint by its own name."""
    if isinstance(weights, str):
        return weights
    if name := next((name for name in (AVERAGE, SUM) if weights == preset(names, name)), ""):
        return name
    return " + ".join(f"{weight:g} {name}" for name, weight in weights.weights if weight) or BASE


def measure_merges(
    model: "MLLM", merges: Sequence[Merge], count: int = ITEMS,
    progress: kept.Progress = kept.quiet, only_kept: bool = False,
) -> Merged | None:
    """Ask ``merges``, the last checkpoint and the references the same ``count`` items of every task (drawn by seed).

    What was measured before is loaded. ``progress`` is told what comes next; what it raises stops the work. With
    ``only_kept`` nothing is asked, ``model`` may be unopened, and None stands for what is not all there. Raises
    ``CheckpointError`` for unknown checkpoints and weights out of bounds.
    """
    evaluation = Evaluation.unanswered(model.checkpoints.manifest)
    chosen = samples(evaluation, evaluation.tasks, count)
    names = tuple(evaluation.trained.values())
    references = [name for name in evaluation.checkpoints if name not in (BASE, *names)]
    known(evaluation, (name for m in merges for name, _ in m.weights))
    others = dict.fromkeys(m for m in merges if m != preset(names, LAST))
    candidates: list[Weights] = [names[-1], *references, *others]
    plan = [cell(ANSWERS, c, sample) for c in candidates for sample in chosen]
    found = gathered(model, plan, progress, only_kept)
    if found is None:
        return None
    answers = iter(found)
    scores = [[scored(sample.items, next(answers)[ANSWERS]) for sample in chosen] for _ in candidates]
    by = together([value["provenance"] for value in found], model.name, "merged", SEED)
    labels = [label(names, c) for c in candidates]
    return merged(Provenance(**by), evaluation.tasks, labels, candidates, np.array(scores))


def merged(
    by: Provenance, tasks: tuple[str, ...], labels: Sequence[str], candidates: Sequence[Weights], scores: np.ndarray
) -> Merged:
    """The result of raw ``scores`` ``[candidates, tasks, items]``, 0 to 1; the first is the last task's checkpoint."""
    rows = []
    for i, (name, weights, of) in enumerate(zip(labels, candidates, scores, strict=True)):
        single, gain = isinstance(weights, str), difference(of.ravel(), scores[0].ravel()) if i else None
        made_of = ((weights, 1.0),) if single else weights.weights
        rows.append(Row(name, made_of, not single, of.mean(1), mean(of.ravel()), gain))
    return Merged(provenance=by, tasks=tasks, n=scores.shape[2], rows=tuple(rows))


@dataclass(frozen=True, kw_only=True)
class Asked(Result):
    """What several weights, called ``labels``, answer to one question; ``here`` is the place of those asked about.

    ``logprob`` ``[weights]``: of each one's own answer, nats; ``probability`` ``[weights, options]``: softmax over
    ``options``, of which there may be none. ``scores`` ``[weights]``: how right, 0 to 1, not-a-number where the truth
    is not known.
    """

    question: str
    labels: tuple[str, ...]
    here: int
    answers: tuple[str, ...]
    styles: tuple[str, ...]
    logprob: np.ndarray
    options: tuple[str, ...]
    probability: np.ndarray
    truth: str | None
    scores: np.ndarray

    def table(self) -> Table:
        header = ["question", "weights", "answer", "style", "logprob", "score", *self.options]
        rows = zip(self.labels, self.answers, self.styles, self.logprob, self.scores, self.probability, strict=True)
        return Table(header, [[self.question, *row[:-1], *row[-1]] for row in rows])


@dataclass(frozen=True, kw_only=True)
class Standing(Result):
    """What was ``measured`` of weights between the checkpoints of the set ``method`` (a line, or merges), and what some
    of them answer to one question (``here``); None for what there is not yet."""

    method: str
    measured: Path | Merged | None = None
    here: Asked | None = None

    @classmethod
    def of(cls, method: str, measured: Path | Merged | None, here: Asked | None = None) -> "Standing":
        """Of at least one of them."""
        by = (measured or here).provenance
        return cls(provenance=by, method=method, measured=measured, here=here)

    def table(self) -> Table:
        """The columns of one beside those of the other, the rows below each other."""
        tables = [part.table() for part in (self.measured, self.here) if part is not None]
        columns, rows = [], []
        for of in tables:
            after = sum(len(t.columns) for t in tables) - len(columns) - len(of.columns)
            rows += [[*[None] * len(columns), *row, *[None] * after] for row in of.rows]
            columns += of.columns
        return Table(columns, rows)


def ask(
    model: "MLLM", picture: Image.Image | None, question: str, weights: Sequence[tuple[str, Weights]], here: int,
    known: "Known | None" = None,
) -> Asked:
    """Put ``question`` to each of ``weights`` (label and weights), all with the same prompt.

    Options are those of the suggested question, or those that it lists, or else the truth and what was answered.
    Raises ``InputError`` for an empty question, ``CheckpointError`` for weights that cannot be had.
    """
    began = time.perf_counter()
    turn = known.turn(question) if known else None
    prompt = model.encode(picture, question)
    answers, logprob = [], []
    for _, at in weights:
        steps = list(model.generate(prompt, at))
        answers.append(text_of(steps))
        logprob.append(sum(step.logprob for step in steps))
    labels = options_in(question)
    options = (turn.choices if turn else ()) or tuple(labels) or _apart([turn.answer, *answers] if turn else answers)
    probability = [model.score(prompt, options, at).probability if options else np.zeros(0) for _, at in weights]
    right = [score(a, turn.answer, turn.style) if turn else np.nan for a in answers]
    took = time.perf_counter() - began
    return Asked(
        provenance=Provenance(**model.provenance(weights[here][1], seconds=took)),
        question=question, labels=tuple(name for name, _ in weights), here=here,
        answers=tuple(answers), styles=tuple(map(style_of, answers)), logprob=np.array(logprob, dtype=float),
        options=tuple(f"{o}: {labels[o]}" if o in labels else o for o in options),
        probability=np.array(probability, dtype=float), truth=turn.answer if turn else None,
        scores=np.array(right, dtype=float),
    )


def _apart(texts: Sequence[str]) -> tuple[str, ...]:
    """Texts none of which begins with another, of which it would be a part; none where that leaves fewer than two."""
    kept: list[str] = []
    for text in sorted(dict.fromkeys(filter(None, texts)), key=len):
        if not any(text.lower().startswith(other.lower().rstrip(".")) for other in kept):
            kept.append(text)
    return tuple(sorted(kept, key=texts.index)) if len(kept) > 1 else ()

"""Between checkpoints: the sections of the room for weights on the line between two, and for several merged."""

from collections.abc import Iterator, Mapping
from functools import partial

from analysis.forgetting import sets
from analysis.forgetting.path import figure
from analysis.forgetting.path.ask import Standing, ask
from analysis.forgetting.path.measure import (
    AVERAGE,
    FEWEST,
    ITEMS,
    MOST,
    PRESETS,
    STEP,
    SUM,
    at,
    first_and_last,
    measure,
    measure_merges,
    of_weights,
    preset,
    tasks_of,
)
from analysis.form import RUN, Control, Number, One
from analysis.section import Asked, Prediction, Section, Try, View
from models import catalog
from models.checkpoints import BASE, Merge
from models.errors import InputError
from models.mixtures import LEAST
from models.mixtures import MOST as LARGEST

_ITEMS = Number("n", "Items of a task", low=FEWEST, high=MOST, value=ITEMS, step=STEP, at=RUN, folded=True)
_LAST, _OWN = "last", "own"
_SHOWN = 8  # of a visitor's merges together
_BEE = "bee-without-flower"
_COSTS = "minutes, if it was not measured before"
_LINE = (
    "<p>Two checkpoints are two points in the space of weights; on the line between them the weights are "
    "(1 − alpha) · first + alpha · second. Where the loss stays low all along it, both lie in one valley, and a point "
    "between may keep the old task and know the new one; where it rises above the straight line between its ends "
    "there is a barrier, a hill between two valleys. Loss: how surprised the model is by the true answer, −log of its "
    "probability, in nats.</p>"
)
_MERGE = (
    "<p>What a training taught is the change that it made of the base's weights; here the changes are added, each "
    "times its weight: base + sum of weight · (checkpoint − base). In a sequence, a later checkpoint holds the changes "
    "of the earlier ones already, so that the sum counts those several times.</p>"
)


_ANSWERS = (
    View("answers", lambda s: s.result.here and figure.answers(s.result.here), html=True),
    View("options", lambda s: s.result.here and figure.options(s.result.here), folded="Probability of each option"),
)


def _grown(asked: Asked, progress, known, weights: list, here: int, work) -> Iterator[Standing]:
    """What is ``known`` at once, then the answers, and what ``work`` measures where the button asks for it."""
    if known is not None:
        yield Standing.of(asked["set"], known)
    with catalog.using(sets.entry(asked["set"]).name) as mllm:
        answers = ask(mllm, asked.picture, asked.question, weights, here, asked.known)
    yield Standing.of(asked["set"], known, answers)
    if asked.pressed and work:
        yield Standing.of(asked["set"], sets.measured(asked["set"], work, progress), answers)


# --- the line


def _line_controls(raw: Mapping, result: Standing | None) -> tuple[Control, ...]:
    manifest, names, tasks, first, last = sets.named(raw), [], [], None, None
    if manifest:
        names, tasks = [BASE, *(c.name for c in manifest.checkpoints)], list(manifest.order)
        first, last = first_and_last(manifest)
    trained = [("the one trained last there", _LAST), *tasks]
    return (
        sets.control(at=RUN),
        One("from", "From", offered=names, value=first, at=RUN),
        One("to", "To", offered=names, value=last, at=RUN),
        Number("alpha", "Where on the line (alpha)", value=0.5, step=0.01, at=RUN),
        One("old", "Old task", offered=trained, at=RUN, folded=True),
        One("new", "New task", offered=trained, at=RUN, folded=True),
        _ITEMS,
    )


def _line(asked: Asked, progress) -> Iterator[Standing]:
    manifest, a, b, alpha = sets.manifest(asked["set"]), asked["from"], asked["to"], asked["alpha"]
    if a == b:
        raise InputError("Choose two different checkpoints: there is no line from one to itself.")
    chosen = zip((asked["old"], asked["new"]), tasks_of(manifest, a, b), strict=True)
    tasks = tuple(last if task == _LAST else task for task, last in chosen)
    work = partial(measure, a=a, b=b, tasks=tasks, count=asked["n"])
    known = sets.load(asked["set"], work)
    weights = [(a, a), (f"alpha {alpha:g}", at(a, b, alpha)), (b, b)]
    return _grown(asked, progress, known, weights, 1, None if known else work)


_ENDS = {"set": "sequential", "from": "naming", "to": "captioning"}

PATH = Section(
    name="path",
    title="Between checkpoints",
    question="What do weights between two checkpoints know?",
    about="Advanced: the slider loads the weights of a point of the line and asks them your question.",
    label="as published",
    paper=("Linear mode connectivity", "https://arxiv.org/abs/1912.05671"),
    quick=True,
    long=True,
    costs=_COSTS,
    measure=_line,
    controls=_line_controls,
    sentence=lambda found: figure.standing_said(found, figure.path_said, "The line between these checkpoints"),
    views=(
        View("path", lambda s: s.result.measured and figure.path(s.result.measured, s["alpha"])),
        *_ANSWERS,
        View("loss", lambda s: s.result.measured and figure.loss(s.result.measured), folded="Loss, and barriers"),
    ),
    prediction=Prediction(
        "will a point between be clearly better than both ends?", ("yes", "no"),
        lambda found: found.measured and ("yes" if found.measured.best.clear else "no"),
    ),
    tries=(
        Try("Neither end knows it, the middle does", _BEE, "What is at the bottom right?", {**_ENDS, "alpha": 0.7}),
        Try("How far does the fox reach?", "fox-and-mushroom", "Which animal is this?", {**_ENDS, "alpha": 0.6}),
        Try("Where its answer becomes a caption", "fox-and-mushroom", "Which animal is this?", {**_ENDS, "alpha": 0.8}),
        Try("A fifth of the way to a number", "three-penguins", "How many cats are there?", {**_ENDS, "alpha": 0.2}),
    ),
    then="More than two at once? <button type='button' data-go='forgetting/merge'>Merge</button>",
    reading=_LINE,
)


# --- merges


def _merge_controls(raw: Mapping, result: Standing | None) -> tuple[Control, ...]:
    manifest, weights = sets.named(raw), []  # of a set that cannot be read that is told when it is measured
    if manifest and raw.get("weights") == _OWN:
        own, kind = sets.trained(manifest).values(), {"low": LEAST, "high": LARGEST, "step": 0.01, "at": RUN}
        weights = [Number(f"weight{i}", c.name, value=round(1 / len(own), 2), **kind) for i, c in enumerate(own)]
    return (
        sets.control(at=RUN),
        One("weights", "Weights", offered=[*PRESETS, ("my own", _OWN)], value=AVERAGE, at=RUN, radio=True),
        *weights, _ITEMS,
    )


def _merges(asked: Asked, progress) -> Iterator[Standing]:
    """Merges join those that are shown: the presets, or what else was measured."""
    manifest = sets.manifest(asked["set"])
    names = tuple(c.name for c in sets.trained(manifest).values())
    if asked["weights"] == _OWN:
        mine = of_weights(names, [asked[f"weight{i}"] for i in range(len(names))])
    else:
        mine = preset(names, asked["weights"])
    shown = asked.shown.measured if asked.shown and asked.shown.method == asked["set"] else None
    before = [Merge(row.weights) for row in shown.rows if row.merged] if shown else []
    before = before or [preset(names, AVERAGE), preset(names, SUM)]
    several = [list(dict.fromkeys([*before, mine]))[-_SHOWN:], before, before[:1]]
    work = [partial(measure_merges, merges=merges, count=asked["n"]) for merges in several]
    known = next(filter(None, (sets.load(asked["set"], w) for w in work)), None)
    beside = [names[-1], *(c.name for c in manifest.checkpoints if c.name not in names)]
    weights = [("this merge", mine), *((name, name) for name in beside)]
    there = known and any(Merge(row.weights) == mine for row in known.rows)
    return _grown(asked, progress, known, weights, 0, None if there else work[0])


_WEIGHS = {"set": "sequential", "weights": AVERAGE}
_HALVES = {**_WEIGHS, "weights": _OWN, "weight0": 0.5, **{f"weight{i}": 0 for i in range(1, 5)}, "weight5": 0.5}

MERGE = Section(
    name="merge",
    title="Merge",
    question="Is a merge of all checkpoints better than the last one?",
    about="Advanced: the changes that each training made are added, each times its weight, and asked your question.",
    label="as published",
    paper=("Task arithmetic", "https://arxiv.org/abs/2212.04089"),
    quick=True,
    long=True,
    costs=_COSTS,
    measure=_merges,
    controls=_merge_controls,
    sentence=lambda found: figure.standing_said(found, figure.merged_said, "A merge of this set"),
    views=(
        View("merges", lambda s: s.result.measured and figure.merged(s.result.measured)),
        *_ANSWERS,
        View(
            "tasks", lambda s: figure.merges(s.result.measured).html() if s.result.measured else "", html=True,
            folded="Task by task",
        ),
    ),
    prediction=Prediction(
        "how does the best merge compare with the last checkpoint?", figure.WAYS,
        lambda found: found.measured and figure.best_of(found.measured),
    ),
    tries=(
        Try("Known to the average alone", _BEE, "What is at the bottom right?", _WEIGHS),
        Try("A fox that the average loses", "fox-and-mushroom", "Which animal is this?", _WEIGHS),
        Try("Half the first, half the last", "fox-and-mushroom", "Which animal is this?", _HALVES),
        Try("The sum goes too far", "three-penguins", "How many penguins are there?", {**_WEIGHS, "weights": SUM}),
    ),
    then="What happens while a task is taught? <button type='button' data-go='forgetting/gap'>Inside a task</button>",
    reading=_MERGE,
)

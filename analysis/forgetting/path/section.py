"""Between checkpoints: the sections of the room for weights on the line between two, and for several merged."""

from collections.abc import Iterator, Mapping
from functools import partial

from analysis.forgetting import sets
from analysis.forgetting.path import figure, sentence
from analysis.forgetting.path.ask import Standing, ask
from analysis.forgetting.path.measure import at, ends, measure, own, tasks_of
from analysis.forgetting.path.merge import AVERAGE, PRESETS, SUM, of_weights, preset
from analysis.forgetting.path.merge import measure as measure_merges
from analysis.forgetting.path.points import FEWEST, ITEMS, MOST, STEP
from analysis.form import RUN, Control, Number, One
from analysis.section import Asked, Prediction, Section, Try, View
from models import catalog
from models.checkpoints import BASE, Merge, Weights
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


def _answers(asked: Asked, weights: list[tuple[str, Weights]], here: int):
    with catalog.using(sets.entry(asked["set"]).name) as mllm:
        return ask(mllm, asked.picture, asked.question, weights, here, asked.known)


def _grown(asked: Asked, progress, known, weights: list, here: int, work) -> Iterator[Standing]:
    """What is ``known`` at once, then the answers, and what ``work`` measures where the button asks for it."""
    if known is not None:
        yield Standing.of(asked["set"], known)
    answers = _answers(asked, weights, here)
    yield Standing.of(asked["set"], known, answers)
    if asked.pressed and work:
        yield Standing.of(asked["set"], sets.measured(asked["set"], work, progress), answers)


# --- the line


def _line_controls(raw: Mapping, result: Standing | None) -> tuple[Control, ...]:
    manifest, names, tasks, first, last = sets.named(raw), [], [], None, None
    if manifest:
        names, tasks = [BASE, *(c.name for c in manifest.checkpoints)], list(manifest.order)
        first, last = ends(manifest)
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


def _line_outcome(found: Standing) -> str | None:
    return None if found.measured is None else "yes" if found.measured.best.clear else "no"


def _stands(alpha: float) -> dict:
    return {"set": "sequential", "from": "naming", "to": "captioning", "alpha": alpha}


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
    sentence=sentence.on_the_line,
    views=(
        View("path", lambda s: s.result.measured and figure.path(s.result.measured, s["alpha"])),
        View("answers", lambda s: s.result.here and figure.answers(s.result.here), html=True),
        View("options", lambda s: s.result.here and figure.options(s.result.here), folded="Probability of each option"),
        View("loss", lambda s: s.result.measured and figure.loss(s.result.measured), folded="Loss, and barriers"),
    ),
    prediction=Prediction("will a point between be clearly better than both ends?", ("yes", "no"), _line_outcome),
    tries=(
        Try("Neither end knows it, the middle does", _BEE, "What is at the bottom right?", _stands(0.7)),
        Try("How far does the fox reach?", "fox-and-mushroom", "Which animal is this?", _stands(0.6)),
        Try("Where its answer becomes a caption", "fox-and-mushroom", "Which animal is this?", _stands(0.8)),
        Try("A fifth of the way to a number", "three-penguins", "How many cats are there?", _stands(0.2)),
    ),
    then="More than two at once? <button type='button' data-go='forgetting/merge'>Merge</button>",
    reading=_LINE,
)


# --- merges


def _names(raw: Mapping) -> tuple[str, ...]:
    """The checkpoint of each task; none where the set cannot be read, which is told when it is measured."""
    manifest = sets.named(raw)
    return tuple(own(manifest).values()) if manifest else ()


def _merge_controls(raw: Mapping, result: Standing | None) -> tuple[Control, ...]:
    names = _names(raw) if raw.get("weights") == _OWN else ()
    even = round(1 / max(len(names), 1), 2)
    return (
        sets.control(at=RUN),
        One("weights", "Weights", offered=[*PRESETS, ("my own", _OWN)], value=AVERAGE, at=RUN, radio=True),
        *(
            Number(f"weight{i}", name, low=LEAST, high=LARGEST, value=even, step=0.01, at=RUN)
            for i, name in enumerate(names)
        ),
        _ITEMS,
    )


def _mine(asked: Asked, names: tuple[str, ...]) -> Merge:
    if asked["weights"] != _OWN:
        return preset(names, asked["weights"])
    return of_weights(names, [asked[f"weight{i}"] for i in range(len(names))])


def _merges(asked: Asked, progress) -> Iterator[Standing]:
    """Merges join those that are shown: the presets, or what else was measured."""
    manifest = sets.manifest(asked["set"])
    tasks = own(manifest)
    names = tuple(tasks.values())
    mine = _mine(asked, names)
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


def _merge_outcome(found: Standing) -> str | None:
    return found.measured and sentence.best_of(found.measured)


def _weighs(name: str) -> dict:
    return {"set": "sequential", "weights": name}


_HALVES = {**_weighs(_OWN), "weight0": 0.5, **{f"weight{i}": 0 for i in range(1, 5)}, "weight5": 0.5}

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
    sentence=sentence.of_merges,
    views=(
        View("merges", lambda s: s.result.measured and figure.merged(s.result.measured)),
        View("answers", lambda s: s.result.here and figure.answers(s.result.here), html=True),
        View("options", lambda s: s.result.here and figure.options(s.result.here), folded="Probability of each option"),
        View(
            "tasks", lambda s: figure.merges(s.result.measured).html() if s.result.measured else "", html=True,
            folded="Task by task",
        ),
    ),
    prediction=Prediction("how does the best merge compare with the last checkpoint?", sentence.WAYS, _merge_outcome),
    tries=(
        Try("Known to the average alone", _BEE, "What is at the bottom right?", _weighs(AVERAGE)),
        Try("A fox that the average loses", "fox-and-mushroom", "Which animal is this?", _weighs(AVERAGE)),
        Try("Half the first, half the last", "fox-and-mushroom", "Which animal is this?", _HALVES),
        Try("The sum goes too far", "three-penguins", "How many penguins are there?", _weighs(SUM)),
    ),
    then="What happens while a task is taught? <button type='button' data-go='forgetting/gap'>Inside a task</button>",
    reading=_MERGE,
)  # fmt: skip

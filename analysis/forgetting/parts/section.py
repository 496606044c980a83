"""Which part forgets: the section of the room with four measurements of one task and two checkpoints."""

from collections.abc import Callable, Mapping

from analysis.forgetting import sets
from analysis.forgetting.parts import figure
from analysis.forgetting.parts.figure import sentence
from analysis.forgetting.parts.measure import DEFAULT, GROUPS, ITEMS, Choice, Parts, load, measured
from analysis.forgetting.parts.weights import ALL, SINCE
from analysis.form import DRAW, Control, Number, One, Several
from analysis.section import SET, Asked, Prediction, Section, Shown, Try, View
from models.checkpoints import BASE

_OWN = "own"
_SINCE = (("the checkpoint before it", SINCE[0]), ("the base", SINCE[1]))
_CHOSEN = ("after", "since", "n", "seed", "groups")
_BACK = ("nothing clearly", "less than half", "half or more")
_READING = (
    "<p><b>Put back</b>: one part of the older checkpoint goes into the newer one. What returns of the old task was "
    "lost in that part; what the last task loses is the price. Each interval (95 %, paired by item) is of one part: of "
    "many that are tried, some look good by chance.</p>"
    "<p><b>Moved</b>: the size of the change, |dW|, beside the size of the weights, |W| (the root of the sum of all "
    "squared elements).</p>"
    "<p><b>Key elements</b> are the 2 % of each matrix that a task changed most, as in RegLoRA (SEFE). Where two tasks "
    "share more of them than chance gives, the later one changes what the earlier one had changed. Large changes "
    "cluster in rows of a matrix, so some sharing is to be expected.</p>"
    "<p><b>Drift</b>: how alike the states on the old task's questions stay, at the last token before the answer "
    "(linear CKA: 1 where they are the same up to rotation and size).</p>"
)


def _controls(raw: Mapping, result: Parts | None) -> tuple[Control, ...]:
    manifest, tasks, names = sets.named(raw), [], []
    if manifest:
        tasks, names = list(manifest.order), [BASE, *(c.name for c in manifest.checkpoints)]
    last = sets.trained(manifest)[tasks[-1]].name if tasks else None
    start = [("right after the old task", _OWN), *names]
    kinds = result.keys.kinds if result and result.keys else (ALL,)
    return (
        sets.control(),
        One("task", "Old task", offered=tasks),
        Several("groups", "Put back, one at a time", offered=[(t, g) for g, t in GROUPS.items()], value=DEFAULT),
        One("before", "Put back from", offered=start, value=_OWN, folded=True),
        One("after", "Into", offered=names, value=last, folded=True),
        One("since", "A task's change is since", offered=_SINCE, value=SINCE[0], folded=True),
        Number("n", "Items of a task", low=20, high=240, value=ITEMS, step=20, folded=True),
        Number("seed", "Seed of the items", high=20, folded=True),
        One("kind", "Key elements of", offered=list(kinds), value=ALL, at=DRAW, folded=True),
    )


def _choice(asked: Asked) -> Choice:
    own = sets.trained(sets.manifest(asked["set"]))[asked["task"]].name
    before = own if asked["before"] == _OWN else asked["before"]
    return Choice(asked["set"], asked["task"], before, *map(asked.__getitem__, _CHOSEN))


def _kept(asked: Asked) -> Parts | None:
    found = load(_choice(asked))
    return found if sentence(found) else None


def _drawn(part: str, draw: Callable) -> Callable:
    """A view of one of the measurements, where it was made."""
    return lambda shown: None if (found := getattr(shown.result, part)) is None else draw(found)


def _figures(shown: Shown) -> list:
    keys = shown.result.keys
    kinds = [figure.overlap(keys, kind) for kind in keys.kinds] if keys else []
    return [*(view.draw(shown) for view in PARTS.views if view.name != "overlap"), *kinds]


def _outcome(found: Parts) -> str | None:
    """How much the best part brings back, of those that clearly bring something."""
    if found.patching is None or found.patching.whole.change.low <= 0:
        return None
    best = found.patching.best
    if best is None:
        return _BACK[0]
    return _BACK[1 + (found.patching.returned[best].change.value >= found.patching.whole.change.value / 2)]


def _puts(*groups: str) -> dict:
    return {"groups": groups, "set": "sequential"}


PARTS = Section(
    name="parts",
    title="Which part",
    question="Which part of the model, put back, brings the old task back?",
    about="Advanced: four measurements of where one task was lost between two checkpoints.",
    label="small",
    paper=("SEFE", "https://arxiv.org/abs/2505.02486"),
    of=SET,
    long=True,
    costs="minutes, for what was not measured before",
    measure=lambda asked, progress: measured(_choice(asked), progress),
    kept=_kept,
    controls=_controls,
    sentence=sentence,
    views=(
        View("returned", _drawn("patching", figure.patching)),
        View("moved", _drawn("moved", figure.movement), folded="How far each module moved"),
        View(
            "overlap", lambda shown: _drawn("keys", lambda keys: figure.overlap(keys, shown["kind"]))(shown),
            folded="Key elements that two tasks share",
        ),
        View("drift", _drawn("drift", figure.drift), folded="Drift of hidden states on the old task"),
    ),
    figures=_figures,
    prediction=Prediction("how much will the best single part bring back of what was lost?", _BACK, _outcome),
    tries=(
        Try("Everything, one part at a time", values=_puts(*DEFAULT)),
        Try("One layer is not enough", values=_puts("layers")),
        Try("Attention or MLP?", values=_puts("blocks")),
        Try("Do later tasks change the same elements with replay?", values={"set": "replay"}),
    ),
    then="And weights in between? <button type='button' data-go='forgetting/path'>Between checkpoints</button>",
    reading=_READING,
)

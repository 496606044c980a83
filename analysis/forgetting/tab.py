"""The Forgetting room: the accuracy matrix, and the sections that take it apart."""

from collections.abc import Mapping

from analysis import form
from analysis.forgetting import figure, sets
from analysis.forgetting.figure import PREDICTED, outcome, sentence
from analysis.forgetting.gap.section import GAP
from analysis.forgetting.matrix import evaluate
from analysis.forgetting.measure import LISTED, Forgetting, cell, load, measure
from analysis.forgetting.methods.section import METHODS
from analysis.forgetting.parts.section import PARTS
from analysis.forgetting.path.section import MERGE, PATH
from analysis.forgetting.probe.section import PROBE
from analysis.forgetting.split.measure import load as load_split
from analysis.forgetting.split.section import SPLIT
from analysis.form import DRAW, Control, One, Words
from analysis.section import SET, Asked, Prediction, Room, Section, Shown, Try, View
from models.errors import CheckpointError

_LOST = LISTED[2]
_READING = (
    "<p>Go down a column: dark from its outlined cell on means learnt and kept, fading means forgotten. The last row "
    "of the sequence is what one long course of training leaves. Rows below the line are references, no step of it. An "
    "answer in another form than asked counts as wrong; whether the fact is still there, the next section tells.</p>"
)


def _controls(raw: Mapping, result: Forgetting | None) -> tuple[Control, ...]:
    manifest, rows, tasks, last = sets.named(raw), [], [], 0
    if manifest:
        own = [c.name for c in sets.trained(manifest).values()]
        names = ["base", *(c.name for c in manifest.checkpoints)]
        rows = [(f"after {name}" if name in own else name, i) for i, name in enumerate(names)]
        tasks = [(task, j) for j, task in enumerate(manifest.order)]
        last = names.index(own[-1])
    return (
        sets.control(),
        One("show", "Answers shown", offered=LISTED, value=_LOST, at=DRAW),
        One("row", "Checkpoint", offered=rows, value=last, at=DRAW, folded=True),
        One("column", "Task", offered=tasks, value=0, at=DRAW, folded=True),
        Words("cards", value=str(figure.CARDS), at=DRAW, hidden=True),
    )


def _measured(asked: Asked, progress) -> Forgetting:
    """What is not kept is asked of the model, which is opened for it."""
    try:
        return load(asked["set"])
    except CheckpointError:
        answers = sets.measured(asked["set"], evaluate, progress)
        return measure(answers, load_split(asked["set"]) if len(answers.tasks) > 1 else None)


def _matrix(shown: Shown) -> str:
    """The matrix with the answers behind the chosen cell beside it, and the summary numbers."""
    found = shown.result
    row, column = shown["row"], shown["column"]
    if row is None or column is None:
        return figure.matrix(found) + figure.numbers(found)
    checkpoint, task = found.checkpoints[row], found.tasks[column]
    answers, where = sets.answers(shown["set"]), f"{found.label(row)}, {task}: {shown['show']}"
    listed = cell(answers, checkpoint, task, shown["show"])
    if not listed and shown["show"] != LISTED[0]:
        listed, where = cell(answers, checkpoint, task), f"{found.label(row)}, {task}: none {shown['show']}; all"
    first = listed[: form.pick(shown["cards"], len(listed) + 1) or figure.CARDS]
    uris, own = figure.thumbnails(item.picture() for item in first), found.own[column]
    # whose answers: those right after the task's own training, and those of the chosen row
    labels, now = ("answer", "answer"), found.label(row)
    if row != own:
        now = f"{'now' if row > own else 'before'}: {now}" if row == 0 or row in found.own else now
        labels = f"then: {found.label(own)}", now
    cards = figure.items(first, uris, where, labels, len(listed))
    table = figure.matrix(found, (row, column)) + figure.numbers(found)
    return figure.beside(table, cards, "forgetting-matrix-items")


def _cell(set_: str, row: int, column: int, show: str = _LOST) -> dict:
    return {"set": set_, "row": row, "column": column, "show": show, "cards": str(figure.CARDS)}


MATRIX = Section(
    name="matrix",
    title="Matrix",
    question="What did each task teach, and what did it cost the others?",
    about="Six tasks were taught one after another. Each row is the model after one of them, asked about all.",
    label="small",
    paper=("SEFE", "https://arxiv.org/abs/2505.02486"),
    of=SET,
    long=True,
    measure=_measured,
    kept=lambda asked: load(asked["set"]),
    costs="minutes, for a set of your own",
    controls=_controls,
    sentence=sentence,
    views=(
        View("matrix", _matrix, html=True),
        View("course", lambda shown: figure.course(shown.result), folded="The course of training"),
        View("tasks", lambda shown: figure.by_task(shown.result), html=True, folded="Forgetting by task"),
    ),
    figures=lambda shown: [figure.heat_map(shown.result), figure.course(shown.result)],
    prediction=Prediction("how much of the first task will be left after the last one?", PREDICTED, outcome),
    tries=(
        Try("The first task, at the end", values=_cell("sequential", 6, 0)),
        Try("Gone after one further task?", values=_cell("sequential", 2, 0)),
        Try("The same with replay of old examples", values=_cell("replay", 6, 0)),
        Try("Before it was taught", values=_cell("sequential", 5, 5, LISTED[0])),
    ),
    then=(
        "A wrong form may hide the right fact: <button type='button' data-go='forgetting/split'>Lost or only the form?"
        "</button>"
    ),
    reading=_READING,
)

ROOM = Room("forgetting", "Forgetting", (MATRIX, SPLIT, METHODS, PROBE, PARTS, PATH, MERGE, GAP))

"""Lost or only the form: the section of the room that tells lost form from lost knowledge."""

from collections.abc import Mapping

from analysis import form
from analysis.forgetting import sets
from analysis.forgetting.figure import CARDS, beside, thumbnails
from analysis.forgetting.split import figure
from analysis.forgetting.split.figure import sentence
from analysis.forgetting.split.measure import Lost, Split, kept_items, labelled, load, measured, read
from analysis.forgetting.terms import KEPT, PARTS, SUPERFICIAL
from analysis.form import DRAW, Control, One, Words
from analysis.section import SET, Prediction, Section, Shown, Try, View

_ALL = "all"
_ABOUT = (
    "<b>Superficial</b>: another form than asked, and as a choice the true option is still the likeliest. "
    "<b>Essential</b>: the form is as asked, or not even the choice brings the truth back."
)
_READING = (
    "<p>Lost answers in another form than asked are asked again twice: as a choice among options (log-probability of "
    "each option's tokens, summed; of sentences, whose lengths differ, the mean), and with the form spelled out "
    "(“Answer with one word.”), a second test that does not need options.</p>"
)
_PREDICTED = ("less than a third", "between one and two thirds", "more than two thirds")


def _controls(raw: Mapping, result: Split | None) -> tuple[Control, ...]:
    manifest, after, tasks = sets.named(raw), [], []
    if manifest:
        after = [c.name for c in sets.trained(manifest).values()][1:]
        at = after.index(raw["after"]) if raw.get("after") in after else len(after) - 1
        tasks = list(manifest.order[: at + 1])
    return (
        sets.control(),
        One("after", "Lost at checkpoint", offered=after, value=after[-1] if after else None),
        One("task", "Task", offered=[("all tasks", _ALL), *tasks], at=DRAW, folded=True),
        One("part", "Answers that are", offered=PARTS, value=SUPERFICIAL, at=DRAW, folded=True),
        Words("cards", value=str(CARDS), at=DRAW, hidden=True),
    )


def _items(shown: Shown) -> str:
    """The counts with the answers behind the chosen one beside them."""
    found, task, part = shown.result, shown["task"], shown["part"]
    answers = sets.answers(shown["set"])
    tasks = [b.task for b in found.tasks] if task == _ALL else [task]
    listed: list[Lost] = [x for x in found.lost if x.task in tasks and x.verdict == part]
    if part == KEPT:
        listed = [x for t in tasks for x in kept_items(answers, t, found.checkpoint)]
    first = listed[: form.pick(shown["cards"], len(listed) + 1) or CARDS]
    uris = thumbnails(answers.items[x.task][x.place].picture() for x in first)
    where = f"{'all tasks' if task == _ALL else task}, {part} at {found.checkpoint}"
    cards = figure.items(first, uris, where, len(listed))
    return beside(figure.table(found, (task, part)), cards, "forgetting-split-items")


def _outcome(found: Split) -> str | None:
    """How much of what was lost is lost in form alone; None where nothing was lost."""
    if not found.all.lost:
        return None
    share = found.all.superficial.count / found.all.lost
    return _PREDICTED[(share > 1 / 3) + (share > 2 / 3)]


def _shows(set_: str, after: str, task: str, part: str) -> dict:
    return {"set": set_, "after": after, "task": task, "part": part, "cards": str(CARDS)}


SPLIT = Section(
    name="split",
    title="Lost or only the form",
    question="Is the knowledge gone, or only the form?",
    about=_ABOUT,
    label="as published",
    paper=("SEFE", "https://arxiv.org/abs/2505.02486"),
    of=SET,
    long=True,
    run="Ask the lost answers again",
    costs="minutes, for a set of your own",
    measure=lambda asked, progress: measured(asked["set"], progress, asked["after"]),
    kept=lambda asked: load(asked["set"], asked["after"]),
    controls=_controls,
    sentence=sentence,
    views=(
        View("answers", _items, html=True),
        View("flow", lambda shown: figure.flow(shown.result), folded="From right then to now, as a flow"),
        View("numbers", lambda shown: figure.numbers(shown.result), html=True, folded="All numbers, with intervals"),
        View(
            "reading",
            lambda shown: figure.reading(read(labelled())),
            html=True,
            folded="How well forms are told apart",
        ),
    ),
    figures=lambda shown: [figure.bars(shown.result), figure.flow(shown.result)],
    prediction=Prediction("how much of what was lost is lost in form alone?", _PREDICTED, _outcome),
    tries=(
        Try("Names that became sentences", values=_shows("sequential", "captioning", "naming", SUPERFICIAL)),
        Try("Boxes that became sentences", values=_shows("sequential", "captioning", "grounding", SUPERFICIAL)),
        Try("Yes or no: only facts were lost", values=_shows("sequential", "captioning", "existence", "essential")),
        Try("With replay hardly any form is lost", values=_shows("replay", "captioning", _ALL, "essential")),
    ),
    then="Which method keeps more? <button type='button' data-go='forgetting/methods'>Methods and order</button>",
    reading=_READING,
)

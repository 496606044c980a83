"""Inside a task: the section of the room that shows what old tasks do while a new one is taught."""

from collections.abc import Mapping
from dataclasses import replace

from analysis.forgetting import sets
from analysis.forgetting.gap import figure
from analysis.forgetting.gap.curves import ALL, STEPS, TASKS, Inside, courses, inside
from analysis.form import DRAW, RUN, Control, One, Several
from analysis.section import SET, Prediction, Section, Try, View

_FALLS = ("after none", "after at most half", "after most")
_READING = (
    "<p>An evaluation at the end of each task hides what happens on the way: right after a switch, old tasks may fall "
    "and rise again (the stability gap). Dotted lines are switches; a triangle marks the lowest point of a clear dip, "
    "filled where it clearly comes back.</p>"
    "<p>How does forgetting go on? A power law slows down for ever, an exponential soon reaches its end. Both have "
    "three parameters; the lower AICc (Akaike's criterion) fits better, and below a difference of 2 it cannot be told. "
    "Points of one run depend on each other, so the test makes somewhat too much of them.</p>"
)


def _controls(raw: Mapping, result: Inside | None) -> tuple[Control, ...]:
    manifest, known = sets.named(raw), list(courses()[0])
    tasks = [ALL, *(manifest.order if manifest else ())]
    counted = [("steps of training (course)", STEPS), ("tasks (accuracy matrix)", TASKS)]
    return (
        Several("courses", "Courses of", offered=known, value=known[:3], at=RUN),
        One("lines", "Show", offered=figure.VIEWS, value=figure.MEAN, at=DRAW, radio=True),
        replace(sets.control(at=RUN), label="Forgetting curve of the set", folded=True),
        One("unit", "Forgetting curve, time in", offered=counted, value=STEPS, at=RUN, folded=True),
        One("task", "Forgetting curve of the task", offered=tasks, at=RUN, folded=True),
    )


def _outcome(found: Inside) -> str | None:
    """After how many switches of the first course the old tasks clearly fall; None where there is none."""
    dips = found.gaps.gaps[0].dips
    clear = sum(d.clear for d in dips)
    return _FALLS[(clear > 0) + (clear > len(dips) / 2)] if dips else None


def _shows(lines: str, *names: str, **more: str) -> dict:
    return {"courses": names, "lines": lines, **more}


GAP = Section(
    name="gap",
    title="Inside a task",
    question="What do old tasks do while a new one is taught?",
    about="Accuracy was logged every few steps of one training, on few items: the matrix asks more of them.",
    label="as published",
    paper=("Continual evaluation", "https://arxiv.org/abs/2205.13452"),
    of=SET,
    quick=True,
    run="Show",
    measure=lambda asked, progress: inside(asked["courses"], asked["set"], asked["unit"], asked["task"]),
    controls=_controls,
    sentence=figure.sentence,
    views=(
        View("course", lambda shown: figure.course(shown.result.gaps, shown["lines"])),
        View("curve", lambda s: s.result.curve and figure.curve(s.result.curve), folded="Forgetting curve"),
        View("numbers", lambda shown: figure.numbers(shown.result.gaps), html=True, folded="All numbers"),
    ),
    figures=lambda shown: [
        *(figure.course(shown.result.gaps, lines) for lines in figure.VIEWS),
        *([figure.curve(shown.result.curve)] if shown.result.curve else []),
    ],
    prediction=Prediction("after how many switches will the old tasks fall clearly?", _FALLS, _outcome),
    tries=(
        Try("Plain training beside replay", values=_shows(figure.MEAN, "sequential", "replay")),
        Try("Which task falls, and when?", values=_shows(figure.EACH, "sequential")),
        Try("Falls that come back", values=_shows(figure.EACH, "replay")),
        Try("Is there a forgetting curve?", values=_shows(figure.MEAN, "sequential", unit=TASKS, task=ALL)),
    ),
    then="One number a method: <button type='button' data-go='forgetting/methods'>Methods and order</button>",
    reading=_READING,
)

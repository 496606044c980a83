"""What the courses and the forgetting curve say, in plain words, true whatever the numbers are."""

import math
from typing import TYPE_CHECKING

from analysis.wording import listed, number, percent, points

if TYPE_CHECKING:
    from analysis.forgetting.gap.courses import Inside
    from analysis.forgetting.gap.curves import Fit, ForgettingCurve
    from analysis.forgetting.gap.measure import Gap, Gaps

_TOLD_FROM = 0.5
"""The share of the points' variance from which on a law says how fast it goes."""


def sentence(found: "Inside") -> str:
    """What the courses say, then the curve or why there is none, and which courses could not be read."""
    wrong = [f"{name} is left out: {why}" for name, why in found.wrong.items()]
    return " ".join([gaps(found.gaps), curve(found.curve) if found.curve else found.why, *wrong])


def gaps(found: "Gaps") -> str:
    """How deep old tasks fall after a switch and what comes back, method by method; of several, how they end."""
    told = [_gap(gap, found.first) for gap in found.gaps]
    return " ".join([*told, _lowest(found)] if len(told) > 1 else told)


def _gap(gap: "Gap", first: float) -> str:
    course, dips = gap.course, [d for d in gap.dips if not math.isnan(d.depth)]
    if not dips:
        return f"{course.method}: there is no switch between tasks with a measurement after it."
    clear = [d for d in dips if d.clear]
    steps = round(first * course.steps_per_task)
    if not clear:
        return (
            f"{course.method}: after none of {len(dips)} switches do the old tasks fall by more than chance could "
            f"within {steps} steps (n = {course.items} items a task)."
        )
    worst, returned = max(clear, key=lambda d: d.depth), [d for d in clear if d.returns]
    fall = sum(d.depth for d in dips) / len(dips)
    said = (
        f"{course.method}: after {len(clear)} of {len(dips)} switches the old tasks clearly fall within {steps} steps; "
        f"after {len(returned) or 'none'} of these they clearly come back. On average they fall by "
        f"{points(fall, sign=False)}, most at the switch to {course.tasks[worst.to]} ({percent(worst.before)} → "
        f"{percent(worst.lowest)}, step {worst.step}; n = {course.items} items a task, logged while it was trained)."
    )
    if not returned:
        return f"{said} None of it clearly comes back by the new task's end: this is forgetting, not a stability gap."
    count = len(returned)
    back, depth = sum(d.back for d in returned) / count, sum(d.depth for d in returned) / count
    where = listed([course.tasks[d.to] for d in returned])
    return (
        f"{said} This is a stability gap at the switch to {where}: of {points(depth, sign=False)} lost there, "
        f"{points(back, sign=False)} come back by the new task's end."
    )


def _lowest(found: "Gaps") -> str:
    """What evaluation at the ends of tasks hides, for each method."""
    told = [
        f"{g.course.method} ends at {percent(g.acc[-1])} on average, and its worst-case accuracy is "
        f"{percent(g.wc_acc[-1])}"
        for g in found.gaps
    ]
    return f"{'; '.join(told)}."


def curve(found: "ForgettingCurve") -> str:
    """Which law describes forgetting better, by how much, and how fast it goes."""
    of, n = found.points, found.n
    whose = "the share kept of all tasks together" if of.together else f"accuracy on {of.task}"
    basis = f"{found.method}, {n} points in {of.unit}"
    if not found.falls:
        return (
            f"{basis}: neither law describes {whose} better than a flat line does, so there is no forgetting curve to "
            "speak of."
        )
    power, exponential = (number(fit.aicc, 1) for fit in (found.power, found.exponential))
    both = f"AICc {power} for the power law, {exponential} for the exponential"
    if found.better is None:
        return (
            f"{basis}: which law describes {whose} better cannot be told ({both}: they differ by "
            f"{abs(found.delta):.1f}, less than 2). {_speed(found.power, found)}"
        )
    other = found.exponential if found.better is found.power else found.power
    return (
        f"{basis}: {_article(found.better.law)} fits {whose} better than {_article(other.law)}, by "
        f"{abs(found.delta):.1f} of AICc ({both}; R² {found.better.r2:.2f} against {other.r2:.2f}). "
        f"{_speed(found.better, found)}"
    )


def _article(law: str) -> str:
    return f"{'an' if law[0] in 'aeiou' else 'a'} {law}"


def _speed(fit: "Fit", found: "ForgettingCurve") -> str:
    of = found.points
    if fit.r2 < _TOLD_FROM:
        only = f"The {fit.law} explains only {percent(fit.r2)} of how the points differ (R² {fit.r2:.2f})"
        return f"{only}, so it cannot be told when half is gone."
    a, _, c = fit.parameters
    start, end = round(min(a + c, 1.0), 2), round(c, 2)  # of a curve, not of counted items
    soon = of.t[of.t > of.t.min()].min()
    half = f"before the first measurement, {soon:g} {of.unit} after its end" if fit.half < soon else (
        f"after {fit.half:.{0 if of.unit == 'steps' else 1}f} {of.unit}"
    )  # fmt: skip
    if fit.half > of.t.max():
        half = f"only after what was measured ({of.t.max():g} {of.unit})"
    return (
        f"By the {fit.law}, it goes from {percent(start)} towards {percent(end)}, and half of that way is "
        f"gone {half}."
    )

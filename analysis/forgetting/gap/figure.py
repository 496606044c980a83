"""How a course looks, and what it says: accuracy over training steps with switches and dips marked, its numbers, the
forgetting curve; in plain words, true whatever the numbers are."""

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import DASHES, IMAGE, NEUTRAL, SERIES, WRONG, figure
from analysis.table import Head, Table
from analysis.wording import listed, number, percent, points

if TYPE_CHECKING:
    from analysis.forgetting.gap.measure import Dip, Fit, ForgettingCurve, Gap, Gaps, Inside

MEAN, EACH = "mean of the old tasks", "every task"
VIEWS = (MEAN, EACH)
"""What ``course`` can show."""

_PANEL = 300  # pixels
_NUMBERS = {
    "acc": (
        "At the end", "Mean accuracy of all tasks at the end of training: what evaluation after the last task shows."
    ),
    "min_acc": (
        "min-ACC", "Mean, over the tasks before the last, of each one's lowest accuracy since its own training ended."
    ),
    "wc_acc": (
        "WC-ACC",
        "Worst-case accuracy with k tasks: 1/k of the last task's accuracy at the end plus 1 - 1/k of min-ACC.",
    ),
}
_TOLD_FROM = 0.5
"""The share of the points' variance from which on a law says how fast it goes."""


def course(found: "Gaps", view: str = MEAN) -> go.Figure:
    """Accuracy over training steps, %; dotted lines are switches, triangles the lowest point after each.

    ``MEAN``: the mean of the tasks before the one being trained, a line a method. ``EACH``: a panel a method, a line a
    task.
    """
    return _means(found) if view == MEAN else _each(found)


def _means(found: "Gaps") -> go.Figure:
    traces, longest = [], max(found.gaps, key=lambda gap: gap.course.steps[-1])
    for n, gap in enumerate(found.gaps):
        # of the old tasks while each later one is trained, from the switch on; broken there, as one more joins them
        x, y, of = [], [], gap.course
        for k in range(1, len(of.tasks)):
            inside = of.within(of.end(k - 1), of.end(k))
            x += [of.end(k - 1), *map(int, of.steps[inside]), None]
            y += [100 * of.at(of.end(k - 1))[:k].mean(), *(100 * of.accuracy[inside][:, :k].mean(1)), None]
        name, colour = escape(of.method), SERIES[n % len(SERIES)]
        traces.append(go.Scatter(
            x=x, y=y, mode="lines", name=f"{name} (n = {of.items} a task)", connectgaps=False,
            line={"color": colour, "dash": DASHES[n % len(DASHES)], "width": 2.5},
            hovertemplate=f"{name}, step %{{x}}: %{{y:.0f}} %<extra></extra>",
        ))
        traces.append(_triangles(gap, gap.dips, colour))
    lines, notes = _switches(longest, "")
    return figure(
        290 + 22 * len(found.gaps), *traces, shapes=lines, annotations=notes,
        margin={"l": 8, "r": 16, "t": 40 + 20 * len(found.gaps), "b": 8},
        legend={"y": 1, "yref": "container", "yanchor": "top"},
        xaxis={"title": "Training steps, over all tasks", "range": [0, int(longest.course.steps[-1])]},
        yaxis={"title": "Old tasks' mean accuracy, %", "range": [-3, 103]},
    )


def _triangles(gap: "Gap", dips: "Sequence[Dip]", colour: str, axis="", task: str = "the old tasks") -> go.Scatter:
    """The lowest point after each switch that is clearly a dip; hollow where nothing of it clearly comes back."""
    clear = [d for d in dips if d.clear]
    told = [
        f"{escape(gap.course.method)}: the switch to {escape(gap.course.tasks[d.to])}<br>{escape(task)}: "
        f"{percent(d.before)} → {percent(d.lowest)} at step {d.step}, {percent(d.after)} at its end"
        for d in clear
    ]
    return go.Scatter(
        x=[d.step for d in clear], y=[100 * d.lowest for d in clear], mode="markers", showlegend=False, text=told,
        hovertemplate="%{text}<extra></extra>", xaxis=f"x{axis}", yaxis=f"y{axis}",
        marker={
            "symbol": ["triangle-up" if d.returns else "triangle-up-open" for d in clear], "size": 13, "color": colour,
            "line": {"width": 2, "color": colour},
        },
    )


def _switches(gap: "Gap", axis: str) -> tuple[list[dict], list[dict]]:
    """A dotted line at each switch, and what is trained between them."""
    of = gap.course
    inside = {"xref": f"x{axis}", "yref": f"y{axis} domain"}
    dotted = {"type": "line", "y0": 0, "y1": 1, "line": {"dash": "dot", "width": 1.5, "color": NEUTRAL}, **inside}
    above = {"y": 1, "yanchor": "bottom", "showarrow": False, "textangle": -20, "font": {"size": 12}, **inside}
    lines = [{**dotted, "x0": of.end(k), "x1": of.end(k)} for k in range(len(of.tasks) - 1)]
    return lines, [{**above, "x": of.end(k) - of.steps_per_task / 2, "text": escape(t)} for k, t in enumerate(of.tasks)]


def _each(found: "Gaps") -> go.Figure:
    rows, top = len(found.gaps), 64
    traces, layout, lines, notes = [], {}, [], []
    tasks = list(dict.fromkeys(t for gap in found.gaps for t in gap.course.tasks))
    told: set[str] = set()
    for n, gap in enumerate(found.gaps):
        axis, of, high = "" if n == 0 else str(n + 1), gap.course, 1 - (n + 0.26) / rows
        layout[f"yaxis{axis}"] = {"domain": [1 - (n + 0.86) / rows, high], "range": [-3, 103], "title": "Accuracy, %"}
        layout[f"xaxis{axis}"] = {
            "anchor": f"y{axis}", "title": "Training steps, over all tasks" if n == rows - 1 else "",
            "range": [0, int(of.steps[-1])],
        }
        for i, task in enumerate(of.tasks):
            place = tasks.index(task)
            traces.append(go.Scatter(
                x=of.steps, y=100 * of.accuracy[:, i], mode="lines", name=escape(task),
                legendgroup=task, showlegend=task not in told, xaxis=f"x{axis}", yaxis=f"y{axis}",
                line={"color": SERIES[place % len(SERIES)], "width": 2, "dash": DASHES[place % len(DASHES)]},
                hovertemplate=f"{escape(task)}, step %{{x}}: %{{y:.0f}} %<extra></extra>",
            ))
            told.add(task)
        for task, marked in zip(of.tasks, gap.each, strict=True):
            traces.append(_triangles(gap, marked, SERIES[tasks.index(task) % len(SERIES)], axis, task))
        more, names = _switches(gap, axis)
        lines += more
        notes += [*names, {
            "text": f"<b>{escape(of.method)}</b> (n = {of.items} a task)", "x": 0, "xref": "paper", "xanchor": "left",
            "y": high + 0.13 / rows, "yref": "paper", "yanchor": "bottom", "showarrow": False,
        }]
    margin = {"l": 8, "r": 16, "t": top, "b": 8}
    return figure(top + rows * _PANEL, *traces, **layout, shapes=lines, annotations=notes, margin=margin)


def numbers_table(found: "Gaps") -> Table:
    """The metrics of continual evaluation, a row a method."""
    drop = "The largest drop of a task between two evaluations at most {} apart since its training began; mean over "
    drop += "tasks."
    dip = (
        f"Level of the old tasks at a switch minus their lowest one in the first {percent(found.first)} of the new "
        "task's steps; mean over switches."
    )
    steps = found.gaps[0].course.steps_per_task
    heads = [
        *(Head(*told, unit="%", digits=1) for told in _NUMBERS.values()),
        *(Head(name, hint, unit="points", digits=1) for name, hint in (
            (f"WF{found.window}", drop.format(f"{found.window} steps")),
            (f"WF{steps}", drop.format("as many steps as a task has")), ("Dip", dip),
            ("Comes back", "Level at the new task's end minus the lowest one; mean over switches"),
        )),
        Head("Clear dips", "Dips that are deeper than a 95 % interval of the difference is wide, of all switches"),
        Head("That come back", "Of the clear dips, those that clearly come back"), "Items a task",
    ]
    rows = []
    for gap in found.gaps:
        ends = (float(getattr(gap, key)[-1]) for key in _NUMBERS)
        deep, returned = sum(d.clear for d in gap.dips), sum(d.returns for d in gap.dips)
        each = [(d.depth, d.back) for d in gap.dips if not math.isnan(d.depth)] or [(math.nan, math.nan)]
        rows.append([
            gap.course.method, *ends, gap.windowed, gap.windowed_task, *map(float, np.mean(each, axis=0)),
            f"{deep} of {len(gap.dips)}", f"{returned} of {deep}", gap.course.items,
        ])
    return Table(["Method", *heads], rows)


def numbers(found: "Gaps") -> str:
    """The same on the page."""
    first = found.gaps[0].course
    times = int(first.within(first.end(0), first.end(1)).sum())
    return (
        f'<div class="card">{numbers_table(found).html()}'
        f'<p class="key">Evaluated {times} times in each task of {first.steps_per_task} steps, one seed. '
        f"{escape(first.definition)} Filled triangles: a dip that clearly comes back, beyond a 95 % "
        "interval of the difference; hollow: one that does not. The lowest of many noisy values is a little too "
        "low.</p></div>"
    )


def curve(found: "ForgettingCurve") -> go.Figure:
    """The points and both laws; a dotted line is the level without any change. Of all tasks together, accuracy is in
    % of what it was right after a task's own training."""
    of = found.points
    names = list(dict.fromkeys(of.names))
    traces = [
        go.Scatter(
            x=of.t[mine], y=100 * of.y[mine], mode="markers", name=escape(task),
            marker={"color": SERIES[i % len(SERIES)], "size": 7, "opacity": 0.75},
            hovertemplate=f"{escape(task)}, %{{x}} {of.unit} since: %{{y:.0f}} %<extra></extra>",
        ) for i, task in enumerate(names) if (mine := np.array([n == task for n in of.names])).any()
    ]
    t = np.unique(np.concatenate([np.linspace(0, of.t.max(), 200), of.t]))
    laws = (found.power, WRONG, "solid"), (found.exponential, IMAGE, "dash"), (found.flat, NEUTRAL, "dot")
    for fit, colour, dash in laws:
        traces.append(go.Scatter(
            x=t, y=100 * fit.at(t), mode="lines", name=f"{fit.law} (AICc {number(fit.aicc, 1)})",
            line={"color": colour, "width": 3, "dash": dash}, hovertemplate=f"{fit.law}: %{{y:.0f}} %<extra></extra>",
        ))
    since = "steps of training" if of.unit == "steps" else "tasks trained"
    what = "Accuracy kept, %" if of.together else f"Accuracy on {escape(of.task)}, %"
    return figure(
        440, *traces, margin={"l": 8, "r": 16, "t": 110, "b": 8},
        xaxis={"title": f"{since.capitalize()} since its own<br>(n = {found.n} points)", "rangemode": "tozero"},
        yaxis={"title": what, "rangemode": "tozero"},
    )


def sentence(found: "Inside") -> str:
    """What the courses say, then the curve or why there is none, and which courses could not be read."""
    wrong = [f"{name} is left out: {why}" for name, why in found.wrong.items()]
    return " ".join([gaps_said(found.gaps), curve_said(found.curve) if found.curve else found.why, *wrong])


def gaps_said(found: "Gaps") -> str:
    """How deep old tasks fall after a switch and what comes back, method by method; of several, how they end."""
    told = [_gap(gap, found.first) for gap in found.gaps]
    if len(told) > 1:  # and what evaluation at the ends of tasks hides
        ends = [
            f"{g.course.method} ends at {percent(g.acc[-1])} on average, and its worst-case accuracy is "
            f"{percent(g.wc_acc[-1])}"
            for g in found.gaps
        ]
        told.append(f"{'; '.join(ends)}.")
    return " ".join(told)


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


def curve_said(found: "ForgettingCurve") -> str:
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
    better, worse = (f"{'an' if fit.law[0] in 'aeiou' else 'a'} {fit.law}" for fit in (found.better, other))
    return (
        f"{basis}: {better} fits {whose} better than {worse}, by "
        f"{abs(found.delta):.1f} of AICc ({both}; R² {found.better.r2:.2f} against {other.r2:.2f}). "
        f"{_speed(found.better, found)}"
    )


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
    )
    if fit.half > of.t.max():
        half = f"only after what was measured ({of.t.max():g} {of.unit})"
    return (
        f"By the {fit.law}, it goes from {percent(start)} towards {percent(end)}, and half of that way is gone {half}."
    )

"""How a course looks: accuracy over training steps with switches and dips marked, its numbers, the forgetting curve."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import DASHES, IMAGE, NEUTRAL, SERIES, WRONG, figure
from analysis.table import Head, Table
from analysis.wording import number, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.forgetting.gap.curves import ForgettingCurve
    from analysis.forgetting.gap.measure import Dip, Gap, Gaps

MEAN, EACH = "mean of the old tasks", "every task"
VIEWS = (MEAN, EACH)
"""What ``course`` can show."""

_PANEL = 300  # pixels
_NUMBERS = (
    (
        "At the end", "acc",
        "Mean accuracy of all tasks at the end of training: what evaluation after the last task shows.",
    ),
    (
        "min-ACC", "min_acc",
        "Mean, over the tasks before the last, of each one's lowest accuracy since its own training ended.",
    ),
    (
        "WC-ACC", "wc_acc",
        "Worst-case accuracy with k tasks: 1/k of the last task's accuracy at the end plus 1 - 1/k of min-ACC.",
    ),
)  # fmt: skip


def course(found: "Gaps", view: str = MEAN) -> go.Figure:
    """Accuracy over training steps, %; dotted lines are switches, triangles the lowest point after each.

    ``MEAN``: the mean of the tasks before the one being trained, a line a method. ``EACH``: a panel a method, a line a
    task.
    """
    return _means(found) if view == MEAN else _each(found)


def _means(found: "Gaps") -> go.Figure:
    traces, longest = [], max(found.gaps, key=lambda gap: gap.course.steps[-1])
    for n, gap in enumerate(found.gaps):
        x, y = _old(gap)
        style = {"color": SERIES[n % len(SERIES)], "dash": DASHES[n % len(DASHES)], "width": 2.5}
        name = escape(gap.course.method)
        traces.append(go.Scatter(
            x=x, y=y, mode="lines", name=f"{name} (n = {gap.course.items} a task)", line=style, connectgaps=False,
            hovertemplate=f"{name}, step %{{x}}: %{{y:.0f}} %<extra></extra>",
        ))  # fmt: skip
        traces.append(_triangles(gap, gap.dips, SERIES[n % len(SERIES)]))
    lines, notes = _switches(longest, "")
    return figure(
        290 + 22 * len(found.gaps), *traces, shapes=lines, annotations=notes,
        margin={"l": 8, "r": 16, "t": 40 + 20 * len(found.gaps), "b": 8},
        legend={"y": 1, "yref": "container", "yanchor": "top"},
        xaxis={"title": "Training steps, over all tasks", "range": [0, int(longest.course.steps[-1])]},
        yaxis={"title": "Old tasks' mean accuracy, %", "range": [-3, 103]},
    )  # fmt: skip


def _old(gap: "Gap") -> tuple[list[float | None], list[float | None]]:
    """The mean of the old tasks while each later task is trained, from the switch on; broken at switches, where one
    more task joins them.
    """
    x: list[float | None] = []
    y: list[float | None] = []
    of = gap.course
    for k in range(1, len(of.tasks)):
        inside = of.within(of.end(k - 1), of.end(k))
        x += [of.end(k - 1), *map(int, of.steps[inside]), None]
        y += [100 * of.at(of.end(k - 1))[:k].mean(), *(100 * of.accuracy[inside][:, :k].mean(1)), None]
    return x, y


def _triangles(
    gap: "Gap", dips: "Sequence[Dip]", colour: str, axis: str = "", task: str = "the old tasks"
) -> go.Scatter:
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
    )  # fmt: skip


def _switches(gap: "Gap", axis: str) -> tuple[list[dict], list[dict]]:
    """A dotted line at each switch, and what is trained between them."""
    of = gap.course
    lines = [
        {
            "type": "line", "x0": of.end(k), "x1": of.end(k), "y0": 0, "y1": 1, "xref": f"x{axis}",
            "yref": f"y{axis} domain", "line": {"dash": "dot", "width": 1.5, "color": NEUTRAL},
        } for k in range(len(of.tasks) - 1)
    ]  # fmt: skip
    notes = [
        {
            "x": of.end(k) - of.steps_per_task / 2, "y": 1, "xref": f"x{axis}", "yref": f"y{axis} domain",
            "yanchor": "bottom", "showarrow": False, "text": escape(task), "textangle": -20, "font": {"size": 12},
        } for k, task in enumerate(of.tasks)
    ]  # fmt: skip
    return lines, notes


def _each(found: "Gaps") -> go.Figure:
    rows, top = len(found.gaps), 64
    height = top + rows * _PANEL
    traces, layout, lines, notes = [], {}, [], []
    tasks = list(dict.fromkeys(t for gap in found.gaps for t in gap.course.tasks))
    told: set[str] = set()
    for n, gap in enumerate(found.gaps):
        axis, of = "" if n == 0 else str(n + 1), gap.course
        high = 1 - (n + 0.26) / rows
        layout[f"yaxis{axis}"] = {"domain": [1 - (n + 0.86) / rows, high], "range": [-3, 103], "title": "Accuracy, %"}
        layout[f"xaxis{axis}"] = {
            "anchor": f"y{axis}", "title": "Training steps, over all tasks" if n == rows - 1 else "",
            "range": [0, int(of.steps[-1])],
        }  # fmt: skip
        for task in of.tasks:
            place = tasks.index(task)
            colour = SERIES[place % len(SERIES)]
            traces.append(go.Scatter(
                x=of.steps, y=100 * of.accuracy[:, of.tasks.index(task)], mode="lines", name=escape(task),
                legendgroup=task, showlegend=task not in told, xaxis=f"x{axis}", yaxis=f"y{axis}",
                line={"color": colour, "width": 2, "dash": DASHES[place % len(DASHES)]},
                hovertemplate=f"{escape(task)}, step %{{x}}: %{{y:.0f}} %<extra></extra>",
            ))  # fmt: skip
            told.add(task)
        for task, marked in zip(of.tasks, gap.each, strict=True):
            traces.append(_triangles(gap, marked, SERIES[tasks.index(task) % len(SERIES)], axis, task))
        more, names = _switches(gap, axis)
        lines += more
        title = f"<b>{escape(of.method)}</b> (n = {of.items} a task)"
        notes += [*names, {
            "text": title, "x": 0, "xref": "paper", "xanchor": "left", "y": high + 0.13 / rows, "yref": "paper",
            "yanchor": "bottom", "showarrow": False,
        }]  # fmt: skip
    return figure(
        height, *traces, **layout, shapes=lines, annotations=notes, margin={"l": 8, "r": 16, "t": top, "b": 8}
    )


def numbers_table(found: "Gaps") -> Table:
    """The metrics of continual evaluation, a row a method."""
    windowed = (
        "The largest drop of a task between two evaluations at most {} apart since its training began; mean over tasks."
    )
    dip = (
        f"Level of the old tasks at a switch minus their lowest one in the first {percent(found.first)} of the new "
        "task's steps; mean over switches."
    )
    back = "Level at the new task's end minus the lowest one; mean over switches"
    clear = "Dips that are deeper than a 95 % interval of the difference is wide, of all switches"
    steps = found.gaps[0].course.steps_per_task
    heads = [
        *(Head(name, hint, unit="%", digits=1) for name, _, hint in _NUMBERS),
        *(Head(name, hint, unit="points", digits=1) for name, hint in (
            (f"WF{found.window}", windowed.format(f"{found.window} steps")),
            (f"WF{steps}", windowed.format("as many steps as a task has")), ("Dip", dip), ("Comes back", back),
        )),
        Head("Clear dips", clear), Head("That come back", "Of the clear dips, those that clearly come back"),
        "Items a task",
    ]  # fmt: skip
    rows = []
    for gap in found.gaps:
        ends = (float(getattr(gap, key)[-1]) for _, key, _ in _NUMBERS)
        deep, returned = sum(d.clear for d in gap.dips), sum(d.returns for d in gap.dips)
        rows.append([
            gap.course.method, *ends, gap.windowed, gap.windowed_task, *dips_mean(gap),
            f"{deep} of {len(gap.dips)}", f"{returned} of {deep}", gap.course.items,
        ])  # fmt: skip
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


def dips_mean(gap: "Gap") -> tuple[float, float]:
    """Mean depth of the dips and mean of what comes back; not-a-number without a switch."""
    known = [d for d in gap.dips if not math.isnan(d.depth)]
    if not known:
        return float("nan"), float("nan")
    return float(np.mean([d.depth for d in known])), float(np.mean([d.back for d in known]))


def curve(found: "ForgettingCurve") -> go.Figure:
    """The points and both laws; a dotted line is the level without any change. Of all tasks together, accuracy is in
    % of what it was right after a task's own training.
    """
    of = found.points
    names = list(dict.fromkeys(of.names))
    traces = [
        go.Scatter(
            x=of.t[mine], y=100 * of.y[mine], mode="markers", name=escape(task),
            marker={"color": SERIES[i % len(SERIES)], "size": 7, "opacity": 0.75},
            hovertemplate=f"{escape(task)}, %{{x}} {of.unit} since: %{{y:.0f}} %<extra></extra>",
        ) for i, task in enumerate(names) if (mine := np.array([n == task for n in of.names])).any()
    ]  # fmt: skip
    t = np.unique(np.concatenate([np.linspace(0, of.t.max(), 200), of.t]))
    for fit, colour, dash in (
        (found.power, WRONG, "solid"),
        (found.exponential, IMAGE, "dash"),
        (found.flat, NEUTRAL, "dot"),
    ):
        traces.append(go.Scatter(
            x=t, y=100 * fit.at(t), mode="lines", name=f"{fit.law} (AICc {number(fit.aicc, 1)})",
            line={"color": colour, "width": 3, "dash": dash}, hovertemplate=f"{fit.law}: %{{y:.0f}} %<extra></extra>",
        ))  # fmt: skip
    since = "steps of training" if of.unit == "steps" else "tasks trained"
    what = "Accuracy kept, %" if of.together else f"Accuracy on {escape(of.task)}, %"
    return figure(
        440, *traces, margin={"l": 8, "r": 16, "t": 110, "b": 8},
        xaxis={"title": f"{since.capitalize()} since its own<br>(n = {found.n} points)", "rangemode": "tozero"},
        yaxis={"title": what, "rangemode": "tozero"},
    )  # fmt: skip

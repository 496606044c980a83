"""How a data-set view looks: accuracy by condition, checkpoints side by side, tables of all numbers; and one plain
reading of it, true whatever the numbers are.
"""

import math
from collections.abc import Container
from html import escape
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.charts import IMAGE, NEUTRAL, SERIES, TEXT, figure, reach, tint, upright
from analysis.table import Head, Table
from analysis.wording import NO_INTERVAL, estimate, listed, number, percent, points

if TYPE_CHECKING:
    from analysis.interference.dataset.result import Accuracies, Row, Shown
    from analysis.statistics import Estimate

_MARKS = ("circle", "diamond", "square", "triangle-up", "triangle-down", "cross", "x", "star")
_ROW, _MARK = 40, 12  # pixels: of a condition at least, of a checkpoint in it
_LEGEND = 46  # letters beside each other, on a phone
_TITLE, _AXIS = 54, 62  # pixels: of a panel's title, of its axis
_FEW = 30  # items: fewer are told to be few
_WHAT = {
    "unrelated": "An unrelated fact",
    "misleading": "A sentence that names a wrong answer",
    "contradiction": "A sentence that denies the right answer",
    "distraction": "An instruction for another task",
    "other-picture": "Another picture",
    "black": "A black picture",
    "white": "A white picture",
    "noise": "A picture of noise",
    "wrong-picture": "A picture of a wrong answer",
}
_FIRST = ("image-heavy", "misleading")  # of all that is measured, the case the reading begins with


def label(found: "Accuracies", column: tuple[str, str]) -> str:
    """How a checkpoint is called: with its model, without who made that, where there are several."""
    model, checkpoint = column
    return checkpoint if len({m for m, _ in found.columns}) == 1 else f"{model.split('/')[-1]}: {checkpoint}"


def remedies(found: "Accuracies", place: int | None, under: str, segment: str | None = None) -> go.Figure | None:
    """On the set at ``place``, for every checkpoint accuracy as asked (hollow) and ``under`` a condition (full), %,
    with 95 % intervals; a dotted line is the accuracy of guessing. None where nothing was measured.
    """
    at = {(r.model, r.checkpoint, r.condition): r for r in found.rows if r.panel == place and r.segment == segment}
    both = [(column, at.get((*column, "origin")), at.get((*column, under))) for column in found.columns]
    both = [row for row in both if None not in row]
    if not both:
        return None
    colour = IMAGE if found.panels[place].kind == "text-heavy" else TEXT
    looks = (("As asked", 1, "circle-open", NEUTRAL), (both[0][2].title, 2, "circle", colour))
    places = list(range(len(both)))
    marks = [
        go.Scatter(
            x=[100 * row[i].accuracy.value for row in both], y=places, mode="markers", name=name,
            marker={"color": ink, "size": 13, "symbol": symbol, "line": {"width": 3, "color": ink}},
            error_x={**reach([row[i].accuracy for row in both]), "color": ink, "thickness": 2, "width": 4},
            text=[f"{name}: {estimate(row[i].accuracy, 1, unit=' %')}, n = {row[i].n}" for row in both],
            hovertemplate="%{text}<extra></extra>",
        )
        for name, i, symbol, ink in looks
    ]
    shapes = [upright(100 * both[0][1].chance, -0.5, len(both) - 0.5, "dot")] + [
        {"type": "line", "x0": 100 * a.accuracy.value, "x1": 100 * b.accuracy.value, "y0": y, "y1": y, "layer": "below",
         "line": {"width": 5, "color": tint(NEUTRAL, 0.4)}}
        for y, (_, a, b) in enumerate(both)
    ]
    names = [f"{escape(label(found, c))}<br>{points(-b.drop.value)}" for c, _, b in both]
    n = _counts([row for _, *rows in both for row in rows])
    return figure(
        124 + 44 * len(both), *marks, shapes=shapes, showlegend=True, margin={"l": 8, "r": 16, "t": 44, "b": 8},
        xaxis={"title": f"Right answers, %<br>(n = {n}; dotted: guessing)", "range": [-2, 102], "dtick": 25},
        yaxis={"tickvals": places, "ticktext": names, "range": [len(both) - 0.5, -0.5], "zeroline": False},
    )


def _counts(rows: "list[Row]") -> str:
    least, most = min(r.n for r in rows), max(r.n for r in rows)
    return f"{most}" if least == most else f"{least} to {most}"


def _panel(found: "Accuracies", panel: "Shown") -> tuple[str, str]:
    """How a set is called, and its name in brackets where another one of the same kind is shown too."""
    same = [p for p in found.panels if p.kind == panel.kind]
    return panel.title, f" ({escape(panel.set[:30])})" if len(same) > 1 else ""


def accuracy(found: "Accuracies", segment: str | None = None) -> go.Figure | None:
    """Accuracy, %, with its 95 % interval: a panel a set, a row a condition, a mark a checkpoint.

    ``segment`` shows the items of that segment alone; None where there is none. A dotted line is the accuracy of
    guessing.
    """
    drawn = [(panel, [r for r in found.rows if r.panel == i and r.segment == segment])
             for i, panel in enumerate(found.panels)]
    drawn = [(panel, rows, list(dict.fromkeys(r.title for r in rows))) for panel, rows in drawn if rows]
    if not drawn:
        return None
    names = [escape(label(found, column)) for column in found.columns]
    spread = max(_ROW, _MARK * (len(names) + 1))
    heights = [_TITLE + _AXIS + spread * len(titles) for _, _, titles in drawn]
    beside = max(_LEGEND // (6 + max(len(label(found, column)) for column in found.columns)), 1)
    total, top, left = sum(heights), 40 + 24 * -(-len(names) // beside), 1.0
    traces, layout, notes, lines, told = [], {}, [], [], set()
    for n, ((panel, rows, titles), height) in enumerate(zip(drawn, heights, strict=True)):
        axis, high, low = "" if n == 0 else str(n + 1), left - _TITLE / total, left - height / total + _AXIS / total
        left -= height / total
        ends = [title.partition(" ") if len(title) > 14 else (title, "", "") for title in titles]
        broken = [f"{escape(first)}<br>{escape(rest)}" if rest else escape(first) for first, _, rest in ends]
        layout[f"xaxis{axis}"] = {"title": "Accuracy, %", "range": [-2, 102], "anchor": f"y{axis}", "dtick": 25}
        layout[f"yaxis{axis}"] = {  # long titles on two lines: half of a phone's width is for the marks
            "domain": [max(low, 0.0), high], "tickvals": list(range(len(titles))), "ticktext": broken,
            "range": [len(titles) - 0.5, -0.5], "anchor": f"x{axis}", "zeroline": False,
        }
        title, name = _panel(found, panel)
        notes.append({
            "text": f"<b>{escape(title)}</b>{name}<br>n = {_counts(rows)}", "align": "left", "x": 0, "xref": "paper",
            "xanchor": "left", "y": high, "yref": "paper", "yanchor": "bottom", "showarrow": False,
            "font": {"size": 15},
        })
        guess = 100 * rows[0].chance
        lines.append(upright(guess, -0.5, len(titles) - 0.5, "dot", xref=f"x{axis}", yref=f"y{axis}"))
        for place, column in enumerate(found.columns):
            if not (of := [r for r in rows if (r.model, r.checkpoint) == column]):
                continue
            shift, colour = 0.76 * ((place + 0.5) / len(names) - 0.5), SERIES[place % len(SERIES)]
            traces.append(go.Scatter(
                x=[100 * r.accuracy.value for r in of], y=[titles.index(r.title) + shift for r in of], mode="markers",
                name=names[place], legendgroup=str(place), showlegend=place not in told, xaxis=f"x{axis}",
                yaxis=f"y{axis}", marker={
                    "color": colour, "size": 10, "symbol": _MARKS[(place + place // len(SERIES)) % len(_MARKS)],
                },
                error_x={**reach([r.accuracy for r in of]), "color": colour, "thickness": 2, "width": 3},
                text=[
                    f"{names[place]}, {escape(r.title.lower())}: {estimate(r.accuracy, 1, unit=' %')}, n = {r.n}"
                    for r in of
                ],
                hovertemplate="%{text}<extra></extra>",
            ))
            told.add(place)
    return figure(
        total + top, *traces, **layout, shapes=lines, annotations=notes, showlegend=True,
        margin={"l": 8, "r": 16, "t": top, "b": 8}, legend={"y": 1.0, "yanchor": "bottom"},
    )


def table(found: "Accuracies", segment: str | None = None) -> str:
    """Every number, a row a checkpoint and condition; ``segment`` as in ``accuracy``."""
    columns = [
        "Condition", "Checkpoint", "n", Head("Accuracy", unit="%"),
        Head("Drop", "Accuracy as asked minus accuracy here, over the same items", unit="points", digits=1),
        Head("Flips", "Share of items whose likeliest option is another one than as asked", unit="%"),
        Head("Divergence, bits", "Jensen-Shannon divergence between the option probabilities, mean over items: 0 is no "
             "change", digits=2),
        Head("Change, nats", "Change of the log-probability of the right option, mean over items", digits=2, sign=True),
    ]
    parts = []
    for place, panel in enumerate(found.panels):
        rows = [
            [r.title, label(found, (r.model, r.checkpoint)), r.n, r.accuracy,
             *([None] * 4 if r.drop is None else [r.drop, r.flip, r.js, r.delta_logprob])]
            for r in found.rows if r.panel == place and r.segment == segment
        ]
        if rows:
            about = f"<p><b>{escape(panel.title)}</b>: {escape(panel.about)} ({escape(panel.set)})</p>"
            parts.append(about + Table(columns, rows).html())
    return f'<div class="card">{"".join(parts)}<p class="key">Brackets are 95 % intervals.</p></div>' if parts else ""


def recovery(found: "Accuracies") -> str:
    """What each checkpoint gets back of the base's drop, and what it costs as asked; nothing without a comparison."""
    if not found.compared:
        return ""
    rows = [
        [label(found, (c.model, c.checkpoint)), "".join(_panel(found, found.panels[c.panel])),
         "accuracy as asked" if c.condition == "origin" else f"recovery under “{c.title.lower()}”", c.n, c.difference]
        for c in sorted(found.compared, key=lambda c: (c.model, c.checkpoint, c.panel))
    ]
    against = Head("Points against the base", digits=1, sign=True, shares=True)
    return (
        f'<div class="card">{Table(["Checkpoint", "Items", "What is compared", "n", against], rows).html()}'
        "<p class=\"key\">Recovery: the base's drop minus the checkpoint's, over the same items. As asked: the "
        "checkpoint's accuracy minus the base's, below zero is a cost. Brackets are 95 % intervals (paired bootstrap); "
        "with so many of them one in twenty would leave out zero by chance.</p></div>"
    )


def sentence(found: "Accuracies", panel: int | None = None, condition: str = "") -> str:
    """What the headline perturbation costs, what the best checkpoint gets back of it and costs, and what pictures do.

    The headline is ``condition`` on the items of ``panel``, or where that was not measured misleading text on
    image-heavy items, or the largest drop. It is told of the first column's model, of its base where there is one. What
    was measured last is told first, alone.
    """
    said = _told(found, panel, condition)
    if found.newest is None or (new := _told(found.newest)) == said:
        return said
    return f"Measured now: {new} All that is shown: {said}"


def _told(found: "Accuracies", panel: int | None = None, condition: str = "") -> str:
    model, first = found.columns[0]
    column = (model, "base") if (model, "base") in found.columns else (model, first)
    who = "the base" if column[1] == "base" else f"“{first}”"
    who = who if len({m for m, _ in found.columns}) == 1 else f"{who} of {model}"
    rows = [r for r in found.rows if (r.model, r.checkpoint) == column and r.segment is None]
    disturbed = [r for r in rows if r.drop is not None]
    if not disturbed:
        told = [f"{percent(r.accuracy.value)} of {r.n} {r.kind} items ({_range(r.accuracy)})" for r in rows]
        return f"As asked, {who} answers {listed(told)} correctly; nothing was disturbed."
    chosen = [r for r in disturbed if (r.panel, r.condition) == (panel, condition)]
    usual = [r for r in disturbed if (r.kind, r.condition) == _FIRST]
    head = next(iter((*chosen, *usual)), None) or max(disturbed, key=lambda r: r.drop.value)
    drop, what, where = head.drop, _WHAT[head.condition], f"on {head.kind} items"
    before = next(r.accuracy.value for r in rows if r.panel == head.panel and r.drop is None)
    change = f"{_number(-drop.value, sign=True)} points"
    if drop.low > 0:
        said = f"{what} costs {who} {_points(drop.value)} {where} ({_range(drop)})"
    elif drop.high < 0:
        said = f"{what} costs {who} nothing {where}: {_points(-drop.value)} more are right ({_range(-drop)})"
    elif head.n < _FEW:
        matters = f"{head.n} {head.kind} items cannot tell whether {what.lower()} matters to {who}"
        said = f"{matters}: {change} ({_range(-drop)})"
    else:
        said = f"{what} has no clear effect on {who} {where}: {change} ({_range(-drop)})"
    went = f"As asked {percent(before)} of {head.n} items are right, then {percent(head.accuracy.value)}."
    parts = [f"{said}. {went}", _recovered(found, head) if drop.low > 0 else "", _pictures(head, disturbed, who)]
    few = min(r.n for r in disturbed)
    if few < _FEW:
        parts.append(f"With as few as {few} items these intervals say little.")
    return " ".join(p for p in parts if p)


def _recovered(found: "Accuracies", head: "Row") -> str:
    """Of the checkpoint that recovers most of a clear drop, and what it costs on undisturbed multimodal items; empty
    where none was measured beside the base.
    """
    of = head.panel, head.model, head.condition, head.checkpoint
    tried = [c for c in found.compared if (c.panel, c.model, c.condition, c.reference) == of]
    if not tried:
        return ""
    best, many = max(tried, key=lambda c: c.difference.value), len(tried) > 1
    change, name = best.difference, f"“{best.checkpoint}”"
    if change.low > 0:
        gets = f"Of {len(tried)} checkpoints {name} gets most back" if many else f"{name} gets back"
        said = f"{gets}: {_points(change.value)} ({_range(change)})"
    elif change.high < 0:
        who = "No checkpoint gets any of it back" if many else f"{name} gets none of it back"
        least = f"the best, {name}, loses" if many else "it loses"
        said = f"{who}: {least} {_points(-change.value)} more ({_range(-change)})"
    else:
        who = "No checkpoint clearly gets it back" if many else f"{name} does not clearly get it back"
        best_of = f"the best, {name}, changes" if many else "it changes"
        said = f"{who}: {best_of} the drop by {_number(-change.value, sign=True)} points ({_range(-change)})"
    as_asked = "multimodal", best.model, best.checkpoint, "origin"
    costs = (c.difference for c in found.compared if (c.kind, c.model, c.checkpoint, c.condition) == as_asked)
    if cost := next(costs, None):
        if cost.clear:
            gains, span = ("loses", -cost) if cost.high < 0 else ("gains", cost)
            said += f"; it {gains} {_points(abs(cost.value))} on clean multimodal items ({_range(span)})"
        else:
            neither = "on clean multimodal items it neither clearly loses nor gains"
            said += f"; {neither}: {_number(cost.value, sign=True)} points ({_range(cost)})"
    return f"{said}."


def _pictures(head: "Row", rows: "list[Row]", who: str) -> str:
    """What pictures do to text-heavy items; empty where the reading began with it, or it was not measured."""
    tried = [r for r in rows if r.kind == "text-heavy"]
    if not tried or head.kind == "text-heavy":
        return ""
    clear = [r for r in tried if r.drop.low > 0]
    worst = max(clear or tried, key=lambda r: r.drop.value)
    what, change = _WHAT[worst.condition].lower(), f"{_number(worst.drop.value, sign=True)} points"
    amount = f"({_range(worst.drop)}; {worst.n} items)"
    if len(tried) == 1:
        has = f"costs {who} {_points(worst.drop.value)}" if clear else f"does not clearly cost {who} accuracy"
        return f"On text-heavy items {what} {has}{'' if clear else f': the drop is {change}'} {amount}."
    if clear:
        return f"On text-heavy items, of {len(tried)} pictures {what} costs most: {_points(worst.drop.value)} {amount}."
    return (
        f"On text-heavy items none of {len(tried)} pictures clearly costs {who} accuracy; the largest drop is {change} "
        f"under {what} {amount}."
    )


def _points(share: float) -> str:
    value = _number(share)
    return f"{value} point{'' if value == '1' else 's'}"


def _number(share: float, sign: bool = False) -> str:
    """Percentage points, a decimal where a whole number would hide them."""
    return number(100 * share, int(abs(100 * share) < 2), sign).removesuffix(".0")


def _range(of: "Estimate") -> str:
    return NO_INTERVAL if math.isnan(of.low) else f"95 % {_number(of.low)} to {_number(of.high)}"


def outcome(found: "Accuracies", remedies: Container[str]) -> str | None:
    """Which of ``remedies`` gets most back of the drop by misleading text on image-heavy items; None where nothing is
    clearly got back.
    """
    tried = [c for c in found.compared if (c.kind, c.condition) == _FIRST and c.checkpoint in remedies]
    best = max(tried, key=lambda c: c.difference.value, default=None)
    return best.checkpoint if best and best.difference.low > 0 else None

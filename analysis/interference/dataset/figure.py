"""How a data-set view looks: accuracy by condition, checkpoints side by side, and tables of all numbers."""

from html import escape
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.charts import IMAGE, NEUTRAL, SERIES, TEXT, figure, reach, tint
from analysis.table import Head, Table
from analysis.wording import estimate, points

if TYPE_CHECKING:
    from analysis.interference.dataset.result import Accuracies, Compared, Row, Shown

_MARKS = ("circle", "diamond", "square", "triangle-up", "triangle-down", "cross", "x", "star")
_ROW, _MARK = 40, 12  # pixels: of a condition at least, of a checkpoint in it
_LEGEND = 46  # letters beside each other, on a phone
_TITLE, _AXIS = 54, 62  # pixels: of a panel's title, of its axis


def label(found: "Accuracies", column: tuple[str, str]) -> str:
    """How a checkpoint is called: with its model, without who made that, where there are several."""
    model, checkpoint = column
    return checkpoint if len({m for m, _ in found.columns}) == 1 else f"{model.split('/')[-1]}: {checkpoint}"


def remedies(found: "Accuracies", place: int, condition: str, segment: str | None = None) -> go.Figure | None:
    """On the set at ``place``, for every checkpoint accuracy as asked (hollow) and under ``condition`` (full), %, with
    95 % intervals; a dotted line is the accuracy of guessing. None where nothing was measured.
    """
    of = [r for r in found.rows if r.panel == place and r.segment == segment]
    both = [
        (column, *(next((r for r in of if (r.model, r.checkpoint, r.condition) == (*column, c)), None) for c in pair))
        for pair in [("origin", condition)]
        for column in found.columns
    ]
    both = [row for row in both if None not in row]
    if not both:
        return None
    colour = IMAGE if found.panels[place].kind == "text-heavy" else TEXT
    title = both[0][2].title
    looks = (("As asked", 1, "circle-open", NEUTRAL), (title, 2, "circle", colour))
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
    guess = {
        "type": "line", "x0": 100 * both[0][1].chance, "x1": 100 * both[0][1].chance, "y0": -0.5, "y1": len(both) - 0.5,
        "line": {"dash": "dot", "width": 2, "color": NEUTRAL},
    }
    between = [
        {"type": "line", "x0": 100 * a.accuracy.value, "x1": 100 * b.accuracy.value, "y0": y, "y1": y, "layer": "below",
         "line": {"width": 5, "color": tint(NEUTRAL, 0.4)}}
        for y, (_, a, b) in enumerate(both)
    ]
    names = [f"{escape(label(found, c))}<br>{points(-b.drop.value)}" for c, _, b in both]
    counts = [r.n for _, *rows in both for r in rows]
    n = f"{max(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    return figure(
        124 + 44 * len(both), *marks, shapes=[guess, *between], showlegend=True,
        margin={"l": 8, "r": 16, "t": 44, "b": 8},
        xaxis={"title": f"Right answers, %<br>(n = {n}; dotted: guessing)", "range": [-2, 102], "dtick": 25},
        yaxis={"tickvals": places, "ticktext": names, "range": [len(both) - 0.5, -0.5], "zeroline": False},
    )


def accuracy(found: "Accuracies", segment: str | None = None) -> go.Figure | None:
    """Accuracy, %, with its 95 % interval: a panel a set, a row a condition, a mark a checkpoint.

    ``segment`` shows the items of that segment alone; None where there is none. A dotted line is the accuracy of
    guessing.
    """
    drawn = [
        (place, panel, rows)
        for place, panel in enumerate(found.panels)
        if (rows := [r for r in found.rows if r.panel == place and r.segment == segment])
    ]
    if not drawn:
        return None
    spread = max(_ROW, _MARK * (len(found.columns) + 1))
    heights = [_TITLE + _AXIS + spread * len(_titles(rows)) for _, _, rows in drawn]
    beside = max(_LEGEND // (6 + max(len(label(found, column)) for column in found.columns)), 1)
    total, top, left = sum(heights), 40 + 24 * -(-len(found.columns) // beside), 1.0
    traces, layout, notes, lines, told = [], {}, [], [], set()
    for n, ((_, panel, rows), height) in enumerate(zip(drawn, heights, strict=True)):
        axis, share = "" if n == 0 else str(n + 1), height / total
        high, low = left - _TITLE / total, left - share + _AXIS / total
        left -= share
        titles = _titles(rows)
        counts = [r.n for r in rows]
        n_of = f"{max(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        layout[f"xaxis{axis}"] = {
            "title": "Accuracy, %", "range": [-2, 102], "anchor": f"y{axis}", "dtick": 25,
        }
        layout[f"yaxis{axis}"] = {
            "domain": [max(low, 0.0), high], "tickvals": list(range(len(titles))),
            "ticktext": list(map(_broken, titles)), "range": [len(titles) - 0.5, -0.5], "anchor": f"x{axis}",
            "zeroline": False,
        }
        notes.append({
            "text": f"<b>{escape(panel.title)}</b>{_named(found, panel)}<br>n = {n_of}", "align": "left", "x": 0,
            "xref": "paper", "xanchor": "left", "y": high, "yref": "paper", "yanchor": "bottom", "showarrow": False,
            "font": {"size": 15},
        })
        guess = 100 * rows[0].chance
        lines.append({
            "type": "line", "x0": guess, "x1": guess, "y0": -0.5, "y1": len(titles) - 0.5, "xref": f"x{axis}",
            "yref": f"y{axis}", "line": {"dash": "dot", "width": 2, "color": NEUTRAL},
        })
        for place, column in enumerate(found.columns):
            if of := [r for r in rows if (r.model, r.checkpoint) == column]:
                traces.append(_marks(found, of, titles, place, axis, named=place not in told))
                told.add(place)
    return figure(
        total + top, *traces, **layout, shapes=lines, annotations=notes, showlegend=True,
        margin={"l": 8, "r": 16, "t": top, "b": 8}, legend={"y": 1.0, "yanchor": "bottom"},
    )


def _titles(rows: list["Row"]) -> list[str]:
    return list(dict.fromkeys(r.title for r in rows))


def _broken(title: str) -> str:
    """On two lines where it is long: half of a phone's width is for the marks."""
    first, _, rest = title.partition(" ")
    return f"{escape(first)}<br>{escape(rest)}" if len(title) > 14 and rest else escape(title)


def _named(found: "Accuracies", panel: "Shown") -> str:
    """The set's name, where another set of the same kind is shown too."""
    same = [p for p in found.panels if p.kind == panel.kind]
    return f" ({escape(panel.set[:30])})" if len(same) > 1 else ""


def _marks(found: "Accuracies", of: list["Row"], titles: list[str], place: int, axis: str, named: bool) -> go.Scatter:
    """The rows ``of`` one column; ``named`` in the legend."""
    column = found.columns[place]
    shift = 0.76 * ((place + 0.5) / len(found.columns) - 0.5)
    told = [
        f"{escape(label(found, column))}, {escape(r.title.lower())}: "
        f"{estimate(r.accuracy, 1, unit=' %')}, n = {r.n}" for r in of
    ]
    colour = SERIES[place % len(SERIES)]
    return go.Scatter(
        x=[100 * r.accuracy.value for r in of], y=[titles.index(r.title) + shift for r in of], mode="markers",
        name=escape(label(found, column)), legendgroup=str(place), showlegend=named,
        xaxis=f"x{axis}", yaxis=f"y{axis}",
        marker={"color": colour, "size": 10, "symbol": _MARKS[(place + place // len(SERIES)) % len(_MARKS)]},
        error_x={
            **reach([r.accuracy for r in of]), "color": colour, "thickness": 2, "width": 3,
        },
        text=told, hovertemplate="%{text}<extra></extra>",
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
        [label(found, (c.model, c.checkpoint)), _of(found, c), _what(c), c.n, c.difference]
        for c in sorted(found.compared, key=lambda c: (c.model, c.checkpoint, c.panel))
    ]
    against = Head("Points against the base", digits=1, sign=True, shares=True)
    return (
        f'<div class="card">{Table(["Checkpoint", "Items", "What is compared", "n", against], rows).html()}'
        "<p class=\"key\">Recovery: the base's drop minus the checkpoint's, over the same items. As asked: the "
        "checkpoint's accuracy minus the base's, below zero is a cost. Brackets are 95 % intervals (paired bootstrap); "
        "with so many of them one in twenty would leave out zero by chance.</p></div>"
    )


def _of(found: "Accuracies", compared: "Compared") -> str:
    panel = found.panels[compared.panel]
    return f"{panel.title}{_named(found, panel)}"


def _what(compared: "Compared") -> str:
    clean = compared.condition == "origin"
    return "accuracy as asked" if clean else f"recovery under “{compared.title.lower()}”"

"""How the data-set view looks: every strategy's score beside its speed, a table with intervals, one sentence."""

import math
from html import escape
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.charts import ANSWER, NEUTRAL, WRONG, empty, figure, reach
from analysis.table import Head, Table
from analysis.wording import UNKNOWN, estimate, listed, number, points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.decoding.dataset.measure import Hallucination, Row
    from analysis.statistics import Difference, Estimate

NAMES = {
    "accuracy": "Accuracy", "precision": "Precision", "recall": "Recall", "f1": "F1", "yes": "Yes-ratio",
    "objects": "CHAIR_i", "sentences": "CHAIR_s",
}  # fmt: skip
HEADLINE = {"accuracy": "above", "objects": "below"}
"""The score that a subset is judged by, and on which side of greedy it is better."""

_P = 0.05


def headline(rows: "Sequence[Row]") -> str:
    """The name of the score that rows of one subset are judged by."""
    return next(name for name in HEADLINE if hasattr(rows[0].scores, name))


def beyond_chance(of: "Difference") -> bool:
    """Whether a difference's interval leaves out zero and, where McNemar's exact test applies, p is at most 0.05.

    The interval alone makes too much of few items that differ.
    """
    return of.clear and not of.p > _P


def spread(found: "Hallucination | None", subset: str) -> go.Figure:
    """A subset's headline score of each strategy, with its 95 % interval; speed is written beside."""
    rows = found.of(subset) if found else ()
    if not rows:
        return empty("Scores with intervals appear here", 160)
    name = headline(rows)
    values = [getattr(row.scores, name) for row in rows]
    places = list(range(len(rows)))
    dots = go.Scatter(
        x=[100 * v.value for v in values], y=places, mode="markers",
        customdata=[escape(_title(found, r)) for r in rows],
        marker={"size": 12, "color": [_colour(row, name) for row in rows]}, cliponaxis=False,
        error_x={
            **reach(values), "thickness": 2, "width": 5, "color": NEUTRAL,
        },
        hovertemplate="%{customdata}: %{x:.1f} %<extra></extra>",
    )  # fmt: skip
    labels = [f"{escape(_title(found, row))}<br>{_speed(row)}" for row in rows]
    title = f"{NAMES[name]}, %, with 95 % intervals<br>({subset}, n = {rows[0].scores.n})"
    return figure(
        110 + 46 * len(rows), dots, margin={"l": 8, "r": 24, "t": 8, "b": 8},
        xaxis={"title": title}, yaxis={"tickvals": places, "ticktext": labels, "autorange": "reversed"},
    )  # fmt: skip


def _title(found: "Hallucination", row: "Row") -> str:
    title = found.titles[row.strategy]
    return title.partition("(")[2].rstrip(")") or title


def _speed(row: "Row") -> str:
    return "" if math.isnan(row.tokens_per_second) else f"{row.tokens_per_second:.0f} tokens/s"


def _colour(row: "Row", name: str) -> str:
    change = row.differences.get(name)
    if change is None or not beyond_chance(change):
        return NEUTRAL
    return ANSWER if (change.value > 0) == (HEADLINE[name] == "above") else WRONG


def scores_table(found: "Hallucination", subset: str) -> Table:
    """All scores of a subset, the difference to greedy with its test, and the speed."""
    rows = found.of(subset)
    name, scores = headline(rows), [key for key in vars(rows[0].scores) if key != "n"]
    heads = [*(Head(NAMES[s], unit="%", digits=1) for s in scores),
             f"{NAMES[name]} minus greedy’s, points", Head("Tokens/s", digits=0)]  # fmt: skip
    cells = [
        [found.titles[row.strategy], *(getattr(row.scores, s) for s in scores),
         _against(row.differences.get(name), name), row.tokens_per_second]
        for row in rows
    ]  # fmt: skip
    return Table(["Strategy", *heads], cells)


def _against(of: "Difference | None", name: str) -> str:
    if of is None or not of.known:
        return UNKNOWN
    told = "" if not beyond_chance(of) else " better" if (of.value > 0) == (HEADLINE[name] == "above") else " worse"
    return estimate(of, 1, sign=True, p=True) + told


def table(found: "Hallucination", subset: str) -> str:
    """The same on the page."""
    if not found.of(subset):
        return ""
    return (
        f"{scores_table(found, subset).html()}"
        f'<p class="key">{escape(subset)}, n = {found.of(subset)[0].scores.n}. Brackets: 95 % intervals (Wilson; a '
        "bootstrap for F1, CHAIR_i and the recall of captions). Differences are paired over the same items; p is "
        "McNemar’s exact test. Items about one picture count as independent.</p>"
    )


def sentence(found: "Hallucination", subset: str) -> str:
    """Which strategies are better or worse than greedy on a subset, beyond chance; in plain words."""
    rows = found.of(subset)
    if not rows:
        return "Nothing was measured on this subset."
    name = headline(rows)
    said = _basis(rows, subset)
    others = [row for row in rows if row.differences]
    if not others:
        return said
    side = 1 if HEADLINE[name] == "above" else -1
    clear = [row for row in others if beyond_chance(row.differences[name])]
    better = [row for row in clear if side * row.differences[name].value > 0]
    worse = [row for row in clear if row not in better]
    plain = [row for row in others if row not in clear]
    parts = []
    for rows_of, verdict in ((better, "better"), (worse, "worse")):
        if rows_of:
            told = [f"{_title(found, r)} ({points(r.differences[name].value, 1)})" for r in rows_of]
            parts.append(f"{verdict}: {listed(told)}")
    if plain:
        parts.append(f"no clear difference: {listed([_title(found, r) for r in plain])}")
    return f"{said} Against it, {'; '.join(parts)}."


def _basis(rows: "Sequence[Row]", subset: str) -> str:
    greedy = next(row for row in rows if not row.differences)
    of = greedy.scores
    if hasattr(of, "accuracy"):
        return (
            f"On {subset} questions (n = {of.n}) greedy decoding is right in {_share(of.accuracy)} and says yes to "
            f"{_share(of.yes)}."
        )
    return (
        f"In {of.n} captions, {_share(of.objects)} of the objects that greedy decoding names are not there (CHAIR_i), "
        f"in {_share(of.sentences)} of the captions at least one (CHAIR_s)."
    )


def _share(of: "Estimate") -> str:
    return f"{number(100 * of.value, 1)} %" if of.known else UNKNOWN

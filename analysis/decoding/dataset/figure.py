"""How the data-set view looks: every strategy's score beside its speed, a table with intervals, one sentence."""

import math
from html import escape
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.charts import ANSWER, NEUTRAL, SCROLL, WRONG, empty, figure
from analysis.wording import listed, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.decoding.dataset.measure import Hallucination, Row
    from analysis.decoding.dataset.scores import Estimate
    from analysis.statistics import Difference

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
            "type": "data", "symmetric": False, "thickness": 2, "width": 5, "color": NEUTRAL,
            "array": [100 * (v.high - v.value) for v in values],
            "arrayminus": [100 * (v.value - v.low) for v in values],
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


def table(found: "Hallucination", subset: str) -> str:
    """All scores of a subset with their intervals, the difference to greedy, its test, and the speed."""
    rows = found.of(subset)
    if not rows:
        return ""
    name = headline(rows)
    scores = [key for key in vars(rows[0].scores) if key != "n"]
    head = "".join(f'<th scope="col">{NAMES[s]}, %</th>' for s in scores)
    body = []
    for row in rows:
        cells = "".join(f"<td>{_cell(getattr(row.scores, s))}</td>" for s in scores)
        change = row.differences.get(name)
        body.append(
            f'<tr><th scope="row">{escape(_title(found, row))}</th>{cells}<td>{_change(change)}</td>'
            f"<td>{row.tokens_per_second:.0f}</td></tr>"
        )
    return (
        f'{SCROLL}<table class="plain"><thead><tr><th></th>{head}<th>{NAMES[name]} minus greedy’s, points'
        f"</th><th>Tokens/s</th></tr></thead><tbody>{''.join(body)}</tbody></table></div>"
        f'<p class="key">{escape(subset)}, n = {rows[0].scores.n}. Brackets: 95 % intervals (Wilson; a bootstrap for '
        "F1, CHAIR_i and the recall of captions). Differences are paired over the same items; p is McNemar’s exact "
        "test. Items about one picture count as independent.</p>"
    )


def _cell(of: "Estimate") -> str:
    if math.isnan(of.value):
        return "–"
    return f"{100 * of.value:.1f} <small>({100 * of.low:.1f} to {100 * of.high:.1f})</small>"


def _change(of: "Difference | None") -> str:
    if of is None or math.isnan(of.value):
        return "–"
    p = "" if math.isnan(of.p) else f", p = {of.p:.2g}"
    return f"{points(of.value)} <small>({points(of.low)} to {points(of.high)}{p})</small>"


def points(value: float) -> str:
    """A difference of shares in percentage points."""
    return signed(100 * value, 1)


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
            told = [f"{_title(found, r)} ({points(r.differences[name].value)} points)" for r in rows_of]
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
    return "–" if math.isnan(of.value) else f"{100 * of.value:.1f} %"
